package msgclient

import (
	"context"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"busd/bus"
	"busd/internal/keys"
	"busd/internal/link"
	"busd/internal/mtls"
	"busd/internal/wire"
	"busd/schema"
)

// A connection is one that was welcomed.
type connection struct {
	// Fixed at creation.
	address *address
	creds   *mtls.Loaded // that it was made with; nil: those of Config.TLS
	welcome *wire.WelcomeFrame
	session *clientSession
	offered uint64 // of the session that it asked for, the last frame that came
	link    *link.Link
	since   time.Time
	ready   chan struct{} // closed once OnConnect has returned
	over    chan struct{} // closed once the last handler has returned, or has passed to the next connection
	gone    chan struct{} // closed once OnDrop has returned
	failed  atomic.Bool   // a message that failed here ended it
	asked   atomic.Bool   // the service has asked the client to move

	// Guarded by the client's mu.
	moving chan struct{} // closed once the move away from it is settled; nil: there is none
	left   bool          // the client has moved to another one

	// Good once gone is closed.
	why   error
	lived time.Duration
}

// connected makes the connection of a welcome. offered is what the hello said of
// the frames that came.
func (c *Client) connected(l *line, welcome *wire.WelcomeFrame, held *clientSession, offered uint64) *connection {
	conn := &connection{
		address: l.target, creds: l.creds, welcome: welcome, session: held, offered: offered, since: time.Now(),
		ready: make(chan struct{}), over: make(chan struct{}), gone: make(chan struct{}),
	}
	ping := pingEvery(welcome)
	conn.link = link.New(link.Config{
		Socket:       l.sock,
		Decoder:      wire.Decoder{Contract: held.contract, From: schema.FromService, Limit: c.cfg.Credit / 4},
		Handler:      &dispatch{client: c, conn: conn},
		MessageLimit: maxBatch,
		Silence:      max(silence, 2*ping+pongTimeout),
		PingEvery:    ping,
		PongWithin:   pongTimeout,
	}, held.stream)
	return conn
}

// pingEvery takes what a welcome says of pings within reason; 0 is none.
func pingEvery(w *wire.WelcomeFrame) time.Duration {
	if w.KeepAliveMS == 0 {
		return 0
	}
	return max(time.Duration(min(w.KeepAliveMS, maxPing.Milliseconds()))*time.Millisecond, minPing)
}

// serve starts the connection's reader, which Run and Close wait for.
func (c *Client) serve(conn *connection, head []byte) {
	context.AfterFunc(conn.link.Context(), func() {
		if conn.session.id != "" && !link.EndsSession(bus.AsError(conn.link.Cause())) {
			conn.link.Pass() // handlers may wait for what only the next connection brings
		}
	})
	c.serving.Add(1)
	go conn.link.Serve(head, func(why error) {
		defer c.serving.Done()
		c.dropped(conn, why)
	})
}

// dropped takes note of a connection's end.
func (c *Client) dropped(conn *connection, why error) {
	lived := time.Since(conn.since)
	<-conn.ready // OnConnect's context has ended
	close(conn.over)
	left := c.hasLeft(conn)
	c.log.Info("disconnected", keys.TRID(bus.TRID(conn.welcome.TRID)), keys.Code(why), keys.Reason(why),
		keys.Duration(lived), zap.Bool("moved", left))
	if !left {
		c.leftAlone(conn, why)
	}
	if c.cfg.OnDrop != nil && !left && !c.closedBy(conn, why) {
		// As a handler's context it does not wait for the next connection, which
		// comes after OnDrop.
		ctx := &handling{surroundings: &surroundings{Context: c.life, client: c, conn: conn}}
		c.protect("OnDrop", func() { c.cfg.OnDrop(ctx, c, why) })
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	conn.why, conn.lived = why, lived
	close(conn.gone)
	c.changedLocked()
}

// leftAlone says where the next attempt goes after a connection has ended: back to
// where its session waits, and if there is none to another address, as wherever
// the fault was, others are as good.
func (c *Client) leftAlone(conn *connection, why error) {
	if conn.session.id != "" && conn.session.stream.Cause() == nil {
		c.urls.prefer(conn.address)
	} else {
		c.urls.failed(conn.address, why)
	}
}

// hasLeft tells whether the client has moved to another connection. While it
// moves that is not known: it waits.
func (c *Client) hasLeft(conn *connection) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if moving := conn.moving; moving != nil { // no other can begin: the link has ended
		c.mu.Unlock()
		<-moving
		c.mu.Lock()
	}
	return conn.left
}
