package schema

import (
	"cmp"
	"fmt"
	"slices"
)

// A Change is one difference between two contracts.
type Change struct {
	// Message or Method is what changed; both are empty for the service's
	// name.
	Message, Method string
	// Path is the place inside: an attribute such as "items[].id" ([] stands
	// for a list's elements, {} for a map's values), a method's parameter such
	// as "(a)", its "result". Empty: the message or method as a whole.
	Path string
	// What says what changed, such as "required attribute added".
	What string
	// Breaking: a client built against the old contract cannot go on working
	// with a service that speaks the new one.
	Breaking bool
}

// String returns a line such as "Ping.id: removed (breaking)".
func (c Change) String() string {
	where := c.Message
	switch {
	case c.Method != "" && c.Path != "" && c.Path[0] == '(':
		where = c.Method + c.Path
	case c.Method != "" && c.Path != "":
		where = c.Method + "() " + c.Path
	case c.Method != "":
		where = c.Method + "()"
	case c.Message == "":
		where = "service"
	case c.Path != "":
		where += "." + c.Path
	}
	s := where + ": " + c.What
	if c.Breaking {
		s += " (breaking)"
	}
	return s
}

// Breaking tells whether any of the changes breaks.
func Breaking(changes []Change) bool {
	return slices.ContainsFunc(changes, func(c Change) bool { return c.Breaking })
}

// Diff says what changed from one contract to another, and whether that breaks
// a client that was built against old, when it meets a service that speaks
// new. What breaks depends on who sends a message:
//
//	                                     client sends   service sends
//	message removed, sender narrowed     breaks         breaks
//	type changed                         breaks         breaks
//	required attribute removed           breaks         breaks
//	required attribute added             breaks         -
//	optional becomes required            breaks         -
//	required becomes optional            -              breaks
//	constraint narrowed, value removed   breaks         -
//	optional attribute added or removed  -              -
//	constraint widened, value added      -              -
//	message added, sender widened        -              -
//
// For what both send, either column counts. A method's parameters are sent by
// the client, its result by the service; parameters have positions, so one
// that is removed or moved breaks, and a new one does unless it is optional
// and last. What becomes a stream, or is none any more, breaks. Class and key are reported and never break. Documentation and the
// order of messages and attributes are no change: contracts of one fingerprint
// have no difference.
//
// The changes are sorted: the service's name, then messages, then methods, by
// name and path.
func Diff(old, new *Schema) []Change {
	var d differ
	if old.service != new.service {
		d.changes = append(d.changes, Change{What: fmt.Sprintf("renamed from %s to %s", old.service, new.service), Breaking: true})
	}
	d.messages(old, new)
	d.methods(old, new)
	slices.SortStableFunc(d.changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Method, b.Method), cmp.Compare(a.Message, b.Message), cmp.Compare(a.Path, b.Path), cmp.Compare(a.What, b.What))
	})
	return d.changes
}

// differ collects changes of one message or method at a time.
type differ struct {
	changes         []Change
	message, method string
	// client and service say who sends what is being compared.
	client, service bool
}

// effect says which senders a change breaks.
type effect struct{ client, service bool }

var (
	breaksBoth    = effect{client: true, service: true}
	breaksClient  = effect{client: true}
	breaksService = effect{service: true}
	breaksNone    = effect{}
)

func (d *differ) add(path string, e effect, format string, a ...any) {
	d.changes = append(d.changes, Change{
		Message: d.message, Method: d.method, Path: path, What: fmt.Sprintf(format, a...),
		Breaking: d.client && e.client || d.service && e.service,
	})
}

func (d *differ) messages(old, new *Schema) {
	d.client, d.service = true, true
	for _, n := range new.messages {
		if _, had := find(old.messages, n.Name, Definition.place); !had {
			d.message = n.Name
			d.add("", breaksNone, "message added")
		}
	}
	for _, o := range old.messages {
		d.message, d.client, d.service = o.Name, true, true
		n, has := find(new.messages, o.Name, Definition.place)
		if !has {
			d.add("", breaksBoth, "message removed")
			continue
		}
		d.definition(o, n)
	}
	d.message = ""
}

func (d *differ) definition(o, n Definition) {
	if o.From != n.From {
		narrowed := o.From.client() && !n.From.client() || o.From.service() && !n.From.service()
		d.add("", effect{narrowed, narrowed}, "sender changed from %s to %s", o.From, n.From)
	}
	if o.Class != n.Class {
		d.add("", breaksNone, "class changed from %s to %s", o.Class, n.Class)
	}
	if o.Key != n.Key {
		d.add("", breaksNone, "key changed from %s to %s", orNone(o.Key), orNone(n.Key))
	}
	// Only what both contracts let a side send can go wrong further down.
	d.client = o.From.client() && n.From.client()
	d.service = o.From.service() && n.From.service()
	d.attrs("", o.Attrs, n.Attrs)
}

func (d *differ) attrs(path string, old, new []Attribute) {
	for _, n := range new {
		if _, had := find(old, n.Name, attrName); had {
			continue
		}
		if n.Optional {
			d.add(join(path, n.Name), breaksNone, "optional attribute added")
		} else {
			d.add(join(path, n.Name), breaksClient, "required attribute added")
		}
	}
	for _, o := range old {
		at := join(path, o.Name)
		n, has := find(new, o.Name, attrName)
		switch {
		case has:
			d.attr(at, o, n)
		case o.Optional:
			d.add(at, breaksNone, "optional attribute removed")
		default:
			d.add(at, breaksBoth, "required attribute removed")
		}
	}
}

