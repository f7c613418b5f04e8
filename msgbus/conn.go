package msgbus

import (
	"context"
	"sync/atomic"
	"time"

	"busd/bus"
	"busd/internal/link"
	"busd/internal/wire"
	"busd/schema"
)

// A Conn is one client's connection to one service, from welcome to drop. Its
// methods may be called from any goroutine, also after the drop.
type Conn struct {
	// Fixed at creation.
	service  *Service
	trid     bus.TRID
	identity bus.Identity
	peer     bus.Peer
	remote   string
	args     map[string]any
	program  Program
	since    time.Time
	link     *link.Link
	limit    int           // of a message to the client
	gone     chan struct{} // closed once no callback of the service runs for it any more

	state   atomic.Pointer[any]
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
func (c *Conn) Peer() bus.Peer { return c.peer }

// Service is the service that the client is connected to.
func (c *Conn) Service() *Service { return c.service }

// Args are the connect arguments that the client brought. They must not be
// changed. Integers are int64 or uint64, other numbers float64.
func (c *Conn) Args() map[string]any { return c.args }

// RemoteAddr is the client's network address, as "host:port".
func (c *Conn) RemoteAddr() string { return c.remote }

// Program is what the client says of itself.
func (c *Conn) Program() Program { return c.program }

// Since is when the connection began.
func (c *Conn) Since() time.Time { return c.since }

// Resumed tells whether the connection goes on with an earlier one's session.
func (c *Conn) Resumed() bool { return false }

// Context is done when the connection has been dropped; its cause says why and
// matches [bus.ErrDropped].
func (c *Conn) Context() context.Context { return c.link.Context() }

// SetState keeps a value of the service's own with the connection.
func (c *Conn) SetState(v any) { c.state.Store(&v) }

// State returns what SetState kept, or nil.
func (c *Conn) State() any {
	if v := c.state.Load(); v != nil {
		return *v
	}
	return nil
}

// Drop ends the connection: the client is told code and reason, after what is
// queued. It returns at once. What had arrived and was not handled is thrown
// away, and handlers' contexts end. Only the first drop counts.
func (c *Conn) Drop(code bus.Code, reason string) {
	c.link.Drop(bus.Errorf(code, "%s", reason))
}

// Send sends a message. It returns once the message is checked, encoded and
// queued, not once it is delivered; it waits for room until ctx ends. A
// message that breaks the contract is an error with [bus.CodeInvalidMessage],
// and nothing is sent. After the drop the error matches [bus.ErrDropped].
//
// Inside a handler or a callback it wants their context, as everything that
// sends does: with another one it may wait for room that only comes once the
// handler has returned.
func (c *Conn) Send(ctx context.Context, m schema.Message) error {
	return c.send(ctx, m, wire.DataOptions{}, c.link.Send)
}

// SendAcked is Send that returns when the client has read, checked and queued
// the message. Without a deadline in ctx it waits 30 s.
func (c *Conn) SendAcked(ctx context.Context, m schema.Message) error {
	ctx, cancel := link.WithTimeout(ctx)
	defer cancel()
	return c.send(ctx, m, wire.DataOptions{AckAtOnce: true}, c.link.SendAcked)
}

func (c *Conn) send(ctx context.Context, m schema.Message, o wire.DataOptions, put func(context.Context, []byte) error) error {
	frame, err := c.service.frame(m, o)
	if err == nil {
		err = wire.CheckSize(frame, c.limit)
	}
	if err == nil {
		err = put(ctx, frame)
	}
	if err == nil {
		c.countOut(m.MessageName(), len(frame))
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
// pointer to one. The error is the client's (Remote), or that ctx ended, and
// then the client is told to cancel, or that the connection did. A client that
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
	frame, err := wire.AppendRequest(nil, msg, m, link.Remaining(ctx))
	if err == nil {
		err = wire.CheckSize(frame, c.limit)
	}
	if err != nil {
		return link.Answer{}, wire.AsInvalid(err)
	}
	c.countOut(msg.Name(), len(frame))
	return c.link.Request(ctx, frame)
}

// Reply answers the message that ctx, a handler's, belongs to. If the client
// made a request of it, this is its answer, and there can be only one.
// Otherwise it is a Send that says what it replies to.
func (c *Conn) Reply(ctx context.Context, m schema.Message) error {
	h, ok := ctx.Value(incomingKey{}).(*handling)
	if !ok || h.conn != c {
		return bus.Errorf(bus.CodeFailedPrecondition, "Reply wants the context of a handler of this connection")
	}
	if h.kind != wire.Request {
		return c.send(ctx, m, wire.DataOptions{Re: h.n}, c.link.Send)
	}
	msg, err := c.service.outgoing(m.MessageName())
	if err != nil {
		return err
	}
	frame, err := wire.AppendAnswer(nil, h.n, msg, m)
	if err == nil {
		err = wire.CheckSize(frame, c.limit)
	}
	if err == nil {
		err = c.link.Reply(ctx, h.n, frame)
	}
	if err == nil {
		c.countOut(msg.Name(), len(frame))
	}
	return wire.AsInvalid(err)
}

func (c *Conn) countOut(message string, size int) {
	c.out.Add(1)
	c.service.stats.sent(message, size)
}
