package msgbus

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"go.uber.org/zap"

	"busd/bus"
	"busd/internal/keys"
	"busd/internal/link"
	"busd/internal/session"
	"busd/internal/wire"
	"busd/internal/ws"
	"busd/schema"
)

// A greeting takes one client from the upgrade to its end: hello, identity,
// OnConnect, welcome, the link's life, OnDrop.
type greeting struct {
	server  *Server
	service *Service
	peer    bus.Peer
	remote  string
	socket  *ws.Socket
	began   time.Time
	behind  bool // OnConnect runs on after its time
}

// run is the connection's goroutine; once the client is welcomed it is the
// link's reader.
func (g *greeting) run() {
	s := g.server
	defer func() {
		if !g.behind { // else OnConnect's goroutine does
			s.gate.leave(g.service, g.peer.Name)
		}
	}()
	hello, err := g.readHello()
	if err != nil {
		g.refuse(err)
		return
	}
	c, err := g.conn(hello)
	if err != nil {
		g.refuse(err)
		return
	}
	log := s.log.With(keys.Service(g.service.Name()), keys.TRID(c.trid), keys.Identity(c.identity))
	c.link = g.link(c, hello, log)
	err = g.admit(c)
	if err == nil {
		g.live(c, hello, log)
	}
	if !g.behind {
		g.over(c)
	}
	if err != nil {
		g.refuse(err)
	}
}

// over lets the next connection of the identity go on, which may have waited:
// of this one no callback runs any more.
func (g *greeting) over(c *Conn) {
	g.server.registry.release(c)
	close(c.gone)
}

// refuse ends a connection that was not welcomed.
func (g *greeting) refuse(err error) {
	g.server.log.Info("connection refused", keys.Service(g.service.Name()), keys.Peer(g.peer),
		keys.Remote(g.remote), keys.Code(err), keys.Reason(err))
	g.service.stats.refused(bus.CodeOf(err))
	link.Refuse(g.socket, err)
}

// readHello reads the first message, which must be a hello and nothing else.
func (g *greeting) readHello() (*wire.HelloFrame, error) {
	limit := g.server.cfg.HelloTimeout
	g.socket.Limit(maxHello, limit, time.Now().Add(limit))
	stop := context.AfterFunc(g.server.gate.open, g.socket.Abort) // a server that stops waits for no hello
	b, err := g.socket.Read()
	stop()
	switch {
	case bus.CodeOf(err) == bus.CodeDeadlineExceeded && !errors.As(err, new(*link.Fault)):
		return nil, bus.Errorf(bus.CodeDeadlineExceeded, "no hello within %s", limit)
	case err != nil:
		return nil, err
	}
	f, err := wire.Decoder{}.Next(b)
	switch {
	case err != nil:
		return nil, link.AsFault(err)
	case f.Kind != wire.Hello:
		return nil, bus.Errorf(bus.CodeProtocolError, "want a hello first, got %s", f.Kind)
	case f.Size != len(b):
		return nil, bus.Errorf(bus.CodeProtocolError, "nothing but the hello may be sent before the welcome")
	}
	hello, err := wire.DecodeHello(f.Body)
	if err != nil {
		return nil, err
	}
	if hello.Credit == 0 {
		hello.Credit = DefaultCredit
	}
	if hello.Credit < minCredit || hello.Credit > maxCredit {
		return nil, bus.Errorf(bus.CodeProtocolError, "hello: want credit from %d to %d bytes, got %d", minCredit, maxCredit, hello.Credit)
	}
	return hello, nil
}

// maxCredit bounds what a client can make this end keep track of.
const maxCredit = 1 << 30

// conn makes the connection's object, with its identity.
func (g *greeting) conn(hello *wire.HelloFrame) (*Conn, error) {
	identity := g.peer.Name
	if g.service.Identity == PerClient {
		if err := bus.CheckInstance(hello.Instance); err != nil {
			return nil, err
		}
		identity += "/" + hello.Instance
	}
	args, err := wire.DecodeArgs(hello.Args)
	if err != nil {
		return nil, link.AsFault(err)
	}
	return &Conn{
		service:  g.service,
		trid:     bus.NewTRID(),
		identity: bus.Identity(identity),
		peer:     g.peer,
		remote:   g.remote,
		args:     args,
		program:  Program{hello.Client.Name, hello.Client.Version},
		since:    g.began,
		limit:    min(DefaultMaxMessage, int(hello.Credit/4)),
		gone:     make(chan struct{}),
	}, nil
}

func (g *greeting) link(c *Conn, hello *wire.HelloFrame, log *zap.Logger) *link.Link {
	return link.New(link.Config{
		Socket:       g.socket,
		Session:      session.New(g.service.Credit, int(hello.Credit), session.DefaultBuffer),
		Decoder:      wire.Decoder{Contract: g.service.contract, From: schema.FromClient, Limit: g.service.MaxMessage},
		Handler:      &dispatch{conn: c, log: log},
		MessageLimit: maxBatch,
		Silence:      g.server.cfg.Idle,
	})
}

