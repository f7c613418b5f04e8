package msgbus_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"busd/bus"
	"busd/msgbus"
	"busd/msgclient"
	"busd/schema"
)

// The contract that these tests speak.
type (
	// Ping asks for a Pong.
	Ping struct {
		ID int64 `bus:"id"`
	}
	// Pong answers a Ping.
	Pong struct {
		ID int64 `bus:"id"`
	}
	// Job is what each test gives a meaning of its own.
	Job struct {
		ID int64  `bus:"id"`
		Do string `bus:"do"`
	}
	// Note is what the service tells.
	Note struct {
		ID   int64  `bus:"id"`
		Text string `bus:"text"`
	}
	// Ask is a question of the service's.
	Ask struct {
		ID int64 `bus:"id"`
	}
	// Told answers an Ask.
	Told struct {
		ID int64 `bus:"id"`
	}
	// Blob is what both may send, and nobody handles unless a test does.
	Blob struct {
		Data []byte `bus:"data"`
	}
)

func (Ping) MessageName() string { return "Ping" }
func (Pong) MessageName() string { return "Pong" }
func (Job) MessageName() string  { return "Job" }
func (Note) MessageName() string { return "Note" }
func (Ask) MessageName() string  { return "Ask" }
func (Told) MessageName() string { return "Told" }
func (Blob) MessageName() string { return "Blob" }

var room = schema.MustNew(
	"Test/Room",
	schema.Of[Ping](schema.FromClient), schema.Of[Pong](schema.FromService),
	schema.Of[Job](schema.FromClient), schema.Of[Note](schema.FromService),
	schema.Of[Ask](schema.FromService), schema.Of[Told](schema.FromClient),
	schema.Of[Blob](schema.FromBoth),
)

// A jobHandler is what a test does with a Job.
type jobHandler = func(ctx context.Context, c *msgbus.Conn, m Job) error

// newRoom makes the service, with the test's own way to handle a Job; nil does
// nothing.
func newRoom(job jobHandler) *msgbus.Service {
	svc := &msgbus.Service{Schema: room}
	msgbus.Handle(svc, func(ctx context.Context, c *msgbus.Conn, m Ping) error {
		return c.Reply(ctx, Pong(m))
	})
	msgbus.Handle(svc, func(context.Context, *msgbus.Conn, Told) error { return nil })
	if job == nil {
		job = func(context.Context, *msgbus.Conn, Job) error { return nil }
	}
	msgbus.Handle(svc, job)
	return svc
}

// patience is how long a test waits for what must come; in a synctest bubble
// it costs nothing.
const patience = 20 * time.Second

// next receives what must come.
func next[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v := <-ch:
		return v
	case <-timer.C:
		t.Fatalf("waited for %s: nothing came", what)
		panic("unreachable")
	}
}

// none checks that nothing has come.
func none[T any](t *testing.T, ch <-chan T, what string) {
	t.Helper()
	select {
	case v := <-ch:
		t.Fatalf("%s: got %v, want none", what, v)
	default:
	}
}

// wantCode checks an error's code and says the rest of it.
func wantCode(t *testing.T, what string, err error, want bus.Code) *bus.Error {
	t.Helper()
	var e *bus.Error
	if !errors.As(err, &e) || e.Code != want {
		t.Fatalf("%s: got %v, want code %s", what, err, want)
	}
	return e
}

// ping makes a round trip, which shows that a connection works.
func ping(t *testing.T, c *msgclient.Client, id int64) {
	t.Helper()
	pong, err := msgclient.Request[Pong](t.Context(), c, Ping{ID: id})
	if err != nil || pong.ID != id {
		t.Fatalf("Ping %d: got %v, %v", id, pong, err)
	}
}

// onlyConn returns the one connection that a service has.
func onlyConn(t *testing.T, svc *msgbus.Service) *msgbus.Conn {
	t.Helper()
	conns := svc.Conns()
	if len(conns) != 1 {
		t.Fatalf("got %d connections, want 1", len(conns))
	}
	return conns[0]
}

// A story is what happened, in order.
type story struct {
	mu sync.Mutex
	// Guarded by mu.
	events []string
}

func (s *story) tell(event string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, event)
}

func (s *story) soFar() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.events...)
}

// A ledger is what was handled at one end, in order.
type ledger struct {
	mu sync.Mutex
	// Guarded by mu.
	ids  []int64
	more chan struct{} // closed when ids grows, then replaced
}

func newLedger() *ledger { return &ledger{more: make(chan struct{})} }

func (l *ledger) note(id int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids = append(l.ids, id)
	close(l.more)
	l.more = make(chan struct{})
}

func (l *ledger) soFar() ([]int64, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ids, l.more
}

// wantAll waits for n messages, and checks that they are 0 to n-1, each once and
// in order.
func (l *ledger) wantAll(t *testing.T, where string, n int) {
	t.Helper()
	ids, more := l.soFar()
	for timer := time.NewTimer(patience); len(ids) < n; ids, more = l.soFar() {
		select {
		case <-more:
		case <-timer.C:
			t.Fatalf("%s: got %d messages, want %d", where, len(ids), n)
		}
	}
	for i, id := range ids {
		if id != int64(i) {
			t.Fatalf("%s: message %d was handled as number %d of %d", where, id, i, len(ids))
		}
	}
}

// A tap is a client's line that its test can stop from reading, as a peer does
// that hangs.
type tap struct {
	net.Conn

	mu sync.Mutex
	// Guarded by mu.
	shut chan struct{} // nil: open
	hole bool          // what is written is lost
	gone chan struct{} // closed with the connection
	once sync.Once
}

func newTap(c net.Conn) *tap { return &tap{Conn: c, gone: make(chan struct{})} }

func (p *tap) Read(b []byte) (int, error) {
	select {
	case <-p.gone:
		return 0, net.ErrClosed
	default:
	}
	n, err := p.Conn.Read(b)
	p.mu.Lock()
	shut := p.shut
	p.mu.Unlock()
	if shut != nil {
		select {
		case <-shut:
		case <-p.gone:
			return 0, net.ErrClosed
		}
	}
	return n, err
}

// turn stops the reading, or lets it go on.
func (p *tap) turn(off bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case off && p.shut == nil:
		p.shut = make(chan struct{})
	case !off && p.shut != nil:
		close(p.shut)
		p.shut = nil
	}
}

// swallow loses all that is written from now on, and the end too: the machine
// has lost its power.
func (p *tap) swallow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hole = true
}

func (p *tap) Write(b []byte) (int, error) {
	p.mu.Lock()
	hole := p.hole
	p.mu.Unlock()
	if hole {
		return len(b), nil
	}
	return p.Conn.Write(b)
}

func (p *tap) Close() error {
	p.once.Do(func() { close(p.gone) })
	p.mu.Lock()
	hole := p.hole
	p.mu.Unlock()
	if hole {
		return p.Conn.SetReadDeadline(time.Unix(1, 0)) // ours, that is; the other end hears nothing
	}
	return p.Conn.Close()
}

// tapped returns a DialContext whose lines go through taps, which it hands out.
func tapped(dial func(context.Context, string, string) (net.Conn, error)) (func(context.Context, string, string) (net.Conn, error), <-chan *tap) {
	taps := make(chan *tap, 100)
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		p := newTap(c)
		taps <- p
		return p, nil
	}, taps
}
