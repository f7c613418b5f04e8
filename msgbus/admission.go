package msgbus

import (
	"context"
	"sync"
	"time"

	"busd/bus"
)

// admission bounds connections before they cost anything.
type admission struct {
	// Fixed at creation.
	max, maxPerPeer int
	open            context.Context // ends when the gate is closed
	shut            context.CancelFunc
	empty           chan struct{} // closed once the gate is closed and nobody is inside

	pace pace // guards itself

	mu sync.Mutex
	// Guarded by mu.
	total   int
	service map[*Service]int
	peer    map[string]int
}

func (a *admission) init(cfg Config) {
	a.max, a.maxPerPeer = cfg.MaxConns, cfg.MaxConnsPerPeer
	a.service, a.peer = map[*Service]int{}, map[string]int{}
	a.open, a.shut = context.WithCancel(context.Background())
	a.empty = make(chan struct{})
}

// close refuses everybody from now on; a.empty tells when all have left.
func (a *admission) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.isClosed() {
		return
	}
	a.shut()
	if a.total == 0 {
		close(a.empty)
	}
}

// isClosed tells whether the server is shutting down.
func (a *admission) isClosed() bool { return a.open.Err() != nil }

// inside counts who has a place.
func (a *admission) inside() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total
}

// enter takes a place, which leave gives back. Its error says when to come
// again.
func (a *admission) enter(s *Service, peer string) *bus.Error {
	if err := a.take(s, peer); err != nil {
		return err.WithRetry(bus.Retry{When: bus.RetryAfter, After: a.retryAfter()})
	}
	return nil
}

func (a *admission) take(s *Service, peer string) *bus.Error {
	a.mu.Lock()
	defer a.mu.Unlock()
	full := func(what string, n int) *bus.Error {
		return bus.Errorf(bus.CodeResourceExhausted, "%s has %d connections, as many as it may", what, n)
	}
	switch {
	case a.isClosed():
		return bus.Errorf(bus.CodeUnavailable, "the server is shutting down")
	case a.total >= a.max:
		return full("the server", a.total)
	case a.service[s] >= s.MaxConns:
		return full("service "+s.Name(), a.service[s])
	case a.peer[peer] >= a.maxPerPeer:
		return full("the peer", a.peer[peer])
	}
	a.total++
	a.service[s]++
	a.peer[peer]++
	return nil
}

// retryAfter is what a client is told to wait for which there is no room, by
// Retry-After or by the drop: two seconds at least. It is asked once for each.
func (a *admission) retryAfter() time.Duration {
	if a.isClosed() {
		return a.pace.returnAfter()
	}
	return a.pace.retryAfter()
}

func (a *admission) leave(s *Service, peer string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.total--; a.total == 0 && a.isClosed() { // nobody enters any more, so that this is once
		close(a.empty)
	}
	a.service[s]--
	if a.peer[peer]--; a.peer[peer] == 0 {
		delete(a.peer, peer)
	}
}
