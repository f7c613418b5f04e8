package link

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"busd/bus"
	"busd/internal/session"
	"busd/internal/wire"
	"busd/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A parcel is what one end of a pipe sends to the other.
type parcel struct {
	kind  byte // 'm'essage, 'p'ing, 'P'ong, 'c'lose
	bytes []byte
	code  int
}

// A pipe is one end of a Socket in memory. It finds fault with who breaks the
// rules of [Socket].
type pipe struct {
	t       testing.TB
	in, out chan parcel
	broken  chan struct{} // shared by both ends
	breakIt *sync.Once

	// Owned by the reader.
	onPing, onPong func(string)
	last           []byte
	silence        time.Duration
	until          time.Time
	farewell       bool // the peer has said goodbye

	reading, writing atomic.Bool
	closed           atomic.Bool
	aborts           atomic.Int32
	writeError       atomic.Pointer[error]
	messages         atomic.Int64 // written
}

// Pipe makes both ends; each direction holds so many parcels.
func Pipe(t testing.TB, room int) (a, b *pipe) {
	ab, ba := make(chan parcel, room), make(chan parcel, room)
	broken, once := make(chan struct{}), new(sync.Once)
	return &pipe{t: t, in: ba, out: ab, broken: broken, breakIt: once}, &pipe{t: t, in: ab, out: ba, broken: broken, breakIt: once}
}

var errPipe = bus.Errorf(bus.CodeUnavailable, "the pipe broke")

func (p *pipe) enter(busy *atomic.Bool, what string) func() {
	if busy.Swap(true) {
		p.t.Errorf("two goroutines %s at once", what)
	}
	return func() { busy.Store(false) }
}

func (p *pipe) Read() ([]byte, error) {
	defer p.enter(&p.reading, "read")()
	for i := range p.last { // whoever held on to it will notice
		p.last[i] = 0xc1
	}
	if p.farewell {
		return nil, errPipe
	}
	for {
		in, err := p.receive()
		if err != nil {
			return nil, err
		}
		switch in.kind {
		case 'm':
			p.last = in.bytes
			return in.bytes, nil
		case 'p':
			p.onPing(string(in.bytes))
		case 'P':
			p.onPong(string(in.bytes))
		case 'c':
			p.farewell = true
			e := bus.Errorf(bus.CodeGoingAway, "%s", in.bytes)
			e.Remote = true
			return nil, e
		}
	}
}

func (p *pipe) receive() (parcel, error) {
	var late <-chan time.Time
	if p.silence > 0 {
		timer := time.NewTimer(p.silence)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case in := <-p.in:
		return in, nil
	default:
	}
	select {
	case in := <-p.in:
		return in, nil
	case <-p.broken:
		return parcel{}, errPipe
	case <-late:
		return parcel{}, bus.Errorf(bus.CodeKeepaliveTimeout, "nothing came for %s", p.silence)
	}
}

func (p *pipe) send(out parcel) error {
	defer p.enter(&p.writing, "write")()
	if p.closed.Load() {
		p.t.Errorf("%c %q is written after the goodbye", out.kind, out.bytes)
	}
	if err := p.writeError.Load(); err != nil {
		return *err
	}
	select {
	case <-p.broken:
		return errPipe
	default:
	}
	select {
	case p.out <- out:
		return nil
	case <-p.broken:
		return errPipe
	}
}

func (p *pipe) Write(b []byte) error {
	p.messages.Add(1)
	return p.send(parcel{kind: 'm', bytes: append([]byte(nil), b...)})
}

func (p *pipe) Ping(payload string) error { return p.send(parcel{kind: 'p', bytes: []byte(payload)}) }

func (p *pipe) Pong(payload string) error { return p.send(parcel{kind: 'P', bytes: []byte(payload)}) }

func (p *pipe) Close(code int, reason string) error {
	defer p.closed.Store(true)
	return p.send(parcel{kind: 'c', bytes: []byte(reason), code: code})
}

func (p *pipe) Handle(onPing, onPong func(string)) { p.onPing, p.onPong = onPing, onPong }

func (p *pipe) Limit(_ int, silence time.Duration, until time.Time) {
	p.silence, p.until = silence, until
}

func (p *pipe) Drain() {
	defer p.enter(&p.reading, "read")()
	p.silence = 2 * time.Second
	for !p.farewell {
		in, err := p.receive()
		if err != nil {
			return
		}
		p.farewell = in.kind == 'c'
	}
}

func (p *pipe) Abort() {
	p.aborts.Add(1)
	p.breakIt.Do(func() { close(p.broken) })
}

// The contract of the tests: either end may say anything.
type note struct {
	ID   int64  `bus:"id"`
	Text string `bus:"text"`
}

func (note) MessageName() string { return "Note" }

type wide struct {
	ID int64 `bus:"id"`
}

func (wide) MessageName() string { return "Wide" }

var contract = wire.Compile(schema.MustNew("Test/Link", schema.Of[note](schema.FromBoth), schema.Of[wide](schema.FromBoth)))

