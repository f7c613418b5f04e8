package msgclient

import (
	"context"
	"errors"

	"busd/bus"
	"busd/internal/link"
	"busd/internal/wire"
	"busd/schema"
)

// Send sends a message. It waits for the first connection, then for room, until
// ctx ends, and returns once the message is checked, encoded and queued, not once
// it is delivered. What is queued goes out in order, on the connection that there
// is or the next one; [Resumption] tells what of it is not known to have arrived. A
// message that breaks the service's contract is an error with
// [bus.CodeInvalidMessage], and nothing is sent. What may happen to a message for
// which there is no room is said by its class in the contract.
//
// Inside a handler, OnConnect or OnDrop it wants their context, as everything
// that sends does: when the session has ended it then does not wait for the next
// one, and the error says why.
func (c *Client) Send(ctx context.Context, m schema.Message) error {
	return c.send(ctx, m, wire.DataOptions{})
}

// SendAcked is Send that returns when the service has read, checked and queued
// the message; it waits on over a cut. If the session ends before that, and the
// message was written, the error has [bus.CodeSessionLost]: whether it arrived is
// not known. One that was not written goes on in the next session. Without a
// deadline in ctx it waits 30 s. It is never dropped or replaced, whatever its
// class.
func (c *Client) SendAcked(ctx context.Context, m schema.Message) error {
	ctx, cancel := link.WithTimeout(ctx)
	defer cancel()
	return c.send(ctx, m, wire.DataOptions{AckAtOnce: true})
}

func (c *Client) send(ctx context.Context, m schema.Message, o wire.DataOptions) error {
	if !o.AckAtOnce && ctx.Err() == nil && c.sendsLate(ctx, m) {
		return nil
	}
	return c.inSession(ctx, func(s *clientSession) error {
		msg, err := s.contract.Outgoing(m.MessageName(), schema.FromClient)
		if err != nil {
			return err
		}
		return s.send(ctx, msg, m, o)
	})
}

func (s *clientSession) send(ctx context.Context, msg *wire.Message, m schema.Message, o wire.DataOptions) error {
	scratch := wire.NewScratch()
	frame, err := wire.AppendData(scratch.Empty(), msg, m, o)
	defer func() { scratch.Free(frame) }()
	if err == nil {
		err = wire.CheckSize(frame, s.limit)
	}
	switch {
	case err != nil:
		return wire.AsInvalid(err)
	case o.AckAtOnce:
		return s.stream.SendAcked(ctx, frame)
	}
	return s.stream.Send(linkContext(ctx), frame, wire.DeliveryOf(msg, frame))
}

// SendHandled sends a message as a request and returns when the service has
// handled it; a reply that came with that is thrown away. The error is the
// service's, or as for [Request].
func (c *Client) SendHandled(ctx context.Context, m schema.Message) error {
	_, err := c.request(ctx, m)
	return err
}

// Request sends a request and waits for its reply, of type A, a struct or a
// pointer to one; it waits on over a cut. The error is the service's (Remote); or
// that ctx ended, and then the service is told to cancel; or
// [bus.CodeSessionLost] if the session ended after the request was written, and
// then whether it was handled is not known; or [bus.CodeFailedPrecondition] if it
// was handled without a reply. Without a deadline in ctx it waits 30 s. It may be
// called inside a handler.
func Request[A schema.Message](ctx context.Context, c *Client, m schema.Message) (A, error) {
	answer, err := c.request(ctx, m)
	if err != nil {
		return *new(A), err
	}
	return wire.AnswerAs[A](answer.Message, answer.Body)
}

// RequestRecord is [Request] for a reply without a Go type. A request that was
// handled without a reply returns nil.
func (c *Client) RequestRecord(ctx context.Context, m schema.Message) (*schema.Record, error) {
	answer, err := c.request(ctx, m)
	if err != nil || answer.Message == nil {
		return nil, err
	}
	return answer.Message.Record(answer.Body)
}

func (c *Client) request(ctx context.Context, m schema.Message) (answer link.Answer, err error) {
	ctx, cancel := link.WithTimeout(ctx)
	defer cancel()
	err = c.inSession(ctx, func(s *clientSession) error {
		msg, err := s.contract.Outgoing(m.MessageName(), schema.FromClient)
		if err != nil {
			return err
		}
		scratch := wire.NewScratch()
		frame, err := wire.AppendRequest(scratch.Empty(), msg, m, link.Remaining(ctx))
		frame = scratch.Take(frame) // its answer may take long
		if err == nil {
			err = wire.CheckSize(frame, s.limit)
		}
		if err != nil {
			return wire.AsInvalid(err)
		}
		answer, err = s.stream.Request(ctx, frame)
		return err
	})
	return answer, err
}

// inSession runs do with the session. One that ended before anything was written
// is not the caller's business: the next one is waited for.
func (c *Client) inSession(ctx context.Context, do func(*clientSession) error) error {
	for {
		s, err := c.live(ctx)
		if err != nil {
			return err
		}
		if err = do(s); err == nil {
			return nil
		}
		// A context that is over may have ended with a connection, and say so.
		if ctx.Err() != nil || !errors.Is(err, bus.ErrDropped) || bus.CodeOf(err) == bus.CodeSessionLost {
			return err
		}
	}
}

// Reply answers the message that ctx, a handler's, belongs to. If the service
// made a request of it, this is its answer, and there can be only one.
// Otherwise it is a Send on the same connection that says what it replies to.
func (c *Client) Reply(ctx context.Context, m schema.Message) error {
	h, ok := handlingOf(ctx)
	if !ok || h.client != c {
		return bus.Errorf(bus.CodeFailedPrecondition, "Reply wants the context of a handler of this client")
	}
	held := h.conn.session
	msg, err := held.contract.Outgoing(m.MessageName(), schema.FromClient)
	if err != nil {
		return err
	}
	if h.kind != wire.Request {
		return held.send(ctx, msg, m, wire.DataOptions{Re: h.n})
	}
	scratch := wire.NewScratch()
	frame, err := wire.AppendAnswer(scratch.Empty(), h.n, msg, m)
	defer func() { scratch.Free(frame) }()
	if err == nil {
		err = wire.CheckSize(frame, held.limit)
	}
	if err != nil {
		return wire.AsInvalid(err)
	}
	return held.stream.Reply(ctx, h.n, frame)
}
