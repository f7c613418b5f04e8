package msgbus

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"busd/access"
	"busd/bus"
	"busd/internal/keys"
	"busd/internal/link"
	"busd/internal/wire"
	"busd/internal/ws"
	"busd/schema"
)

// A greeting takes one client from the upgrade to its welcome: hello, identity,
// OnConnect.
type greeting struct {
	server  *Server
	service *Service
	caller  access.Caller
	remote  string
	home    string // where the client has found the service, a URL
	socket  *ws.Socket
	began   time.Time
	behind  bool // OnConnect runs on after its time
}

// run returns once the client is welcomed, or refused.
func (g *greeting) run() {
	if err := g.greet(); err != nil {
		g.refuse(err)
		g.leaveGate()
	}
}

// leaveGate gives the place of a connection that was not welcomed to another.
func (g *greeting) leaveGate() {
	if !g.behind { // else OnConnect's goroutine does
		g.server.gate.leave(g.service, g.caller.Peer.Name)
	}
}

// greet welcomes the client, or says why not.
func (g *greeting) greet() error {
	s := g.server
	hello, err := g.readHello()
	if err != nil {
		return err
	}
	c, err := g.conn(hello)
	if err == nil {
		err = g.authorize(c)
	}
	if err != nil {
		return err
	}
	got, refused := s.registry.claim(c, askOf(hello), func(held *agentSession) { c.link = g.link(c, held) })
	if refused != nil {
		g.lost(got.older)
		return refused
	}
	err = g.admit(c, got)
	if err == nil {
		err = g.live(c, hello, got)
	}
	if err != nil && !g.behind { // as above
		s.registry.over(c)
	}
	return err
}

// askOf is what a hello says of the session that the client wants.
func askOf(hello *wire.HelloFrame) ask {
	return ask{
		sessions: slices.Contains(hello.Features, wire.FeatureResume),
		id:       hello.Session, token: hello.Token, seen: uint64(hello.Seen), move: hello.Move,
		credit: int(hello.Credit),
	}
}

// lost probes the connection for whose sake a newer one was refused.
func (g *greeting) lost(older *Conn) {
	if older == nil {
		return
	}
	if _, live := g.server.registry.conn(older.trid); live { // else nobody reads its pong yet
		older.link.Probe(probeWait)
	}
}

// refuse ends a connection that was not welcomed.
func (g *greeting) refuse(err error) {
	g.server.log.Info("connection refused", keys.Service(g.service.Name()), keys.Peer(g.caller.Peer),
		keys.Remote(g.remote), keys.Code(err), keys.Reason(err))
	g.service.stats.refused(bus.CodeOf(err))
	link.Refuse(g.socket, err)
}

// readHello reads the first message, which must be a hello and nothing else.
func (g *greeting) readHello() (*wire.HelloFrame, error) {
	limit := g.server.cfg.HelloTimeout
	g.socket.Limit(maxHello, limit, time.Now().Add(limit))
	interrupted := make(chan struct{})
	stop := context.AfterFunc(g.server.gate.open, func() { // a server that stops waits for no hello
		g.socket.Interrupt()
		close(interrupted)
	})
	b, err := g.socket.Read()
	if !stop() {
		<-interrupted
		return nil, bus.Errorf(bus.CodeGoingAway, "the server is shutting down").
			WithRetry(bus.Retry{When: bus.RetryAfter, After: g.server.gate.retryAfter()})
	}
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
	identity := g.caller.Peer.Name
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
	claim, err := claimOf(args)
	if err != nil {
		return nil, err
	}
	c := &Conn{
		service:  g.service,
		trid:     bus.NewTRID(),
		identity: bus.Identity(identity),
		caller:   g.caller,
		claim:    claim,
		remote:   g.remote,
		home:     g.home,
		program:  Program{hello.Client.Name, hello.Client.Version},
		since:    g.began,
		moves:    slices.Contains(hello.Features, wire.FeatureMove),
		gone:     make(chan struct{}),
	}
	c.args.Store(&args)
	return c, nil
}

