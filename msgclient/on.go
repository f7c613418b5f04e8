package msgclient

import (
	"context"
	"sync"
	"sync/atomic"

	"busd/bus"
	"busd/internal/wire"
	"busd/schema"
)

// A Subscription is a registered handler.
type Subscription struct {
	set     *subscriptions
	message string // empty: all messages
	// call handles a message's attributes, fit sees whether its type fits.
	call func(ctx context.Context, c *Client, m *wire.Message, body []byte) error
	fit  func(m *wire.Message) error
}

// subscriptions are a client's handlers.
type subscriptions struct {
	mu sync.Mutex
	// Guarded by mu. Replaced whole, so that what was read can be used without
	// the lock.
	one map[string]*Subscription
	any []*Subscription
}

// On registers fn for messages of type M, a struct or a pointer to one. It
// takes the place of an earlier handler of the same message. It may be called
// at any time, also inside a handler. The type is compared with the service's
// contract at each connect; one that does not fit makes the attempt fail with
// [bus.CodeSchemaMismatch].
//
// The message is fn's own, and c is the client that received it. ctx ends when
// the connection's handlers must, and for a request when its time is over or
// the service cancels it. What fn sends it sends with ctx (see [Client.Send]).
func On[M schema.Message](c *Client, fn func(ctx context.Context, c *Client, m M) error) *Subscription {
	var plan atomic.Pointer[unpacking[M]]
	unpackerOf := func(m *wire.Message) (*unpacking[M], error) {
		if p := plan.Load(); p != nil && p.message == m {
			return p, nil
		}
		unpack, err := wire.UnpackerFor[M](m)
		if err != nil {
			return nil, bus.Wrap(bus.CodeSchemaMismatch, err, "the service's message "+m.Name()+" does not fit this client")
		}
		p := &unpacking[M]{m, unpack}
		plan.Store(p)
		return p, nil
	}
	return c.handlers.add(&Subscription{
		message: wire.NameOf[M](),
		call: func(ctx context.Context, c *Client, m *wire.Message, body []byte) error {
			p, err := unpackerOf(m)
			if err != nil {
				return err
			}
			msg, err := p.unpack(body)
			if err != nil {
				return err
			}
			return fn(ctx, c, msg)
		},
		fit: func(m *wire.Message) error {
			_, err := unpackerOf(m)
			return err
		},
	})
}

// unpacking is the plan for one Go type and one connection's message.
type unpacking[M schema.Message] struct {
	message *wire.Message
	unpack  func(body []byte) (M, error)
}

// OnRecord registers fn for a message that has no Go type here, as [On] does.
func (c *Client) OnRecord(message string, fn func(ctx context.Context, c *Client, m *schema.Record) error) *Subscription {
	return c.handlers.add(&Subscription{message: message, call: recordCall(fn)})
}

// OnAny registers fn for all messages, beside their own handlers. All that are
// registered run, in the order of registration, before the message's own; an
// error of one does not keep the others from running.
func (c *Client) OnAny(fn func(ctx context.Context, c *Client, m *schema.Record) error) *Subscription {
	return c.handlers.add(&Subscription{call: recordCall(fn)})
}

func recordCall(fn func(context.Context, *Client, *schema.Record) error) func(context.Context, *Client, *wire.Message, []byte) error {
	return func(ctx context.Context, c *Client, m *wire.Message, body []byte) error {
		record, err := m.Record(body)
		if err != nil {
			return err
		}
		return fn(ctx, c, record)
	}
}

// Remove ends the registration and tells whether it was still in force. A
// handler that runs is not interrupted.
func (s *Subscription) Remove() bool {
	set := s.set
	set.mu.Lock()
	defer set.mu.Unlock()
	if s.message != "" {
		if set.one[s.message] != s {
			return false
		}
		set.copyLocked()
		delete(set.one, s.message)
		return true
	}
	for i, other := range set.any {
		if other == s {
			set.any = append(append([]*Subscription(nil), set.any[:i]...), set.any[i+1:]...)
			return true
		}
	}
	return false
}

func (set *subscriptions) add(s *Subscription) *Subscription {
	s.set = set
	set.mu.Lock()
	defer set.mu.Unlock()
	if s.message == "" {
		set.any = append(append([]*Subscription(nil), set.any...), s)
		return s
	}
	set.copyLocked()
	set.one[s.message] = s
	return s
}

func (set *subscriptions) copyLocked() {
	one := make(map[string]*Subscription, len(set.one)+1)
	for name, s := range set.one {
		one[name] = s
	}
	set.one = one
}

// of returns what is registered for a message.
func (set *subscriptions) of(message string) (own *Subscription, all []*Subscription) {
	set.mu.Lock()
	defer set.mu.Unlock()
	return set.one[message], set.any
}

// fit compares the handlers' types with a contract. A message that the
// contract does not have cannot come, and so cannot break a handler.
func (set *subscriptions) fit(contract *wire.Contract) error {
	set.mu.Lock()
	one := set.one
	set.mu.Unlock()
	for name, s := range one {
		m, ok := contract.Message(name)
		if !ok || s.fit == nil {
			continue
		}
		if err := s.fit(m); err != nil {
			return err
		}
	}
	return nil
}
