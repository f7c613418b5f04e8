package access

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"busd/bus"
)

// Rules are what a service says in code of who may do what. The zero value says
// nothing.
type Rules struct {
	// Default is for messages and methods without a rule of their own, MethodDefault
	// for methods instead; none: Default.
	Default, MethodDefault Rule
	// Connect is for opening a stable connection. None: whoever may send at least
	// one message or call one method that is not Common; of a service that has
	// neither, whom Default lets.
	Connect Rule
	// Messages and Methods are the rules of each, by name. Every message that a
	// client may send, and every method, is a key, with the zero Rule where there
	// is none of its own.
	Messages, Methods map[string]Rule
	// Common are the methods that every service has, such as ping, for everybody:
	// that somebody may call them is no reason to keep a connection for him.
	Common []string
}

// A Guard decides for one service. Its methods may be called concurrently; they
// follow each [Policy.Swap] at once.
//
// Of the rules for one thing the first that there is counts: the operator's for
// it, the one in code, the operator's default of the service, the one in code.
// If there is none, nobody may, but for [Open]: there whoever has shown who he
// is may.
//
// A refusal is [bus.CodeUnauthenticated] if nothing was shown to show who asks,
// [bus.CodePermissionDenied] otherwise, and [bus.CodeUnimplemented], whoever
// asks, for a message or method that is no key of the service's [Rules]. Its
// reason says what is wanted; its cause, for the log, says who asked for what.
type Guard struct {
	// Fixed at creation.
	policy  *Policy
	service string
	code    Rules

	compiled atomic.Pointer[compiled]

	// mu is held while the rules are compiled, once after each swap.
	mu sync.Mutex
}

// compiled is a guard's rules under one state of the policy. It is never
// changed.
type compiled struct {
	state             *state
	connect           []*test
	messages, methods map[string]*test
}

// test is a rule in numbers of one registry.
type test struct {
	rule Rule
	// asked has the rule's spelling of each property that it asks for, by number.
	asked []string
	// groups tells which may act, by number; nil: all.
	groups []bool
}

// Version changes whenever a decision may be another: who keeps decisions keeps
// them as long as it stays the same. Ask for it before the decision.
func (g *Guard) Version() uint64 { return g.policy.current.Load().version }

// Connect decides whether a caller may open a stable connection. c may be nil,
// which is nobody.
func (g *Guard) Connect(c *Caller, claim Claim) (*Grant, *bus.Error) {
	now := g.now()
	w := now.state.registry.identify(c, claim)
	var granted *Grant
	for _, t := range now.connect {
		more := t.let(&w)
		if granted == nil {
			granted = more
		} else if more != nil {
			for _, p := range more.Matched {
				if !slices.Contains(granted.Matched, p) {
					granted.Matched = append(granted.Matched, p)
				}
			}
		}
	}
	if granted != nil {
		return granted, nil
	}
	return nil, g.refuse(action{kind: "connecting"}, now.connect, c, claim, &w)
}

// Message decides whether a caller may send a message. c may be nil, which is
// nobody.
func (g *Guard) Message(name string, c *Caller, claim Claim) (*Grant, *bus.Error) {
	now := g.now()
	return g.decide(now, now.messages[name], action{"message", name}, c, claim)
}

// Method decides whether a caller may call a method. c may be nil, which is
// nobody.
func (g *Guard) Method(name string, c *Caller, claim Claim) (*Grant, *bus.Error) {
	now := g.now()
	return g.decide(now, now.methods[name], action{"method", name}, c, claim)
}

func (g *Guard) decide(now *compiled, t *test, a action, c *Caller, claim Claim) (*Grant, *bus.Error) {
	if t == nil {
		return nil, bus.Errorf(bus.CodeUnimplemented, "%s has no %s %.64q", g.service, a.kind, a.name)
	}
	w := now.state.registry.identify(c, claim)
	if granted := t.let(&w); granted != nil {
		return granted, nil
	}
	return nil, g.refuse(a, []*test{t}, c, claim, &w)
}

