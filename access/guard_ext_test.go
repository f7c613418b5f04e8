package access_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"busd/access"
	"busd/bus"
)

// TestGrant looks at everything that a method is told: rows B38, B39 and B43.
// A rule whose words look like the text of no rule is not taken for it, whichever is
// compiled first: nobody may do what no rule is for.
func TestNoRuleIsNoWord(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"none", "None", "nobody"} {
		if r, err := access.ParseRule(word); err == nil {
			t.Errorf("%s is taken for a rule: %s", word, r)
		}
	}
	for range 50 { // in whatever order they are compiled
		p := newPolicy(t, access.Config{Registry: registry()})
		g := p.Guard(service, access.Rules{
			Messages: map[string]access.Rule{"Ask": {}, "Tell": access.MustRule("Operator")}, Methods: map[string]access.Rule{"ask": {}},
		})
		if _, err := g.Method("ask", proxy("/O=test/CN=userM", "zeta"), none); bus.CodeOf(err) != bus.CodePermissionDenied {
			t.Fatalf("what no rule is for: got %v, want permission_denied", err)
		}
	}
}

// Methods may have another default than messages; an operator's goes before both.
func TestTwoDefaults(t *testing.T) {
	t.Parallel()
	userM := proxy("/O=test/CN=userM", "zeta")
	code := access.Rules{
		MethodDefault: access.Authenticated, Messages: map[string]access.Rule{"Ask": {}}, Methods: map[string]access.Rule{"ask": {}},
	}
	for name, tc := range map[string]struct {
		operator        access.ServiceRules
		code            access.Rules
		message, method bool
	}{
		"of methods only":    {access.ServiceRules{}, code, false, true},
		"of messages only":   {access.ServiceRules{}, access.Rules{Default: access.Authenticated, Messages: code.Messages, Methods: code.Methods}, true, true},
		"the operator's":     {access.ServiceRules{Default: []string{"Operator"}}, code, true, true},
		"a stricter for one": {access.ServiceRules{Methods: map[string][]string{"ask": {"Unheard"}}}, code, false, false},
	} {
		g := newPolicy(t, access.Config{Registry: registry(), Services: map[string]access.ServiceRules{service: tc.operator}}).Guard(service, tc.code)
		if _, err := g.Message("Ask", userM, none); (err == nil) != tc.message {
			t.Errorf("%s: the message: got %v, want it let: %t", name, err, tc.message)
		}
		if _, err := g.Method("ask", userM, none); (err == nil) != tc.method {
			t.Errorf("%s: the method: got %v, want it let: %t", name, err, tc.method)
		}
	}
}

