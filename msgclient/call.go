package msgclient

import (
	"context"

	"busd/bus"
	"busd/internal/link"
	"busd/internal/wire"
	"busd/schema"
)

// Call calls a method of the service: args is a list of arguments or an object of
// named ones, in JEncode, and so is the result, a value. Who has Go values wants
// package rpcclient, which calls this.
//
// It waits for the first connection, then for room, then for the result, and waits
// on over a cut. The error is the service's (Remote); or that ctx ended, and then
// the service is told to cancel; or [bus.CodeSessionLost] if the session ended
// after the call was written, and then whether the method was executed is not
// known; or [bus.CodeOutOfRange] if args or result are larger than the other end
// takes over a stable connection. Without a deadline in ctx it waits 30 s. It may be
// called inside a handler. Calls have no order, neither among themselves nor with
// messages. The result is the caller's own.
func (c *Client) Call(ctx context.Context, method string, args []byte) ([]byte, error) {
	if method == "" || len(method) > schema.MaxName {
		return nil, bus.Errorf(bus.CodeUnimplemented, "no method has the name %.80q: want 1 to %d bytes", method, schema.MaxName)
	}
	ctx, cancel := link.WithTimeout(ctx)
	defer cancel()
	var answer link.Answer
	err := c.inSession(ctx, func(s *clientSession) error {
		frame := wire.AppendCall(make([]byte, 0, len(args)+len(method)+wire.AroundCall), method, args, link.Remaining(ctx))
		err := wire.CheckSize(frame, s.limit)
		if err != nil {
			return err
		}
		answer, err = s.stream.Request(ctx, frame)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case answer.Message != nil || answer.Body == nil:
		return nil, bus.Errorf(bus.CodeProtocolError, "the service answered the call with no result")
	}
	return answer.Body, nil
}
