package msgbus

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"busd/access"
	"busd/bus"
	"busd/internal/keys"
	"busd/internal/link"
	"busd/internal/mtls"
	"busd/schema"
)

// Defaults and bounds; docs/configuration.md and docs/protocol.md state them.
const (
	// DefaultMaxConns bounds the connections of a server, and of a service.
	DefaultMaxConns = 50_000
	// DefaultMaxConnsPerPeer bounds the connections of one peer.
	DefaultMaxConnsPerPeer = 1024
	// DefaultMaxMessage bounds a message, in bytes on the wire.
	DefaultMaxMessage = 256 << 10
	// DefaultCredit is what each end grants the other, in bytes.
	DefaultCredit = 1 << 20
	// DefaultKeepAlive is how often clients are told to ping.
	DefaultKeepAlive = 30 * time.Second
	// DefaultIdle is after how much silence a client is dropped.
	DefaultIdle = 75 * time.Second
	// DefaultWindow is how long a session outlives its connection.
	DefaultWindow = 2 * time.Minute
	// DefaultHelloTimeout is how long a client may take to say hello, and
	// OnConnect to answer it.
	DefaultHelloTimeout = 10 * time.Second
	// DefaultTimeout bounds a request, or the wait for an ack, whose context
	// has no deadline.
	DefaultTimeout = link.DefaultTimeout

	// maxBatch bounds a WebSocket message, which may hold several frames.
	maxBatch = 1 << 20
	// maxMessage is what MaxMessage may be: a WebSocket message holds a frame
	// beside what was queued with it, and a client's buffer of as much.
	maxMessage = maxBatch / 2
	// maxHello bounds the first message.
	maxHello = 16 << 10
	// minCredit is the least credit that lets a protocol work.
	minCredit = 4 << 10
	// supersedeWait is how long OnConnect of the next connection waits for
	// OnDrop of the last: a hung handler must not lock its agent out.
	supersedeWait = 5 * time.Second
	// goodbyeWait is how long a connection that was superseded may take to hear
	// of it: on a dead line OnDrop must not wait for as long as supersedeWait.
	goodbyeWait = 2 * time.Second
	// probeWait is how long an older connection has to answer when a newer one
	// of its identity was refused.
	probeWait = 5 * time.Second
	// moveWait is how long a connection that its client has moved away from may
	// linger.
	moveWait = 10 * time.Second
	// dropTimeout is how long the contexts of OnDrop and OnGone live.
	dropTimeout = 30 * time.Second
)

// Config is what a [Server] needs to know. The zero value works.
type Config struct {
	// Logger gets two lines for each connection, one for each refusal, and
	// what went wrong. nil is silence.
	Logger *zap.Logger
	// Node names this server in welcomes; empty is none.
	Node string
	// PeerName says which part of a certificate is a peer's name: "auto" (nil
	// means the same), or one or more of "spiffe", "uri", "dns", "email",
	// "cn", "dn", of which the first that the certificate has is taken.
	PeerName []string
	// Access says who is who and who may do what; nil is [access.Open]. After it was
	// swapped, [Server.AccessChanged] is to be called.
	Access *access.Policy
	// Authenticate finds out who sends a request; nobody is the zero Caller, and a
	// credential that is no good an error. Stable connections are for certificates:
	// a token opens none. Whether a Credential was revoked is asked again by
	// [Server.CredentialsChanged], and NotAfter ends the connection. nil: by the TLS certificate alone, named as PeerName says.
	Authenticate func(*http.Request) (access.Caller, *bus.Error)
	// Origins are the values of the Origin header that may open a connection.
	// Browsers send one, agents none; nil refuses them all.
	Origins []string
	// Relay reaches connections on other nodes; nil: there are none.
	Relay Relay

	// MaxConns bounds the connections of the server, MaxConnsPerPeer those of
	// one peer; 0 is 50,000 and 1,024. Beyond a bound a client gets HTTP 503
	// with Retry-After.
	MaxConns        int
	MaxConnsPerPeer int
	// MaxSessionMemory bounds, in bytes, what the sessions of clients that are
	// away keep for them, a quarter of it those of one peer; 0 is 64 MiB. Beyond
	// it those end that have kept something for longest. There are at most as
	// many of them as MaxConns and MaxConnsPerPeer say: beyond that those end
	// whose clients have been away for longest.
	MaxSessionMemory int
	// KeepAlive is how often clients are to ping, Idle after how much silence
	// they are dropped; 0 is 30 s and 75 s. Idle must be more than twice
	// KeepAlive.
	KeepAlive time.Duration
	Idle      time.Duration
	// HelloTimeout is how long a client may take to say hello, and OnConnect
	// to answer it; 0 is 10 s.
	HelloTimeout time.Duration
}

