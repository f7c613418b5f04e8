package gate

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// serve takes one connection from its address's bounds through the handshake
// to Accept.
func (g *Gate) serve(c *conn, row *address, wait bool, delay time.Duration) {
	if wait {
		reason, ok := g.wait(row, delay)
		if !ok {
			g.addresses.leave(row, false)
			if reason == "" {
				_ = c.Close() // the gate is closing
				return
			}
			g.refuse(c, c.remote, reason)
			return
		}
	}
	if !c.counted(row) {
		g.addresses.leave(row, true)
		return
	}
	t, err := g.handshake(c)
	if err != nil {
		g.failed(c, err)
		return
	}
	if g.config.Vouched(t.ConnectionState()) {
		c.vouched()
	}
	// From here on it is closed by this goroutine or by who accepts it.
	g.forget(c)
	select {
	case g.ready <- t:
	case <-g.done:
		_ = c.Close() // nobody is there to take it
	}
}

// wait waits for the turn of a connection at its address, MaxWait in all. If
// it comes, the connection has a slot. No reason means that the gate closes.
func (g *Gate) wait(row *address, delay time.Duration) (Reason, bool) {
	g.count.waiting.Add(1)
	defer g.count.waiting.Add(-1)
	defer g.addresses.waited(row)
	over := time.NewTimer(g.config.MaxWait)
	defer over.Stop()
	if delay > 0 && !g.sleep(delay) {
		return "", false
	}
	select {
	case row.slots <- struct{}{}:
		return "", true
	case <-over.C:
		return Crowd, false
	case <-g.done:
		return "", false
	}
}

func (g *Gate) handshake(c *conn) (*tls.Conn, error) {
	g.count.handshaking.Add(1)
	defer g.count.handshaking.Add(-1)
	over := time.NewTimer(g.config.HandshakeTimeout)
	defer over.Stop()
	if err := c.SetDeadline(time.Now().Add(g.config.HandshakeTimeout)); err != nil {
		return nil, err
	}
	c.shaking, c.left, c.expired = true, g.config.HandshakeBytes, over.C
	t := tls.Server(c, g.tls)
	err := t.Handshake()
	c.giveTurn()
	c.shaking, c.expired = false, nil
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	g.count.handshakes.Add(1)
	if t.ConnectionState().DidResume {
		g.count.resumed.Add(1)
	}
	return t, nil
}

// plainHTTP is what a client gets that speaks HTTP without TLS.
const plainHTTP = "HTTP/1.0 400 Bad Request\r\n" +
	"Content-Type: text/plain; charset=utf-8\r\n" +
	"Connection: close\r\n\r\n" +
	"This port speaks HTTPS: use https:// or wss://.\n"

// lingerBytes bounds what a refused client may still send.
const lingerBytes = 64 << 10

// failed ends a connection so that the client gets to read why: to close a
// socket that holds unread bytes would throw away the alert on its way.
func (g *Gate) failed(c *conn, err error) {
	defer c.Close()
	reason := failureOf(err)
	select {
	case <-g.done:
		return // nobody failed: the gate is closing
	default:
	}
	g.count.failed[reason].Add(1)
	g.report(Event{Reason: reason, Remote: c.remote, Err: err})
	if reason == Timeout || reason == Gone {
		return
	}
	if c.SetDeadline(time.Now().Add(g.config.Linger)) != nil {
		return
	}
	var record tls.RecordHeaderError
	if reason == PlainHTTP && errors.As(err, &record) && record.Conn != nil {
		if _, err := io.WriteString(c, plainHTTP); err != nil {
			return
		}
	}
	if tcp, ok := c.Conn.(*net.TCPConn); ok && tcp.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, c, lingerBytes) // ends with the client, or in time
	}
}
