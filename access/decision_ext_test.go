package access_test

import (
	"strings"
	"sync"
	"testing"

	"busd/access"
	"busd/bus"
)

const (
	no401 = "unauthenticated"
	no403 = "permission_denied"
)

// decisions are who is let by what, each named for the row of the table of
// DIRAC's features that it shows.
var decisions = []struct {
	row, name string
	rule      string
	caller    *access.Caller
	claim     access.Claim
	want      string
}{
	// Messages are checked by the same rules, one by one.
	{"A66", "a rule by property", "NormalUser", userA, none, "userA/group_test NormalUser"},
	{"A66", "the rule's spelling", "NORMALUSER", userA, none, "userA/group_test NORMALUSER"},
	{"A67", "not authorized", "Operator", userA, none, no403},
	{"A67", "nobody", "Operator", nobody, none, no401},
	{"A69", "no rule is nobody, not a caller", "", userA, none, no403},
	{"A69", "no rule is nobody, not a host", "", hostA, asHost, no403},
	{"A69", "no rule is nobody, not a stranger", "", nobody, none, no401},
	{"A70", "group: alone holds", "group:group_test", userB, none, no403},
	{"A70", "group: alone lets its members", "group:group_test", userA, none, "userA/group_test"},
	{"A70", "vo: alone holds", "vo:testVO", userB, none, no403},
	{"A70", "vo: alone lets its members", "vo:testVO", userA, none, "userA/group_test"},

	// any and all are everybody.
	{"B33", "any, a user", "any", userA, none, "userA/group_test"},
	{"B33", "any, nobody", "any", nobody, none, "anonymous?/visitor!"},
	{"B33", "any, a stranger", "any", unknown, none, "anonymous?/visitor!"},
	{"B33", "any, a host", "any", hostA, asHost, "hostA/hosts"},
	{"B33", "all, nobody", "all", nobody, none, "anonymous?/visitor!"},
	{"B33", "all, a user", "all", userB, none, "userB/group_bad"},
	{"B33", "any beside a property that he has not", "any Operator", userA, none, "userA/group_test"},
	{"B33", "any beside a property, nobody", "Operator any", nobody, none, "anonymous?/visitor!"},
	// authenticated is who is known.
	{"B33", "authenticated, a user", "authenticated", userA, none, "userA/group_test"},
	{"B33", "authenticated, without properties", "authenticated", userM, in("alpha"), "userM/alpha"},
	{"B33", "authenticated, nobody", "authenticated", nobody, none, no401},
	{"B33", "authenticated, a stranger", "authenticated", unknown, none, no403},
	{"B33", "authenticated, a host", "authenticated", hostB, asHost, "hostB/hosts"},
	{"B33", "authenticated beside a property that he has not", "authenticated Operator", userA, none, "userA/group_test"},
	// Of properties one is enough.
	{"B33", "a property", "NormalUser", userA, none, "userA/group_test NormalUser"},
	{"B33", "a property that he has not", "NormalUser", userB, none, no403},
	{"B33", "one of two properties", "Operator NormalUser", userA, none, "userA/group_test NormalUser"},
	{"B33", "a property that nobody has", "Unheard", userA, none, no403},
	{"B33", "a property, nobody", "NormalUser", nobody, none, no401},
	{"B33", "a property, a stranger", "NormalUser", unknown, none, no403},
	{"B33", "a property of another group of his", "NormalUser", userM, in("alpha"), no403},
	// Groups and virtual organisations restrict.
	{"B33", "property and group", "NormalUser group:group_test", userA, none, "userA/group_test NormalUser"},
	{"B33", "property, other group", "NormalUser group:group_test_other", userA, none, no403},
	{"B33", "group, other property", "Operator group:group_test", userA, none, no403},
	{"B33", "any and group", "any group:group_test", userA, none, "userA/group_test"},
	{"B33", "any and group, nobody", "any group:group_test", nobody, none, no401},
	{"B33", "any and group, a stranger", "any group:group_test", unknown, none, no403},
	{"B33", "any and other group", "any group:group_test_other", userA, none, no403},
	{"B33", "authenticated and group", "authenticated group:group_test", userA, none, "userA/group_test"},
	{"B33", "authenticated and other group", "authenticated group:group_test_other", userA, none, no403},
	{"B33", "one of two groups", "group:group_bad group:group_test", userA, none, "userA/group_test"},
	{"B33", "property and vo", "NormalUser vo:testVO", userA, none, "userA/group_test NormalUser"},
	{"B33", "property and other vo", "NormalUser vo:testVOOther", userA, none, no403},
	{"B33", "any and vo", "any vo:testVO", userA, none, "userA/group_test"},
	{"B33", "any and vo, nobody", "any vo:testVO", nobody, none, no401},
	{"B33", "authenticated and vo", "authenticated vo:testVO", userA, none, "userA/group_test"},
	{"B33", "authenticated and other vo", "authenticated vo:testVOBad", userA, none, no403},
	{"B33", "a group or a vo", "group:group_bad vo:testVO", userB, none, "userB/group_bad"},
	{"B33", "a group of no vo", "vo:testVO", userM, in("free"), no403},
	{"B33", "a vo that is nobody's lets nobody", "vo:unheard", userA, none, no403},
	{"B33", "a group that does not exist lets nobody", "group:unheard", userA, none, no403},
	{"B33", "any and a vo that is nobody's", "any vo:unheard", userA, none, no403},
	{"B33", "hosts by group", "group:hosts", hostB, asHost, "hostB/hosts"},
	{"B33", "hosts by group, not users", "group:hosts", userA, none, no403},
	{"B33", "hosts by group and property", "TrustedHost group:hosts", hostA, asHost, "hostA/hosts TrustedHost"},
	{"B33", "hosts by group and another property", "TrustedHost group:hosts", hostB, asHost, no403},

	{"B34", "no credential, property", "NormalUser", nobody, in("group_test"), no401},
	{"B34", "no credential, any", "any", nobody, in("group_test"), "anonymous?/visitor!"},
	{"B34", "no caller at all", "any", nil, none, "anonymous?/visitor!"},
	{"B34", "no caller at all, authenticated", "authenticated", nil, none, no401},
	{"B34", "unknown DN, any", "any", unknown, in("group_test"), "anonymous?/visitor!"},
	{"B34", "unknown DN, group", "group:group_test", unknown, in("group_test"), no403},
	{"B34", "unknown peer", "authenticated", peer("dns:x.example"), none, no403},
	{"B34", "unknown token", "authenticated", bearer("x", "https://login.example"), none, no403},
	{"B34", "a DN is compared byte by byte: case", "authenticated", certificate("/O=test/CN=usera"), none, no403},
	{"B34", "a DN is compared byte by byte: space", "authenticated", certificate("/O=test/CN=userA "), none, no403},
	{"B34", "a DN is compared whole", "authenticated", certificate("/O=test/CN=userA/CN=1"), none, no403},
	{"B34", "another DN of a user", "NormalUser", certificate("/O=other/CN=userA"), none, "userA/group_test NormalUser"},
	{"B34", "a peer's name", "NormalUser", peer("dns:a.example"), none, "userA/group_test NormalUser"},
	{"B34", "a peer's name is compared byte by byte", "NormalUser", peer("dns:A.example"), none, no403},
	{"B34", "a token", "NormalUser", bearer("a", "https://login.example"), none, "userA/group_test NormalUser"},
	{"B34", "a token of another issuer", "NormalUser", bearer("a", "https://evil.example"), none, no403},
	{"B34", "a token's name is no peer's", "authenticated", &access.Caller{Via: access.ViaToken, Peer: peer("dns:a.example").Peer}, none, no403},
	{"B34", "a certificate that is called as a token", "authenticated", peer("token:a@https://login.example"), none, no403},

	{"B34", "a DN goes before a peer's name", "any", &access.Caller{Via: access.ViaCertificate, Peer: bus.Peer{Name: "dns:m.example", DN: "/O=test/CN=userA"}}, none, "userA/group_test"},
	{"B34", "the last @ divides a token", "any", bearer("a@home", "https://login.example"), none, "lone/visitor!"},
	{"B34", "another @ does not", "authenticated", bearer("a", "home@https://login.example"), none, no403},

	{"B35", "the credential's group", "any", proxy("/O=test/CN=userM", "zeta"), none, "userM/zeta"},
	{"B35", "the credential's goes before the claim's", "any", proxy("/O=test/CN=userM", "zeta"), in("free"), "userM/zeta"},
	{"B35", "the claim's goes before the default", "any", userM, in("free"), "userM/free"},
	{"B35", "the default group", "any", userM, none, "userM/alpha"},
	{"B35", "no default of his: the first of his groups", "any", userA, none, "userA/group_test"},
	{"B35", "a proxy without a group takes the claim's", "any", proxy("/O=test/CN=userM", ""), in("zeta"), "userM/zeta"},
	{"B35", "properties are those of the group that he acts in", "Operator", userM, in("zeta"), "userM/zeta Operator"},
	{"B35", "a token's claim", "any", bearer("a", "https://login.example"), in("group_test"), "userA/group_test"},
	{"B35", "a user in no group is known", "authenticated", peer("dns:lone.example"), none, "lone/visitor!"},
	{"B35", "a user in no group has no property", "NormalUser", peer("dns:lone.example"), none, no403},
	{"B35", "a user in no group, a rule with groups", "any group:free", peer("dns:lone.example"), none, no403},

	{"B36", "a group that is not his", "authenticated", userA, in("group_bad"), no403},
	{"B36", "a group that is not his, any", "any", userA, in("group_bad"), "anonymous?/visitor!"},
	{"B36", "a group that is not his, the same property", "NormalUser", userA, in("group_test_other"), no403},
	{"B36", "a group that is not his, rule of that group", "group:group_bad", userA, in("group_bad"), no403},
	{"B36", "a group that does not exist", "authenticated", userA, in("unheard"), no403},
	{"B36", "group names are case-sensitive", "authenticated", userA, in("Group_Test"), no403},
	{"B36", "visitor is no group", "authenticated", userA, in("visitor"), no403},
	{"B36", "the credential's group is not his", "authenticated", proxy("/O=test/CN=userA", "group_bad"), none, no403},
	{"B36", "the credential's group is not his, and the claim's is", "authenticated", proxy("/O=test/CN=userA", "group_bad"), in("group_test"), no403},
	{"B36", "a group of one in no group", "authenticated", peer("dns:lone.example"), in("free"), no403},

	{"B37", "suspended in the group's vo", "NormalUser", userS, in("group_test"), no403},
	{"B37", "suspended, authenticated", "authenticated", userS, in("group_test"), no403},
	{"B37", "suspended, any", "any", userS, in("group_test"), "anonymous?/visitor!"},
	{"B37", "suspended, any and his group", "any group:group_test", userS, in("group_test"), no403},
	{"B37", "suspended in another vo", "NormalUser", userS, in("group_test_other"), "userS/group_test_other NormalUser"},
	{"B37", "suspended in the vo of his default group", "NormalUser", userS, none, no403},
	{"B37", "suspended everywhere, a vo's group", "NormalUser", userX, in("zeta"), no403},
	{"B37", "suspended everywhere, a group of no vo", "NormalUser", userX, in("free"), no403},
	{"B37", "suspended everywhere, any", "any", userX, none, "anonymous?/visitor!"},
	{"B37", "suspended everywhere, in no group", "authenticated", peer("dns:lonex.example"), none, no403},

	{"B38", "a host that says so", "ProxyManagement", hostA, asHost, "hostA/hosts ProxyManagement"},
	{"B38", "a host that says so as a group", "ProxyManagement", hostA, in("hosts"), "hostA/hosts ProxyManagement"},
	{"B38", "a host that says both", "ProxyManagement", hostA, access.Claim{Host: true, Group: "hosts"}, "hostA/hosts ProxyManagement"},
	{"B38", "a host that does not say so", "ProxyManagement", hostA, none, "hostA/hosts ProxyManagement"},
	{"B38", "a host by its peer's name", "TrustedHost", peer("dns:p.example"), asHost, "hostP/hosts TrustedHost"},
	{"B38", "a user who says that he is a host", "authenticated", userA, asHost, no403},
	{"B38", "a user who says that he is a host, any", "any", userA, asHost, "anonymous?/visitor!"},
	{"B38", "a stranger who says that he is a host", "authenticated", unknown, asHost, no403},
	{"B38", "a host has not a user's properties", "NormalUser", hostA, asHost, no403},
	{"B38", "a host in a user's group", "any", hostA, in("group_test"), "anonymous?/visitor!"},
	{"B38", "a host in a user's group, authenticated", "authenticated", hostA, access.Claim{Host: true, Group: "group_test"}, no403},
	{"B38", "user and host, says nothing", "authenticated", twin, none, "twin/free"},
	{"B38", "user and host, says host", "authenticated", twin, asHost, "twin.example/hosts"},
	{"B38", "user and host, says his group", "authenticated", twin, in("free"), "twin/free"},
	{"B38", "a proxy for a group is no host's", "authenticated", proxy("/O=test/CN=twin", "free"), asHost, no403},
	{"B38", "a proxy for hosts is", "authenticated", proxy("/O=test/CN=twin", "hosts"), none, "twin.example/hosts"},
	{"B38", "a token that is called as a host", "authenticated", &access.Caller{Via: access.ViaToken, Peer: peer("dns:p.example").Peer}, asHost, no403},
	{"B38", "a token is no host's", "authenticated", bearer("a", "https://login.example"), asHost, no403},

	{"B39", "what matched of two", "NormalUser Operator Unheard", userM, in("zeta"), "userM/zeta Operator+NormalUser"},
	{"B39", "what matched of one", "operator", userM, in("zeta"), "userM/zeta operator"},
	{"B39", "nothing matched where any lets", "any Operator", userM, in("zeta"), "userM/zeta"},

	{"B41", "Any", "Any", nobody, none, "anonymous?/visitor!"},
	{"B41", "ALL", "ALL", nobody, none, "anonymous?/visitor!"},
	{"B41", "Authenticated", "Authenticated", userA, none, "userA/group_test"},
	{"B41", "AUTHENTICATED, a stranger", "AUTHENTICATED", unknown, none, no403},
	{"B41", "properties", "normaluser", userA, none, "userA/group_test normaluser"},
	{"B41", "trustedhost", "TrustedHost", peer("dns:p.example"), none, "hostP/hosts TrustedHost"},
	{"B41", "groups are as they are", "group:Group_Test", userA, none, no403},
	{"B41", "virtual organisations are as they are", "vo:testvo", userA, none, no403},

	{"B43", "a trusted host for a user", "NormalUser", hostA, forward("/O=test/CN=userA", "group_test"), "userA/group_test NormalUser by hostA"},
	{"B43", "by its peer's name", "NormalUser", peer("dns:p.example"), forward("/O=test/CN=userA", "group_test"), "userA/group_test NormalUser by hostP"},
	{"B43", "not the host's properties", "ProxyManagement", hostA, forward("/O=test/CN=userA", "group_test"), no403},
	{"B43", "a host that is not trusted", "any", hostB, forward("/O=test/CN=userA", "group_test"), no403},
	{"B43", "a user", "any", userA, forward("/O=test/CN=userB", "group_bad"), no403},
	{"B43", "a user for himself", "any", userA, forward("/O=test/CN=userA", "group_test"), no403},
	{"B43", "a stranger", "any", unknown, forward("/O=test/CN=userA", "group_test"), no403},
	{"B43", "nobody", "any", nobody, forward("/O=test/CN=userA", "group_test"), no401},
	{"B43", "a token", "any", bearer("a", "https://login.example"), forward("/O=test/CN=userB", ""), no403},
	{"B43", "a trusted host's proxy for a group", "any", proxy("/O=test/CN=hostA", "group_test"), forward("/O=test/CN=userA", ""), no403},
	{"B43", "for an unknown user", "authenticated", hostA, forward("/O=test/CN=stranger", "group_test"), no403},
	{"B43", "for an unknown user, any", "any", hostA, forward("/O=test/CN=stranger", "group_test"), "anonymous?/visitor! by hostA"},
	{"B43", "for a user in a group that is not his", "authenticated", hostA, forward("/O=test/CN=userA", "group_bad"), no403},
	{"B43", "for a suspended user", "NormalUser", hostA, forward("/O=test/CN=userS", "group_test"), no403},
	{"B43", "for a suspended user, any", "any", hostA, forward("/O=test/CN=userS", "group_test"), "anonymous?/visitor! by hostA"},
	{"B43", "for a user in another vo than he is suspended in", "NormalUser", hostA, forward("/O=test/CN=userS", "group_test_other"), "userS/group_test_other NormalUser by hostA"},
	{"B43", "without a group: the default", "any", hostA, forward("/O=test/CN=userM", ""), "userM/alpha by hostA"},
	{"B43", "for another host", "authenticated", hostA, forward("/O=test/CN=hostB", "hosts"), "hostB/hosts by hostA"},
	{"B43", "for another host, without a group", "authenticated", hostA, forward("/O=test/CN=hostB", ""), "hostB/hosts by hostA"},
	{"B43", "for a user as a host", "authenticated", hostA, forward("/O=test/CN=userA", "hosts"), no403},
	{"B43", "for who is user and host", "authenticated", hostA, forward("/O=test/CN=twin", ""), "twin/free by hostA"},
	{"B43", "for who is user and host, as a host", "authenticated", hostA, forward("/O=test/CN=twin", "hosts"), "twin.example/hosts by hostA"},
	{"B43", "for nobody", "authenticated", hostA, forward("", ""), no403},
	{"B43", "for nobody, any", "any", hostA, forward("", ""), "anonymous?/visitor! by hostA"},
	{"B43", "a peer's name cannot be forwarded", "authenticated", hostA, forward("dns:a.example", ""), no403},
	{"B43", "other claims do not count beside it", "authenticated", hostA, access.Claim{Group: "group_test", Forward: &access.Forward{DN: "/O=test/CN=userB"}}, "userB/group_bad by hostA"},
}

