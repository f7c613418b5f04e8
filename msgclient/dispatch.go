package msgclient

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"busd/bus"
	"busd/internal/keys"
	"busd/internal/link"
	"busd/internal/wire"
)

// dispatch gives the messages of one connection to the client's handlers. It
// is the connection's link.Handler.
type dispatch struct {
	client *Client
	conn   *connection
	// These belong to whoever has the client's turn.
	spare []handling    // for the next messages
	usual *surroundings // of one-way messages
}

var _ link.Handler = (*dispatch)(nil)

// incomingKey finds the message in hand in a handler's context.
type incomingKey struct{}

// handling is a handler's context: the link's, and which message is in hand. It is
// small, as there is one for each message; the rest they share.
type handling struct {
	*surroundings
	n uint64
}

// surroundings are what is the same for all one-way messages of a connection.
type surroundings struct {
	context.Context
	client *Client
	conn   *connection
	kind   wire.Kind
}

func (h *handling) Value(key any) any {
	if _, ok := key.(incomingKey); ok {
		return h
	}
	return h.Context.Value(key)
}

// handlingOf finds the message in hand in what a handler was given, or in what was
// made of that.
func handlingOf(ctx context.Context) (*handling, bool) {
	if h, ok := ctx.(*handling); ok {
		return h, true
	}
	h, ok := ctx.Value(incomingKey{}).(*handling)
	return h, ok
}

// linkContext is what a link gave to a handler whose context ctx is. It is as good as
// ctx for the link, and quickly known there.
func linkContext(ctx context.Context) context.Context {
	if h, ok := ctx.(*handling); ok {
		return h.Context
	}
	return ctx
}

// together is for how many messages that follow each other the contexts are made
// together.
const together = 8

// context makes a handler's context. A handler may keep it, and so it is not used again.
func (d *dispatch) context(ctx context.Context, in *link.Incoming) *handling {
	if in.Kind != wire.Data { // a request's own context is not to be kept with others
		return &handling{&surroundings{ctx, d.client, d.conn, in.Kind}, in.N}
	}
	if d.usual == nil {
		d.usual = &surroundings{ctx, d.client, d.conn, wire.Data} // the session's handlers all get the same
	}
	if !in.Follows {
		return &handling{d.usual, in.N}
	}
	if len(d.spare) == 0 {
		d.spare = make([]handling, together)
	}
	h := &d.spare[0]
	d.spare = d.spare[1:]
	*h = handling{d.usual, in.N}
	return h
}

// Handle runs every handler that is registered for a message.
func (d *dispatch) Handle(ctx context.Context, in *link.Incoming) error {
	if err := d.await(ctx); err != nil {
		return err
	}
	defer d.client.turn.giveBack()
	own, all := d.client.handlers.of(d.conn.session.contract, in.Message)
	if own == nil && len(all) == 0 {
		return d.unhandled(in)
	}
	ctx = d.context(ctx, in)
	var failed error
	for _, s := range all {
		if err := s.call(ctx, d.client, in.Message, in.Body); err != nil && failed == nil {
			failed = err
		}
	}
	if own != nil {
		if err := own.call(ctx, d.client, in.Message, in.Body); err != nil && failed == nil {
			failed = err
		}
	}
	return failed
}

// await waits until OnConnect has returned, and takes the client's turn: of a
// session that has ended a handler may still run.
func (d *dispatch) await(ctx context.Context) error {
	select {
	case <-d.conn.ready:
	default:
		d.conn.session.stream.Waits(ctx) // OnConnect may want what comes behind
		if err := d.client.settled(ctx, d.conn); err != nil {
			return err
		}
	}
	if !d.client.turn.tryTake() {
		d.conn.session.stream.Waits(ctx)
		if !d.client.turn.take(ctx.Done()) {
			return context.Cause(ctx)
		}
	}
	if ctx.Err() != nil { // the client may be closed, and waits for no handler any more
		d.client.turn.giveBack()
		return context.Cause(ctx)
	}
	return nil
}

// settled waits until OnConnect has returned on the connection that carries a
// session: where a cut comes first, on the next.
func (c *Client) settled(ctx context.Context, conn *connection) error {
	for {
		select {
		case <-conn.ready:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if conn.link.Cause() == nil || conn.session.stream.Cause() != nil {
			return nil
		}
		c.mu.Lock()
		next, changed := c.current, c.changed
		c.mu.Unlock()
		if next != nil && next != conn && next.session == conn.session {
			conn = next
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// unhandled is the rule for messages that nobody handles: somebody waits for a
// request's answer, a one-way message is ignored unless the client is strict.
func (d *dispatch) unhandled(in *link.Incoming) error {
	d.client.ignored.Add(1)
	if in.Kind != wire.Request && !d.client.cfg.Strict {
		return nil
	}
	return bus.Errorf(bus.CodeUnimplemented, "the client does not handle message %s", in.Message.Name())
}

// AtOnce: a client's handlers run one at a time.
func (d *dispatch) AtOnce(*wire.Message) int { return 1 }

// Keeps tells whether a one-way message that failed leaves the connection. A
// client that is being closed has something to finish, and what fails then
// mostly fails because of that.
func (d *dispatch) Keeps(*link.Incoming, *bus.Error) bool {
	keeps := d.client.cfg.KeepOnError || d.client.isClosing()
	if !keeps {
		d.conn.failed.Store(true)
	}
	return keeps
}

// Goaway: the service asks the client to go on elsewhere.
func (d *dispatch) Goaway(g *wire.GoawayFrame) {
	if !d.conn.asked.Swap(true) {
		d.client.serving.Go(func() { d.client.goneAway(d.conn, g) })
	}
}

// Failed reports what went wrong with a message, at either end.
func (d *dispatch) Failed(in *link.Incoming, err *bus.Error) {
	fields := []zap.Field{keys.Code(err), keys.Reason(err)}
	if in != nil {
		fields = append(fields, keys.Message(in.Name))
	}
	var panicked *link.PanicError
	if errors.As(err, &panicked) {
		d.client.log.Error("handler panicked", append(fields, keys.Stack(panicked.Stack))...)
	} else {
		d.client.log.Warn("message failed", fields...)
	}
	if report := d.client.cfg.OnError; report != nil {
		d.client.protect("OnError", func() { report(d.client, err) })
	}
}
