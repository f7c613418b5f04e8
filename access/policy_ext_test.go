package access_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"busd/access"
)

// TestSwap is row B40: rules and registry are swapped whole, for all guards at
// once, and a mistake changes nothing.
func TestSwap(t *testing.T) {
	t.Parallel()
	with := func(words ...string) access.Config {
		return access.Config{Registry: registry(), Services: map[string]access.ServiceRules{service: {Methods: map[string][]string{"ask": words}}}}
	}
	p := newPolicy(t, with("NormalUser"))
	g, other := guardOf(p, access.Rule{}), p.Guard("Framework/Other", access.Rules{Default: access.Authenticated, Methods: map[string]access.Rule{"ask": {}}})
	ask := func(c *access.Caller) string { return show(g.Method("ask", c, none)) }

	first := g.Version()
	if got := ask(userA); got != "userA/group_test NormalUser" {
		t.Errorf("before: got %s", got)
	}
	if err := p.Swap(with("Operator")); err != nil {
		t.Fatal(err)
	}
	second := g.Version()
	if second == first || other.Version() != second {
		t.Errorf("versions: first %d, then %d, of another guard %d", first, second, other.Version())
	}
	if got := ask(userA); got != no403 {
		t.Errorf("after: got %s", got)
	}

	// A fault: nothing changes.
	if err := p.Swap(with("group:unheard")); err == nil {
		t.Error("a rule with an unknown group is taken")
	}
	if err := p.Check(with("any")); err != nil {
		t.Errorf("a good configuration: %v", err)
	}
	if g.Version() != second || ask(userA) != no403 {
		t.Errorf("after a fault and a check: version %d, want %d; got %s", g.Version(), second, ask(userA))
	}

	// The registry goes with the rules.
	c := with("Operator")
	c.Registry.Groups[0].Properties = []string{"Operator"}
	if err := p.Swap(c); err != nil {
		t.Fatal(err)
	}
	if got := ask(userA); got != "userA/group_test Operator" {
		t.Errorf("after the registry: got %s", got)
	}
	if got := show(other.Method("ask", unknown, none)); got != no403 {
		t.Errorf("a stranger: got %s", got)
	}
	if err := p.Swap(access.Config{}); err != nil {
		t.Fatal(err)
	}
	if got := show(other.Method("ask", unknown, none)); got != "dn:/O=test/CN=stranger/visitor!" {
		t.Errorf("a stranger without a registry: got %s", got)
	}
	if got := ask(userA); got != no403 {
		t.Errorf("no rule without a registry: got %s", got)
	}
	if err := p.Swap(access.Config{Open: true}); err != nil {
		t.Fatal(err)
	}
	if got := ask(userA); got != "dn:/O=test/CN=userA/visitor!" {
		t.Errorf("no rule, open: got %s", got)
	}
	open := access.Open()
	g = guardOf(open, access.Rule{})
	if err := open.Swap(access.Config{}); err != nil {
		t.Fatal(err)
	}
	if got := ask(userA); got != no403 {
		t.Errorf("what was open and is not: got %s", got)
	}
}

// TestSwapWhileAsked: a decision is that of one configuration or of the other,
// and a decision that is kept by its version is never older than it.
func TestSwapWhileAsked(t *testing.T) {
	t.Parallel()
	configs := make([]access.Config, 2)
	for i := range configs {
		r := registry()
		r.Groups[0].Properties = []string{fmt.Sprintf("P%d", i)}
		configs[i] = access.Config{Registry: r, Services: map[string]access.ServiceRules{service: {Methods: map[string][]string{"ask": {fmt.Sprintf("P%d", i)}}}}}
	}
	p := newPolicy(t, configs[0])
	g := guardOf(p, access.Rule{})
	var all sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				before := g.Version()
				got := show(g.Method("ask", userA, none))
				want := fmt.Sprintf("userA/group_test P%d", (before-1)%2)
				if got != want && g.Version() == before {
					t.Errorf("version %d: got %s, want %s", before, got, want)
				}
				if !strings.HasPrefix(got, "userA/group_test P") {
					t.Errorf("got %s: a rule of one configuration and the registry of the other", got)
				}
			}
		})
	}
	for i := range 400 {
		if err := p.Swap(configs[(i+1)%2]); err != nil {
			t.Error(err)
		}
		if got, want := show(g.Method("ask", userA, none)), fmt.Sprintf("userA/group_test P%d", (i+1)%2); got != want {
			t.Errorf("at once after the swap: got %s, want %s", got, want)
		}
	}
	close(done)
	all.Wait()
}

// TestNothingIsKept: what was passed in may be changed afterwards.
func TestNothingIsKept(t *testing.T) {
	t.Parallel()
	c := access.Config{Registry: registry(), Services: map[string]access.ServiceRules{service: {Methods: map[string][]string{"ask": {"Operator"}}}}}
	p := newPolicy(t, c)
	code := access.Rules{Methods: map[string]access.Rule{"ask": {}, "tell": access.MustRule("Operator")}}
	g := p.Guard(service, code)
	c.Services[service].Methods["ask"][0] = "any"
	c.Registry.Groups[0].Properties[0] = "Operator"
	c.Registry.Users[0].DN[0] = "/O=test/CN=userM"
	code.Methods["tell"] = access.Any
	for _, method := range []string{"ask", "tell"} {
		if got := show(g.Method(method, userA, none)); got != no403 {
			t.Errorf("%s: got %s, want %s", method, got, no403)
		}
	}
	grant, err := guardOf(p, access.Any).Method("ask", userA, none)
	if err == nil {
		t.Fatalf("the operator's rule is forgotten: %+v", grant)
	}
}

// TestRulesForWhatIsNotThere are faults as soon as the service is known.
func TestRulesForWhatIsNotThere(t *testing.T) {
	t.Parallel()
	c := access.Config{Services: map[string]access.ServiceRules{
		service: {Messages: map[string][]string{"Aks": {"any"}, "Tell": {"any"}}, Methods: map[string][]string{"ask": {"any"}, "nothing_like_it": {"any"}}},
	}}
	p := newPolicy(t, c) // no guard yet
	p.Guard("Framework/Other", access.Rules{})
	if err := p.Check(c); err != nil {
		t.Errorf("before the service is known: %v", err)
	}
	p.Guard(service, access.Rules{Messages: map[string]access.Rule{"Ask": {}}})
	p.Guard(service, access.Rules{Messages: map[string]access.Rule{"Tell": {}}, Methods: map[string]access.Rule{"ask": {}}})
	want := []string{
		`services.Framework/Probe.access.messages.Aks: the service has no such message (did you mean "Ask"?)`,
		"services.Framework/Probe.access.methods.nothing_like_it: the service has no such method",
	}
	wantFaults(t, p.Check(c), want...)
	version := p.Guard(service, access.Rules{}).Version()
	wantFaults(t, p.Swap(c), want...)
	if got := p.Guard(service, access.Rules{}).Version(); got != version {
		t.Errorf("version %d after a fault, want %d", got, version)
	}
}
