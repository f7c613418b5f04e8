package rpc

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"busd/access"
	"busd/schema"
)

// A Method is one that was exported. Set its fields before the service is served;
// they must not change afterwards.
type Method struct {
	// Doc says what it does.
	Doc string
	// Allow is who may call it; the zero rule leaves it to the service.
	Allow access.Rule
	// MaxConcurrent bounds its calls that run at a time; beyond it 429. 0: only the
	// service's bound.
	MaxConcurrent int
	// MaxBody and Timeout go before the service's; 0: those of the service, but for
	// the Timeout of a method that takes a stream, which is DefaultUploadTimeout.
	MaxBody int64
	Timeout time.Duration

	// For HTTP: whether its last argument is a stream, and its result one.
	name             string
	uploads, streams bool

	service  *Service
	sig      *signature
	standard bool // it is of every service, and may be replaced
	quick    bool // it never waits: it needs no goroutine of its own, and keeps no argument

	running atomic.Int64
	stats   methodStats
}

// Export makes a Go function a method. It takes an optional context.Context, then
// its arguments, or one struct with bus tags for named ones; it returns an optional
// result and an optional error:
//
//	rpc.Export(svc, "add", func(a, b int) int { return a + b }).Named("a", "b")
//	rpc.Export(svc, "find", func(ctx context.Context, q Query) ([]Job, error) { … })
//
// Arguments come by position, by name, or the first by position and others by
// name. Pointers among a function's last arguments, and optional fields of a
// struct, may be left out or null; those of a variadic function's last are as many
// as come, or a list by its name. A struct's fields stand in the order of
// declaration, required ones first; an object as the only argument by position is
// the whole struct. An argument of type [jencode.Raw] takes any value unread, one
// of type any takes any that there is.
//
// A result of type [*Stream], or that is an io.Reader, is a download; a last
// argument of type io.Reader is an upload: the request's body, or bytes as the last
// argument. Once the method is given up, because its time is over or its caller
// has gone, reading from it fails. Over stable connections neither works.
//
// What a method may return as an error, and what its caller then hears, is said at
// [Error]; no result and no error is null. Its context ends when its time is over
// and when its caller no longer waits, and has the [Request]. A method that then
// does not return is left behind: its caller is answered, and it counts as running
// until it returns. A panic is the caller's error too, and the log has the stack.
//
// A service's ping, echo and whoami may be replaced. Export panics if fn cannot be
// a method, if the name is taken or cannot be one, and once the service is served:
// all of these are mistakes of the program, found as it starts.
func Export(s *Service, name string, fn any) *Method {
	sig, err := newSignature(fn)
	if err != nil {
		panic(fmt.Sprintf("rpc: %s: %s: %v", s.name, name, err))
	}
	m := &Method{name: name, service: s, sig: sig, uploads: sig.uploads, streams: sig.streams}
	m.mustBeSound()
	s.add(m)
	return m
}

// Named names the arguments, in order; without it they have no names of their
// own, and are called arg1, arg2, and so on. It panics if they are too many or too
// few or cannot be names, and for a method whose arguments are a struct's fields.
func (m *Method) Named(params ...string) *Method {
	m.service.mustBeOpen()
	if m.sig.named != nil || len(params) != len(m.sig.params) {
		panic(fmt.Sprintf("rpc: %s: %s: Named(%d names): want one for each argument, and none for fields of a struct; it has %d",
			m.service.name, m.name, len(params), len(m.sig.params)))
	}
	for i, name := range params {
		m.sig.params[i].name = name
	}
	m.mustBeSound()
	return m
}

// Describe sets Doc.
func (m *Method) Describe(doc string) *Method { m.Doc = doc; return m }

// Name is its name.
func (m *Method) Name() string { return m.name }

// contract is what a contract says of it.
func (m *Method) contract() schema.Method {
	return schema.Method{
		Name: m.name, Params: m.sig.contract(), Result: m.sig.result,
		Upload: m.uploads, Download: m.streams, Doc: m.Doc,
	}
}

// mustBeSound panics if no contract can have it.
func (m *Method) mustBeSound() {
	if _, err := schema.New("A/B", m.contract()); err != nil {
		panic(fmt.Sprintf("rpc: %s: %v", m.service.name, err))
	}
}

// add takes a method in, or puts it in the place of a standard one.
func (s *Service) add(m *Method) {
	s.mustBeOpen()
	old := s.methods[m.name]
	switch {
	case old == nil:
		s.order = append(s.order, m)
	case old.standard:
		s.order[slices.Index(s.order, old)] = m
	default:
		panic(fmt.Sprintf("rpc: %s has a method %s already", s.name, m.name))
	}
	s.methods[m.name] = m
}
