package msgclient

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"busd/bus"
	"busd/internal/keys"
	"busd/internal/wire"
)

const (
	// leaveTimeout bounds how long the client finishes what it had begun on a
	// connection that it moves away from.
	leaveTimeout = 10 * time.Second
	// maxDeadline bounds what a goaway says of when the connection ends.
	maxDeadline = time.Hour
	// helloWithin is how long a service surely waits for a hello.
	helloWithin = 5 * time.Second
)

// makeWay ends a connection that the client has moved away from, or is about to.
func (conn *connection) makeWay() {
	conn.link.Drop(bus.Wrap(bus.CodeGoingAway, goodbye{conn}, "the client moved to another connection"))
}

// errEnded is why there is nothing to move: the connection has ended.
var errEnded = bus.Errorf(bus.CodeUnavailable, "the connection ended before the client could move")

// Reconnect moves the client to a new connection to the same address, make before
// break: nothing in flight is lost or doubled, handlers notice nothing, and OnDrop
// does not run. It reads certificate, key and CA files anew. It returns nil once
// the service has welcomed the client there and OnConnect has returned; on an error
// the client keeps the connection that it has, unless the attempt failed so late
// that the service may have moved: then it is as after a cut. A client that is not
// connected makes an attempt as [Client.Connect] does. If another move or attempt
// is under way Reconnect waits for it, and that it succeeds is enough.
//
// Where the service keeps no sessions the new connection is opened first, but only
// used once the old one has ended: what could not be finished within 10 s is lost,
// and told by OnError.
//
// It must not be called inside a handler, nor in OnConnect or OnDrop.
func (c *Client) Reconnect(ctx context.Context) error {
	for {
		c.mu.Lock()
		conn := c.current
		c.mu.Unlock()
		if conn == nil || conn.link.Cause() != nil {
			err := c.Connect(ctx)
			if errors.Is(err, errConnected) { // by somebody else, this moment
				err = nil
			}
			return err
		}
		if err := c.move(ctx, conn, conn.address, leaveTimeout); !errors.Is(err, errEnded) {
			return err
		}
	}
}

// goneAway moves the client where its service asks it to, within the time that it
// gives. If there is nowhere to go yet, the client finishes what it had begun, and
// looks for a connection again when this one has ended.
func (c *Client) goneAway(conn *connection, g *wire.GoawayFrame) {
	deadline := min(time.Duration(min(g.DeadlineMS, maxDeadline.Milliseconds()))*time.Millisecond, maxDeadline)
	if deadline == 0 {
		deadline = leaveTimeout
	}
	end := time.Now().Add(deadline)
	spread := time.Duration(min(g.SpreadMS, deadline.Milliseconds())) * time.Millisecond
	// Servers that send their clients to each other must not have them run.
	young := max(0, c.cfg.MinWait-time.Since(conn.since))
	timer := time.NewTimer(max(young, rand.N(spread+1))) //nolint:gosec // not a secret
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.life.Done():
		return
	case <-conn.link.Context().Done(): // there is nothing to move any more
		return
	}
	ctx, stop := context.WithDeadline(c.life, end)
	defer stop()
	if err := c.move(ctx, conn, c.elsewhere(conn, g.Target), time.Until(end)); err != nil && conn.link.Cause() == nil {
		c.log.Info("nowhere to move to yet", keys.Code(err), keys.Reason(err))
		if conn.expires() && g.Target == conn.address.url.String() {
			conn.asked.Store(false) // it is good until then, and the service will ask again
			return
		}
		c.hold(conn)
	}
}

// expires tells whether the certificate that the connection was made with is in the
// last part of its life, in which a service asks to move for that alone: a tenth, and
// half as much before that, as not all are asked at once; or a bit more.
func (conn *connection) expires() bool {
	if conn.creds == nil || conn.creds.NotAfter().IsZero() {
		return false
	}
	begin, end := conn.creds.NotBefore(), conn.creds.NotAfter()
	return time.Until(end) <= end.Sub(begin)/6
}

// elsewhere is where a service asks the client to move to, or else another of the
// client's own addresses, if it has one.
func (c *Client) elsewhere(conn *connection, target string) *address {
	if target != "" {
		u, err := parseURL(target)
		if err == nil && u.Path == conn.address.url.Path {
			return &address{url: u}
		}
	}
	c.urls.later(conn.address)
	next, _ := c.urls.next()
	return next
}

