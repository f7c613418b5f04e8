package msgclient_test

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"busd/bus"
	"busd/bustest"
	"busd/msgclient"
)

// A place is an address at which servers come and go.
type place struct {
	mu sync.Mutex
	// Guarded by mu.
	srv    *bustest.Server // nil: nobody listens
	dialed func()          // nil: nobody wants to know
}

func (p *place) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	p.mu.Lock()
	srv, dialed := p.srv, p.dialed
	p.mu.Unlock()
	if dialed != nil {
		dialed()
	}
	if srv == nil {
		return nil, bus.Errorf(bus.CodeUnavailable, "nobody listens")
	}
	return srv.DialContext(ctx, network, address)
}

// opens lets a server listen there; nil: nobody does any more.
func (p *place) opens(srv *bustest.Server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.srv = srv
}

// onDial sets what is told of each attempt to reach it.
func (p *place) onDial(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialed = f
}

// ids are the numbers of the messages that came, in order.
type ids struct {
	mu sync.Mutex
	// Guarded by mu.
	all []int64
}

func (s *ids) add(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, id)
}

func (s *ids) so() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

// upTo is what must have come: 1, 2, … n.
func upTo(n int64) (want []int64) {
	for i := range n {
		want = append(want, i+1)
	}
	return want
}

// A well is a line that swallows what the client writes, once it is told to.
type well struct {
	net.Conn
	deep *atomic.Bool
}

func (w well) Write(b []byte) (int, error) {
	if w.deep.Load() {
		return len(b), nil
	}
	return w.Conn.Write(b)
}

// sunk makes lines that swallow what is written once deep is set. Those opened
// later are whole.
func sunk(dial func(context.Context, string, string) (net.Conn, error), deep *atomic.Bool) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err == nil && !deep.Load() {
			conn = well{conn, deep}
		}
		return conn, err
	}
}

func send(t *testing.T, c *msgclient.Client, id int64) {
	t.Helper()
	if err := c.Send(t.Context(), Job{ID: id}); err != nil {
		t.Fatalf("Job %d: %v", id, err)
	}
}

func wantResumption(t *testing.T, c *msgclient.Client, want msgclient.Resumption) {
	t.Helper()
	if got := c.Resumption(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A town has places, by their hosts.
type town map[string]*place

func (all town) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(address) // msgclient made it
	return all[host].DialContext(ctx, network, address)
}
