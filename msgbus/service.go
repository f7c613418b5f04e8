package msgbus

import (
	"context"
	"sync/atomic"
	"time"

	"busd/access"
	"busd/bus"
	"busd/internal/link"
	"busd/internal/wire"
	"busd/schema"
)

// An IdentityPolicy says what an identity is made of.
type IdentityPolicy uint8

// The identity policies.
const (
	// PerClient makes identities of the peer's name and the instance that the
	// client brings: "<peer>/<instance>". The zero value.
	PerClient IdentityPolicy = iota
	// PerCertificate makes them of the peer's name alone: one connection for
	// each certificate.
	PerCertificate
)

// A DuplicatePolicy says which connection stays when an identity connects
// again.
type DuplicatePolicy uint8

// The duplicate policies.
const (
	// NewerWins drops the older connection with [bus.CodeSuperseded]. The zero
	// value.
	NewerWins DuplicatePolicy = iota
	// OlderWins refuses the newer one with [bus.CodeAlreadyExists], and probes
	// the older: if it does not answer within 5 s it is dropped, and the next
	// attempt succeeds.
	OlderWins
)

// A Service is one contract and what this program does with it: messages, methods,
// or both. Fill in the
// fields, register handlers with [Handle], and give it to [NewServer]; after
// that it must not be changed. Its methods may be called concurrently.
type Service struct {
	// Schema is the contract; before the first [Handle]. Required, unless there are
	// Methods. [NewServer] adds those to it.
	Schema *schema.Schema
	// Methods answer calls, over connections and by HTTP; nil: there are none.
	Methods Methods
	// Aliases are further names, "System/Component", that the service answers
	// to.
	Aliases []string

	// Init runs once in [NewServer]; an error keeps the server from being
	// made. nil does nothing.
	Init func(ctx context.Context) error
	// OnConnect runs before a connection is welcomed. An error refuses it: the
	// client's connect fails with its code and reason. It may send to the
	// connection, with ctx, which happens after the welcome; it must not wait
	// for an answer from it. ctx ends after [Config.HelloTimeout], when a newer
	// connection of the same identity comes, and when [Server.Shutdown] waits no
	// longer; then the client is refused, and if OnConnect accepts it all the
	// same, OnDrop follows at once. nil accepts everybody whose certificate is
	// good.
	OnConnect func(ctx context.Context, c *Conn) error
	// OnDrop runs exactly once for each connection that OnConnect accepted,
	// after its last handler has returned, or what it was to handle has passed to
	// the session's next connection. why matches [bus.ErrDropped]. ctx ends after
	// 30 s. nil does nothing.
	OnDrop func(ctx context.Context, c *Conn, why error)
	// OnGone runs exactly once for each session of which OnConnect accepted a
	// connection, when it has ended: the client did not come back in time, said
	// goodbye, came without it, or could not keep up; or the server stops. It
	// runs after the last OnDrop of the session, and before OnConnect of the
	// identity's next one. why matches [bus.ErrDropped]. ctx ends after 30 s. nil
	// does nothing.
	OnGone func(ctx context.Context, identity bus.Identity, why error)

	// Allow is who may send the messages that have no rule of their own; the zero
	// rule: none. Rules are those rules, by message.
	// AllowConnect is who may connect; the zero rule: whoever may send or call
	// anything but ping and the like. What may be called Methods say themselves. What an operator says in [Config.Access] goes first. Where nobody
	// says anything of a message, nobody may send it, or, without Config.Access,
	// everybody with a certificate.
	Allow, AllowConnect access.Rule
	Rules               map[string]access.Rule

	Identity  IdentityPolicy
	Duplicate DuplicatePolicy
	// KeepOnError keeps the connection when a one-way message fails, for all
	// messages. The client still gets the error frame.
	KeepOnError bool

	// MaxConns bounds the service's connections; 0 is 50,000.
	MaxConns int
	// MaxMessage bounds a message from a client, in bytes on the wire; 0 is
	// 256 KiB. At most a quarter of Credit, and 512 KiB.
	MaxMessage int
	// Credit is what each client is granted, in bytes; 0 is 1 MiB. It bounds
	// what may wait for a connection's handlers.
	Credit int
	// Window is how long a session outlives its connection; 0 is 2 min. A
	// negative one is none: what a cut interrupts is lost, and told so.
	Window time.Duration

	contract *wire.Contract
	document string // of the contract, as welcomes have it
	guard    *access.Guard
	common   []string // methods that every service has
	handlers map[string]*Handler
	byIndex  []*Handler             // by their messages' indexes; fixed once the server is made
	methods  map[string]int         // by name: its index in permits
	server   atomic.Pointer[Server] // nil: none has it
	groups   groups
	stats    serviceStats
}

