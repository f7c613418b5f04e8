package main

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

var gorillaContender = &contender{
	name: "gorilla", title: "gorilla/websocket", module: "github.com/gorilla/websocket",
	does:    "as in its examples: the default Upgrader, ReadMessage in the handler, WriteMessage under a mutex; PreparedMessage to many",
	lacks:   "bytes without names, types or checks; no sessions, acks or credit",
	batches: "nothing: a message is a frame, a record and a system call",
	serve:   serveGorilla, dial: dialGorilla,
}

func serveGorilla(s *serverSide) error {
	all := newCrowd()
	s.app.broadcast = func(payload []byte) error {
		prepared, err := websocket.NewPreparedMessage(websocket.BinaryMessage, payload)
		if err != nil {
			return err
		}
		for _, c := range all.members() {
			_ = c.(*gorillaConn).sendPrepared(prepared) // who cannot be reached finds out
		}
		return nil
	}
	var upgrader websocket.Upgrader
	return serveWeb(s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sock, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // the client was told
		}
		c := &gorillaConn{sock: sock, done: make(chan struct{})}
		all.add(c)
		defer all.remove(c)
		c.read(func(p []byte) ([]byte, error) {
			reply, err := s.app.receive(p)
			if !reply {
				return nil, err
			}
			return p, err
		})
	}), false)
}

func dialGorilla(ctx context.Context, o dialOptions) (conn, error) {
	d := websocket.Dialer{NetDialContext: o.Dial, TLSClientConfig: oneProtocol(o.TLS), HandshakeTimeout: 30 * time.Second}
	sock, response, err := d.DialContext(ctx, "wss://"+o.Address+webPath, nil)
	if err != nil {
		return nil, err
	}
	_ = response.Body.Close() // empty
	c := &gorillaConn{sock: sock, done: make(chan struct{})}
	go c.read(func(p []byte) ([]byte, error) { return o.Receive(p), nil })
	return c, nil
}

type gorillaConn struct {
	sock *websocket.Conn
	done chan struct{} // closed by read

	mu sync.Mutex // held for a write: gorilla has room for one
}

// Send sends a message.
func (c *gorillaConn) Send(payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sock.WriteMessage(websocket.BinaryMessage, payload)
}

func (c *gorillaConn) sendPrepared(m *websocket.PreparedMessage) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sock.WritePreparedMessage(m)
}

// Done is closed when the connection has ended.
func (c *gorillaConn) Done() <-chan struct{} { return c.done }

// Ping sends a ping.
func (c *gorillaConn) Ping() error {
	return c.sock.WriteControl(websocket.PingMessage, nil, time.Now().Add(10*time.Second))
}

func (c *gorillaConn) read(handle func(payload []byte) (reply []byte, err error)) {
	defer close(c.done)
	defer c.sock.Close()
	for {
		_, message, err := c.sock.ReadMessage()
		if err != nil {
			return
		}
		reply, err := handle(message)
		if err == nil && reply != nil {
			err = c.Send(reply)
		}
		if err != nil {
			return
		}
	}
}
