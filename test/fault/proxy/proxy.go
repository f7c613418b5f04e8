package proxy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"busd/test/fault/port"
)

const (
	// readSize is how much is read at once, in bytes.
	readSize = 16 << 10
	// awaitEvery is how often Await looks.
	awaitEvery = 2 * time.Millisecond
	// acceptPause is how long accepting rests after a failure that may pass,
	// such as too many open files.
	acceptPause = 10 * time.Millisecond
)

// Config is what a proxy starts with.
type Config struct {
	// Target is where connections go, host:port.
	Target string
	// Seed decides what is random.
	Seed uint64
	// Dial reaches the target, with a *net.TCPConn; nil is a net.Dialer. That of
	// a host of package netns puts the proxy's far side into its network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// A Proxy listens on 127.0.0.1 and forwards to a target. Its methods may be
// called from any goroutine.
type Proxy struct {
	// Fixed at creation.
	config    Config
	port      *port.Port
	life      context.Context // ends with Close
	end       context.CancelFunc
	accepting sync.WaitGroup // the loop that accepts
	work      sync.WaitGroup // connections; only that loop adds to it

	// listening is held while the listener is closed and opened.
	listening sync.Mutex

	mu sync.Mutex
	// Guarded by mu.
	closed   bool
	listener net.Listener // nil: refusing
	target   string
	onConn   func(*Conn)
	defaults map[Direction]*manner // of connections to come: of Up and Down
	conns    []*Conn               // that have not ended
	events   []Event
	stats    Stats // but for Open, and the counts of conns
}

// manner is how connections to come are faulted.
type manner struct {
	line    Line
	stalled bool
}

// New starts a proxy.
func New(c Config) (*Proxy, error) {
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	held, err := port.Hold()
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	life, end := context.WithCancel(context.Background())
	p := &Proxy{
		config: c, port: held, target: c.Target, life: life, end: end,
		defaults: map[Direction]*manner{Up: {}, Down: {}},
	}
	if err := p.Admit(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// Start is New for a test, which fails if there can be no proxy. It is closed
// at the test's cleanup; if the test failed then, what happened is logged.
func Start(t testing.TB, c Config) *Proxy {
	t.Helper()
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close of the proxy: %v", err)
		}
		if t.Failed() {
			p.report(t)
		}
	})
	return p
}

// report logs what happened, the end of it if it was much.
func (p *Proxy) report(t testing.TB) {
	const most = 50
	events := p.Events()
	t.Logf("proxy to %s, seed %d: %+v", p.Target(), p.config.Seed, p.Stats())
	for _, e := range events[max(0, len(events)-most):] {
		t.Log(e)
	}
}

// Addr is where the proxy listens, or would if it did not refuse: always the
// same 127.0.0.1:port.
func (p *Proxy) Addr() string { return p.port.Addr() }

// Target is where connections go.
func (p *Proxy) Target() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.target
}

// SetTarget sends connections to come somewhere else. Those that are there
// stay.
func (p *Proxy) SetTarget(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = address
}

// OnConn sets what is called for each connection to come, before its target is
// dialed and its first byte is carried: to plan its faults. nil is nothing.
//
// It is called for one connection after the other, in the order of their
// numbers, by a goroutine of the proxy: what it shares with the test needs a
// lock. It must neither wait for anything, nor call Refuse, Admit or Close.
func (p *Proxy) OnConn(f func(*Conn)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onConn = f
}

// Set sets how all connections carry bytes, those that are there and those to
// come.
func (p *Proxy) Set(d Direction, l Line) {
	for _, c := range p.change(d, func(m *manner) { m.line = l }) {
		c.Set(d, l)
	}
}

// Stall stalls all connections, those that are there and those to come.
func (p *Proxy) Stall(d Direction) {
	for _, c := range p.change(d, func(m *manner) { m.stalled = true }) {
		c.Stall(d)
	}
}

// Resume ends a stall of all connections.
func (p *Proxy) Resume(d Direction) {
	for _, c := range p.change(d, func(m *manner) { m.stalled = false }) {
		c.Resume(d)
	}
}

// change changes the manner of connections to come, and returns those that are
// there.
func (p *Proxy) change(d Direction, how func(*manner)) []*Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range []Direction{Up, Down} {
		if d&one != 0 {
			how(p.defaults[one])
		}
	}
	return slices.Clone(p.conns)
}

// Cut cuts all connections that are there, and returns how many it cut.
func (p *Proxy) Cut(e End) (n int) {
	for _, c := range p.Conns() {
		if c.Cut(e) {
			n++
		}
	}
	return n
}

// Calm takes back all faults that have not happened, on all connections: lines
// carry at once, stalls end, nothing planned will happen, OnConn is nothing and
// the proxy listens. What remains is a proxy without faults. The error is that
// of Admit.
func (p *Proxy) Calm() error {
	p.OnConn(nil)
	for _, c := range p.change(Both, func(m *manner) { *m = manner{} }) {
		c.Calm(Both)
	}
	return p.Admit()
}

