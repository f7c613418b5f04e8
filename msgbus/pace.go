package msgbus

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

// What the hints to clients, of when to come (back), are made with.
const (
	// leastRate is how many clients a second any server is taken to welcome,
	// though it may never have seen as many: a tenth of what one core does
	// with full TLS handshakes (1 ms each, measured).
	leastRate = 100
	// rateMemory is after how long the best second of a server counts half,
	// which it does from then on.
	rateMemory = 10 * time.Minute
	// minSpread and maxSpread bound over how long clients are spread. Beyond
	// the rate times maxSpread they come faster than at the rate: nobody is
	// kept away for minutes because of an estimate.
	minSpread = time.Second
	maxSpread = time.Minute
	// A client that found no room is told to wait leastRetry, for a place to
	// come free, its turn, and a random part of retryJitter.
	leastRetry  = 2 * time.Second
	retryJitter = 8 * time.Second
	// refusedShare is the part of its rate, one in so many, that a server
	// spends on clients which it may have to refuse again: each costs it a
	// handshake.
	refusedShare = 4
)

// pace measures how fast a server welcomes clients, and derives from it when
// they are to come. The zero value is the pace of a server that has seen
// nobody. Its methods may be called concurrently.
//
// What was measured shows what the server can do at least: in a second in which
// few came it was idle, not slow. So only the best second counts, and a slow one
// takes nothing away from it. A hint made of it may bring clients more slowly
// than the server could take them, but for maxSpread never faster than it has
// taken some already, or at leastRate. It counts in full at first and half after
// rateMemory: that the machine can do it is still true, that it has nothing else
// to do may not be.
type pace struct {
	mu sync.Mutex
	// Guarded by mu.
	began  time.Time // of the second that is counted; it begins with a welcome
	count  float64   // of that second
	best   float64   // the most ever
	lately float64   // the best of late, as it was at since
	since  time.Time
	turn   time.Time // the next that is free
}

// welcomed counts one client.
func (p *pace) welcomed() {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.began) >= time.Second {
		p.began, p.count = now, 0
	}
	p.count++
	if p.count >= p.latelyLocked(now) {
		p.lately, p.since = p.count, now
	}
	p.best = max(p.best, p.count)
}

// rate returns how many clients may be expected to be welcomed in a second.
func (p *pace) rate() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(leastRate, p.best/2, p.latelyLocked(time.Now()))
}

func (p *pace) latelyLocked(now time.Time) float64 {
	return p.lately * math.Exp2(-float64(now.Sub(p.since))/float64(rateMemory))
}

// spread returns over how long n clients are to come, each at a random moment,
// so that they come as a ramp: from minSpread to maxSpread.
func (p *pace) spread(n int) time.Duration {
	return min(max(minSpread, seconds(float64(n)/p.rate())), maxSpread)
}

// retryAfter returns how long a client that found no room is to wait, at least
// leastRetry. Each call gives away a turn: however many are refused together,
// they come back one after the other, at a part of the rate. When the turns of
// maxSpread are given away, those that come too late for one come at any moment
// of it.
func (p *pace) retryAfter() time.Duration { return p.after(p.rate() / refusedShare) }

// returnAfter is retryAfter for a server that shuts down: whoever comes after it
// has room for all.
func (p *pace) returnAfter() time.Duration { return p.after(p.rate()) }

func (p *pace) after(perSecond float64) time.Duration {
	return leastRetry + p.nextTurn(perSecond) + rand.N(retryJitter) //nolint:gosec // not a secret
}

// nextTurn returns how long it is to the next turn, and takes it.
func (p *pace) nextTurn(perSecond float64) time.Duration {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.turn.Before(now) {
		p.turn = now
	}
	wait := p.turn.Sub(now)
	if wait >= maxSpread {
		return rand.N(maxSpread) //nolint:gosec // not a secret
	}
	p.turn = p.turn.Add(seconds(1 / perSecond))
	return wait
}

// seconds is what a float is as a Duration; an hour at most.
func seconds(s float64) time.Duration {
	return time.Duration(min(s, time.Hour.Seconds()) * float64(time.Second))
}
