package msgbus

import (
	"context"
	"sync/atomic"
	"time"

	"busd/access"
	"busd/bus"
	"busd/internal/link"
	"busd/internal/wire"
	"busd/schema"
)

// A Conn is one client's connection to one service, from welcome to drop. Its
// methods may be called from any goroutine, also after the drop.
//
// What is sent on it goes to the client's session, which outlives it: after a
// cut it waits for the client to come back, within the service's window, and is
// then delivered once and in order. It fails once the session has ended.
type Conn struct {
	// Fixed at creation.
	service  *Service
	trid     bus.TRID
	identity bus.Identity
	caller   access.Caller
	claim    access.Claim
	grant    *access.Grant
	remote   string
	home     string // where the client has found the service, a URL
	args     atomic.Pointer[map[string]any]
	program  Program
	since    time.Time
	moves    bool // the client acts on goaway
	session  *agentSession
	resumed  bool
	link     *link.Link
	gone     chan struct{} // closed once no callback of the service runs for it any more

	permits atomic.Pointer[permits]
	in, out atomic.Uint64
}

// A Program is what a client says of itself; nothing proves it.
type Program struct{ Name, Version string }

// TRID names this connection; it is new for each.
func (c *Conn) TRID() bus.TRID { return c.trid }

// Identity names the client, the same across its connections. It begins with
// the peer's name.
func (c *Conn) Identity() bus.Identity { return c.identity }

// Peer is what the client's certificate proves.
func (c *Conn) Peer() bus.Peer { return c.caller.Peer }

// Grant says who the client is here, by what was decided as it connected. It must
// not be changed.
func (c *Conn) Grant() *access.Grant { return c.grant }

// Service is the service that the client is connected to.
func (c *Conn) Service() *Service { return c.service }

// Args are the connect arguments that the client brought. They must not be
// changed. Integers are int64 or uint64, other numbers float64. Once OnDrop has
// returned they are gone: the session may outlive the connection for long.
func (c *Conn) Args() map[string]any {
	if args := c.args.Load(); args != nil {
		return *args
	}
	return nil
}

// RemoteAddr is the client's network address, as "host:port".
func (c *Conn) RemoteAddr() string { return c.remote }

// Program is what the client says of itself.
func (c *Conn) Program() Program { return c.program }

// Since is when the connection began.
func (c *Conn) Since() time.Time { return c.since }

// Resumed tells whether the connection goes on with an earlier one's session:
// its state and its groups are still there, nothing is lost or doubled.
func (c *Conn) Resumed() bool { return c.resumed }

// Context is done when the connection has been dropped; its cause says why and
// matches [bus.ErrDropped].
func (c *Conn) Context() context.Context { return c.link.Context() }

// SetState keeps a value of the service's own with the client's session: its
// next connection has it too, if it is resumed.
func (c *Conn) SetState(v any) { c.session.state.Store(&v) }

// State returns what SetState kept, or nil.
func (c *Conn) State() any {
	if v := c.session.state.Load(); v != nil {
		return *v
	}
	return nil
}

// Drop ends the connection: the client is told code and reason, after what is
// queued. It returns at once. Only the first drop counts. The session goes on when
// the client comes back, unless the code is one that ends it:
// [bus.CodeSlowConsumer], [bus.CodeSuperseded], [bus.CodeProtocolError],
// [bus.CodeCertificateRevoked], [bus.CodeGoingAway], or one whose retry is
// never. Then what had arrived and was not handled is thrown away, and handlers'
// contexts end.
func (c *Conn) Drop(code bus.Code, reason string) {
	c.link.Drop(bus.Errorf(code, "%s", reason))
}

// Send sends a message. It returns once the message is checked, encoded and
// queued, not once it is delivered; it waits for room until ctx ends. A
// message that breaks the contract is an error with [bus.CodeInvalidMessage],
// and nothing is sent. Once the session has ended the error matches
// [bus.ErrDropped]. What may happen to a message for which there is no room is
// said by its class in the contract.
//
// Inside a handler or a callback it wants their context, as everything that
// sends does: with another one it may wait for room that only comes once the
// handler has returned.
func (c *Conn) Send(ctx context.Context, m schema.Message) error {
	return c.send(ctx, m, wire.DataOptions{})
}