func TestGrant(t *testing.T) {
	t.Parallel()
	p := newPolicy(t, access.Config{Registry: registry()})
	for _, tc := range []struct {
		name   string
		rule   access.Rule
		caller *access.Caller
		claim  access.Claim
		want   access.Grant
	}{
		{"a user by a property", access.MustRule("Operator"), userM, in("zeta"), access.Grant{
			User: "userM", Group: "zeta", DN: "/O=test/CN=userM", VO: "testVO",
			Properties: []string{"Operator", "NormalUser"}, Matched: []string{"Operator"}, Known: true, ValidGroup: true,
		}},
		{"a user without a rule of properties", access.Authenticated, userM, in("zeta"), access.Grant{
			User: "userM", Group: "zeta", DN: "/O=test/CN=userM", VO: "testVO",
			Properties: []string{"Operator", "NormalUser"}, Known: true, ValidGroup: true,
		}},
		{"the DN is the one that was shown", access.Any, certificate("/O=other/CN=userA"), none, access.Grant{
			User: "userA", Group: "group_test", DN: "/O=other/CN=userA", VO: "testVO", Properties: []string{"NormalUser"}, Known: true, ValidGroup: true,
		}},
		{"a token has no DN", access.Any, bearer("a", "https://login.example"), none, access.Grant{
			User: "userA", Group: "group_test", VO: "testVO", Properties: []string{"NormalUser"}, Known: true, ValidGroup: true,
		}},
		{"a host", access.Any, hostA, asHost, access.Grant{
			User: "hostA", Group: "hosts", DN: "/O=test/CN=hostA", Properties: []string{"TrustedHost", "ProxyManagement"}, Known: true, ValidGroup: true, Host: true,
		}},
		{"a forwarded user has nothing of the host", access.Any, hostA, forward("/O=test/CN=userA", ""), access.Grant{
			User: "userA", Group: "group_test", DN: "/O=test/CN=userA", VO: "testVO", Properties: []string{"NormalUser"}, Known: true, ValidGroup: true, ForwardedBy: "hostA",
		}},
		{"a forwarded stranger has nothing of the host", access.Any, hostA, forward("/O=test/CN=stranger", ""), access.Grant{
			User: "anonymous", Group: "visitor", DN: "/O=test/CN=stranger", ForwardedBy: "hostA",
		}},
		{"a stranger", access.Any, unknown, none, access.Grant{User: "anonymous", Group: "visitor", DN: "/O=test/CN=stranger"}},
		// DIRAC gives them the properties of the group that they have claimed.
		{"a group that is not his brings no property", access.Any, userA, in("zeta"), access.Grant{User: "anonymous", Group: "visitor", DN: "/O=test/CN=userA"}},
		{"a suspended user has no property", access.Any, userX, in("zeta"), access.Grant{User: "anonymous", Group: "visitor", DN: "/O=test/CN=userX"}},
		{"nobody", access.Any, nobody, none, access.Grant{User: "anonymous", Group: "visitor"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := guardOf(p, tc.rule).Method("ask", tc.caller, tc.claim)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(*got, tc.want) {
				t.Errorf("got %+v, want %+v", *got, tc.want)
			}
		})
	}
}

// TestGrantsShareNothingThatGrows: what one handler appends to his grant's
// properties is not in another's.
func TestGrantsShareNothingThatGrows(t *testing.T) {
	t.Parallel()
	r := registry()
	r.Groups[0].Properties = []string{"A", "B", "C"}
	g := guardOf(newPolicy(t, access.Config{Registry: r}), access.Any)
	var lists [][]string
	for _, mine := range []string{"first", "second"} {
		grant, err := g.Method("ask", userA, none)
		if err != nil {
			t.Fatal(err)
		}
		lists = append(lists, append(grant.Properties, mine))
	}
	if lists[0][3] != "first" {
		t.Errorf("got %q in the first list", lists[0][3])
	}
}

// TestReasons are written for a stranger, and repeat nothing that he said; the
// cause, for the log, says who he is.
func TestReasons(t *testing.T) {
	t.Parallel()
	p := newPolicy(t, access.Config{Registry: registry()})
	for _, tc := range []struct {
		rule   string
		caller *access.Caller
		claim  access.Claim
		want   string
	}{
		{"authenticated", &access.Caller{Proxied: true}, none, "method ask: want a caller who is known here, got no certificate passed on by the TLS proxy that the request came through, and no token"},
		{"authenticated", nobody, none, "method ask: want a caller who is known here, got no certificate and no token"},
		{"authenticated", unknown, none, "method ask: want a caller who is known here, got a certificate that is not in the registry"},
		{"authenticated", bearer("evil", "x"), none, "method ask: want a caller who is known here, got a token that is not in the registry"},
		{"Operator", userA, none, "method ask: want the property Operator, got userA in group group_test"},
		{"A B", userA, none, "method ask: want one of the properties A, B, got userA in group group_test"},
		{"A B C D E", userA, none, "method ask: want one of the properties A, B, C, D, …, got userA in group group_test"},
		{"A group:g vo:v", userA, none, "method ask: want the property A and the group g or a group of the virtual organisation v, got userA in group group_test"},
		{"any vo:v vo:w", userA, none, "method ask: want a group of one of the virtual organisations v, w, got userA in group group_test"},
		{"Operator", hostB, asHost, "method ask: want the property Operator, got host hostB"},
		{"Operator", peer("dns:lone.example"), none, "method ask: want the property Operator, got lone, in no group"},
		{"Operator", userA, in("evil"), "method ask: want the property Operator, got a group that is not the caller's"},
		{"Operator", userA, asHost, "method ask: want the property Operator, got a certificate that is no host's"},
		{"NormalUser", userX, none, "method ask: want the property NormalUser, got a user who is suspended"},
		{"", userA, none, "method ask: want nobody, as there is no rule for it, got userA in group group_test"},
		{"any", userA, forward("evil", ""), "method ask: want a host with the property TrustedHost to ask for somebody else, got a certificate of somebody else"},
		{"any", nobody, forward("evil", ""), "method ask: want a host with the property TrustedHost to ask for somebody else, got no certificate"},
		{"authenticated", hostA, forward("/evil", ""), "method ask: want a caller who is known here, got somebody who is not in the registry, for whom host hostA asks"},
		{"authenticated", hostA, forward("", ""), "method ask: want a caller who is known here, got nobody, for whom host hostA asks"},
	} {
		_, err := guardOf(p, ruleOf(tc.rule)).Method("ask", tc.caller, tc.claim)
		if err == nil {
			t.Errorf("rule %q: want it refused: %s", tc.rule, tc.want)
			continue
		}
		if err.Reason != tc.want {
			t.Errorf("got  %s\nwant %s", err.Reason, tc.want)
		}
		if err.Cause == nil || !strings.HasPrefix(err.Cause.Error(), "method ask of Framework/Probe, asked for by ") {
			t.Errorf("%s: got the cause %v", tc.want, err.Cause)
		}
	}
}

