package main

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/lxzan/gws"
)

var gwsContender = &contender{
	name: "gws", title: "lxzan/gws", module: "github.com/lxzan/gws",
	does:    "as in its examples: an Upgrader, ReadLoop in a goroutine, WriteMessage; its Broadcaster to many",
	lacks:   "bytes without names, types or checks; no sessions, acks or credit",
	batches: "nothing: a message is a frame, a record and a system call",
	serve:   serveGWS, dial: dialGWS,
}

func serveGWS(s *serverSide) error {
	all := newCrowd()
	s.app.broadcast = func(payload []byte) error {
		b := gws.NewBroadcaster(gws.OpcodeBinary, payload)
		for _, c := range all.members() {
			_ = b.Broadcast(c.(*gwsConn).sock) // who cannot be reached finds out
		}
		return b.Close()
	}
	return serveWeb(s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &gwsConn{done: make(chan struct{})}
		c.handle = func(p []byte) ([]byte, error) {
			reply, err := s.app.receive(p)
			if !reply {
				return nil, err
			}
			return p, err
		}
		c.ended = func() { all.remove(c) }
		sock, err := gws.NewUpgrader(c, &gws.ServerOption{}).Upgrade(w, r)
		if err != nil {
			return // the client was told
		}
		c.sock = sock
		all.add(c)
		go sock.ReadLoop()
	}), false)
}

func dialGWS(ctx context.Context, o dialOptions) (conn, error) {
	c := &gwsConn{done: make(chan struct{}), ended: func() {}}
	c.handle = func(p []byte) ([]byte, error) { return o.Receive(p), nil }
	sock, _, err := gws.NewClient(c, &gws.ClientOption{
		Addr: "wss://" + o.Address + webPath, TlsConfig: oneProtocol(o.TLS), HandshakeTimeout: 30 * time.Second,
		NewDialer: func() (gws.Dialer, error) { return gwsDialer{ctx, o.Dial}, nil },
	})
	if err != nil {
		return nil, err
	}
	c.sock = sock
	go sock.ReadLoop()
	return c, nil
}

type gwsDialer struct {
	ctx  context.Context
	dial dialFunc
}

// Dial opens a TCP connection.
func (d gwsDialer) Dial(network, address string) (net.Conn, error) {
	return d.dial(d.ctx, network, address)
}

// A gwsConn is a connection and what is told of its events.
type gwsConn struct {
	gws.BuiltinEventHandler
	sock   *gws.Conn
	handle func(payload []byte) (reply []byte, err error)
	ended  func()
	done   chan struct{}
	once   sync.Once
}

// Send sends a message.
func (c *gwsConn) Send(payload []byte) error { return c.sock.WriteMessage(gws.OpcodeBinary, payload) }

// Done is closed when the connection has ended.
func (c *gwsConn) Done() <-chan struct{} { return c.done }

// Ping sends a ping.
func (c *gwsConn) Ping() error { return c.sock.WritePing(nil) }

// OnPing answers a ping.
func (c *gwsConn) OnPing(sock *gws.Conn, payload []byte) { _ = sock.WritePong(payload) }

// OnClose is called when the connection has ended.
func (c *gwsConn) OnClose(*gws.Conn, error) {
	c.once.Do(func() {
		close(c.done)
		c.ended()
	})
}

// OnMessage is called for each message.
func (c *gwsConn) OnMessage(sock *gws.Conn, m *gws.Message) {
	defer func() { _ = m.Close() }() // the buffer goes back
	reply, err := c.handle(m.Bytes())
	if err == nil && reply != nil {
		err = sock.WriteMessage(gws.OpcodeBinary, reply)
	}
	if err != nil {
		_ = sock.NetConn().Close() // ReadLoop ends
	}
}