// Refuse stops listening: whoever dials is refused by the kernel, of which the
// proxy learns nothing. Connections that are there live on. It returns once
// that is so. The port stays the proxy's.
func (p *Proxy) Refuse() {
	p.listening.Lock()
	defer p.listening.Unlock()
	p.mu.Lock()
	l := p.listener
	p.listener = nil
	p.mu.Unlock()
	if l != nil {
		_ = l.Close() // it is this goroutine's alone to close
	}
	p.accepting.Wait()
}

// Admit listens again after Refuse, and does nothing if the proxy listens.
func (p *Proxy) Admit() error {
	p.listening.Lock()
	defer p.listening.Unlock()
	p.mu.Lock()
	listens, closed := p.listener != nil, p.closed
	p.mu.Unlock()
	switch {
	case closed:
		return fmt.Errorf("proxy: %w", net.ErrClosed)
	case listens:
		return nil
	}
	var config net.ListenConfig
	config.SetMultipathTCP(false) // one connection is one pair of sockets
	l, err := config.Listen(p.life, "tcp", p.port.Addr())
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	p.mu.Lock()
	p.listener = l
	p.mu.Unlock()
	p.accepting.Go(func() { p.accept(l) })
	return nil
}

// accept ends with the listener.
func (p *Proxy) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			select {
			case <-time.After(acceptPause):
			case <-p.life.Done():
			}
			continue
		}
		c, onConn := p.register(client.(*net.TCPConn)) // as it listens on TCP
		if onConn != nil {
			onConn(c)
		}
		p.work.Go(c.run)
	}
}

func (p *Proxy) register(client *net.TCPConn) (*Conn, func(*Conn)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Accepted++
	c := &Conn{proxy: p, number: p.stats.Accepted, client: client, done: make(chan struct{})}
	c.life, c.end = context.WithCancel(p.life)
	stream := func(n uint64) *rand.Rand { // gives each use numbers of its own
		return rand.New(rand.NewPCG(p.config.Seed, uint64(c.number)<<2|n)) //nolint:gosec // a seed must give the same again
	}
	up, down := p.defaults[Up], p.defaults[Down]
	c.random = stream(0)
	c.up = newFlow(Up, up.line, up.stalled, stream(uint64(Up)))
	c.down = newFlow(Down, down.line, down.stalled, stream(uint64(Down)))
	p.conns = append(p.conns, c)
	return c, p.onConn
}

// forget takes a connection that has ended off the list.
func (p *Proxy) forget(c *Conn) {
	up, down := c.Count(Up), c.Count(Down)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Up.add(up)
	p.stats.Down.add(down)
	p.conns = slices.DeleteFunc(p.conns, func(other *Conn) bool { return other == c })
}

func (p *Proxy) dial(ctx context.Context) (socket, error) {
	c, err := p.config.Dial(ctx, "tcp", p.Target())
	if err != nil {
		return nil, err
	}
	s, ok := c.(socket)
	if !ok {
		_ = c.Close() // of no use
		return nil, fmt.Errorf("a %T cannot be half-closed or reset", c)
	}
	return s, nil
}

func (p *Proxy) record(e Event) {
	e.At = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, e)
	p.stats.count(e.Kind)
}

// Conns returns the connections that have not ended, by number.
func (p *Proxy) Conns() []*Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.conns)
}

// Events returns what happened, in order. An event is listed before either end
// can notice it.
func (p *Proxy) Events() []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.events)
}

// Stats returns what happened in numbers, which are as early as events.
func (p *Proxy) Stats() Stats {
	p.mu.Lock()
	s, conns := p.stats, slices.Clone(p.conns)
	p.mu.Unlock()
	s.Open = len(conns)
	for _, c := range conns {
		s.Up.add(c.Count(Up))
		s.Down.add(c.Count(Down))
	}
	return s
}

// Await waits until the condition holds. It returns the error of ctx, with the
// last numbers, if that ends before.
func (p *Proxy) Await(ctx context.Context, condition func(Stats) bool) error {
	ask := time.NewTicker(awaitEvery)
	defer ask.Stop()
	for {
		s := p.Stats()
		if condition(s) {
			return nil
		}
		select {
		case <-ask.C:
		case <-ctx.Done():
			return fmt.Errorf("proxy: %w; so far: %+v", context.Cause(ctx), s)
		}
	}
}

// Close stops listening, resets all connections, and returns when all that the
// proxy started has ended. Another Close does nothing.
func (p *Proxy) Close() error {
	p.mu.Lock()
	was := p.closed
	p.closed = true
	p.mu.Unlock()
	if was {
		return nil
	}
	p.Refuse()
	for _, c := range p.Conns() {
		c.reset()
	}
	p.work.Wait()
	p.end()
	return p.port.Close()
}