func TestCauseSaysWhoAsked(t *testing.T) {
	t.Parallel()
	g := guardOf(newPolicy(t, access.Config{Registry: registry()}), access.Rule{})
	for _, tc := range []struct {
		caller *access.Caller
		claim  access.Claim
		want   string
	}{
		{nobody, in("g"), `message Ask of Framework/Probe, asked for by nobody in group "g"`},
		{bearer("a", "i"), none, `message Ask of Framework/Probe, asked for by "token:a@i"`},
		{proxy("/CN=a", "carried"), in("claimed"), `message Ask of Framework/Probe, asked for by "dn:/CN=a" ("/CN=a") in group "carried"`},
		{hostA, asHost, `message Ask of Framework/Probe, asked for by "dn:/O=test/CN=hostA" ("/O=test/CN=hostA") as a host`},
		{hostA, forward("/CN=u\n", "g"), `message Ask of Framework/Probe, asked for by "dn:/O=test/CN=hostA" ("/O=test/CN=hostA") for "/CN=u\n" in group "g"`},
	} {
		_, err := g.Message("Ask", tc.caller, tc.claim)
		if err == nil || err.Cause.Error() != tc.want {
			t.Errorf("got  %v\nwant %s", err, tc.want)
		}
	}
}

// TestWhatTheServiceDoesNotHave: whoever asks is told so, also where everybody
// may do everything.
func TestWhatTheServiceDoesNotHave(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]*access.Policy{"open": access.Open(), "registry": newPolicy(t, access.Config{Registry: registry()})} {
		g := p.Guard(service, access.Rules{Default: access.Any, Messages: map[string]access.Rule{"Ask": {}}, Methods: map[string]access.Rule{"ask": {}}})
		for _, c := range []*access.Caller{nobody, userA} {
			if _, err := g.Method("Ask", c, none); err == nil || err.Code != bus.CodeUnimplemented || err.Reason != `Framework/Probe has no method "Ask"` {
				t.Errorf("%s: a method: got %v", name, err)
			}
			if _, err := g.Message("ask", c, none); err == nil || err.Code != bus.CodeUnimplemented || err.Reason != `Framework/Probe has no message "ask"` {
				t.Errorf("%s: a message: got %v", name, err)
			}
		}
	}
}

