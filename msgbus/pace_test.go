package msgbus

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
)

// welcome counts n clients that come evenly over a time.
func welcome(p *pace, n int, over time.Duration) {
	for range n {
		p.welcomed()
		time.Sleep(over / time.Duration(n))
	}
}

// The best second counts, at first in full and later half; slow ones and quiet
// days take nothing away.
func TestPaceRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var p pace
		want := func(when string, want float64) {
			t.Helper()
			if got := p.rate(); got < 0.99*want || got > 1.02*want {
				t.Errorf("%s: got %.1f clients a second, want %.1f", when, got, want)
			}
		}
		want("a server that saw nobody", leastRate)
		welcome(&p, 60, time.Minute)
		want("one that saw one a second", leastRate)
		welcome(&p, 4000, 5*time.Second)
		want("after 800 a second", 800)
		welcome(&p, 600, time.Minute)
		want("a slow minute later", 800*0.933)
		time.Sleep(rateMemory)
		want("after its memory", 400)
		time.Sleep(30 * 24 * time.Hour)
		want("a month later", 400)
		welcome(&p, 1500, 3*time.Second)
		want("after 500 a second", 500)
		time.Sleep(24 * time.Hour)
		want("a day later", 400)
		welcome(&p, 3000, 3*time.Second)
		want("after 1000 a second", 1000)
	})
}

// Clients are counted whoever counts them.
func TestPaceIsConcurrent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var p pace
		var all sync.WaitGroup
		for range 500 {
			all.Go(func() { p.welcomed(); p.spread(1); p.retryAfter() })
		}
		all.Wait()
		if got := p.rate(); got != 500 {
			t.Errorf("got %.0f clients a second, want 500", got)
		}
	})
}

func TestPaceSpread(t *testing.T) {
	t.Parallel()
	var fresh, fast pace
	for range 1000 {
		fast.welcomed()
	}
	for _, tt := range []struct {
		name     string
		pace     *pace
		n        int
		min, max time.Duration // 1 % apart: the best second counts a little less at once
	}{
		{"fresh", &fresh, 0, minSpread, minSpread},
		{"fresh", &fresh, 1, minSpread, minSpread},
		{"fresh", &fresh, 500, 5 * time.Second, 5 * time.Second},
		{"fresh", &fresh, 2000, 20 * time.Second, 20 * time.Second},
		{"fresh", &fresh, 1 << 60, maxSpread, maxSpread},
		{"fast", &fast, 500, minSpread, minSpread},
		{"fast", &fast, 5000, 5 * time.Second, 5050 * time.Millisecond},
		{"fast", &fast, 100_000, maxSpread, maxSpread},
	} {
		if got := tt.pace.spread(tt.n); got < tt.min || got > tt.max {
			t.Errorf("%s: spread of %d: got %s, want %s", tt.name, tt.n, got, tt.min)
		}
	}
}

// comeBack returns how many of n clients that are refused at one moment come in
// each second after it.
func comeBack(t *testing.T, n int, after func() time.Duration) []int {
	t.Helper()
	seconds := make([]int, 1+(leastRetry+maxSpread+retryJitter)/time.Second)
	for range n {
		wait := after()
		if wait < leastRetry || int(wait/time.Second) >= len(seconds) {
			t.Fatalf("got a wait of %s, want from %s to %s", wait, leastRetry, leastRetry+maxSpread+retryJitter)
		}
		seconds[wait/time.Second]++
	}
	return seconds
}

// last returns the last second in which anybody comes.
func last(seconds []int) int {
	for i := len(seconds) - 1; i > 0; i-- {
		if seconds[i] > 0 {
			return i
		}
	}
	return 0
}

// However many are refused together, they come back as a ramp: at a quarter of
// the rate while that is possible, and spread over the longest time otherwise.
func TestPaceOfTheRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		welcomed, refused int
		most              int // in any second: what is expected and five times its standard deviation
		from, to          int // the last of them comes in a second from, to
	}{
		"one":                    {0, 1, 1, 2, 9},
		"ten":                    {0, 10, 8, 2, 10},
		"as many as the rate":    {0, 100, 35, 6, 13},
		"1000 by a fresh server": {0, 1000, 50, 40, 50},
		"1000 by a fast server":  {400, 1000, 150, 11, 20},
		"more than have a turn":  {0, 10_000, 240, 60, 70},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var p pace
				for range tt.welcomed {
					p.welcomed()
				}
				seconds := comeBack(t, tt.refused, p.retryAfter)
				for at, n := range seconds {
					if n > tt.most {
						t.Errorf("%d clients come in second %d, want at most %d: %v", n, at, tt.most, seconds)
					}
				}
				if got := last(seconds); got < tt.from || got > tt.to {
					t.Errorf("the last comes in second %d, want from %d to %d: %v", got, tt.from, tt.to, seconds)
				}
				time.Sleep(leastRetry + maxSpread + retryJitter)
				if again := p.retryAfter(); again > leastRetry+retryJitter {
					t.Errorf("once all were back another waits %s, want at most %s", again, leastRetry+retryJitter)
				}
			})
		})
	}
}

// Who finds no room is told when to come again by the error itself; who finds
// the server shutting down comes back sooner, at the whole of its rate.
func TestAdmissionSaysWhenToComeAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		svc := &Service{MaxConns: 2}
		var a admission
		a.init(Config{MaxConns: 1, MaxConnsPerPeer: 1})
		if err := a.enter(svc, "somebody"); err != nil {
			t.Fatal(err)
		}
		refused := func(want bus.Code) []int {
			return comeBack(t, n, func() time.Duration {
				err := a.enter(svc, "another")
				if err == nil || err.Code != want || err.Retry.When != bus.RetryAfter {
					t.Fatalf("got %v, want %s with a time to come again", err, want)
				}
				return err.Retry.After
			})
		}
		if seconds := refused(bus.CodeResourceExhausted); last(seconds) < refusedShare*n/leastRate {
			t.Errorf("no room: want %d clients over %d s at least: %v", n, refusedShare*n/leastRate, seconds)
		}
		time.Sleep(leastRetry + maxSpread + retryJitter)
		a.close()
		if seconds := refused(bus.CodeUnavailable); last(seconds) > 2*refusedShare*n/leastRate/3 {
			t.Errorf("shutting down: want %d clients back at %d a second: %v", n, leastRate, seconds)
		}
	})
}
