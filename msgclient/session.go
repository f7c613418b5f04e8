package msgclient

import (
	"context"
	"slices"

	"busd/bus"
	"busd/internal/link"
	"busd/internal/session"
	"busd/internal/wire"
	"busd/schema"
)

// A clientSession is what the client has with the service, across its connections.
type clientSession struct {
	// Fixed at creation.
	id       string // empty: it ends with its connection
	stream   *link.Stream
	contract *wire.Contract
	limit    int // of a message to the service, in bytes on the wire

	// Guarded by the client's mu.
	token  []byte // to come back with
	goesOn bool   // what was not sent when it ends is sent in the next
}

// newSession makes the session of a welcome.
func (c *Client) newSession(w *wire.WelcomeFrame, contract *wire.Contract) *clientSession {
	s := &clientSession{contract: contract, limit: messageLimit(w)}
	cfg := link.StreamConfig{Grant: c.cfg.Credit, Credit: int(w.Credit), Buffer: session.DefaultBuffer}
	if w.Session != "" && slices.Contains(w.Features, wire.FeatureResume) {
		s.id, s.token, s.goesOn = w.Session, w.Token, true
		cfg.Ends = link.EndsSession
	}
	s.stream = link.NewStream(cfg)
	return s
}

// asksLocked tells whether the next hello asks for the session. Of one that the
// service has ended it says why.
func (s *clientSession) asksLocked() bool {
	if s == nil || s.id == "" || s.token == nil {
		return false
	}
	why := bus.AsError(s.stream.Cause())
	return why == nil || why.Remote
}

// messageLimit is how large a message the service takes, in bytes on the wire.
func messageLimit(w *wire.WelcomeFrame) int {
	n := w.Limits.Message
	if n == 0 {
		n = w.Credit / 4
	}
	return int(min(n, maxMessage))
}

// A Resumption says what became of the session that a client came back with.
type Resumption struct {
	// Resumed: it goes on. Nothing is lost or doubled.
	Resumed bool
	// Reason says why it does not: "expired", "overflowed", "restarted",
	// "unknown". It is empty if the client had none, as with its first connection,
	// or had ended it itself.
	Reason string
	// Lost is how many one-way messages the client had sent in the session that
	// ended, of which it is not known whether the service has them. Those that
	// were not written yet go on to the new one, unless its contract is another or
	// takes no message so large: then they are counted too.
	Lost int
}

// Resumption is what the last welcome said of the session that the client came
// back with.
func (c *Client) Resumption() Resumption {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.resumption
}

// movesLocked tells whether the client is about to be on another connection.
func (c *Client) movesLocked() bool { return c.current != nil && c.current.moving != nil }

// sendsLate takes what a handler sends that outlives its session while the client
// moves to another node: the next session carries it. That waits for the handler,
// which must not wait for that.
func (c *Client) sendsLate(ctx context.Context, m schema.Message) bool {
	h, ok := handlingOf(ctx)
	if !ok || h.conn.session.stream.Context().Err() == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := h.conn.session
	if c.session != s || !s.goesOn || !c.movesLocked() || c.ended != nil || c.closing != nil {
		return false
	}
	msg, err := s.contract.Outgoing(m.MessageName(), schema.FromClient)
	if err != nil {
		return false
	}
	frame, err := wire.AppendData(nil, msg, m, wire.DataOptions{})
	if err != nil || wire.CheckSize(frame, s.limit) != nil || s.stream.Queued()+len(frame) > session.DefaultBuffer {
		return false
	}
	s.stream.Carry([][]byte{frame}, s.contract)
	return true
}

// succeedLocked makes a new session the client's, and ends the one that could not
// go on. What was not sent in it is sent in the new one.
func (c *Client) succeedLocked(next *clientSession, reason string) {
	c.resumption = Resumption{Reason: reason}
	last := c.session
	c.session = next
	if last == nil {
		return
	}
	why := "the session has ended"
	if reason != "" {
		why = "the service does not go on with the session: " + reason
	}
	last.stream.End(bus.Errorf(bus.CodeUnavailable, "%s", why)) // unless it has ended before
	if !last.goesOn {
		return // its end was the end of the connection, which was told
	}
	frames, lost := last.stream.Unsent()
	same := last.contract.Schema().Fingerprint() == next.contract.Schema().Fingerprint()
	carried := frames[:0]
	for _, frame := range frames {
		if same && len(frame) <= next.limit {
			carried = append(carried, frame)
		} else {
			lost++
		}
	}
	next.stream.Carry(carried, next.contract)
	c.resumption.Lost = lost
	c.lost += lost
}