func (d *differ) attr(path string, o, n Attribute) {
	switch {
	case o.Optional && !n.Optional:
		d.add(path, breaksClient, "optional becomes required")
	case !o.Optional && n.Optional:
		d.add(path, breaksService, "required becomes optional")
	}
	d.typ(path, &o.Type, &n.Type)
}

func (d *differ) typ(path string, o, n *Type) {
	if o.Kind != n.Kind {
		d.add(path, breaksBoth, "type changed from %s to %s", o.Kind, n.Kind)
		return
	}
	d.constraints(path, o, n)
	switch o.Kind { //nolint:exhaustive // the others hold nothing
	case List, Map:
		d.typ(path+elemMark(o.Kind), o.Elem, n.Elem)
	case Struct:
		d.attrs(path, o.Attrs, n.Attrs)
	}
}

func (d *differ) constraints(path string, o, n *Type) {
	low(d, path, "min", o.MinInt, n.MinInt)
	high(d, path, "max", o.MaxInt, n.MaxInt)
	low(d, path, "min", o.MinFloat, n.MinFloat)
	high(d, path, "max", o.MaxFloat, n.MaxFloat)
	low(d, path, "minlen", o.MinLen, n.MinLen)
	high(d, path, "maxlen", o.MaxLen, n.MaxLen)
	switch {
	case o.NonFinite && !n.NonFinite:
		d.add(path, breaksClient, "nonfinite numbers no longer allowed")
	case !o.NonFinite && n.NonFinite:
		d.add(path, breaksNone, "nonfinite numbers allowed")
	}
	switch {
	case o.Pattern == n.Pattern:
	case n.Pattern == "":
		d.add(path, breaksNone, "pattern %s removed", o.Pattern)
	default:
		d.add(path, breaksClient, "pattern changed from %s to %s", orNone(o.Pattern), n.Pattern)
	}
	for _, v := range o.Values {
		if !slices.Contains(n.Values, v) {
			d.add(path, breaksClient, "value %q removed", v)
		}
	}
	for _, v := range n.Values {
		if !slices.Contains(o.Values, v) {
			d.add(path, breaksNone, "value %q added", v)
		}
	}
}

// low compares lower bounds: higher is narrower, and none is the widest.
func low[T cmp.Ordered](d *differ, path, what string, o, n *T) {
	bound(d, path, what, o, n, func(o, n T) bool { return n > o })
}

// high compares upper bounds: lower is narrower.
func high[T cmp.Ordered](d *differ, path, what string, o, n *T) {
	bound(d, path, what, o, n, func(o, n T) bool { return n < o })
}

func bound[T cmp.Ordered](d *differ, path, what string, o, n *T, narrower func(o, n T) bool) {
	switch {
	case o == nil && n == nil:
	case o == nil:
		d.add(path, breaksClient, "%s %v added", what, *n)
	case n == nil:
		d.add(path, breaksNone, "%s %v removed", what, *o)
	case *o == *n:
	case narrower(*o, *n):
		d.add(path, breaksClient, "%s changed from %v to %v", what, *o, *n)
	default:
		d.add(path, breaksNone, "%s changed from %v to %v", what, *o, *n)
	}
}

func (d *differ) methods(old, new *Schema) {
	d.client, d.service = true, true
	for _, n := range new.methods {
		if _, had := find(old.methods, n.Name, methodName); !had {
			d.method = n.Name
			d.add("", breaksNone, "method added")
		}
	}
	for _, o := range old.methods {
		d.method, d.client, d.service = o.Name, true, true
		n, has := find(new.methods, o.Name, methodName)
		if !has {
			d.add("", breaksBoth, "method removed")
			continue
		}
		d.stream("a file as its last parameter", o.Upload, n.Upload)
		d.stream("a file as its result", o.Download, n.Download)
		d.client, d.service = true, false
		d.params(o.Params, n.Params)
		d.client, d.service = false, true
		d.result(o.Result, n.Result)
	}
}

// stream compares whether something is a stream, which travels in another way.
func (d *differ) stream(what string, o, n bool) {
	switch {
	case !o && n:
		d.add("", breaksBoth, "has %s now", what)
	case o && !n:
		d.add("", breaksBoth, "no longer has %s", what)
	}
}

func (d *differ) params(old, new []Attribute) {
	for i, o := range old {
		at := paramPlace("", o.Name)
		j := indexAttr(new, o.Name)
		switch {
		case j < 0:
			d.add(at, breaksClient, "parameter removed")
		case j != i:
			d.add(at, breaksClient, "parameter moved from position %d to %d", i+1, j+1)
			fallthrough
		default:
			d.attr(at, o, new[j])
		}
	}
	for i, n := range new {
		if indexAttr(old, n.Name) >= 0 {
			continue
		}
		if n.Optional && i >= len(old) {
			d.add(paramPlace("", n.Name), breaksNone, "optional parameter added")
		} else {
			d.add(paramPlace("", n.Name), breaksClient, "parameter added")
		}
	}
}

func (d *differ) result(o, n *Type) {
	switch {
	case o == nil && n == nil:
	case o == nil:
		d.add("result", breaksService, "result of type %s added", n.Kind)
	case n == nil:
		d.add("result", breaksService, "result of type %s removed", o.Kind)
	default:
		d.typ("result", o, n)
	}
}

func attrName(a Attribute) string { return a.Name }

func methodName(m Method) string { return m.Name }

func find[T any](all []T, name string, nameOf func(T) string) (T, bool) {
	for _, e := range all {
		if nameOf(e) == name {
			return e, true
		}
	}
	var zero T
	return zero, false
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
