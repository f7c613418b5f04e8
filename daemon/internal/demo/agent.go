package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"busd/bus"
	"busd/daemon/internal/histogram"
	"busd/examples/pingpong"
	"busd/msgclient"
)

const (
	// requestTimeout bounds a request, its waiting for a connection included.
	requestTimeout = 10 * time.Second
	// minWait bounds the first pause before a reconnect: a quarter of what
	// agents in the field take, so that a short demonstration shows one.
	minWait = 125 * time.Millisecond
	// errorPause keeps an agent whose requests fail from filling the screen.
	errorPause = 100 * time.Millisecond
)

// An agent plays ping-pong, with one request at a time. Its pings are numbered
// from 1 on, across its connections.
type agent struct {
	// Fixed at creation.
	name     string
	client   *msgclient.Client
	say      func(format string, a ...any)
	stop     <-chan struct{} // closed when it should begin no further request
	scissors chan func()     // gets what is to be done in the middle of the play
	came     chan struct{}   // gets one when it has connected, if nobody has taken the last

	roundTrips histogram.Histogram
	errors     atomic.Int64
	resumed    atomic.Int64 // reconnects whose session went on
	others     atomic.Int64 // reconnects with another session
	moved      atomic.Int64 // connections that began before the last one ended
	wasCut     atomic.Bool

	sent  int64 // owned by play
	burst burst

	mu sync.Mutex
	// Guarded by mu.
	line    *line     // the newest
	known   bool      // it was connected
	lost    time.Time // when the connection ended; zero: it has another, or has it still
	failure error     // the first
}

func newAgent(t *site, name string, stop <-chan struct{}, say func(string, ...any)) (*agent, error) {
	conf, err := t.credentials(name)
	if err != nil {
		return nil, err
	}
	a := &agent{name: name, say: say, stop: stop, scissors: make(chan func(), 1), came: make(chan struct{}, 1)}
	a.client, err = msgclient.New(msgclient.Config{
		URL: t.url(), TLS: conf, Instance: "demo", Name: "busd demo", Schema: pingpong.Schema,
		MinWait: minWait, DialContext: a.dial, OnConnect: a.connected, OnDrop: a.dropped,
	})
	if err != nil {
		return nil, err
	}
	msgclient.On(a.client, func(_ context.Context, _ *msgclient.Client, m pingpong.Pong) error {
		a.burst.answered(m.ID)
		return nil
	})
	return a, nil
}

// connected says how it went on: with a move, make before break, or after a cut.
func (a *agent) connected(_ context.Context, c *msgclient.Client) {
	a.mu.Lock()
	known, lost := a.known, a.lost
	a.known, a.lost = true, time.Time{}
	a.mu.Unlock()
	defer func() {
		select {
		case a.came <- struct{}{}:
		default:
		}
	}()
	r := c.Resumption()
	switch {
	case !known:
	case lost.IsZero():
		a.moved.Add(1)
		a.say("%s: moved to the second server, all that it had begun on the first was finished", a.name)
	case r.Resumed:
		a.resumed.Add(1)
		a.say("%s: connected again after %s, its session goes on, still %s", a.name, ago(lost), c.Identity())
	default:
		a.others.Add(1)
		a.say("%s: connected again after %s, with another session (%s)", a.name, ago(lost), r.Reason)
	}
}

func ago(t time.Time) time.Duration { return time.Since(t).Round(time.Millisecond) }

func (a *agent) dropped(_ context.Context, _ *msgclient.Client, why error) {
	a.mu.Lock()
	a.lost = time.Now()
	a.mu.Unlock()
	a.say("%s: lost its connection (%s: %s)", a.name, bus.CodeOf(why), bus.AsError(why).Reason)
}

// play sends requests until it is told to stop; the last is finished. A cut that
// interrupts one is not its business.
func (a *agent) play() {
	for {
		select {
		case <-a.stop:
			return
		case do := <-a.scissors:
			do()
		default:
		}
		began := time.Now()
		if err := a.roundTrip(); err != nil {
			a.failed(err)
			continue
		}
		a.roundTrips.Add(time.Since(began))
	}
}

func (a *agent) roundTrip() error {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	a.sent++
	pong, err := msgclient.Request[pingpong.Pong](ctx, a.client, pingpong.Ping{ID: a.sent})
	if err == nil && pong.ID != a.sent {
		return fmt.Errorf("sent Ping %d, got Pong %d", a.sent, pong.ID)
	}
	return err
}

func (a *agent) failed(err error) {
	a.errors.Add(1)
	a.mu.Lock()
	first := a.failure == nil
	if first {
		a.failure = err
	}
	a.mu.Unlock()
	if first {
		a.say("%s: %v", a.name, err)
	}
	select {
	case <-time.After(errorPause):
	case <-a.stop:
	}
}

// reconnects counts the connections after one that was lost.
func (a *agent) reconnects() int64 { return a.resumed.Load() + a.others.Load() }

// verdict says what kept the agent from doing its work, or nil. It must have
// stopped playing.
func (a *agent) verdict(p *page) error {
	a.mu.Lock()
	failure := a.failure
	a.mu.Unlock()
	var done histogram.Counts
	done.AddFrom(&a.roundTrips)
	lost, doubled := a.account(p)
	switch {
	case failure != nil:
		return fmt.Errorf("%s: %d requests failed, first: %w", a.name, a.errors.Load(), failure)
	case done.Total() == 0:
		return errors.New(a.name + ": it made no round trip")
	case lost > 0 || doubled > 0:
		return fmt.Errorf("%s: %d messages were lost and %d doubled", a.name, lost, doubled)
	case a.wasCut.Load() && a.resumed.Load() == 0:
		return errors.New(a.name + ": its line was cut, and its session did not go on")
	}
	return nil
}

// account returns how many messages were lost and how many doubled: its own, as
// the service handled them, and the service's, as they came here.
func (a *agent) account(p *page) (lost, doubled int64) {
	lost, doubled = p.count(a.sent)
	lostHere, doubledHere := a.burst.account()
	return lost + lostHere, doubled + doubledHere
}
