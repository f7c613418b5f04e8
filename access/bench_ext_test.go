package access_test

import (
	"fmt"
	"testing"

	"busd/access"
)

// crowd is a registry of the size of a big installation: 2,000 users in 200
// groups of 8 properties each, 500 hosts.
func crowd() access.RegistryConfig {
	var c access.RegistryConfig
	for i := range 2000 {
		c.Users = append(c.Users, access.UserConfig{Name: fmt.Sprint("user", i), DN: []string{fmt.Sprintf("/DC=ch/DC=cern/OU=Organic Units/OU=Users/CN=user%d", i)}})
	}
	for i := range 200 {
		g := access.GroupConfig{Name: fmt.Sprint("group", i), VO: fmt.Sprint("vo", i%10)}
		for j := range 20 {
			g.Users = append(g.Users, fmt.Sprint("user", (i*10+j)%2000))
		}
		for j := range 8 {
			g.Properties = append(g.Properties, fmt.Sprint("Property", (i+j)%40))
		}
		c.Groups = append(c.Groups, g)
	}
	for i := range 500 {
		c.Hosts = append(c.Hosts, access.HostConfig{Name: fmt.Sprint("host", i), DN: []string{fmt.Sprintf("/DC=ch/DC=cern/OU=computers/CN=host%d", i)}, Properties: []string{"TrustedHost"}})
	}
	return c
}

func BenchmarkMethod(b *testing.B) {
	p := newPolicy(b, access.Config{Registry: crowd()})
	user := certificate("/DC=ch/DC=cern/OU=Organic Units/OU=Users/CN=user57")
	host := certificate("/DC=ch/DC=cern/OU=computers/CN=host7")
	for _, bc := range []struct {
		name   string
		rule   access.Rule
		caller *access.Caller
		claim  access.Claim
		let    bool
	}{
		{"any/nobody", access.Any, nobody, none, true},
		{"authenticated/user", access.Authenticated, user, none, true},
		{"property/group", access.MustRule("Operator", "Property12", "Admin"), user, in("group5"), true},
		{"property+group/group", access.MustRule("Property12", "group:group5", "group:group6", "vo:vo3"), user, in("group5"), true},
		{"property/forwarded", access.MustRule("Property12"), host, forward(user.Peer.DN, "group5"), true},
		{"property/refused", access.MustRule("Property30"), user, in("group5"), false},
	} {
		b.Run(bc.name, func(b *testing.B) {
			g := guardOf(p, bc.rule)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := g.Method("ask", bc.caller, bc.claim); (err == nil) != bc.let {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSwap(b *testing.B) {
	c := access.Config{Registry: crowd()}
	p := newPolicy(b, c)
	code := access.Rules{Methods: map[string]access.Rule{}}
	for i := range 50 {
		code.Methods[fmt.Sprint("method", i)] = access.MustRule(fmt.Sprint("Property", i%10), "vo:vo3")
	}
	g := p.Guard(service, code)
	for b.Loop() {
		if err := p.Swap(c); err != nil {
			b.Fatal(err)
		}
		if _, err := g.Method("method1", nobody, none); err == nil {
			b.Fatal("nobody is let")
		}
	}
}

// TestDecisionsAreCheap: at most one allocation, the grant.
func TestDecisionsAreCheap(t *testing.T) {
	p := newPolicy(t, access.Config{Registry: registry()})
	for rule, most := range map[string]float64{"any": 1, "Operator": 1, "NormalUser group:zeta": 1} {
		g := guardOf(p, ruleOf(rule))
		claim := in("zeta")
		if got := testing.AllocsPerRun(100, func() {
			if _, err := g.Method("ask", userM, claim); err != nil {
				t.Error(err)
			}
		}); got > most {
			t.Errorf("rule %q: %v allocations, want at most %v", rule, got, most)
		}
	}
	g := guardOf(p, access.Any)
	if got := testing.AllocsPerRun(100, func() { _, _ = g.Method("ask", nobody, none) }); got > 0 {
		t.Errorf("nobody: %v allocations, want none", got)
	}
}
