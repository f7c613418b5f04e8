package link

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"busd/bus"
	"busd/internal/session"
	"busd/internal/wire"
)

// handlers is a Handler of functions; nil ones do nothing.
type handlers struct {
	end    *end
	handle func(ctx context.Context, e *end, in *Incoming) error
	goaway func(e *end)
	atOnce int // of Wide
	keep   bool

	mu     sync.Mutex
	failed []*bus.Error
	asked  []*wire.GoawayFrame
}

func (h *handlers) Handle(ctx context.Context, in *Incoming) error {
	if h.handle == nil {
		return nil
	}
	return h.handle(ctx, h.end, in)
}

func (h *handlers) AtOnce(m *wire.Message) int {
	if m.Name() == "Wide" {
		return h.atOnce
	}
	return 1
}

func (h *handlers) Keeps(*Incoming, *bus.Error) bool { return h.keep }

func (h *handlers) Failed(_ *Incoming, err *bus.Error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed = append(h.failed, err)
}

func (h *handlers) Goaway(g *wire.GoawayFrame) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = append(h.asked, g)
	if h.goaway != nil {
		h.goaway(h.end)
	}
}

func (h *handlers) goaways() []*wire.GoawayFrame {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked
}

func (h *handlers) failures() []*bus.Error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failed
}

// An end is a session and the link that carries it over one end of a pipe.
type end struct {
	*Stream
	link *Link
	h    *handlers
	o    options
	pipe *pipe
	ran  *ran
	runs []*ran // all there were
}

// ran is how a link's Run went.
type ran struct {
	why  error
	over chan struct{} // closed when it has returned
}

// What both have is the link's; [end.Stream] has the session's.

func (e *end) Drop(why *bus.Error) { e.link.Drop(why) }

func (e *end) Context() context.Context { return e.link.Context() }

func (e *end) Cause() error { return e.link.Cause() }

func (e *end) SendNow(frame []byte) error { return e.Stream.SendNow(frame, wire.Delivery{}) }

// send sends a message as its contract has it.
func (e *end) send(ctx context.Context, name string, frame []byte) error {
	return e.Stream.Send(ctx, frame, wire.DeliveryOf(msg(name), frame))
}

// Send sends a message that must arrive.
func (e *end) Send(ctx context.Context, frame []byte) error {
	return e.Stream.Send(ctx, frame, wire.Delivery{})
}

// options are what a test wants of its ends.
type options struct {
	credit, buffer int
	room           int // parcels in each direction
	change         func(*Config)
	ends           func(*bus.Error) bool
	grew           func(int)
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

// newEnd makes an end whose link is not open yet.
func newEnd(p *pipe, h *handlers, o options) *end {
	if h == nil {
		h = &handlers{}
	}
	e := &end{h: h, o: o, Stream: NewStream(StreamConfig{
		Grant: o.credit, Credit: o.credit, Buffer: o.buffer, Ends: o.ends, Grew: o.grew,
	})}
	h.end = e
	e.attach(p)
	return e
}

// attach gives the end another link, that is not open yet.
func (e *end) attach(p *pipe) {
	cfg := Config{
		Socket: p, Handler: e.h,
		Decoder:      wire.Decoder{Contract: contract, Limit: e.o.credit / 4},
		MessageLimit: 1 << 20,
	}
	if e.o.change != nil {
		e.o.change(&cfg)
	}
	e.link, e.pipe, e.ran = New(cfg, e.Stream), p, &ran{over: make(chan struct{})}
}

// run opens the end's first link, and runs it.
func (e *end) run() {
	if err := e.link.Open(Start{}); err != nil {
		e.pipe.t.Errorf("Open: %v", err)
	}
	e.read()
}

// read runs the end's link.
func (e *end) read() {
	link, ran := e.link, e.ran
	e.runs = append(e.runs, ran)
	go link.Serve(nil, func(why error) {
		ran.why = why
		close(ran.over)
	})
}

// wait returns why the end's Serve ended.
func (e *end) wait(t testing.TB) error {
	t.Helper()
	return e.ran.wait(t)
}

func (r *ran) wait(t testing.TB) error {
	t.Helper()
	select {
	case <-r.over:
	case <-time.After(2 * time.Minute): // some tests have a clock of their own
		t.Fatal("Serve does not end")
	}
	return r.why
}

// lives is for sessions that outlive their links; these ends end them too.
func lives(why *bus.Error) bool {
	switch why.Code {
	case bus.CodeGoingAway, bus.CodeSlowConsumer, bus.CodeProtocolError:
		return true
	}
	return false
}

// accept gives the server's end another line, whose client says what it has
// seen. It returns what the welcome says that the server has.
func (e *end) accept(p *pipe, seen uint64) (told uint64, err *bus.Error) {
	e.attach(p)
	err = e.link.Open(Start{
		Resume: true, Seen: seen, Offered: e.Seen(),
		First: func(n uint64) []byte { told = n; return nil },
	})
	if err == nil {
		e.read()
	}
	return told, err
}

// resume gives the client's end the line on which it has said what it has seen,
// and was told what the server has.
func (e *end) resume(p *pipe, seen, told uint64) *bus.Error {
	e.attach(p)
	err := e.link.Open(Start{Resume: true, Seen: told, Offered: seen})
	if err == nil {
		e.read()
	}
	return err
}

// rejoin joins two ends, a client's and a server's, by another line; tune may
// change it before anything is written.
func rejoin(t testing.TB, client, server *end, tune ...func(client, server *pipe)) {
	t.Helper()
	pc, ps := Pipe(t, client.o.room)
	for _, f := range tune {
		f(pc, ps)
	}
	seen := client.Seen()
	told, err := server.accept(ps, seen)
	if err == nil {
		err = client.resume(pc, seen, told)
	}
	if err != nil {
		t.Fatalf("the session cannot be resumed: %v", err)
	}
}

// cut breaks the line of two ends, and waits until both have noticed.
func cut(t testing.TB, a, b *end) {
	t.Helper()
	a.pipe.Abort()
	for _, e := range []*end{a, b} {
		select {
		case <-e.Context().Done():
		case <-time.After(10 * time.Second):
			t.Fatal("a cut is not noticed")
		}
	}
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
		over := bus.Errorf(bus.CodeGoingAway, "the test is over")
		for _, e := range []*end{a, b} {
			e.End(over)
			for _, r := range e.runs {
				_ = r.wait(t)
			}
		}
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
	if o.room == 0 {
		o.room = 1024
	}
	o = o.orDefaults()
	pa, pb := Pipe(t, o.room)
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