func msg(name string) *wire.Message {
	m, ok := contract.Message(name)
	if !ok {
		panic("no message " + name)
	}
	return m
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func dataFrame(id int64, text string) []byte {
	return must(wire.AppendData(nil, msg("Note"), note{ID: id, Text: text}, wire.DataOptions{}))
}

func ackedFrame(id int64) []byte {
	return must(wire.AppendData(nil, msg("Note"), note{ID: id}, wire.DataOptions{AckAtOnce: true}))
}

func requestFrame(id int64, text string) []byte {
	return must(wire.AppendRequest(nil, msg("Note"), note{ID: id, Text: text}, 0))
}

var unpackNote = func() func([]byte) (note, error) {
	u, err := wire.UnpackerFor[note](msg("Note"))
	if err != nil {
		panic(err)
	}
	return u
}()

// handlers is a Handler of functions; nil ones do nothing.
type handlers struct {
	link   *Link
	handle func(ctx context.Context, l *Link, in *Incoming) error
	atOnce int // of Wide
	keep   bool

	mu     sync.Mutex
	failed []*bus.Error
}

func (h *handlers) Handle(ctx context.Context, in *Incoming) error {
	if h.handle == nil {
		return nil
	}
	return h.handle(ctx, h.link, in)
}

func (h *handlers) AtOnce(m *wire.Message) int {
	if m.Name() == "Wide" {
		return h.atOnce
	}
	return 1
}

func (h *handlers) Keeps(*Incoming, *bus.Error) bool { return h.keep }

func (h *handlers) Failed(_ string, err *bus.Error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed = append(h.failed, err)
}

func (h *handlers) failures() []*bus.Error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failed
}

// An end is a link that runs over one end of a pipe.
type end struct {
	*Link
	h    *handlers
	pipe *pipe
	why  error
	over chan struct{}
}

// options are what a test wants of its links.
type options struct {
	credit, buffer int
	room           int // parcels in each direction
	change         func(*Config)
}

func (o options) orDefaults() options {
	if o.credit == 0 {
		o.credit = session.DefaultCredit
	}
	if o.buffer == 0 {
		o.buffer = session.DefaultBuffer
	}
	if o.room == 0 {
		o.room = 16
	}
	return o
}

func newEnd(p *pipe, h *handlers, o options) *end {
	if h == nil {
		h = &handlers{}
	}
	cfg := Config{
		Socket: p, Session: session.New(o.credit, o.credit, o.buffer), Handler: h,
		Decoder:      wire.Decoder{Contract: contract, Limit: o.credit / 4},
		MessageLimit: 1 << 20,
	}
	if o.change != nil {
		o.change(&cfg)
	}
	e := &end{Link: New(cfg), h: h, pipe: p, over: make(chan struct{})}
	h.link = e.Link
	return e
}

func (e *end) run() {
	go func() {
		defer close(e.over)
		e.why = e.Run(nil, nil)
	}()
}

// wait returns why the end's Run returned.
func (e *end) wait(t testing.TB) error {
	t.Helper()
	select {
	case <-e.over:
	case <-time.After(2 * time.Minute): // some tests have a clock of their own
		t.Fatal("Run does not return")
	}
	return e.why
}

// pair runs two links on each other, and drops them when the test ends.
func pair(t testing.TB, ha, hb *handlers, o options) (a, b *end) {
	t.Helper()
	o = o.orDefaults()
	pa, pb := Pipe(t, o.room)
	a, b = newEnd(pa, ha, o), newEnd(pb, hb, o)
	a.run()
	b.run()
	t.Cleanup(func() {
		a.Drop(bus.Errorf(bus.CodeGoingAway, "the test is over"))
		_ = a.wait(t)
		_ = b.wait(t)
	})
	return a, b
}

// A raw peer speaks frames by hand.
type raw struct {
	*pipe
	t    testing.TB
	n    uint64
	rest []byte // of the message that hear reads
}

// rawPeer runs one link against a peer that the test plays.
func rawPeer(t testing.TB, h *handlers, o options) (*end, *raw) {
	t.Helper()
	o = o.orDefaults()
	pa, pb := Pipe(t, max(o.room, 1024))
	a := newEnd(pa, h, o)
	a.run()
	pb.Handle(func(string) {}, func(string) {})
	t.Cleanup(func() {
		pa.Abort()
		_ = a.wait(t)
	})
	return a, &raw{pipe: pb, t: t}
}

// say writes numbered frames in one message.
func (r *raw) say(frames ...[]byte) {
	r.t.Helper()
	var b []byte
	for _, f := range frames {
		r.n++
		b = wire.AppendNumber(b, f, r.n)
	}
	r.write(b)
}

func (r *raw) write(b []byte) {
	r.t.Helper()
	if err := r.Write(b); err != nil {
		r.t.Fatalf("the raw peer cannot write: %v", err)
	}
}

// hear reads until a frame of that kind comes. It is good until the next call.
func (r *raw) hear(kind wire.Kind) wire.Frame {
	r.t.Helper()
	for {
		for len(r.rest) > 0 {
			f, err := wire.Decoder{Contract: contract}.Next(r.rest)
			if err != nil {
				r.t.Fatalf("the link wrote what is no frame: %v", err)
			}
			r.rest = r.rest[f.Size:]
			if f.Kind == kind {
				return f
			}
		}
		b, err := r.Read()
		if err != nil {
			r.t.Fatalf("no frame %s came: %v", kind, err)
		}
		r.rest = b
	}
}

// hearDrop reads until the link says why it ends.
func (r *raw) hearDrop() *bus.Error {
	r.t.Helper()
	f := r.hear(wire.Drop)
	why, err := wire.DecodeDrop(f.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return why
}

func wantCode(t testing.TB, what string, err error, want bus.Code) {
	t.Helper()
	if bus.CodeOf(err) != want {
		t.Errorf("%s: got %v, want %s", what, err, want)
	}
}

func wantDropped(t testing.TB, what string, err error, want bus.Code) {
	t.Helper()
	if bus.CodeOf(err) != want || !errors.Is(err, bus.ErrDropped) {
		t.Errorf("%s: got %v, want a drop with %s", what, err, want)
	}
}

// receive waits for a value, for as long as a test may take.
func receive[T any](t testing.TB, ch <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: nothing came", what)
	}
	return v
}
