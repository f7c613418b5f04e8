package schema

import (
	"fmt"
	"slices"
)

// A Schema is the contract of one service: its messages and its methods. It
// is immutable and safe for concurrent use.
type Schema struct {
	// Fixed at creation.
	service     string
	messages    []Definition
	methods     []Method
	document    []byte
	fingerprint string
}

// A Part is what a Schema is made of: a [Definition], a [Method], or another
// Schema by [Extends].
type Part interface{ join(a *assembly) }

// New makes the Schema of a service, "System/Component", of its parts in the
// order given. It copies what it is given.
//
// All faults are reported together, each a [*Fault] that names its message and
// attribute: names, duplicates, limits, constraints that contradict themselves
// or do not belong to their kind, patterns that do not compile, keys that name
// no attribute.
func New(service string, parts ...Part) (*Schema, error) {
	var a assembly
	for _, p := range parts {
		if p == nil {
			a.add("contract", "a part is nil")
			continue
		}
		p.join(&a)
	}
	s := &Schema{
		service:  service,
		messages: merge(&a.faults, a.bases, a.messages),
		methods:  merge(&a.faults, a.baseMethods, a.methods),
	}
	v := validator{faults: a.faults}
	v.schema(s)
	if err := v.err(); err != nil {
		return nil, err
	}
	for i, d := range s.messages {
		s.messages[i] = d.clone()
	}
	for i, m := range s.methods {
		s.methods[i] = m.clone()
	}
	s.document = documentOf(s)
	if len(s.document) > MaxDocument {
		v.add("contract", "its document would have %d bytes, want at most %d", len(s.document), MaxDocument)
		return nil, v.err()
	}
	s.fingerprint = fingerprintOf(s)
	return s, nil
}

// MustNew is [New] for contracts that are part of a program: it panics where
// New returns an error.
func MustNew(service string, parts ...Part) *Schema {
	s, err := New(service, parts...)
	if err != nil {
		panic(fmt.Sprintf("schema %s: %v", service, err))
	}
	return s
}

// Extends lets a contract have what base has. A message or method of the same
// name among the other parts replaces the inherited one and keeps its place in
// the order. Two bases that declare one name differently are a fault, unless
// it is replaced.
func Extends(base *Schema) Part { return extension{base} }

// Service returns the name of the service, "System/Component".
func (s *Schema) Service() string { return s.service }

// Messages returns copies of all messages in contract order.
func (s *Schema) Messages() []Definition {
	all := slices.Clone(s.messages)
	for i := range all {
		all[i] = all[i].clone()
	}
	return all
}

// Message returns a copy of the message of that name, and whether there is
// one.
func (s *Schema) Message(name string) (Definition, bool) {
	for i := range s.messages {
		if s.messages[i].Name == name {
			return s.messages[i].clone(), true
		}
	}
	return Definition{}, false
}

// Methods returns copies of all methods in contract order.
func (s *Schema) Methods() []Method {
	all := slices.Clone(s.methods)
	for i := range all {
		all[i] = all[i].clone()
	}
	return all
}

// Method returns a copy of the method of that name, and whether there is one.
func (s *Schema) Method(name string) (Method, bool) {
	for i := range s.methods {
		if s.methods[i].Name == name {
			return s.methods[i].clone(), true
		}
	}
	return Method{}, false
}

// Fingerprint returns "sha256:" and 64 hexadecimal digits that two contracts
// share exactly when they mean the same: the name of the service, and names,
// types, constraints, senders and classes of everything in it. Documentation
// does not count, nor does the order of messages, methods, attributes and enum
// values; the order of a method's parameters does.
func (s *Schema) Fingerprint() string { return s.fingerprint }

// JSON returns a copy of the contract's document, which [Parse] reads. The
// same contract, docs and order included, has the same document, byte by byte.
func (s *Schema) JSON() []byte { return slices.Clone(s.document) }

// String returns the service's name and its fingerprint, shortened.
func (s *Schema) String() string {
	return fmt.Sprintf("%s (%d messages, %d methods, %.15s)", s.service, len(s.messages), len(s.methods), s.fingerprint)
}

// assembly gathers the parts of a Schema to be.
type assembly struct {
	faults
	bases, messages      []Definition
	baseMethods, methods []Method
}

type extension struct{ base *Schema }

func (e extension) join(a *assembly) {
	if e.base == nil {
		a.add("contract", "it extends a nil schema")
		return
	}
	a.bases = append(a.bases, e.base.messages...)
	a.baseMethods = append(a.baseMethods, e.base.methods...)
}

func (d Definition) join(a *assembly) { a.messages = append(a.messages, d) }

func (m Method) join(a *assembly) { a.methods = append(a.methods, m) }

// named is what can be inherited and replaced.
type named interface {
	place() string
	canonical() string
}

func (d Definition) place() string { return d.Name }

func (m Method) place() string { return m.Name + "()" }

// merge puts what is own after what is inherited, or in its place.
func merge[T named](f *faults, inherited, own []T) []T {
	all := make([]T, 0, len(inherited)+len(own))
	replaced := make(map[string]bool, len(own))
	for _, o := range own {
		replaced[o.place()] = true
	}
	at := make(map[string]int, cap(all))
	for _, b := range inherited {
		i, twice := at[b.place()]
		if !twice {
			at[b.place()] = len(all)
			all = append(all, b)
		} else if !replaced[b.place()] && all[i].canonical() != b.canonical() {
			f.add(b.place(), "two of the contracts that this one extends declare it differently: declare it here to choose")
		}
	}
	seen := make(map[string]bool, len(own))
	for _, o := range own {
		i, taken := at[o.place()]
		switch {
		case seen[o.place()]:
			f.add(o.place(), "it is declared twice")
		case taken:
			all[i] = o
		default:
			all = append(all, o)
		}
		seen[o.place()] = true
	}
	return all
}