// TestPrecedence has each of the sixteen ways to say a rule or not: rows A66,
// A69, B24 and B42. Each place asks for a group of its own, so that who is let
// tells which counted.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	places := []string{"operators", "code", "operators_default", "code_default"}
	var r access.RegistryConfig
	for _, p := range places {
		r.Users = append(r.Users, access.UserConfig{Name: p, DN: []string{"/CN=" + p}})
		r.Groups = append(r.Groups, access.GroupConfig{Name: p, Users: []string{p}})
	}
	for said := range 16 {
		words := func(place int) []string {
			if said&(1<<place) == 0 {
				return nil
			}
			return []string{"group:" + places[place]}
		}
		rule := func(place int) access.Rule {
			if words(place) == nil {
				return access.Rule{}
			}
			return access.MustRule(words(place)...)
		}
		operator := access.ServiceRules{Default: words(2), Messages: map[string][]string{}, Methods: map[string][]string{}}
		if words(0) != nil {
			operator.Messages["Ask"], operator.Methods["ask"] = words(0), words(0)
		}
		p := newPolicy(t, access.Config{Registry: r, Services: map[string]access.ServiceRules{service: operator}})
		g := p.Guard(service, access.Rules{Default: rule(3), Messages: map[string]access.Rule{"Ask": rule(1)}, Methods: map[string]access.Rule{"ask": rule(1)}})

		first := slices.IndexFunc(places, func(p string) bool { return words(slices.Index(places, p)) != nil })
		for at, place := range places {
			want := no403
			if at == first {
				want = place + "/" + place
			}
			caller := certificate("/CN=" + place)
			if got := show(g.Message("Ask", caller, none)); got != want {
				t.Errorf("rules said %04b: a message of %s: got %s, want %s", said, place, got, want)
			}
			if got := show(g.Method("ask", caller, none)); got != want {
				t.Errorf("rules said %04b: a method by %s: got %s, want %s", said, place, got, want)
			}
			if got := show(g.Connect(caller, none)); got != want {
				t.Errorf("rules said %04b: connecting as %s: got %s, want %s", said, place, got, want)
			}
		}
	}
}

// TestOtherServicesRules do not count here.
func TestOtherServicesRules(t *testing.T) {
	t.Parallel()
	p := newPolicy(t, access.Config{Registry: registry(), Services: map[string]access.ServiceRules{
		"Framework/Other": {Default: []string{"any"}, Connect: []string{"any"}, Messages: map[string][]string{"Ask": {"any"}}},
	}})
	g := guardOf(p, access.Rule{})
	if got := show(g.Message("Ask", userA, none)); got != no403 {
		t.Errorf("got %s, want %s", got, no403)
	}
	if got := show(g.Connect(userA, none)); got != no403 {
		t.Errorf("connecting: got %s, want %s", got, no403)
	}
}

