package msgclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"busd/bus"
	"busd/internal/keys"
	"busd/internal/link"
	"busd/internal/mtls"
	"busd/internal/session"
	"busd/internal/wire"
	"busd/internal/ws"
	"busd/schema"
)

// A connection is one that was welcomed.
type connection struct {
	// Fixed at creation.
	address  *address
	welcome  *wire.WelcomeFrame
	contract *wire.Contract
	link     *link.Link
	since    time.Time
	ready    chan struct{} // closed once OnConnect has returned
	over     chan struct{} // closed once the last handler has returned
	gone     chan struct{} // closed once OnDrop has returned
	failed   atomic.Bool   // a message that failed here ended it

	// Good once gone is closed.
	why   error
	lived time.Duration
}

// attempt tries one address, which goes to the end if it fails. It ends with
// ctx, and when the client is closed.
func (c *Client) attempt(ctx context.Context, target *address) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.life, func() { cancel(errClosed()) })()
	err := c.dial(ctx, target)
	if err != nil && ctx.Err() != nil {
		err = givenUp(ctx)
	}
	if err != nil {
		c.urls.failed(target, err)
	}
	return err
}

// dial opens a connection to one address, from TCP to OnConnect.
func (c *Client) dial(ctx context.Context, target *address) error {
	sock, err := c.open(ctx, target.url)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, sock.Abort)
	conn, head, err := c.greet(sock)
	if !stop() && err == nil {
		err = givenUp(ctx)
	}
	if err != nil {
		link.Refuse(sock, err)
		return err
	}
	conn.address = target
	if err := c.adopt(conn, head); err != nil {
		conn.sayGoodbye()
		link.Refuse(sock, err)
		return err
	}
	c.begin(conn)
	return nil
}

// givenUp says that an attempt ended with its context.
func givenUp(ctx context.Context) error {
	var closed *bus.Error
	if errors.As(context.Cause(ctx), &closed) {
		return closed
	}
	return bus.Wrap(bus.CodeOf(ctx.Err()), context.Cause(ctx), "the attempt was given up")
}

// open makes the WebSocket.
func (c *Client) open(ctx context.Context, target *url.URL) (*ws.Socket, error) {
	conf, err := c.tls(target.Hostname())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	d := ws.Dialer{DialContext: c.cfg.DialContext, TLS: conf, UserAgent: c.userAgent()}
	sock, err := d.Dial(ctx, target.String(), wire.Subprotocol)
	if err != nil {
		return nil, mtls.Explain(err)
	}
	return sock, nil
}

func (c *Client) tls(server string) (*tls.Config, error) {
	if c.creds != nil {
		return c.creds.TLS(server)
	}
	conf := c.cfg.TLS.Clone()
	if conf.ServerName == "" {
		conf.ServerName = server
	}
	return conf, nil
}

func (c *Client) userAgent() string {
	if c.cfg.Name == "" {
		return "busd"
	}
	return fmt.Sprintf("%s/%s busd", c.cfg.Name, c.cfg.Version)
}

// greet says hello and reads the answer. head is what came after it in the
// same WebSocket message.
func (c *Client) greet(sock *ws.Socket) (conn *connection, head []byte, err error) {
	sock.Limit(maxWelcome, welcomeTimeout, time.Now().Add(welcomeTimeout))
	args, err := wire.AppendArgs(c.cfg.Args)
	if err != nil {
		return nil, nil, bus.Wrap(bus.CodeInvalidArgument, err, "the connect arguments cannot be sent")
	}
	hello := &wire.HelloFrame{
		Instance: c.cfg.Instance, Args: args, Credit: int64(c.cfg.Credit),
		Client: wire.Program{Name: c.cfg.Name, Version: c.cfg.Version},
	}
	known := c.Contract()
	if known != nil {
		hello.Fingerprint = known.Fingerprint()
	}
	if err := sock.Write(wire.AppendHello(nil, hello)); err != nil {
		return nil, nil, mtls.Explain(err)
	}
	answer, err := sock.Read()
	if err != nil {
		return nil, nil, err
	}
	f, err := wire.Decoder{}.Next(answer)
	if err != nil {
		return nil, nil, link.AsFault(err)
	}
	switch f.Kind {
	case wire.Drop:
		why, err := wire.DecodeDrop(f.Body)
		if err != nil {
			return nil, nil, err
		}
		return nil, nil, why.Dropped()
	case wire.Welcome:
	default:
		return nil, nil, bus.Errorf(bus.CodeProtocolError, "want a welcome or a drop first, got %s", f.Kind)
	}
	welcome, err := wire.DecodeWelcome(f.Body)
	if err != nil {
		return nil, nil, err
	}
	contract, err := c.accept(welcome, known)
	if err != nil {
		return nil, nil, err
	}
	head = append(head, answer[f.Size:]...)
	return c.connected(sock, welcome, contract), head, nil
}

// connected makes the link of a welcome.
func (c *Client) connected(sock *ws.Socket, welcome *wire.WelcomeFrame, contract *wire.Contract) *connection {
	conn := &connection{
		welcome: welcome, contract: contract, since: time.Now(),
		ready: make(chan struct{}), over: make(chan struct{}), gone: make(chan struct{}),
	}
	ping := pingEvery(welcome)
	conn.link = link.New(link.Config{
		Socket:       sock,
		Session:      session.New(c.cfg.Credit, int(welcome.Credit), session.DefaultBuffer),
		Decoder:      wire.Decoder{Contract: contract, From: schema.FromService, Limit: c.cfg.Credit / 4},
		Handler:      &dispatch{client: c, conn: conn},
		MessageLimit: maxBatch,
		Silence:      max(silence, 2*ping+pongTimeout),
		PingEvery:    ping,
		PongWithin:   pongTimeout,
	})
	return conn
}

// pingEvery takes what a welcome says of pings within reason; 0 is none.
func pingEvery(w *wire.WelcomeFrame) time.Duration {
	if w.KeepAliveMS == 0 {
		return 0
	}
	return max(time.Duration(min(w.KeepAliveMS, maxPing.Milliseconds()))*time.Millisecond, minPing)
}

// adopt makes a connection the client's, unless it was closed meanwhile.
func (c *Client) adopt(conn *connection, head []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return c.ended
	}
	c.current = conn
	c.known = conn.contract.Schema()
	c.name = bus.Identity(conn.welcome.Identity)
	c.changedLocked()
	c.serve(conn, head)
	return nil
}

// begin tells the program of a connection.
func (c *Client) begin(conn *connection) {
	c.connects.Add(1)
	c.log.Info("connected", keys.TRID(bus.TRID(conn.welcome.TRID)), keys.Identity(bus.Identity(conn.welcome.Identity)),
		zap.String("node", conn.welcome.Node))
	defer close(conn.ready) // also if OnConnect ends its goroutine
	if c.cfg.OnConnect != nil {
		c.protect("OnConnect", func() { c.cfg.OnConnect(conn.link.Context(), c) })
	}
}

// serve starts the connection's reader, which Run and Close wait for.
func (c *Client) serve(conn *connection, head []byte) {
	c.serving.Go(func() { c.dropped(conn, conn.link.Run(nil, head)) })
}

// protect runs a callback of the program; its panic is logged, and the client
// lives.
func (c *Client) protect(name string, call func()) {
	defer func() {
		if v := recover(); v != nil {
			c.log.Error(name+" panicked", zap.String("reason", fmt.Sprint(v)), keys.Stack(debug.Stack()))
		}
	}()
	call()
}
