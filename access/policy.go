package access

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"busd/internal/nearest"
)

// A Policy is who is who and who may do what, of a whole node. It is swapped
// whole. Its methods may be called concurrently.
type Policy struct {
	current atomic.Pointer[state]

	mu sync.Mutex
	// Guarded by mu.
	known map[string]*names // what the services have, by the service's name
}

// state is a compiled [Config]. It is never changed.
type state struct {
	version  uint64
	open     bool
	registry *registry
	services map[string]*serviceRules
}

// serviceRules are a [ServiceRules], parsed. A rule that is none says nothing.
type serviceRules struct {
	fallback, connect Rule
	messages, methods map[string]Rule
}

// names are what a service has.
type names struct{ messages, methods map[string]bool }

// Config is what an operator says.
type Config struct {
	// Open: where no rule says otherwise, whoever has shown who he is may do it,
	// instead of nobody. It is for nodes whose operator says nothing about access;
	// the registry must then be empty.
	Open     bool
	Registry RegistryConfig
	// Services are the rules that go before those in code, by the service's name.
	Services map[string]ServiceRules
}

// ServiceRules are what an operator says of one service: lists of words, as
// [ParseRule] takes them.
type ServiceRules struct {
	// Default and Connect say nothing if they are empty.
	Default, Connect []string
	// Messages and Methods are by name. A list must not be empty.
	Messages, Methods map[string][]string
}

// New compiles a policy. Its error has a [Fault] for everything that is wrong.
// Names of services, messages and methods are not among it: those are known
// once the guards are made, and then [Policy.Check] looks at them.
func New(c Config) (*Policy, error) {
	p := &Policy{known: map[string]*names{}}
	if err := p.Swap(c); err != nil {
		return nil, err
	}
	return p, nil
}

// Open is the policy where none was made: whoever has shown who he is may do
// what no rule in code keeps him from.
func Open() *Policy {
	p := &Policy{known: map[string]*names{}}
	p.current.Store(&state{version: 1, open: true, registry: newRegistry(&RegistryConfig{}, &faults{})})
	return p
}

// Check reports what [Policy.Swap] would report, and changes nothing.
func (p *Policy) Check(c Config) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := p.compileLocked(&c)
	return err
}

// Swap puts another configuration in force, for all guards at once: each
// decision that begins after it follows it. On an error nothing changes; it has
// a [Fault] for everything that is wrong, rules for messages and methods that a
// guarded service does not have among them. Swap keeps nothing of c.
func (p *Policy) Swap(c Config) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, err := p.compileLocked(&c)
	if err != nil {
		return err
	}
	s.version = 1
	if last := p.current.Load(); last != nil {
		s.version = last.version + 1
	}
	p.current.Store(s)
	return nil
}

// Guard makes the guard of one service, of what the program says of it. It
// keeps nothing of code.
func (p *Policy) Guard(service string, code Rules) *Guard {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.known[service]
	if n == nil {
		n = &names{messages: map[string]bool{}, methods: map[string]bool{}}
		p.known[service] = n
	}
	for name := range code.Messages {
		n.messages[name] = true
	}
	for name := range code.Methods {
		n.methods[name] = true
	}
	code.Messages, code.Methods, code.Common = maps.Clone(code.Messages), maps.Clone(code.Methods), slices.Clone(code.Common)
	return &Guard{policy: p, service: service, code: code}
}

func (p *Policy) compileLocked(c *Config) (*state, error) {
	var f faults
	s := &state{open: c.Open, registry: newRegistry(&c.Registry, &f), services: map[string]*serviceRules{}}
	if c.Open && !s.registry.open {
		f.add("access", "a policy that lets everybody in who is somebody has no registry")
	}
	for _, service := range sortedKeys(c.Services) {
		rules := c.Services[service]
		s.services[service] = p.serviceLocked(service, &rules, s.registry, &f)
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	return s, nil
}

func (p *Policy) serviceLocked(service string, c *ServiceRules, r *registry, f *faults) *serviceRules {
	where := "services." + service + ".access"
	system, component, _ := strings.Cut(service, "/")
	if system == "" || component == "" || strings.Contains(component, "/") {
		f.add("services."+service, "want System/Component")
	}
	one := func(where string, words []string) Rule {
		if len(words) == 0 {
			return Rule{}
		}
		return r.rule(where, words, f)
	}
	several := func(where, thing string, lists map[string][]string, has map[string]bool) map[string]Rule {
		rules := map[string]Rule{}
		for _, name := range sortedKeys(lists) {
			at := where + "." + name
			if has != nil && !has[name] {
				f.add(at, "the service has no such %s%s", thing, nearest.DidYouMean(name, sortedKeys(has)))
			}
			rules[name] = r.rule(at, lists[name], f)
		}
		return rules
	}
	has := names{}
	if n := p.known[service]; n != nil {
		has = *n
	}
	return &serviceRules{
		fallback: one(where+".default", c.Default),
		connect:  one(where+".connect", c.Connect),
		messages: several(where+".messages", "message", c.Messages, has.messages),
		methods:  several(where+".methods", "method", c.Methods, has.methods),
	}
}

// rule parses an operator's rule, whose groups must exist.
func (r *registry) rule(where string, words []string, f *faults) Rule {
	parsed := parseRule(words, where, f)
	if parsed.IsZero() {
		return parsed
	}
	at := func(word string) string { return fmt.Sprintf("%s[%d]", where, slices.Index(words, word)) }
	for _, name := range parsed.said.groups {
		if r.groups[name] == nil && (name != groupHosts || r.open) {
			f.add(at(prefixGroup+name), "there is no group %s%s", name, nearest.DidYouMean(name, r.groupNames()))
		}
	}
	for _, name := range parsed.said.vos {
		if !r.vos[name] {
			f.add(at(prefixVO+name), "no group is of the virtual organisation %s%s", name, nearest.DidYouMean(name, r.voNames()))
		}
	}
	return parsed
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
