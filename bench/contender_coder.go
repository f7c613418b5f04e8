package main

import (
	"context"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

var coderContender = &contender{
	name: "coder", title: "coder/websocket", module: "github.com/coder/websocket",
	does:    "as in its examples: Accept, Read and Write with a context",
	lacks:   "bytes without names, types or checks; no sessions, acks or credit",
	batches: "nothing: a message is a frame, a record and a system call",
	serve:   serveCoder, dial: dialCoder,
}

func serveCoder(s *serverSide) error {
	all := newCrowd()
	s.app.broadcast = all.broadcast
	return serveWeb(s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sock, err := websocket.Accept(w, r, nil)
		if err != nil {
			return // the client was told
		}
		c := &coderConn{sock: sock, done: make(chan struct{})}
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

func dialCoder(ctx context.Context, o dialOptions) (conn, error) {
	sock, response, err := websocket.Dial(ctx, "wss://"+o.Address+webPath, &websocket.DialOptions{HTTPClient: webClient(o, false, 1)})
	if err != nil {
		return nil, err
	}
	if response.Body != nil {
		_ = response.Body.Close() // empty
	}
	c := &coderConn{sock: sock, done: make(chan struct{})}
	go c.read(func(p []byte) ([]byte, error) { return o.Receive(p), nil }) //nolint:gosec // G118: it outlives the dialing
	return c, nil
}

type coderConn struct {
	sock *websocket.Conn
	done chan struct{} // closed by read
}

// Send sends a message.
func (c *coderConn) Send(payload []byte) error {
	return c.sock.Write(context.Background(), websocket.MessageBinary, payload)
}

// Done is closed when the connection has ended.
func (c *coderConn) Done() <-chan struct{} { return c.done }

// Ping sends a ping and waits for its answer, as this library does.
func (c *coderConn) Ping() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return c.sock.Ping(ctx)
}

func (c *coderConn) read(handle func(payload []byte) (reply []byte, err error)) {
	defer close(c.done)
	defer func() { _ = c.sock.CloseNow() }() // it has ended
	for {
		_, message, err := c.sock.Read(context.Background())
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