// Name returns the service's name, "System/Component".
func (s *Service) Name() string {
	if s.Schema == nil && s.Methods != nil {
		return s.Methods.Name()
	}
	return s.Schema.Service()
}

func (s *Service) mustBeOpen() {
	if s.server.Load() != nil {
		panic("msgbus: " + s.Name() + " belongs to a server: it must not be changed any more")
	}
}

func (s *Service) compiled() *wire.Contract {
	if s.Schema == nil {
		panic("msgbus: Service.Schema is required")
	}
	if s.contract == nil {
		s.contract = wire.Compile(s.Schema)
	}
	return s.contract
}

// complete checks a service that is given to a server, and fills in defaults.
func (s *Service) complete(policy *access.Policy) error {
	if s.Schema == nil && s.Methods == nil {
		return bus.Errorf(bus.CodeInvalidArgument, "a service without a schema and without methods")
	}
	if s.server.Load() != nil {
		return bus.Errorf(bus.CodeInvalidArgument, "service %s belongs to a server already", s.Name())
	}
	if err := s.joinMethods(); err != nil {
		return err
	}
	s.contract, s.document = s.compiled(), string(s.Schema.JSON())
	rules, err := s.rules()
	if err != nil {
		return err
	}
	s.guard, s.common = policy.Guard(s.Name(), rules), rules.Common
	s.MaxConns = orDefault(s.MaxConns, DefaultMaxConns)
	if s.Window == 0 {
		s.Window = DefaultWindow
	}
	s.Credit = orDefault(s.Credit, DefaultCredit)
	s.MaxMessage = orDefault(s.MaxMessage, min(DefaultMaxMessage, s.Credit/4))
	if s.MaxConns < 0 || s.Credit < minCredit || s.MaxMessage < 0 || s.MaxMessage > min(s.Credit/4, maxMessage) {
		return bus.Errorf(bus.CodeInvalidArgument, "service %s: want MaxConns > 0, Credit >= %d and MaxMessage at most a quarter of Credit and %d", s.Name(), minCredit, maxMessage)
	}
	for _, d := range s.Schema.Messages() {
		if d.From == schema.FromClient && s.handlers[d.Name] == nil {
			return bus.Errorf(bus.CodeInvalidArgument, "service %s: no handler for %s, which clients send", s.Name(), d.Name)
		}
	}
	s.byIndex = make([]*Handler, s.contract.Size())
	for name, h := range s.handlers {
		if m, ok := s.contract.Message(name); ok {
			s.byIndex[m.Index()] = h
		}
	}
	s.stats.init(s.contract)
	return nil
}

func orDefault(v, zero int) int {
	if v == 0 {
		return zero
	}
	return v
}

// Conn returns a connection of this service on this node.
func (s *Service) Conn(t bus.TRID) (*Conn, bool) {
	server := s.server.Load()
	if server == nil {
		return nil, false
	}
	c, ok := server.registry.conn(t)
	if !ok || c.service != s {
		return nil, false
	}
	return c, true
}

// Conns returns the service's connections on this node, one for each client that is
// connected, in no order. The list is shared and must not be changed.
func (s *Service) Conns() []*Conn {
	if server := s.server.Load(); server != nil {
		return server.registry.conns(s)
	}
	return nil
}

// sessions returns the service's sessions on this node, and what those before
// them have counted; the list is shared.
func (s *Service) sessions() ([]*agentSession, link.Counts) {
	if server := s.server.Load(); server != nil {
		return server.registry.tally(s)
	}
	return nil, link.Counts{}
}

