package msgbus

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"busd/bus"
	"busd/internal/keys"
	"busd/internal/link"
	"busd/internal/wire"
)

// dispatch gives the messages of one connection to the service's handlers. It
// is the connection's link.Handler.
type dispatch struct {
	conn *Conn
	log  *zap.Logger // the server's
	// ended is when the last message was handled of those handled one at a time; 0:
	// that is not known. It belongs to whoever handles them, as does spare.
	ended time.Duration
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
	conn *Conn
	kind wire.Kind
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

// Handle runs the message's handler if the client may send that.
func (d *dispatch) Handle(ctx context.Context, in *link.Incoming) error {
	if in.Kind == wire.Call {
		return d.call(ctx, in)
	}
	s := d.conn.service
	h := s.byIndex[in.Message.Index()]
	alone := h == nil || h.atOnce == 1
	begin := time.Duration(0)
	if alone {
		begin = d.take(in)
	}
	if h == nil {
		return bus.Errorf(bus.CodeUnimplemented, "nobody handles message %s here", in.Message.Name())
	}
	if denied := d.conn.maySend(h); denied != nil {
		return denied
	}
	d.conn.in.Add(1)
	if begin == 0 {
		begin = clock()
	}
	err := h.call(d.context(ctx, in, alone), d.conn, in.Body)
	end := clock()
	s.stats.handled(in.Message, in.Size, end-begin)
	if alone && err == nil {
		d.ended = end
	}
	return err
}

// together is for how many messages that follow each other the contexts are made
// together: an allocation for each was a tenth of what a small message cost.
const together = 8

// context makes a handler's context. A handler may keep it, and so it is not used again.
func (d *dispatch) context(ctx context.Context, in *link.Incoming, alone bool) *handling {
	if !alone || in.Kind != wire.Data { // a request's own context is not to be kept with others
		return &handling{&surroundings{ctx, d.conn, in.Kind}, in.N}
	}
	if d.usual == nil {
		d.usual = &surroundings{ctx, d.conn, wire.Data} // the session's handlers all get the same
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

// take says when the handling of a message begins, if that is known. Reading the clock
// is a tenth of what a small message costs, and one that follows another begins as
// that ended, if it ended well.
func (d *dispatch) take(in *link.Incoming) (begin time.Duration) {
	if in.Follows {
		begin = d.ended
	}
	d.ended = 0
	return begin
}

// AtOnce tells how many of a message the service handles at a time.
func (d *dispatch) AtOnce(m *wire.Message) int {
	if h := d.conn.service.byIndex[m.Index()]; h != nil {
		return h.atOnce
	}
	return 1
}

// Keeps tells whether a one-way message that failed leaves its connection.
func (d *dispatch) Keeps(in *link.Incoming, _ *bus.Error) bool {
	h := d.conn.service.handlers[in.Name]
	return d.conn.service.KeepOnError || (h != nil && h.keep)
}

// Goaway: the client begins nothing more here, and moves to another server.
func (d *dispatch) Goaway(*wire.GoawayFrame) {
	if !d.conn.moves {
		return // what hello does not list is not used
	}
	d.conn.link.Leave(bus.Errorf(bus.CodeGoingAway, "all that was begun is finished").
		WithRetry(bus.Retry{When: bus.RetryNow}))
}

// Failed logs what went wrong with a message, at either end. Contents are not
// logged: the reasons name attributes and types, not values. Of calls it logs those
// that panicked: what the others come to is said by who answers them.
func (d *dispatch) Failed(in *link.Incoming, err *bus.Error) {
	fields := d.conn.story(keys.Code(err), keys.Reason(err))
	if in == nil {
		d.log.Warn("message failed at the client", fields...)
		return
	}
	var panicked *link.PanicError
	switch {
	case errors.As(err, &panicked) && in.Kind == wire.Call:
		d.log.Error("method panicked", append(fields, zap.String("method", in.Name), keys.Stack(panicked.Stack))...)
	case errors.As(err, &panicked):
		d.log.Error("handler panicked", append(fields, keys.Message(in.Name), keys.Stack(panicked.Stack))...)
	case in.Kind != wire.Call:
		d.log.Warn("message failed", append(fields, keys.Message(in.Name))...)
	}
	if in.Kind == wire.Call {
		d.conn.service.stats.callsFailed.Add(1)
	} else {
		d.conn.service.stats.failed(in.Name)
	}
}
