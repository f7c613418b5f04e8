package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"busd/bus"
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

// An agent plays ping-pong over one connection, with one request at a time.
type agent struct {
	// Fixed at creation.
	name   string
	client *msgclient.Client
	say    func(format string, a ...any)
	stop   <-chan struct{} // closed when it should begin no further request

	roundTrips histogram
	errors     atomic.Int64

	mu sync.Mutex
	// Guarded by mu.
	line    net.Conn  // the newest
	lost    time.Time // when the connection ended; zero: it did not yet
	failure error     // the first
}

func newAgent(s *server, name string, stop <-chan struct{}, say func(string, ...any)) (*agent, error) {
	conf, err := s.credentials(name)
	if err != nil {
		return nil, err
	}
	a := &agent{name: name, say: say, stop: stop}
	a.client, err = msgclient.New(msgclient.Config{
		URL: s.url, TLS: conf, Instance: "demo", Name: "busd demo", Schema: pingpong.Schema,
		MinWait: minWait, DialContext: a.dial, OnConnect: a.connected, OnDrop: a.dropped,
	})
	return a, err
}

// dial opens a line that can be cut.
func (a *agent) dial(ctx context.Context, network, address string) (net.Conn, error) {
	line, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		a.mu.Lock()
		a.line = line
		a.mu.Unlock()
	}
	return line, err
}

// cut breaks the line as it is: nobody says goodbye.
func (a *agent) cut() {
	a.mu.Lock()
	line := a.line
	a.mu.Unlock()
	if tcp, ok := line.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // what is on its way is lost, too
	}
	a.say("%s: its TCP line is cut now", a.name)
	_ = line.Close() // that is the point
}

func (a *agent) connected(_ context.Context, c *msgclient.Client) {
	a.mu.Lock()
	lost := a.lost
	a.mu.Unlock()
	if !lost.IsZero() {
		a.say("%s: connected again after %s, still %s", a.name, time.Since(lost).Round(time.Millisecond), c.Identity())
	}
}

func (a *agent) dropped(_ context.Context, _ *msgclient.Client, why error) {
	a.mu.Lock()
	a.lost = time.Now()
	a.mu.Unlock()
	reason := bus.AsError(why).Reason
	a.say("%s: lost its connection (%s: %s)", a.name, bus.CodeOf(why), reason)
}

// play sends requests until it is told to stop; the last is finished. What a
// lost connection interrupts is sent again.
func (a *agent) play() {
	for id := int64(1); !a.stopped(); id++ {
		began := time.Now()
		err := a.roundTrip(id)
		for bus.CodeOf(err) == bus.CodeSessionLost {
			err = a.roundTrip(id)
		}
		if err != nil {
			a.failed(err)
			continue
		}
		a.roundTrips.add(time.Since(began))
	}
}

func (a *agent) roundTrip(id int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	pong, err := msgclient.Request[pingpong.Pong](ctx, a.client, pingpong.Ping{ID: id})
	if err == nil && pong.ID != id {
		return fmt.Errorf("sent Ping %d, got Pong %d", id, pong.ID)
	}
	return err
}

func (a *agent) stopped() bool {
	select {
	case <-a.stop:
		return true
	default:
		return false
	}
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

// reconnects counts the connections after the first.
func (a *agent) reconnects() int64 {
	return max(0, int64(a.client.Connects())-1)
}

// verdict says what kept the agent from doing its work, or nil. wasCut tells
// whether its line was cut.
func (a *agent) verdict(wasCut bool) error {
	a.mu.Lock()
	failure := a.failure
	a.mu.Unlock()
	var done counts
	done.addFrom(&a.roundTrips)
	switch {
	case failure != nil:
		return fmt.Errorf("%s: %d requests failed, first: %w", a.name, a.errors.Load(), failure)
	case done.total() == 0:
		return errors.New(a.name + ": it made no round trip")
	case wasCut && a.reconnects() == 0:
		return errors.New(a.name + ": its line was cut, and it did not connect again")
	}
	return nil
}
