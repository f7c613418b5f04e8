package msgclient

import (
	"context"
	"errors"

	"busd/bus"
)

// errClosed is why a closed client does nothing any more.
func errClosed() *bus.Error {
	return bus.Errorf(bus.CodeGoingAway, "the client was closed").Dropped()
}

// errUnsure is what Close says when it cannot know better.
func errUnsure() *bus.Error {
	return bus.Errorf(bus.CodeSessionLost, "the client was closed: not everything that was sent is known to have arrived")
}

// Close says goodbye: it takes nothing more to send, waits until the service has
// read, checked and queued everything that was sent, also over a cut while
// [Client.Run] connects again, or until ctx ends; then it drops the connection with
// [bus.CodeGoingAway] and waits for the handlers. Run returns, and the client
// cannot be used any more. The error says that not everything is known to have
// arrived: it has [bus.CodeSessionLost] where there was no chance to learn more.
//
// It must not be called inside a handler, nor in OnConnect or OnDrop.
func (c *Client) Close(ctx context.Context) error {
	err := c.flush(ctx)
	c.finish(errClosed())
	return err
}

// isClosing tells whether the client takes nothing more to send.
func (c *Client) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing != nil || c.ended != nil
}

// flush takes nothing more to send and waits until everything has arrived, in this
// session or, of what could not be sent in it, the next.
func (c *Client) flush(ctx context.Context) error {
	c.mu.Lock()
	if c.closing == nil {
		c.closing = errClosed()
		c.changedLocked()
	}
	c.mu.Unlock()
	begin := c.prospect()
	for {
		now := c.prospect()
		switch {
		case now.session == nil || !now.session.stream.Pending():
			if now.lost > begin.lost {
				return errUnsure()
			}
			return nil
		case !now.hope:
			return errUnsure()
		}
		now.flush(ctx)
		if ctx.Err() != nil && now.session.stream.Pending() {
			return bus.Wrap(bus.CodeOf(ctx.Err()), context.Cause(ctx), "the service did not take everything in time")
		}
	}
}

// A prospect is what a client that is being closed can hope for.
type prospect struct {
	session *clientSession
	lost    int             // messages, so far
	hope    bool            // the session, or the next one, is carried or may be
	carried context.Context // done when the only connection there is ends; nil: Run makes others
	waits   bool            // first something must change
	changed <-chan struct{} // closed when it may have
}

func (c *Client) prospect() prospect {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := prospect{session: c.session, lost: c.lost, changed: c.changed}
	if c.session == nil || c.ended != nil {
		return p
	}
	conn, over := c.current, c.session.stream.Cause() != nil
	switch {
	case over && !c.session.goesOn:
	case c.keeping:
		p.hope, p.waits = true, over
	case conn == nil:
	case conn.link.Cause() == nil && !over:
		p.hope, p.carried = true, conn.link.Context()
	case conn.moving != nil:
		p.hope, p.waits = true, true
	}
	return p
}

// flush waits until everything has arrived, ctx ends, or the prospect is another.
func (p *prospect) flush(ctx context.Context) {
	if p.waits {
		select {
		case <-p.changed:
		case <-ctx.Done():
		}
		return
	}
	if p.carried != nil {
		limited, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(p.carried, cancel)()
		ctx = limited
	}
	_ = p.session.stream.Flush(ctx) // the next look tells what came of it
}

// end makes the client useless, once: nothing more is sent, and there will be no
// other connection. It returns the last one, and the last session.
func (c *Client) end(why error) (*connection, *clientSession) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.ended = why
		c.endLife()
		c.changedLocked()
	}
	return c.current, c.session
}

// finish ends the client, its connection and its session, and waits for handlers
// and callbacks.
func (c *Client) finish(why error) {
	current, held := c.end(why)
	if current != nil {
		current.sayGoodbye()
	}
	if held != nil { // the goodbye does not end one that nothing carries
		held.stream.End(bus.AsError(why))
	}
	c.serving.Wait()
	c.turn.take(nil) // a handler of an earlier connection has it
	c.turn.giveBack()
}

// goodbye is the cause of the drops by which a client itself ends its connection:
// because it was closed, or moves. Nothing else has it.
type goodbye struct{ conn *connection }

func (goodbye) Error() string { return "the client went by itself" }

func (conn *connection) sayGoodbye() {
	conn.link.Drop(bus.Wrap(bus.CodeGoingAway, goodbye{conn}, "the client was closed"))
}

// closedBy tells whether a connection ended because its client did.
func (c *Client) closedBy(conn *connection, why error) bool {
	var e *bus.Error
	if !errors.As(why, &e) || e.Cause != error(goodbye{conn}) { //nolint:errorlint // ours, and never wrapped
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended != nil
}
