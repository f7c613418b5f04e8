package msgclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"go.uber.org/zap"

	"busd/bus"
	"busd/internal/keys"
	"busd/internal/link"
	"busd/internal/mtls"
	"busd/internal/wire"
	"busd/internal/ws"
)

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
	l, err := c.open(ctx, target)
	if err != nil {
		return err
	}
	conn, head, err := c.greeted(ctx, l, false)
	if err != nil {
		return err
	}
	if err := c.adopt(conn, head); err != nil {
		l.refuse(conn, err)
		return err
	}
	c.begin(conn)
	return nil
}

// A line is a WebSocket on which nothing has been said.
type line struct {
	target *address
	creds  *mtls.Loaded // nil: Config.TLS
	sock   *ws.Socket
	since  time.Time
}

// refuse ends the line of a connection that was welcomed and is not wanted.
func (l *line) refuse(conn *connection, why error) {
	conn.sayGoodbye()
	link.Refuse(l.sock, why)
}

// greeted makes a connection of a line, unless the service refuses or ctx ends.
func (c *Client) greeted(ctx context.Context, l *line, move bool) (*connection, []byte, error) {
	stop := context.AfterFunc(ctx, l.sock.Abort)
	conn, head, err := c.greet(l, move)
	if !stop() {
		l.sock.Abort() // whatever is written now would spend the token that the client has
		err = givenUp(ctx)
	}
	if err != nil {
		link.Refuse(l.sock, err)
		return nil, nil, err
	}
	return conn, head, nil
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
func (c *Client) open(ctx context.Context, target *address) (*line, error) {
	conf, creds, err := c.tls(target.url.Hostname())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	d := ws.Dialer{DialContext: c.cfg.DialContext, TLS: conf, UserAgent: c.userAgent()}
	sock, err := d.Dial(ctx, target.url.String(), wire.Subprotocol)
	if err != nil {
		return nil, mtls.Explain(err)
	}
	return &line{target: target, creds: creds, sock: sock, since: time.Now()}, nil
}

func (c *Client) tls(server string) (*tls.Config, *mtls.Loaded, error) {
	if c.creds != nil {
		loaded, err := c.creds.Load()
		if err != nil {
			return nil, nil, err
		}
		return loaded.TLS(server), loaded, nil
	}
	conf := c.cfg.TLS.Clone()
	if conf.ServerName == "" {
		conf.ServerName = server
	}
	return conf, nil, nil
}

func (c *Client) userAgent() string {
	if c.cfg.Name == "" {
		return "busd"
	}
	return fmt.Sprintf("%s/%s busd", c.cfg.Name, c.cfg.Version)
}

// greet says hello and reads the answer. head is what came after it in the
// same WebSocket message.
func (c *Client) greet(l *line, move bool) (conn *connection, head []byte, err error) {
	sock := l.sock
	sock.Limit(maxWelcome, welcomeTimeout, time.Now().Add(welcomeTimeout))
	args, err := wire.AppendArgs(c.cfg.Args)
	if err != nil {
		return nil, nil, bus.Wrap(bus.CodeInvalidArgument, err, "the connect arguments cannot be sent")
	}
	hello := &wire.HelloFrame{
		Instance: c.cfg.Instance, Args: args, Credit: int64(c.cfg.Credit),
		Features: []string{wire.FeatureResume, wire.FeatureMove},
		Client:   wire.Program{Name: c.cfg.Name, Version: c.cfg.Version},
	}
	known := c.contract()
	if known != nil {
		hello.Fingerprint = known.Schema().Fingerprint()
	}
	asked := c.askFor(hello, move)
	if err := sock.Write(wire.AppendHello(nil, hello)); err != nil {
		return nil, nil, mtls.Explain(err)
	}
	answer, err := sock.Read()
	if err != nil {
		if asked != nil { // the service may have welcomed it: then what is written spends the token
			sock.Abort()
		}
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
	if welcome.Credit < minCredit {
		return nil, nil, bus.Errorf(bus.CodeProtocolError, "welcome: want credit of at least %d bytes, got %d", minCredit, welcome.Credit)
	}
	held, err := c.sessionOf(welcome, asked, known)
	if err != nil {
		return nil, nil, err
	}
	head = append(head, answer[f.Size:]...)
	return c.connected(l, welcome, held, uint64(hello.Seen)), head, nil
}

// askFor puts into a hello what it takes to go on with the session that there is,
// and returns it.
func (c *Client) askFor(hello *wire.HelloFrame, move bool) *clientSession {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.session.asksLocked() {
		return nil
	}
	hello.Session, hello.Token, hello.Move = c.session.id, c.session.token, move
	hello.Seen = int64(c.session.stream.Seen())
	return c.session
}

// sessionOf returns the session that a welcome goes on with, or begins.
func (c *Client) sessionOf(w *wire.WelcomeFrame, asked *clientSession, known *wire.Contract) (*clientSession, error) {
	if !w.Resumed {
		contract, err := c.accept(w, known)
		if err != nil {
			return nil, err
		}
		return c.newSession(w, contract), nil
	}
	if asked == nil || w.Session != asked.id || w.Fingerprint != asked.contract.Schema().Fingerprint() {
		return nil, bus.Errorf(bus.CodeProtocolError, "the welcome resumes another session than was asked for")
	}
	return asked, nil
}

// adopt makes a connection the client's, unless it was closed meanwhile.
func (c *Client) adopt(conn *connection, head []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return c.ended
	}
	if err := c.resumeLocked(conn); err != nil {
		return err
	}
	c.current = conn
	c.known = conn.session.contract
	c.name = bus.Identity(conn.welcome.Identity)
	c.changedLocked()
	c.serve(conn, head)
	return nil
}

// resumeLocked lets a connection carry its session: the one that there is, or a
// new one.
func (c *Client) resumeLocked(conn *connection) error {
	s, w := conn.session, conn.welcome
	if !w.Resumed {
		c.succeedLocked(s, w.ResumeReason)
		return errOrNil(conn.link.Open(link.Start{}))
	}
	err := conn.link.Open(link.Start{Resume: true, Seen: uint64(w.Seen), Offered: conn.offered})
	if err != nil {
		s.stream.End(err)
		s.token = nil // the service is not asked again
		return err
	}
	s.token = w.Token
	c.resumption = Resumption{Resumed: true}
	return nil
}

// errOrNil keeps a nil *bus.Error from becoming an error that is not nil.
func errOrNil(err *bus.Error) error {
	if err == nil {
		return nil
	}
	return err
}

// begin tells the program of a connection.
func (c *Client) begin(conn *connection) {
	c.connects.Add(1)
	resumption := c.Resumption()
	c.log.Info("connected", keys.TRID(bus.TRID(conn.welcome.TRID)), keys.Identity(bus.Identity(conn.welcome.Identity)),
		zap.String("node", conn.welcome.Node), zap.Bool("resumed", resumption.Resumed),
		zap.String("not_resumed", resumption.Reason), zap.Int("lost", resumption.Lost))
	defer close(conn.ready) // also if OnConnect ends its goroutine
	if lost := resumption.Lost; lost > 0 && c.cfg.OnError != nil {
		c.protect("OnError", func() {
			c.cfg.OnError(c, bus.Errorf(bus.CodeSessionLost, "the session ended: of %d messages it is not known whether they arrived", lost))
		})
	}
	if c.cfg.OnConnect != nil {
		c.protect("OnConnect", func() { c.cfg.OnConnect(conn.link.Context(), c) })
	}
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