// TestConnect is row A68.
func TestConnect(t *testing.T) {
	t.Parallel()
	normal, operator, members := access.MustRule("NormalUser"), access.MustRule("Operator"), access.MustRule("group:group_bad")
	for _, tc := range []struct {
		name     string
		operator access.ServiceRules
		code     access.Rules
		let      []string // of those below
		refused  []string
	}{
		{
			"the operator's first",
			access.ServiceRules{Connect: []string{"Operator"}, Messages: map[string][]string{"Ask": {"any"}}},
			access.Rules{Connect: access.Any, Messages: map[string]access.Rule{"Ask": {}}},
			[]string{"userM/zeta Operator"},
			[]string{"userA", "userB", "nobody"},
		},
		{
			"then the one in code",
			access.ServiceRules{Messages: map[string][]string{"Ask": {"any"}}},
			access.Rules{Connect: operator, Messages: map[string]access.Rule{"Ask": {}}},
			[]string{"userM/zeta Operator"},
			[]string{"userA", "userB", "nobody"},
		},
		{
			"then the union",
			access.ServiceRules{},
			access.Rules{Messages: map[string]access.Rule{"Ask": operator, "Tell": members}, Methods: map[string]access.Rule{"ask": normal}},
			[]string{"userM/zeta NormalUser+Operator", "userA/group_test NormalUser", "userB/group_bad"},
			[]string{"nobody", "unknown"},
		},
		{
			"what matches twice counts once",
			access.ServiceRules{},
			access.Rules{Messages: map[string]access.Rule{"Ask": operator, "Tell": access.MustRule("Operator", "Unheard")}},
			[]string{"userM/zeta Operator"},
			[]string{"userA", "userB", "nobody"},
		},
		{
			"of the rules that count",
			access.ServiceRules{Messages: map[string][]string{"Ask": {"Operator"}}},
			access.Rules{Messages: map[string]access.Rule{"Ask": access.Any}},
			[]string{"userM/zeta Operator"},
			[]string{"userA", "userB", "nobody"},
		},
		{
			"with the defaults",
			access.ServiceRules{Default: []string{"group:group_bad"}},
			access.Rules{Default: access.Any, Messages: map[string]access.Rule{"Ask": {}, "Tell": operator}},
			[]string{"userB/group_bad", "userM/zeta Operator"},
			[]string{"userA", "nobody"},
		},
		{
			"any in the union",
			access.ServiceRules{},
			access.Rules{Messages: map[string]access.Rule{"Ask": operator}, Methods: map[string]access.Rule{"ping": access.Any}},
			[]string{"userM/zeta Operator", "userA/group_test", "userB/group_bad", "anonymous?/visitor!"},
			nil,
		},
		{
			"what every service has is not in the union",
			access.ServiceRules{},
			access.Rules{
				Messages: map[string]access.Rule{"Ask": operator}, Common: []string{"ping", "whoami"},
				Methods: map[string]access.Rule{"ping": access.Any, "whoami": access.Authenticated, "ask": normal},
			},
			[]string{"userM/zeta NormalUser+Operator", "userA/group_test NormalUser"},
			[]string{"userB", "nobody", "unknown"},
		},
		{
			"nothing but what every service has: the default",
			access.ServiceRules{},
			access.Rules{Default: operator, Common: []string{"ping"}, Methods: map[string]access.Rule{"ping": access.Any}},
			[]string{"userM/zeta Operator"},
			[]string{"userA", "nobody"},
		},
		{
			"no rule in the union",
			access.ServiceRules{},
			access.Rules{Messages: map[string]access.Rule{"Ask": {}, "Tell": operator}},
			[]string{"userM/zeta Operator"},
			[]string{"userA", "nobody"},
		},
		{
			"no rule at all",
			access.ServiceRules{},
			access.Rules{Messages: map[string]access.Rule{"Ask": {}}},
			nil,
			[]string{"userM", "userA", "userB", "nobody"},
		},
		{
			"nothing to send or call: the default",
			access.ServiceRules{},
			access.Rules{Default: operator},
			[]string{"userM/zeta Operator"},
			[]string{"userA", "nobody"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newPolicy(t, access.Config{Registry: registry(), Services: map[string]access.ServiceRules{service: tc.operator}})
			g := p.Guard(service, tc.code)
			var let, refused []string
			callers := map[string]*access.Caller{"userM": proxy("/O=test/CN=userM", "zeta"), "userA": userA, "userB": userB, "nobody": nobody, "unknown": unknown}
			for name, c := range callers {
				grant, err := g.Connect(c, none)
				if err != nil {
					refused = append(refused, name)
					continue
				}
				let = append(let, show(grant, nil))
			}
			for _, want := range tc.let {
				if !slices.Contains(let, want) {
					t.Errorf("let %q, want %q among them", let, want)
				}
			}
			for _, want := range tc.refused {
				if !slices.Contains(refused, want) {
					t.Errorf("refused %q, want %q among them", refused, want)
				}
			}
		})
	}
}