// home returns the server that the service belongs to.
func (s *Service) home() (*Server, error) {
	if server := s.server.Load(); server != nil {
		return server, nil
	}
	return nil, bus.Errorf(bus.CodeNotFound, "the service has not been given to a server: nobody is connected to it")
}

// Send sends to any connection of the service, on any node. It returns once
// the message is queued, and waits for room until ctx ends. Where no such
// connection is, as before [NewServer], the error is [bus.CodeNotFound].
func (s *Service) Send(ctx context.Context, to bus.TRID, m schema.Message) error {
	server, err := s.home()
	if err != nil {
		return err
	}
	if c, ok := s.Conn(to); ok {
		return c.Send(ctx, m)
	}
	frame, _, err := s.frame(m)
	if err != nil {
		return err
	}
	return server.cfg.Relay.Send(ctx, s.Name(), to, frame)
}

// SendTo sends to an identity, wherever it is connected; while its session waits
// for it to come back, the message waits with it. Otherwise like [Service.Send].
func (s *Service) SendTo(ctx context.Context, to bus.Identity, m schema.Message) error {
	server, err := s.home()
	if err != nil {
		return err
	}
	msg, err := s.outgoing(m.MessageName())
	if err != nil {
		return err
	}
	scratch := wire.NewScratch()
	frame, err := wire.AppendData(scratch.Empty(), msg, m, wire.DataOptions{})
	defer func() { scratch.Free(frame) }()
	if err != nil {
		return wire.AsInvalid(err)
	}
	if found, ok := server.registry.identity(s, to); ok {
		if err := wire.CheckSize(frame, found.limit); err != nil {
			return err
		}
		err = found.stream.Send(ctx, frame, wire.DeliveryOf(msg, frame))
		if err == nil {
			s.stats.sent(msg, 1, len(frame))
		}
		return err
	}
	return server.cfg.Relay.SendTo(ctx, s.Name(), to, frame)
}

// Broadcast sends to all clients of the service, on all nodes, those too whose
// session waits for them to come back. The message is checked and encoded once.
// It waits for nobody: where there is no room, or a client takes no message that
// large, its session ends with [bus.CodeSlowConsumer], unless the message's class
// says that it may be dropped.
// The error says that the message is not one the service may send, that other
// nodes were not reached, or, with [bus.CodeNotFound], that the service belongs
// to no server yet.
func (s *Service) Broadcast(ctx context.Context, m schema.Message) error {
	server, err := s.home()
	if err != nil {
		return err
	}
	frame, delivery, err := s.frame(m)
	if err != nil {
		return err
	}
	s.broadcast(server.registry.sessions(s), m.MessageName(), frame, delivery)
	return server.cfg.Relay.Broadcast(ctx, s.Name(), "", frame)
}

func (s *Service) broadcast(to []*agentSession, message string, frame []byte, d wire.Delivery) {
	sent := 0
	for _, each := range to {
		if wire.CheckSize(frame, each.limit) != nil {
			// It takes less than others: a hole must not be hidden from it.
			each.stream.End(bus.Errorf(bus.CodeSlowConsumer, "a message larger than this client takes"))
		} else if each.stream.SendNow(frame, d) == nil {
			sent++
		}
	}
	if m, ok := s.contract.Message(message); ok {
		s.stats.sent(m, sent, sent*len(frame))
	}
}

// frame makes a data frame of a message that the service may send.
func (s *Service) frame(m schema.Message) ([]byte, wire.Delivery, error) {
	msg, err := s.outgoing(m.MessageName())
	if err != nil {
		return nil, wire.Delivery{}, err
	}
	scratch := wire.NewScratch()
	frame, err := wire.AppendData(scratch.Empty(), msg, m, wire.DataOptions{})
	frame = scratch.Take(frame)
	if err != nil {
		return nil, wire.Delivery{}, wire.AsInvalid(err)
	}
	return frame, wire.DeliveryOf(msg, frame), nil
}

// outgoing finds a message that the service may send.
func (s *Service) outgoing(name string) (*wire.Message, error) {
	return s.contract.Outgoing(name, schema.FromService)
}
