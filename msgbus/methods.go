package msgbus

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"go.uber.org/zap"

	"busd/access"
	"busd/bus"
	"busd/internal/link"
	"busd/internal/wire"
	"busd/schema"
)

// CallsAtOnce bounds the calls of one connection that run at a time; those beyond
// it wait, in order.
const CallsAtOnce = link.CallsAtOnce

// Methods answer the calls of a service; *rpc.Service is one, and is given to
// rpc.NewServer before, with the same policy. They are called concurrently.
type Methods interface {
	// ServeHTTP answers what is POSTed to the service's path, /System/Component, or
	// to one element below it. A service's aliases come as its name. Who calls, and
	// whether he may, is for it to find out.
	http.Handler
	// Name is the service's, "System/Component".
	Name() string
	// Methods are what the contract says of them.
	Methods() []schema.Method
	// Rules are who may call what: Default, for those that have no rule of their
	// own, and Methods.
	Rules() access.Rules
	// Call answers a call that came over a stable connection, of c, who says claim
	// of himself. By [Config.Access] he may; it may decide again. args is a list of arguments,
	// or an object of named ones, in JEncode, and its own; the result is a value in
	// JEncode, and not changed afterwards. ctx ends with the call's time, when the
	// caller takes it back, and when his session ends. The error travels as that of
	// a handler does.
	Call(ctx context.Context, c *access.Caller, claim access.Claim, method string, args []byte) ([]byte, error)
}

// A binder is Methods that decide for themselves who may call: they are told how the
// server decides, so that no way to them is open that another one shuts.
type binder interface {
	// Bind gets what [Config] says; policy is nil where it says nothing. It may have
	// been bound before; if that was to another policy, it fails.
	Bind(policy *access.Policy, authenticate func(*http.Request) (access.Caller, *bus.Error), log *zap.Logger) error
}

// An answerer is Methods whose methods are executed in the goroutine that wants an
// answer: a goroutine of their own is a good part of what a small call costs.
type answerer interface {
	// Answer is Call; but where the method does not return in time, or ends its
	// goroutine, left is called, once, with the error, maybe by another goroutine, and
	// what Answer returns then counts for nothing.
	Answer(ctx context.Context, c *access.Caller, claim access.Claim, method string, args []byte, left func(error)) ([]byte, error)
}

// joinMethods makes the contract of the messages and the methods.
func (s *Service) joinMethods() error {
	if s.Methods == nil {
		return nil
	}
	name, parts := s.Methods.Name(), []schema.Part(nil)
	if s.Schema != nil {
		if s.Schema.Service() != name {
			return bus.Errorf(bus.CodeInvalidArgument, "service %s: its methods are those of %s", s.Schema.Service(), name)
		}
		parts = append(parts, schema.Extends(s.Schema))
	}
	s.methods = map[string]int{}
	for i, m := range s.Methods.Methods() {
		parts = append(parts, m)
		s.methods[m.Name] = len(s.handlers) + i
	}
	whole, err := schema.New(name, parts...)
	if err != nil {
		return bus.Wrap(bus.CodeInvalidArgument, err, "service "+name+": its methods make no contract")
	}
	s.Schema, s.contract = whole, wire.Compile(whole)
	return nil
}

// call answers a call of the connection's client.
func (d *dispatch) call(ctx context.Context, in *link.Incoming) error {
	c, s := d.conn, d.conn.service
	c.in.Add(1)
	if s.Methods == nil {
		return bus.Errorf(bus.CodeUnimplemented, "service %s has no methods", s.Name())
	}
	if denied := c.mayCall(in.Name); denied != nil {
		return denied
	}
	result, err := s.callMethod(ctx, c, in)
	if err != nil {
		return err
	}
	frame := wire.AppendResult(make([]byte, 0, len(result)+wire.AroundResult), in.N, result)
	if err := wire.CheckResult(frame, c.session.limit); err != nil {
		return err
	}
	c.out.Add(1)
	s.stats.calls.Add(1) // before the caller can know
	if err := c.session.stream.Reply(ctx, in.N, frame); err != nil {
		s.stats.calls.Add(^uint64(0)) // it has failed instead
		return err
	}
	return nil
}

// callMethod has a call answered. A method that does not return in time keeps this
// goroutine, and its caller is answered all the same.
func (s *Service) callMethod(ctx context.Context, c *Conn, in *link.Incoming) ([]byte, error) {
	if m, ok := s.Methods.(answerer); ok {
		left := func(err error) { link.Leave(ctx, err) }
		return m.Answer(ctx, &c.caller, c.claim, in.Name, in.Body, left)
	}
	return s.Methods.Call(ctx, &c.caller, c.claim, in.Name, in.Body)
}

// find returns the service that stands at a path, or one element above it, where
// only methods can be: those of an alias are found by the service's own name. nil:
// there is none.
func (s *Server) find(u *url.URL) (svc *Service, canonical string, below bool) {
	path, rooted := strings.CutPrefix(u.Path, "/")
	if !rooted || u.RawPath != "" {
		return nil, "", false
	}
	if svc = s.services[path]; svc != nil {
		return svc, "/" + svc.Name(), false
	}
	at := strings.LastIndexByte(path, '/')
	if at < 0 || at == len(path)-1 {
		return nil, "", false
	}
	if svc = s.services[path[:at]]; svc == nil || svc.Methods == nil {
		return nil, "", false
	}
	return svc, "/" + svc.Name() + path[at:], true
}

// callByHTTP hands a request to the methods of a service.
func callByHTTP(w http.ResponseWriter, r *http.Request, svc *Service, canonical string) {
	if r.URL.Path != canonical {
		u := *r.URL
		u.Path = canonical
		r = r.WithContext(r.Context()) // a copy
		r.URL = &u
	}
	svc.Methods.ServeHTTP(w, r)
}