// admit makes the connection its identity's, once the last one of it is gone,
// and asks OnConnect.
func (g *greeting) admit(c *Conn) error {
	older, claimed := g.server.registry.claim(c)
	if !claimed {
		if _, live := g.server.registry.conn(older.trid); live { // else nobody reads its pong yet
			older.link.Probe(probeWait)
		}
		return bus.Errorf(bus.CodeAlreadyExists, "%s is connected already", c.identity)
	}
	if older != nil {
		older.Drop(bus.CodeSuperseded, "the same identity connected again")
		select {
		case <-older.gone:
		case <-time.After(supersedeWait):
		case <-g.server.patience.Done():
		}
	}
	return g.onConnect(c)
}

// onConnect runs the service's callback within its time. One that does not
// return is left behind: it must not hold the connection.
func (g *greeting) onConnect(c *Conn) error {
	if cause := c.link.Cause(); cause != nil {
		return cause // superseded while it waited
	}
	if g.service.OnConnect == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(g.server.patience, g.server.cfg.HelloTimeout)
	defer cancel()
	if ctx.Err() != nil {
		return g.turnAway(c, g.late())
	}
	stop := context.AfterFunc(c.link.Context(), cancel)
	defer stop()
	returned := make(chan error)
	left := make(chan struct{})
	go func() { // ends with OnConnect, whose context is over when it is left behind
		err := g.protect("OnConnect", func() error { return g.service.OnConnect(ctx, c) })
		select {
		case returned <- err:
		case <-left:
			if err == nil {
				g.onDrop(c, c.link.Cause()) // too late; but whom it accepted it sees dropped
			}
			g.over(c)
			g.server.gate.leave(g.service, g.peer.Name)
		}
	}()
	select {
	case err := <-returned:
		e := bus.AsError(err)
		if e == nil { // also a nil *bus.Error
			return nil
		}
		refusal := *e
		refusal.Remote = false // whoever told OnConnect, this service tells the client
		return g.turnAway(c, &refusal)
	case <-ctx.Done():
		g.behind = true
		err := g.turnAway(c, g.late())
		close(left)
		return err
	}
}

// late says why a connection was not accepted in time.
func (g *greeting) late() *bus.Error {
	if g.server.patience.Err() != nil {
		return bus.Errorf(bus.CodeGoingAway, "the server is shutting down")
	}
	return bus.Errorf(bus.CodeDeadlineExceeded, "the service did not accept the connection in time")
}

// turnAway ends the link of a connection that is not welcomed, so that OnConnect
// cannot leave anything behind on it, and returns why it ended: it may have been
// superseded first.
func (g *greeting) turnAway(c *Conn, why *bus.Error) error {
	c.link.Drop(why)
	g.service.groups.leave(c)
	return c.link.Cause()
}

// protect runs a callback of the service and makes an error of its panic.
func (g *greeting) protect(name string, call func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			g.server.log.Error(name+" panicked", keys.Service(g.service.Name()), keys.Stack(debug.Stack()),
				zap.String("reason", fmt.Sprint(v)))
			err = bus.Errorf(bus.CodeInternal, "the service failed")
		}
	}()
	return call()
}

// live welcomes the client and serves it to its end.
func (g *greeting) live(c *Conn, hello *wire.HelloFrame, log *zap.Logger) {
	s := g.server
	s.registry.add(c)
	if s.gate.isClosed() { // Shutdown may not have seen it
		c.Drop(bus.CodeGoingAway, "the server is shutting down")
	}
	s.cfg.Relay.Announce(g.service.Name(), c.trid, c.identity)
	log.Info("connection opened", keys.Peer(c.peer), keys.Remote(c.remote),
		zap.String("client", c.program.Name), zap.String("client_version", c.program.Version))
	g.service.stats.opened()

	why := c.link.Run(wire.AppendWelcome(nil, g.welcome(c, hello)), nil)

	s.registry.remove(c)
	g.service.groups.leave(c)
	s.cfg.Relay.Withdraw(g.service.Name(), c.trid, c.identity)
	g.onDrop(c, why)
	s.logEnd(c, log, why)
}

func (g *greeting) onDrop(c *Conn, why error) {
	if g.service.OnDrop == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), dropTimeout)
	defer cancel()
	_ = g.protect("OnDrop", func() error { // it has logged what went wrong, and nobody else is to be told
		g.service.OnDrop(ctx, c, why)
		return nil
	})
}

func (g *greeting) welcome(c *Conn, hello *wire.HelloFrame) *wire.WelcomeFrame {
	cfg := g.server.cfg
	w := &wire.WelcomeFrame{
		TRID:        string(c.trid),
		Identity:    string(c.identity),
		Credit:      int64(g.service.Credit),
		KeepAliveMS: cfg.KeepAlive.Milliseconds(),
		IdleMS:      cfg.Idle.Milliseconds(),
		Limits: wire.Limits{
			Message: int64(g.service.MaxMessage), Batch: maxBatch,
			Depth: schema.MaxDepth, Values: schema.MaxValues,
		},
		Node:        cfg.Node,
		Fingerprint: g.service.Schema.Fingerprint(),
	}
	if hello.Fingerprint != w.Fingerprint {
		w.Contract = string(g.service.Schema.JSON())
	}
	if hello.Session != "" {
		w.ResumeReason = "unknown"
	}
	return w
}