// guardOf guards a service whose only rule, for a message, a method and
// connecting, is this.
func guardOf(p *access.Policy, rule access.Rule) *access.Guard {
	return p.Guard(service, access.Rules{
		Connect:  rule,
		Messages: map[string]access.Rule{"Ask": rule},
		Methods:  map[string]access.Rule{"ask": rule},
	})
}

func ruleOf(words string) access.Rule {
	if words == "" {
		return access.Rule{}
	}
	return access.MustRule(strings.Fields(words)...)
}

// TestDecisions asks each twice of one guard, as a message, as a method and for
// a connection, the rule being the operator's and in code.
func TestDecisions(t *testing.T) {
	t.Parallel()
	inCode := newPolicy(t, access.Config{Registry: registry()})
	for _, tc := range decisions {
		t.Run(tc.row+" "+tc.name, func(t *testing.T) {
			t.Parallel()
			guards := map[string]*access.Guard{"in code": guardOf(inCode, ruleOf(tc.rule))}
			words := strings.Fields(tc.rule)
			if operators, err := access.New(access.Config{Registry: registry(), Services: map[string]access.ServiceRules{service: {
				Connect: words, Messages: map[string][]string{"Ask": words}, Methods: map[string][]string{"ask": words},
			}}}); err == nil { // a group that does not exist is an operator's mistake, and not one of code
				guards["the operator's"] = guardOf(operators, access.Any)
			}
			for where, g := range guards {
				for _, use := range []string{"first", "second"} {
					if got := show(g.Message("Ask", tc.caller, tc.claim)); got != tc.want {
						t.Errorf("rule %q %s, %s use: a message: got %s, want %s", tc.rule, where, use, got, tc.want)
					}
					if got := show(g.Method("ask", tc.caller, tc.claim)); got != tc.want {
						t.Errorf("rule %q %s, %s use: a method: got %s, want %s", tc.rule, where, use, got, tc.want)
					}
					if got := show(g.Connect(tc.caller, tc.claim)); got != tc.want {
						t.Errorf("rule %q %s, %s use: connecting: got %s, want %s", tc.rule, where, use, got, tc.want)
					}
				}
			}
		})
	}
	if len(decisions) < 90 {
		t.Errorf("the table has %d cases, want at least 90", len(decisions))
	}
}

// TestRulesHoldOnTheirSecondUse is the defect of DIRAC that opens a method to
// everybody once somebody was let: rows A70 and B42. One guard, from many
// goroutines, the rule being one value that many guards share.
func TestRulesHoldOnTheirSecondUse(t *testing.T) {
	t.Parallel()
	p := newPolicy(t, access.Config{Registry: registry()})
	for _, rule := range []access.Rule{access.MustRule("group:group_test"), access.MustRule("vo:testVO"), access.MustRule("NormalUser", "group:group_test")} {
		g, other := guardOf(p, rule), guardOf(p, rule)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 50 {
					if _, err := g.Method("ask", userA, none); err != nil {
						t.Errorf("%s: userA: %v", rule, err)
					}
					for name, caller := range map[string]*access.Caller{"userB": userB, "nobody": nobody, "unknown": unknown} {
						if grant, err := g.Method("ask", caller, none); err == nil {
							t.Errorf("%s: %s is let as %s", rule, name, grant.User)
						}
						if grant, err := other.Message("Ask", caller, none); err == nil {
							t.Errorf("%s: %s is let as %s by another guard", rule, name, grant.User)
						}
					}
				}
			})
		}
		all.Wait()
	}
}