// let tells whether the rule lets w, and as whom; nil: it does not.
func (t *test) let(w *who) *Grant {
	if t.rule.IsZero() {
		return nil
	}
	r := t.rule.said
	if w.trouble != troubleNone {
		if !r.anyone || t.groups != nil || w.trouble == troubleForward {
			return nil
		}
		if w.dn == "" && w.by == "" {
			return anonymous
		}
		return &Grant{User: userAnonymous, Group: groupVisitor, DN: w.dn, ForwardedBy: w.by}
	}
	if t.groups != nil && !t.groups[w.group.number] {
		return nil
	}
	if r.anyone || r.known || len(r.properties) == 0 {
		return &w.grant().Grant
	}
	return t.match(w)
}

// granted is a grant with room for what usually matches, so that a decision
// costs one allocation.
type granted struct {
	Grant
	matched [2]string
}

func (w *who) grant() *granted {
	g := w.group
	return &granted{Grant: Grant{
		User: w.name, Group: g.name, DN: w.dn, VO: g.vo, Properties: g.properties,
		Known: true, ValidGroup: g.number != numberVisitor, Host: w.host, ForwardedBy: w.by,
	}}
}

// match lets w by his properties.
func (t *test) match(w *who) *Grant {
	var out *granted
	for _, number := range w.group.numbers {
		asked := t.asked[number]
		if asked == "" {
			continue
		}
		if out == nil {
			out = w.grant()
			out.Matched = out.matched[:0]
		}
		out.Matched = append(out.Matched, asked)
	}
	if out == nil {
		return nil
	}
	return &out.Grant
}

// now returns the rules of the policy that is in force.
func (g *Guard) now() *compiled {
	s := g.policy.current.Load()
	if c := g.compiled.Load(); c != nil && c.state == s {
		return c
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s = g.policy.current.Load()
	c := g.compiled.Load()
	if c == nil || c.state != s {
		c = g.compile(s)
		g.compiled.Store(c)
	}
	return c
}

// compile makes the rules of s for this service.
func (g *Guard) compile(s *state) *compiled {
	tests := map[string]*test{} // equal rules share one
	number := func(r Rule) *test {
		key := r.key()
		if tests[key] == nil {
			tests[key] = s.registry.test(r)
		}
		return tests[key]
	}
	operator := s.services[g.service]
	if operator == nil {
		operator = &serviceRules{}
	}
	fallback := first(operator.fallback, g.code.Default)
	methods := first(operator.fallback, g.code.MethodDefault, fallback)
	if s.open {
		fallback, methods = first(fallback, Authenticated), first(methods, Authenticated)
	}
	c := &compiled{state: s, messages: map[string]*test{}, methods: map[string]*test{}}
	for name, rule := range g.code.Messages {
		c.messages[name] = number(first(operator.messages[name], rule, fallback))
	}
	for name, rule := range g.code.Methods {
		c.methods[name] = number(first(operator.methods[name], rule, methods))
	}
	if rule := first(operator.connect, g.code.Connect); !rule.IsZero() {
		c.connect = []*test{number(rule)}
		return c
	}
	union := map[string]*test{}
	for _, t := range c.messages {
		union[t.rule.key()] = t
	}
	for name, t := range c.methods {
		if !slices.Contains(g.code.Common, name) {
			union[t.rule.key()] = t
		}
	}
	if len(union) == 0 {
		union[""] = number(first(fallback, methods))
	}
	for _, key := range sortedKeys(union) {
		c.connect = append(c.connect, union[key])
	}
	return c
}

// first returns the first rule that is one.
func first(rules ...Rule) Rule {
	for _, r := range rules {
		if !r.IsZero() {
			return r
		}
	}
	return Rule{}
}

// test compiles a rule. What the registry does not know lets nobody.
func (r *registry) test(rule Rule) *test {
	t := &test{rule: rule}
	if rule.IsZero() {
		return t
	}
	t.asked = make([]string, len(r.properties))
	for _, name := range rule.said.properties {
		if number, ok := r.properties[strings.ToLower(name)]; ok {
			t.asked[number] = name
		}
	}
	if !rule.said.restricted() {
		return t
	}
	t.groups = make([]bool, firstNumber+len(r.groups))
	t.groups[numberHosts] = slices.Contains(rule.said.groups, groupHosts)
	for _, g := range r.groups {
		t.groups[g.number] = slices.Contains(rule.said.groups, g.name) || slices.Contains(rule.said.vos, g.vo)
	}
	return t
}