// complete checks and fills in defaults.
func (c *Config) complete() error {
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.Relay == nil {
		c.Relay = alone{}
	}
	if c.Access == nil {
		c.Access = access.Open()
	}
	c.MaxConns = orDefault(c.MaxConns, DefaultMaxConns)
	c.MaxConnsPerPeer = orDefault(c.MaxConnsPerPeer, DefaultMaxConnsPerPeer)
	c.MaxSessionMemory = orDefault(c.MaxSessionMemory, DefaultMaxSessionMemory)
	for _, d := range []struct {
		value *time.Duration
		zero  time.Duration
	}{{&c.KeepAlive, DefaultKeepAlive}, {&c.Idle, DefaultIdle}, {&c.HelloTimeout, DefaultHelloTimeout}} {
		if *d.value == 0 {
			*d.value = d.zero
		}
	}
	switch {
	case c.MaxConns < 0 || c.MaxConnsPerPeer < 0 || c.MaxSessionMemory < 0:
		return bus.Errorf(bus.CodeInvalidArgument, "MaxConns, MaxConnsPerPeer and MaxSessionMemory must be positive")
	case c.KeepAlive < 0 || c.HelloTimeout < 0:
		return bus.Errorf(bus.CodeInvalidArgument, "KeepAlive and HelloTimeout must be positive")
	case c.Idle <= 2*c.KeepAlive:
		return bus.Errorf(bus.CodeInvalidArgument, "Idle (%s) must be more than twice KeepAlive (%s)", c.Idle, c.KeepAlive)
	}
	return nil
}

// A Server holds the connections of its services. It is an http.Handler for
// paths "/System/Component", and, where a service has methods, one element below
// them; it never listens. The requests must come over TLS with client certificates
// verified, or with what [Config.Authenticate] takes; those without are answered
// 401, unless they are calls: whom a method wants is its own business.
//
// Its methods may be called concurrently.
type Server struct {
	// Fixed at creation.
	cfg      Config
	log      *zap.Logger
	naming   mtls.Naming
	services map[string]*Service // by name and alias
	list     []*Service

	registry *registry
	gate     admission
	leaving  atomic.Pointer[farewell] // nil: the server does not stop

	patience context.Context // ends when a Shutdown waits for nobody any more
	halt     context.CancelFunc
}

// NewServer makes a server. It starts nothing. It fails if two services have a
// name in common, if a service has no handler for a message that only clients
// send, or if a service's Init fails; then it may be tried again with the same
// services.
func NewServer(cfg Config, services ...*Service) (*Server, error) {
	asked := cfg.Access
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	naming, err := mtls.NewNaming(cfg.PeerName...)
	if err != nil {
		return nil, fmt.Errorf("PeerName: %w", err)
	}
	s := &Server{
		cfg: cfg, log: cfg.Logger.Named("msgbus"), naming: naming,
		services: map[string]*Service{}, list: services,
	}
	s.registry = newRegistry(cfg, s.onGone)
	s.gate.init(cfg)
	s.patience, s.halt = context.WithCancel(context.Background())
	for _, svc := range services {
		if b, ok := svc.Methods.(binder); ok {
			if err := b.Bind(asked, s.authenticator(), cfg.Logger); err != nil {
				return nil, err
			}
		}
		if err := svc.complete(cfg.Access); err != nil {
			return nil, err
		}
		for _, name := range append([]string{svc.Name()}, svc.Aliases...) {
			if err := schema.CheckService(name); err != nil {
				return nil, bus.Errorf(bus.CodeInvalidArgument, "service %s: alias: %v", svc.Name(), err)
			}
			if s.services[name] != nil {
				return nil, bus.Errorf(bus.CodeAlreadyExists, "two services are named %s", name)
			}
			s.services[name] = svc
		}
	}
	if err := s.initServices(); err != nil {
		return nil, err
	}
	return s, nil
}

// initServices makes the services the server's; if one cannot begin, none of
// them is.
func (s *Server) initServices() error {
	for _, svc := range s.list {
		svc.server.Store(s) // what Init starts may send already
	}
	for _, svc := range s.list {
		if svc.Init == nil {
			continue
		}
		if err := svc.Init(context.Background()); err != nil {
			for _, svc := range s.list {
				svc.server.Store(nil)
			}
			return fmt.Errorf("service %s: init: %w", svc.Name(), err)
		}
	}
	return nil
}

// Services returns the server's services in the order in which they were given.
func (s *Server) Services() []*Service { return append([]*Service(nil), s.list...) }

var _ http.Handler = (*Server)(nil)

// story is what a log line about a connection says: which it is, and more. A logger
// that has this already would cost each connection 1.5 KiB.
func (c *Conn) story(more ...zap.Field) []zap.Field {
	return append([]zap.Field{keys.Service(c.service.Name()), keys.TRID(c.trid), keys.Identity(c.identity)}, more...)
}

// logEnd writes the last line of a connection's story.
func (s *Server) logEnd(c *Conn, why error) {
	s.log.Info("connection dropped", c.story(keys.Code(why), keys.Reason(why),
		keys.Duration(time.Since(c.since)), keys.In(c.in.Load()), keys.Out(c.out.Load()))...)
	var e *bus.Error
	if errors.As(why, &e) {
		c.service.stats.dropped(e.Code)
	}
}
