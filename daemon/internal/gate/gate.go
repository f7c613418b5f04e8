package gate

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// How long accepting pauses after an error of the listener underneath, such as
// no more open files.
const (
	minPause = 10 * time.Millisecond
	maxPause = time.Second
)

// A Gate is a [net.Listener] whose connections are [*tls.Conn] with the
// handshake done. net/http can serve it as it is; requests have their TLS
// state. All methods may be called concurrently.
type Gate struct {
	// Fixed at creation.
	inner     net.Listener
	tls       *tls.Config
	config    Config
	count     *counters
	total     *atomic.Int64 // open connections of all gates that share their bounds
	addresses *addresses
	turns     chan struct{} // an element for each handshake that computes
	ready     chan *tls.Conn
	done      chan struct{} // closed by Close
	stopped   chan struct{} // closed when nothing more is accepted

	deny atomic.Pointer[denyList]
	work sync.WaitGroup

	mu sync.Mutex
	// Guarded by mu.
	started, closed bool
	shaking         map[*conn]struct{} // not yet handed out
	innerErr        error              // why accepting stopped by itself
}

// New makes a gate before inner, which it owns from then on: Close closes it.
// config is used as it is for every handshake. The first Accept starts the
// accepting.
func New(inner net.Listener, config *tls.Config, bounds Config) *Gate {
	bounds = bounds.withDefaults()
	g := &Gate{
		inner:   inner,
		tls:     config,
		config:  bounds,
		count:   newCounters(),
		ready:   make(chan *tls.Conn),
		done:    make(chan struct{}),
		stopped: make(chan struct{}),
		shaking: map[*conn]struct{}{},
	}
	if with := bounds.Share; with != nil {
		g.total, g.addresses, g.turns = with.total, with.addresses, with.turns
	} else {
		g.total, g.addresses, g.turns = new(atomic.Int64), newAddresses(bounds), make(chan struct{}, bounds.MaxHandshakes)
	}
	g.SetDeny(bounds.Deny)
	return g
}

// SetDeny replaces the deny list. It acts on connections accepted from then
// on.
func (g *Gate) SetDeny(prefixes []netip.Prefix) {
	list := newDenyList(prefixes)
	g.deny.Store(&list)
}

// Config returns the bounds in force, defaults filled in.
func (g *Gate) Config() Config { return g.config }

// Addr returns the address of the listener underneath.
func (g *Gate) Addr() net.Addr { return g.inner.Addr() }

// Accept returns the next connection that got through, a [*tls.Conn]. Its
// error is [net.ErrClosed] after Close, or that of the listener underneath
// when that was closed by somebody else; other errors of that listener are
// counted, and accepting goes on after a pause.
func (g *Gate) Accept() (net.Conn, error) {
	g.start()
	select {
	case c := <-g.ready:
		return c, nil
	case <-g.done:
		return nil, net.ErrClosed
	case <-g.stopped:
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.innerErr != nil {
			return nil, g.innerErr
		}
		return nil, net.ErrClosed
	}
}

// Close stops accepting, closes every connection that was not handed out, and
// returns when all of the gate's goroutines have ended. Connections handed out
// live on.
func (g *Gate) Close() error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		g.work.Wait()
		return nil
	}
	g.closed = true
	close(g.done)
	inside := make([]*conn, 0, len(g.shaking))
	for c := range g.shaking {
		inside = append(inside, c)
	}
	g.mu.Unlock()

	err := g.inner.Close()
	for _, c := range inside {
		_ = c.Close() // what it would say helps nobody
	}
	g.work.Wait()
	return err
}

func (g *Gate) start() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.started && !g.closed {
		g.started = true
		g.work.Go(g.acceptAll)
	}
}

func (g *Gate) acceptAll() {
	defer close(g.stopped)
	var pause time.Duration
	for {
		raw, err := g.inner.Accept()
		switch {
		case err == nil:
			pause = 0
			g.admit(raw)
			continue
		case errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF):
			g.mu.Lock()
			g.innerErr = err
			g.mu.Unlock()
			return
		}
		g.count.acceptErrors.Add(1)
		g.report(Event{Err: err})
		pause = min(max(2*pause, minPause), maxPause)
		if !g.sleep(pause) {
			return
		}
	}
}

// sleep reports false if the gate was closed meanwhile.
func (g *Gate) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-g.done:
		return false
	}
}

// admit never blocks: whoever has to wait does so in a goroutine of its own.
func (g *Gate) admit(raw net.Conn) {
	remote := remoteOf(raw)
	if g.deny.Load().has(remote.Addr()) {
		g.refuse(raw, remote, Denied)
		return
	}
	g.count.open.Add(1)
	if g.total.Add(1) > int64(g.config.MaxConnections) {
		g.count.open.Add(-1)
		g.total.Add(-1)
		g.refuse(raw, remote, Connections)
		return
	}
	c := &conn{Conn: raw, gate: g, remote: remote}
	row, wait, delay, reason := g.addresses.arrive(keyOf(remote.Addr()), time.Now())
	if reason != "" {
		g.refuse(c, remote, reason)
		return
	}
	g.mu.Lock()
	closed := g.closed
	if !closed {
		g.shaking[c] = struct{}{}
	}
	g.mu.Unlock()
	if closed {
		if wait {
			g.addresses.waited(row)
		}
		g.addresses.leave(row, !wait)
		_ = c.Close() // nobody is told of a connection after Close
		return
	}
	g.work.Go(func() { g.serve(c, row, wait, delay) })
}

// forget takes a connection off those that Close closes.
func (g *Gate) forget(c *conn) {
	g.mu.Lock()
	delete(g.shaking, c)
	g.mu.Unlock()
}

func (g *Gate) refuse(c net.Conn, remote netip.AddrPort, reason Reason) {
	g.count.refused[reason].Add(1) // whoever sees the end finds it counted
	_ = c.Close()                  // it is unwanted anyway
	g.report(Event{Reason: reason, Remote: remote})
}

func (g *Gate) report(e Event) {
	if g.config.Report != nil {
		g.config.Report(e)
	}
}
