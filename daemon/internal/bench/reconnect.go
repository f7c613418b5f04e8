package bench

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"busd/bus"
	"busd/msgclient"
)

// backTime is how long clients whose lines were cut have to be back: several times
// as long as they wait between two attempts in the beginning.
const backTime = 30 * time.Second

// earlySlack is what two readings of a clock may differ by.
const earlySlack = 10 * time.Millisecond

// reconnect cuts the lines of all clients at once, as a network does that fails, and
// waits until they are back. They come back as clients of this library do, with
// their pauses, and where the server says when, then.
func (b *bench) reconnect(ctx context.Context) {
	n := b.options.connections(ManyConnections)
	if b.one {
		n = 1
	}
	r := Result{Test: Reconnect, Way: Cut, Connections: n, InFlight: n}
	t := &tally{}
	s := &storm{tally: t, all: make(chan struct{})}
	f := b.gather(ctx, n, t, func(_ int, cfg msgclient.Config) (*msgclient.Client, error) { return s.client(cfg) })
	defer f.close()
	r.Connections = len(f.clients)
	if r.Connections == 0 || ctx.Err() != nil {
		t.into(&r, 0, "", false)
		b.add(ctx, r)
		return
	}
	began, before := time.Now(), cpuTime()
	stop := b.follow(r, t, func() (float64, time.Time) { return float64(t.operations.Load()) / float64(r.Connections), began })
	elapsed := s.run(ctx, len(f.clients))
	used := cpuTime() - before
	stop()
	t.into(&r, elapsed, "sent", b.options.Histogram)
	r.Back, r.CPUSeconds = s.end(), round(used.Seconds(), 1000)
	b.add(ctx, r)
}

// A storm is clients that are cut, and come back.
type storm struct {
	tally *tally
	all   chan struct{} // closed when all are back

	// cutting is held while lines are cut: who is back before the last is cut would
	// only be in the way.
	cutting sync.RWMutex

	mu sync.Mutex
	// Guarded by mu.
	lines []*returner
	left  int
	last  time.Time // when the last so far was back
	back  Back
}

// A returner is one client of a storm.
type returner struct {
	storm *storm

	mu sync.Mutex
	// Guarded by mu.
	conn  net.Conn  // the newest
	cut   time.Time // when it was cut; zero: it was not, or is back
	fresh bool      // it was cut, and has not tried to come back
	until time.Time // before that it should not try again
}

// client makes a client that can be cut.
func (s *storm) client(cfg msgclient.Config) (*msgclient.Client, error) {
	r := &returner{storm: s}
	dial := cfg.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	cfg.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		r.dials()
		conn, err := dial(ctx, network, address)
		if err == nil {
			r.mu.Lock()
			r.conn = conn
			r.mu.Unlock()
		}
		return conn, err
	}
	connected := cfg.OnConnect
	cfg.OnConnect = func(ctx context.Context, c *msgclient.Client) {
		r.connected(c.Resumption())
		connected(ctx, c)
	}
	dropped := cfg.OnDrop
	cfg.OnDrop = func(ctx context.Context, c *msgclient.Client, why error) {
		if !r.wasCut() {
			dropped(ctx, c, why)
		}
	}
	cfg.OnRetry = func(_ *msgclient.Client, why error, _ time.Duration) { r.retries(why) }
	c, err := msgclient.New(cfg)
	if err == nil {
		s.mu.Lock()
		s.lines = append(s.lines, r)
		s.mu.Unlock()
	}
	return c, err
}

// run cuts everybody who is connected and waits until all are back. It returns how
// long it took to the last.
func (s *storm) run(ctx context.Context, connected int) time.Duration {
	s.mu.Lock()
	lines := s.lines
	s.left = connected
	s.mu.Unlock()
	began := time.Now()
	s.cutting.Lock()
	for _, r := range lines {
		r.cutLine()
	}
	s.cutting.Unlock()
	limit := time.NewTimer(backTime)
	defer limit.Stop()
	select {
	case <-s.all:
	case <-limit.C:
		s.mu.Lock()
		s.tally.failed(bus.CodeDeadlineExceeded, uint64(s.left), "not back after "+backTime.String())
		s.mu.Unlock()
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(0, s.last.Sub(began))
}

// end is what is known when it is over.
func (s *storm) end() *Back {
	s.mu.Lock()
	defer s.mu.Unlock()
	back := s.back
	return &back
}

// cutLine ends the connection as it is: nobody says goodbye.
func (r *returner) cutLine() {
	r.mu.Lock()
	conn := r.conn
	if conn != nil {
		r.cut, r.fresh = time.Now(), true
	}
	r.mu.Unlock()
	if conn == nil {
		return // it was never connected
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // the other end is not told in good order
	}
	_ = conn.Close() // that is the point
}

// wasCut tells whether the end of its connection is the cut's.
func (r *returner) wasCut() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fresh
}

// connected takes note of a welcome.
func (r *returner) connected(how msgclient.Resumption) {
	r.mu.Lock()
	cut := r.cut
	r.cut = time.Time{}
	r.mu.Unlock()
	if cut.IsZero() {
		return
	}
	now := time.Now()
	s := r.storm
	s.tally.done(now.Sub(cut))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = now
	if how.Resumed {
		s.back.Resumed++
	} else {
		s.back.New++
	}
	s.back.Unknown += uint64(how.Lost)
	if s.left--; s.left == 0 {
		close(s.all)
	}
}

// retries is told of the drop, and then of each attempt that failed.
func (r *returner) retries(why error) {
	var e *bus.Error
	hinted := errors.As(why, &e) && e.Retry.After > 0
	r.mu.Lock()
	fresh := r.fresh
	r.fresh = false
	if hinted {
		r.until = time.Now().Add(e.Retry.After)
	}
	r.mu.Unlock()
	if !fresh {
		r.storm.tally.fail(why)
	}
	if hinted {
		r.storm.mu.Lock()
		r.storm.back.Hints++
		r.storm.mu.Unlock()
	}
}

// dials looks whether it is time.
func (r *returner) dials() {
	r.storm.cutting.RLock()
	defer r.storm.cutting.RUnlock()
	r.mu.Lock()
	early := time.Until(r.until) > earlySlack
	r.mu.Unlock()
	if early {
		r.storm.mu.Lock()
		r.storm.back.Early++
		r.storm.mu.Unlock()
	}
}
