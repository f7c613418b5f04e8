package rpc

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"busd/access"
	"busd/bus"
	"busd/rpc/jencode"
	"busd/schema"
)

// A Service is a set of methods under one name, "System/Component". Set its fields
// and export its methods before it is served; they must not change afterwards.
type Service struct {
	// Doc says what it is for, to those who read the program: no contract has it, and
	// no document.
	Doc string
	// Version is what ping says; empty: that of the program's module, or in busd's
	// server, where that is not known, busd's.
	Version string
	// Allow is the rule of methods that have none of their own.
	Allow access.Rule
	// Init readies the service, once: as the server is made, whose error it then
	// is, or, if Lazy, before the first request; that gets 503 when it fails, and the
	// next one tries again. Of a service that has no [Server] it is always lazy. ctx
	// ends after InitTimeout. nil: there is nothing to do.
	Init func(ctx context.Context, facts Facts) error
	Lazy bool
	// Before runs before each call's method, with the context that the method
	// gets, within its time; its error is the answer, as if the method had returned
	// it. nil: nothing does.
	Before func(ctx context.Context, r *Request) error
	// MaxConcurrent bounds the calls of the service that run at a time; beyond it
	// 503. 0: DefaultMaxConcurrent.
	MaxConcurrent int
	// MaxBody bounds the body of a call, in bytes, after decompression. 0:
	// DefaultMaxBody.
	MaxBody int64
	// Timeout is how long a method may take, Before included; a download until it
	// has begun. 0: DefaultTimeout.
	Timeout time.Duration

	name    string
	methods map[string]*Method
	order   []*Method

	running atomic.Int64
	unknown methodStats // calls of methods that there are not
	init    initiation

	mu      sync.Mutex // held while it is bound
	binding atomic.Pointer[binding]
}

// Facts are what Init is told.
type Facts struct {
	// Service is "System/Component".
	Service string
}

// NewService makes a service with the methods ping, echo and whoami. It panics if
// name is no service's name.
func NewService(name string) *Service {
	if err := schema.CheckService(name); err != nil {
		panic("rpc: " + err.Error())
	}
	s := &Service{name: name, methods: map[string]*Method{}}
	s.addStandard()
	return s
}

// Name is "System/Component".
func (s *Service) Name() string { return s.name }

// Methods are what a contract says of the service: ping, echo, whoami, and then
// the others in the order of their export.
func (s *Service) Methods() []schema.Method {
	all := make([]schema.Method, len(s.order))
	for i, m := range s.order {
		all[i] = m.contract()
	}
	return all
}

// Rules are what it says in code of who may call what.
func (s *Service) Rules() access.Rules {
	rules := access.Rules{Default: s.Allow, Methods: make(map[string]access.Rule, len(s.order))}
	for _, m := range s.order {
		rules.Methods[m.name] = m.Allow
		if m.standard {
			rules.Common = append(rules.Common, m.name)
		}
	}
	return rules
}

// Call answers a call that came over a stable connection: args is a list of
// arguments, or an object of named ones, in JEncode; the result is a value in JEncode.
// Its error is a *bus.Error; [ErrorOf] finds the errno in it. It may be called
// concurrently.
func (s *Service) Call(ctx context.Context, c *access.Caller, claim access.Claim, method string, args []byte) ([]byte, error) {
	return s.newAnswer(c, method, args).answer(ctx, claim)
}

// Answer is Call for whoever has a goroutine for each call: the method is executed in
// that of Answer's caller, which is so long its own. Where it does not return in time,
// or ends the goroutine, left is called, once, with the error that Call would return;
// what Answer then returns, when the method does, counts for nothing. left may be called
// by another goroutine, and must return soon.
func (s *Service) Answer(
	ctx context.Context, c *access.Caller, claim access.Claim, method string, args []byte, left func(error),
) ([]byte, error) {
	a := s.newAnswer(c, method, args)
	a.call.left = func(err error) { left(a.end(0, err)) }
	return a.answer(ctx, claim)
}

// An answer is what is made to a call that came over a stable connection.
type answer struct {
	service *Service
	began   time.Time
	outcome outcome
	request Request
	call    call
}

func (s *Service) newAnswer(c *access.Caller, method string, args []byte) *answer {
	if c == nil {
		c = &access.Caller{}
	}
	a := &answer{service: s, began: time.Now()}
	a.request = Request{Service: s.name, Method: method, ID: newRequestID(), Caller: c}
	a.outcome = outcome{method: s.find(method), request: &a.request, in: int64(len(args))}
	a.call = call{method: a.outcome.method, request: &a.request, dialect: jencode.DIRAC, args: args}
	return a
}

func (a *answer) answer(ctx context.Context, claim access.Claim) ([]byte, error) {
	result, err := a.make(ctx, claim)
	if err == errLeft { //nolint:errorlint // ours, and never wrapped
		return nil, err
	}
	return result, a.end(len(result), err)
}

// end counts the call, and returns what its caller hears.
func (a *answer) end(size int, err error) error {
	a.outcome.took, a.outcome.out, a.outcome.err = time.Since(a.began), int64(size), err
	a.service.answered(a.outcome)
	return told(err)
}

// resultSize is for how many bytes of a result there is room at first.
const resultSize = 128

// make has the method called.
func (a *answer) make(ctx context.Context, claim access.Claim) ([]byte, error) {
	s, m := a.service, a.call.method
	if m == nil {
		return nil, s.noMethod(a.request.Method)
	}
	grant, refused := s.authorize(m, a.request.Caller, claim)
	if refused != nil {
		return nil, refused
	}
	a.request.Grant = grant
	if m.uploads || m.streams {
		return nil, bus.Errorf(bus.CodeFailedPrecondition, "%s: over https:// only: it takes or gives a stream", m.name)
	}
	defer a.call.done()
	value, err := s.do(ctx, &a.call)
	if err != nil {
		return nil, err
	}
	if streamIn(value) != nil { // a result of type any turned out to be one
		return nil, bus.Errorf(bus.CodeFailedPrecondition, "%s: over https:// only: its result is a stream", m.name)
	}
	result, err := jencode.Append(make([]byte, 0, resultSize), value, jencode.DIRAC)
	if err != nil {
		return nil, s.crashed(&a.request, err)
	}
	return result, nil
}

// told is what the caller of Call hears.
func told(err error) error {
	if err == nil { // else the two below would be allocations for nothing
		return nil
	}
	var own *Error
	var known *bus.Error
	switch {
	case errors.As(err, &own):
		return own.busError()
	case errors.As(err, &known):
		return known
	}
	return bus.AsError(err)
}

// find returns a method by its name; nil: there is none.
func (s *Service) find(name string) *Method { return s.methods[name] }

// noMethod is the error where find returns nil.
func (s *Service) noMethod(name string) *bus.Error {
	return bus.Errorf(bus.CodeUnimplemented, "%s has no method %.64q", s.name, name)
}

// authorize decides whether a caller may call a method.
func (s *Service) authorize(m *Method, c *access.Caller, claim access.Claim) (*access.Grant, *bus.Error) {
	return s.bound().guard.Method(m.name, c, claim)
}
