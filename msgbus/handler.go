package msgbus

import (
	"context"
	"fmt"

	"busd/internal/wire"
	"busd/schema"
)

// A Handler is a registered handler. Its methods are for the time before
// [NewServer] and return it, so that they can be chained to [Handle].
type Handler struct {
	service *Service
	message string
	index   int // in permits
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
	h := &Handler{service: s, message: m.Name(), index: len(s.handlers), atOnce: 1, call: call}
	if s.handlers == nil {
		s.handlers = map[string]*Handler{}
	}
	s.handlers[m.Name()] = h
	return h
}
