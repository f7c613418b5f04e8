package msgclient

import (
	"context"
	"maps"
	"slices"
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
	mu  sync.Mutex // held by who changes them
	now atomic.Pointer[registered]
	// found is for the messages of one contract: the last that was asked for.
	found atomic.Pointer[found]
}

// registered are the handlers of one moment. It is not changed.
type registered struct {
	one map[string]*Subscription
	any []*Subscription
}

// found are the handlers of a contract's messages. It is not changed.
type found struct {
	contract *wire.Contract
	from     *registered
	one      []*Subscription // by the messages' indexes
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
	now := set.copyLocked()
	if s.message != "" {
		if now.one[s.message] != s {
			return false
		}
		delete(now.one, s.message)
		set.now.Store(now)
		return true
	}
	at := slices.Index(now.any, s)
	if at < 0 {
		return false
	}
	now.any = slices.Delete(now.any, at, at+1)
	set.now.Store(now)
	return true
}

func (set *subscriptions) add(s *Subscription) *Subscription {
	s.set = set
	set.mu.Lock()
	defer set.mu.Unlock()
	now := set.copyLocked()
	if s.message == "" {
		now.any = append(now.any, s)
	} else {
		now.one[s.message] = s
	}
	set.now.Store(now)
	return s
}

// copyLocked returns what is registered, to be changed.
func (set *subscriptions) copyLocked() *registered {
	next := &registered{one: map[string]*Subscription{}}
	if now := set.now.Load(); now != nil {
		maps.Copy(next.one, now.one)
		next.any = slices.Clone(now.any)
	}
	return next
}

// of returns what is registered for a message of a contract.
func (set *subscriptions) of(contract *wire.Contract, m *wire.Message) (own *Subscription, all []*Subscription) {
	now, f := set.now.Load(), set.found.Load()
	if now == nil {
		return nil, nil
	}
	if f == nil || f.from != now || f.contract != contract {
		f = now.find(contract)
		set.found.Store(f)
	}
	return f.one[m.Index()], now.any
}

// find finds the handlers of a contract's messages.
func (r *registered) find(contract *wire.Contract) *found {
	f := &found{contract: contract, from: r, one: make([]*Subscription, contract.Size())}
	for name, s := range r.one {
		if m, ok := contract.Message(name); ok {
			f.one[m.Index()] = s
		}
	}
	return f
}

// fit compares the handlers' types with a contract. A message that the
// contract does not have cannot come, and so cannot break a handler.
func (set *subscriptions) fit(contract *wire.Contract) error {
	now := set.now.Load()
	if now == nil {
		return nil
	}
	for name, s := range now.one {
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