func TestConnectReasons(t *testing.T) {
	t.Parallel()
	p := newPolicy(t, access.Config{Registry: registry()})
	for want, code := range map[string]access.Rules{
		"connecting: want the property Operator, got userA in group group_test":                                                {Messages: map[string]access.Rule{"Ask": access.MustRule("Operator"), "Tell": access.MustRule("Operator"), "None": {}}},
		"connecting: want nobody, as there is no rule for it, got userA in group group_test":                                   {},
		"connecting: want a caller who may send one of the messages or call one of the methods, got userA in group group_test": {Messages: map[string]access.Rule{"Ask": access.MustRule("Operator")}, Methods: map[string]access.Rule{"ask": access.MustRule("Admin")}},
		"connecting: want the group zeta or a group of the virtual organisation testVOBad, got userA in group group_test":      {Connect: access.MustRule("group:zeta", "vo:testVOBad")},
	} {
		if _, err := p.Guard(service, code).Connect(userA, none); err == nil || err.Reason != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestOpen: without any registry whoever has shown who he is is known, by his
// peer's name. Under Open no rule means such a caller; otherwise nobody.
func TestOpen(t *testing.T) {
	t.Parallel()
	empty := newPolicy(t, access.Config{})
	for _, tc := range []struct {
		name   string
		policy *access.Policy
		rule   string
		caller *access.Caller
		claim  access.Claim
		want   string
	}{
		{"open, no rule", access.Open(), "", peer("dns:agent-7"), none, "dns:agent-7/visitor!"},
		{"open, no rule, nobody", access.Open(), "", nobody, none, no401},
		{"open, any, nobody", access.Open(), "any", nobody, none, "anonymous?/visitor!"},
		{"open, authenticated", access.Open(), "authenticated", peer("dns:agent-7"), none, "dns:agent-7/visitor!"},
		{"open, a token", access.Open(), "authenticated", bearer("a", "i"), none, "token:a@i/visitor!"},
		{"open, a property", access.Open(), "NormalUser", peer("dns:agent-7"), none, no403},
		{"open, a group", access.Open(), "group:g", peer("dns:agent-7"), in("g"), no403},
		{"open, hosts", access.Open(), "group:hosts", peer("dns:agent-7"), asHost, no403},
		{"open, a host's claim is nothing", access.Open(), "", peer("dns:agent-7"), asHost, "dns:agent-7/visitor!"},
		{"open, a host's claim as a group", access.Open(), "", peer("dns:agent-7"), in("hosts"), "dns:agent-7/visitor!"},
		{"open, a credential's group is nothing", access.Open(), "", proxy("/CN=a", "g"), none, "dn:/CN=a/visitor!"},
		{"open, a claimed group", access.Open(), "", peer("dns:agent-7"), in("g"), no403},
		{"open, a claimed group, any", access.Open(), "any", peer("dns:agent-7"), in("g"), "anonymous?/visitor!"},
		{"open, forwarding", access.Open(), "any", peer("dns:agent-7"), forward("/CN=a", ""), no403},
		{"open, a credential without a name", access.Open(), "", &access.Caller{Via: access.ViaCertificate}, none, no403},
		{"empty, no rule", empty, "", peer("dns:agent-7"), none, no403},
		{"empty, authenticated", empty, "authenticated", peer("dns:agent-7"), none, "dns:agent-7/visitor!"},
		{"a registry, authenticated", newPolicy(t, access.Config{Registry: registry()}), "authenticated", peer("dns:agent-7"), none, no403},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := guardOf(tc.policy, ruleOf(tc.rule))
			if got := show(g.Method("ask", tc.caller, tc.claim)); got != tc.want {
				t.Errorf("a method: got %s, want %s", got, tc.want)
			}
			if got := show(g.Message("Ask", tc.caller, tc.claim)); got != tc.want {
				t.Errorf("a message: got %s, want %s", got, tc.want)
			}
			if got := show(g.Connect(tc.caller, tc.claim)); got != tc.want {
				t.Errorf("connecting: got %s, want %s", got, tc.want)
			}
		})
	}
	if got := show(access.Open().Guard(service, access.Rules{}).Connect(peer("dns:agent-7"), none)); got != "dns:agent-7/visitor!" {
		t.Errorf("connecting to a service that takes nothing: got %s", got)
	}
}

// TestErrorsAreUsable as errors of the bus.
func TestErrorsAreUsable(t *testing.T) {
	t.Parallel()
	_, refused := guardOf(access.Open(), access.Rule{}).Method("ask", nobody, none)
	var err error = refused
	var e *bus.Error
	if !errors.As(err, &e) || bus.CodeOf(err) != bus.CodeUnauthenticated || e.Remote {
		t.Errorf("got %v", err)
	}
}