// SendAcked is Send that returns when the client has read, checked and queued
// the message; it waits on over a cut. If the session ends before that the error
// has [bus.CodeSessionLost]: whether it arrived is not known. Without a deadline
// in ctx it waits 30 s. It is never dropped or replaced, whatever its class.
func (c *Conn) SendAcked(ctx context.Context, m schema.Message) error {
	ctx, cancel := link.WithTimeout(ctx)
	defer cancel()
	return c.send(ctx, m, wire.DataOptions{AckAtOnce: true})
}

func (c *Conn) send(ctx context.Context, m schema.Message, o wire.DataOptions) error {
	msg, err := c.service.outgoing(m.MessageName())
	if err != nil {
		return err
	}
	scratch := wire.NewScratch()
	frame, err := wire.AppendData(scratch.Empty(), msg, m, o)
	defer func() { scratch.Free(frame) }()
	if err == nil {
		err = wire.CheckSize(frame, c.session.limit)
	}
	switch {
	case err != nil:
		return wire.AsInvalid(err)
	case o.AckAtOnce:
		err = c.session.stream.SendAcked(ctx, frame)
	default:
		err = c.session.stream.Send(linkContext(ctx), frame, wire.DeliveryOf(msg, frame))
	}
	if err == nil {
		c.countOut(msg, len(frame))
	}
	return err
}

// SendHandled sends a message as a request and returns when the client has
// handled it; a reply that came with that is thrown away. The error is the
// client's, or as for [Request].
func (c *Conn) SendHandled(ctx context.Context, m schema.Message) error {
	_, err := c.request(ctx, m)
	return err
}

// Request sends a request and waits for its reply, of type A, a struct or a
// pointer to one; it waits on over a cut. The error is the client's (Remote), or
// that ctx ended, and then the client is told to cancel, or
// [bus.CodeSessionLost] if the session did. A client that
// handled the request without a reply makes [bus.CodeFailedPrecondition].
// Without a deadline in ctx it waits 30 s. It may be called inside a handler of
// the same connection.
func Request[A schema.Message](ctx context.Context, c *Conn, m schema.Message) (A, error) {
	answer, err := c.request(ctx, m)
	if err != nil {
		return *new(A), err
	}
	return wire.AnswerAs[A](answer.Message, answer.Body)
}

func (c *Conn) request(ctx context.Context, m schema.Message) (link.Answer, error) {
	msg, err := c.service.outgoing(m.MessageName())
	if err != nil {
		return link.Answer{}, err
	}
	ctx, cancel := link.WithTimeout(ctx)
	defer cancel()
	scratch := wire.NewScratch()
	frame, err := wire.AppendRequest(scratch.Empty(), msg, m, link.Remaining(ctx))
	frame = scratch.Take(frame) // its answer may take long
	if err == nil {
		err = wire.CheckSize(frame, c.session.limit)
	}
	if err != nil {
		return link.Answer{}, wire.AsInvalid(err)
	}
	c.countOut(msg, len(frame))
	return c.session.stream.Request(ctx, frame)
}

// Reply answers the message that ctx, a handler's, belongs to. If the client
// made a request of it, this is its answer, and there can be only one.
// Otherwise it is a Send that says what it replies to.
func (c *Conn) Reply(ctx context.Context, m schema.Message) error {
	h, ok := handlingOf(ctx)
	if !ok || h.conn != c {
		return bus.Errorf(bus.CodeFailedPrecondition, "Reply wants the context of a handler of this connection")
	}
	if h.kind != wire.Request {
		return c.send(ctx, m, wire.DataOptions{Re: h.n})
	}
	msg, err := c.service.outgoing(m.MessageName())
	if err != nil {
		return err
	}
	scratch := wire.NewScratch()
	frame, err := wire.AppendAnswer(scratch.Empty(), h.n, msg, m)
	defer func() { scratch.Free(frame) }()
	if err == nil {
		err = wire.CheckSize(frame, c.session.limit)
	}
	if err == nil {
		err = c.session.stream.Reply(ctx, h.n, frame)
	}
	if err == nil {
		c.countOut(msg, len(frame))
	}
	return wire.AsInvalid(err)
}

func (c *Conn) countOut(m *wire.Message, size int) {
	c.out.Add(1)
	c.service.stats.sent(m, 1, size)
}
