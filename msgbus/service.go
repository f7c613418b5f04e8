package msgbus

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

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

// A Service is one contract and what this program does with it. Fill in the
// fields, register handlers with [Handle], and give it to [NewServer]; after
// that it must not be changed. Its methods may be called concurrently.
type Service struct {
	// Schema is the contract. Required; before the first [Handle].
	Schema *schema.Schema
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
	handlers map[string]*Handler
	server   atomic.Pointer[Server] // nil: none has it
	groups   groups
	stats    serviceStats
}

// Name returns the service's name, "System/Component".
func (s *Service) Name() string { return s.Schema.Service() }

// A Handler is a registered handler. Its methods are for the time before
// [NewServer] and return it, so that they can be chained to [Handle].
type Handler struct {
	service *Service
	message string
	atOnce  int
	keep    bool
	call    func(ctx context.Context, c *Conn, body []byte) error
}

// AtOnce lets up to n messages of this type be handled at a time for each
// connection; their handlers are started in the order of sending, and then race.
// n must be positive.
func (h *Handler) AtOnce(n int) *Handler {
	if n < 1 {
		panic(fmt.Sprintf("msgbus: %s: AtOnce(%d): want a positive number", h.message, n))
	}
	h.service.mustBeOpen()
	h.atOnce = n
	return h
}

// KeepOnError keeps the connection when a one-way message of this type fails.
func (h *Handler) KeepOnError() *Handler {
	h.service.mustBeOpen()
	h.keep = true
	return h
}

// Handle registers fn for messages of type M, a struct or a pointer to one. It
// panics if the contract has no such message, if clients may not send it, if M
// does not fit it, if there is a handler already, or if the service has been
// given to a server: all of these are mistakes of the program, found as it
// starts.
//
// The message is fn's own. ctx ends when the connection's handlers must, and
// for a request when its time is over or its sender cancels it. What fn sends
// it sends with ctx (see [Conn.Send]). What fn returns follows the error rule
// in the package's documentation.
func Handle[M schema.Message](s *Service, fn func(ctx context.Context, c *Conn, m M) error) *Handler {
	m := s.register(wire.NameOf[M]())
	unpack, err := wire.UnpackerFor[M](m)
	if err != nil {
		panic(fmt.Sprintf("msgbus: %s: %v", m.Name(), err))
	}
	return s.add(m, func(ctx context.Context, c *Conn, body []byte) error {
		msg, err := unpack(body)
		if err != nil {
			return err
		}
		return fn(ctx, c, msg)
	})
}

// HandleRecord registers fn for a message that has no Go type here. It panics
// as [Handle] does.
func HandleRecord(s *Service, message string, fn func(ctx context.Context, c *Conn, m *schema.Record) error) *Handler {
	m := s.register(message)
	return s.add(m, func(ctx context.Context, c *Conn, body []byte) error {
		record, err := m.Record(body)
		if err != nil {
			return err
		}
		return fn(ctx, c, record)
	})
}

// register finds the message of a handler to be.
func (s *Service) register(message string) *wire.Message {
	s.mustBeOpen()
	m, ok := s.compiled().Message(message)
	switch {
	case !ok:
		panic(fmt.Sprintf("msgbus: the contract of %s has no message %s", s.Name(), message))
	case m.Definition().From == schema.FromService:
		panic(fmt.Sprintf("msgbus: %s: clients never send it, so it needs no handler", message))
	case s.handlers[message] != nil:
		panic(fmt.Sprintf("msgbus: %s has a handler already", message))
	}
	return m
}

func (s *Service) add(m *wire.Message, call func(context.Context, *Conn, []byte) error) *Handler {
	h := &Handler{service: s, message: m.Name(), atOnce: 1, call: call}
	if s.handlers == nil {
		s.handlers = map[string]*Handler{}
	}
	s.handlers[m.Name()] = h
	return h
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
func (s *Service) complete() error {
	if s.Schema == nil {
		return bus.Errorf(bus.CodeInvalidArgument, "a service without a schema")
	}
	if s.server.Load() != nil {
		return bus.Errorf(bus.CodeInvalidArgument, "service %s belongs to a server already", s.Name())
	}
	s.contract = s.compiled()
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
	s.stats.init(s.Schema)
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
	frame, _, err := s.frame(m, wire.DataOptions{})
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
	frame, delivery, err := s.frame(m, wire.DataOptions{})
	if err != nil {
		return err
	}
	if found, ok := server.registry.identity(s, to); ok {
		if err := wire.CheckSize(frame, found.limit); err != nil {
			return err
		}
		err = found.stream.Send(ctx, frame, delivery)
		if err == nil {
			s.stats.sent(m.MessageName(), len(frame))
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
	frame, delivery, err := s.frame(m, wire.DataOptions{})
	if err != nil {
		return err
	}
	s.broadcast(server.registry.sessions(s), m.MessageName(), frame, delivery)
	return server.cfg.Relay.Broadcast(ctx, s.Name(), "", frame)
}

func (s *Service) broadcast(to []*agentSession, message string, frame []byte, d wire.Delivery) {
	for _, each := range to {
		if wire.CheckSize(frame, each.limit) != nil {
			// It takes less than others: a hole must not be hidden from it.
			each.stream.End(bus.Errorf(bus.CodeSlowConsumer, "a message larger than this client takes"))
		} else if each.stream.SendNow(frame, d) == nil {
			s.stats.sent(message, len(frame))
		}
	}
}

// frame encodes a data frame of a message that the service may send.
func (s *Service) frame(m schema.Message, o wire.DataOptions) ([]byte, wire.Delivery, error) {
	msg, err := s.outgoing(m.MessageName())
	if err != nil {
		return nil, wire.Delivery{}, err
	}
	frame, err := wire.AppendData(nil, msg, m, o)
	if err != nil {
		return nil, wire.Delivery{}, wire.AsInvalid(err)
	}
	return frame, wire.DeliveryOf(msg, frame), nil
}

// outgoing finds a message that the service may send.
func (s *Service) outgoing(name string) (*wire.Message, error) {
	return s.contract.Outgoing(name, schema.FromService)
}