// move opens another connection and goes on there, unless somebody has moved the
// client already; errEnded says that there is nothing to move. patience is how
// long what was begun may take to be finished, where that is called for.
func (c *Client) move(ctx context.Context, from *connection, target *address, patience time.Duration) error {
	select {
	case <-c.dialing:
		defer func() { c.dialing <- struct{}{} }()
	case <-ctx.Done():
		return bus.Wrap(bus.CodeOf(ctx.Err()), context.Cause(ctx), "another attempt to connect is under way")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.life, func() { cancel(errClosed()) })()
	c.mu.Lock()
	moved := c.current != from
	c.mu.Unlock()
	if moved {
		return nil
	}
	l, err := c.openBeside(ctx, from, target)
	if err != nil {
		return err
	}
	if !c.startsMove(from) {
		l.sock.Abort()
		return errEnded
	}
	conn, err := c.change(ctx, from, l, patience)
	c.moveEnds(from, err == nil)
	if err != nil {
		return err
	}
	c.begin(conn)
	return nil
}

// openBeside opens a line beside a connection, as long as that lasts.
func (c *Client) openBeside(ctx context.Context, from *connection, target *address) (*line, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(from.link.Context(), func() { cancel(errEnded) })()
	l, err := c.open(ctx, target)
	switch {
	case err == nil:
		return l, nil
	case context.Cause(ctx) == error(errEnded): //nolint:errorlint // ours, and never wrapped
		return nil, errEnded
	case ctx.Err() != nil:
		return nil, givenUp(ctx)
	}
	c.urls.failed(target, err)
	return nil, err
}

// startsMove tells whether there still is a connection to move from. If there is,
// its end is a part of the move from now on.
func (c *Client) startsMove(from *connection) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if from.link.Cause() != nil {
		return false
	}
	from.moving = make(chan struct{})
	return true
}

func (c *Client) moveEnds(from *connection, moved bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from.left = moved
	close(from.moving)
	from.moving = nil
	c.changedLocked()
}

// change goes on with another line. On an error the client stays where it is,
// unless it cannot know whether the service has moved it: then it gives that
// connection up, and resumes as after a cut.
func (c *Client) change(ctx context.Context, from *connection, l *line, patience time.Duration) (*connection, error) {
	if from.session.id == "" { // it ends with its connection: here first, then there
		c.leave(ctx, from, min(patience, leaveTimeout))
		if time.Since(l.since) > helloWithin {
			l.sock.Abort()
			again, err := c.open(ctx, l.target)
			if err != nil {
				c.urls.failed(l.target, err)
				return nil, err
			}
			l = again
		}
	}
	conn, head, err := c.greeted(ctx, l, true)
	if err != nil {
		c.urls.failed(l.target, err)
		if !refused(err) {
			c.giveUp(from)
		}
		return nil, err
	}
	if conn.session != from.session { // another node: it knows nothing of the session
		c.leave(ctx, from, min(patience, conn.idle()))
	}
	if err := c.adopt(conn, head); err != nil {
		l.refuse(conn, err)
		c.giveUp(from)
		return nil, err
	}
	from.makeWay()
	from.link.Pass()
	return conn, nil
}

// giveUp ends a connection from which a move failed half-way.
func (c *Client) giveUp(from *connection) {
	c.mu.Lock()
	ended := c.ended != nil
	c.mu.Unlock()
	if ended {
		from.sayGoodbye()
	} else {
		from.link.Drop(bus.Errorf(bus.CodeUnavailable, "a move failed half-way"))
	}
}

// idle is how long nothing need be said on a connection that was welcomed.
func (conn *connection) idle() time.Duration {
	if conn.welcome.IdleMS == 0 {
		return maxDeadline
	}
	return time.Duration(min(conn.welcome.IdleMS, maxDeadline.Milliseconds())) * time.Millisecond / 2
}

// leave finishes what was begun on a connection, and ends it. What is not finished
// in time is lost, but for what was not written.
func (c *Client) leave(ctx context.Context, from *connection, patience time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if slices.Contains(from.welcome.Features, wire.FeatureMove) {
		c.hold(from)
		select {
		case <-from.link.Context().Done():
		case <-ctx.Done():
		}
	} else {
		c.carryOn(from)
		_ = from.session.stream.Flush(ctx) // what it cannot flush is told as lost
	}
	from.makeWay()
	select {
	case <-from.over: // what the next connection brings comes after what this one brought
	case <-ctx.Done():
	}
}

// hold begins nothing more on a connection: the service ends it when all is
// finished.
func (c *Client) hold(conn *connection) {
	c.carryOn(conn)
	conn.link.Hold()
}

// carryOn lets what is not sent in a connection's session be sent in the next, also
// where the session ends with it.
func (c *Client) carryOn(conn *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn.session.goesOn = true
}

// refused tells whether it was the service that did not want a connection.
func refused(err error) bool {
	var e *bus.Error
	return errors.As(err, &e) && e.Remote
}

// later puts an address to the end: others are as good.
func (a *addresses) later(x *address) { a.failed(x, nil) }