// authorize decides whether the client may connect: each time that it comes, also
// with a session.
func (g *greeting) authorize(c *Conn) error {
	if why := revoked(&c.caller); why != nil { // since the handshake
		return why
	}
	grant, denied := g.service.guard.Connect(&c.caller, c.claim)
	if denied != nil {
		return denied
	}
	c.grant = grant
	return nil
}

func (g *greeting) link(c *Conn, held *agentSession) *link.Link {
	s := g.server // and not the greeting, which has the socket: a session at rest keeps its last link
	return link.New(link.Config{
		Socket:       g.socket,
		Decoder:      wire.Decoder{Contract: g.service.contract, From: schema.FromClient, Limit: g.service.MaxMessage},
		Handler:      &dispatch{conn: c, log: s.log},
		Heard:        func() { s.registry.heard(c) },
		Over:         func() { s.registry.left(c) },
		MessageLimit: maxBatch,
		Silence:      s.cfg.Idle,
	}, held.stream)
}

// live welcomes the client, and has it served to its end by another goroutine. It
// fails if the session ended before the welcome.
func (g *greeting) live(c *Conn, hello *wire.HelloFrame, got claim) error {
	s := g.server
	welcome := g.welcome(c, hello, got)
	s.cfg.Relay.Announce(g.service.Name(), c.trid, c.identity) // who is welcomed can be reached from everywhere
	err := s.registry.carry(c, link.Start{
		Resume: got.resumed, Seen: uint64(hello.Seen),
		First: func(seen uint64) []byte {
			welcome.Seen = int64(seen)
			return wire.AppendWelcome(nil, welcome)
		},
	})
	if err != nil { // OnConnect has accepted it all the same
		c.link.Drop(err)
		s.cfg.Relay.Withdraw(g.service.Name(), c.trid, c.identity)
		s.onDrop(c, err.Dropped())
		return err
	}
	if got.move {
		g.leave(got.carrier)
	}
	s.greetLate(c)
	s.recheck(c) // whom AccessChanged has not found yet
	s.recredit(c)
	unwatch := watchExpiry(c)
	s.log.Info("connection opened", c.story(keys.Peer(c.caller.Peer), keys.Certificate(c.caller.Peer), keys.Remote(c.remote), zap.Bool("resumed", got.resumed),
		zap.String("client", cut(c.program.Name)), zap.String("client_version", cut(c.program.Version)))...)
	g.service.stats.opened(got.resumed, got.reason)
	s.gate.pace.welcomed()

	// A goroutine of its own, which keeps nothing of the request, nor the stack that
	// the HTTP handler's has grown. Measured: 4 KiB of stack a connection instead of 8.
	go c.link.Serve(nil, func(why error) {
		unwatch()
		s.left(c, why)
	})
	return nil
}

// left is for when a connection that was welcomed has ended.
func (s *Server) left(c *Conn, why error) {
	s.registry.remove(c)
	s.cfg.Relay.Withdraw(c.service.Name(), c.trid, c.identity)
	s.onDrop(c, why)
	s.logEnd(c, why)
	s.registry.over(c)
	s.gate.leave(c.service, c.caller.Peer.Name)
}

// leave ends the connection that a client has moved away from, if the client
// does not. Its session must not seem to end with it: the welcome of the move may
// not have come yet.
func (g *greeting) leave(older *Conn) {
	moved := bus.Errorf(bus.CodeUnavailable, "the client moved to another connection")
	timer := time.AfterFunc(moveWait, func() { older.link.Drop(moved) })
	context.AfterFunc(older.link.Context(), func() { timer.Stop() })
}

func (g *greeting) welcome(c *Conn, hello *wire.HelloFrame, got claim) *wire.WelcomeFrame {
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
		w.Contract = g.service.document
	}
	w.Resumed, w.ResumeReason = got.resumed, got.reason
	if got.token != nil {
		w.Session, w.Token, w.WindowMS = c.session.id, got.token, c.session.window.Milliseconds()
		w.Features = append(w.Features, wire.FeatureResume)
	}
	if c.moves {
		w.Features = append(w.Features, wire.FeatureMove)
	}
	return w
}
