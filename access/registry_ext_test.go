package access_test

import (
	"fmt"
	"strings"
	"testing"

	"busd/access"
)

func TestRegistryFaults(t *testing.T) {
	t.Parallel()
	users := func(u ...access.UserConfig) access.RegistryConfig { return access.RegistryConfig{Users: u} }
	hosts := func(h ...access.HostConfig) access.RegistryConfig { return access.RegistryConfig{Hosts: h} }
	groups := func(g ...access.GroupConfig) access.RegistryConfig {
		return access.RegistryConfig{Users: []access.UserConfig{{Name: "alice", DN: []string{"/CN=alice"}}}, Groups: g}
	}
	alice := []string{"alice"}
	for _, tc := range []struct {
		name string
		c    access.RegistryConfig
		want []string
	}{
		{"user without a name", users(access.UserConfig{DN: []string{"/CN=a"}}), []string{"access.users.: the name: it is empty"}},
		{"user's name", users(access.UserConfig{Name: "a b", DN: []string{"/CN=a"}}), []string{`access.users.a b: the name: want letters, digits and ._@+-, got "a b"`}},
		{"long name", users(access.UserConfig{Name: strings.Repeat("a", 129), DN: []string{"/CN=a"}}), []string{"access.users." + strings.Repeat("a", 129) + ": the name: want at most 128 bytes, got 129"}},
		{"reserved user", users(access.UserConfig{Name: "anonymous", DN: []string{"/CN=a"}}), []string{"access.users.anonymous: anonymous stands for who is none of the registry's"}},
		{"user twice", users(access.UserConfig{Name: "a", DN: []string{"/CN=a"}}, access.UserConfig{Name: "a", DN: []string{"/CN=b"}}), []string{"access.users.a: there are two users of this name"}},
		{"nothing proves a user", users(access.UserConfig{Name: "a"}), []string{"access.users.a: want at least one of dn, peers, tokens"}},
		{"DN of another form", users(access.UserConfig{Name: "a", DN: []string{"CN=a,C=ch", "", "/alice", "/CN=a ", "/CN=a\n"}}), []string{
			"access.users.a.dn[0]: want DIRAC's form", "access.users.a.dn[1]: want", "access.users.a.dn[2]: want", "access.users.a.dn[3]: want", "access.users.a.dn[4]: want",
		}},
		{"DN twice", users(access.UserConfig{Name: "a", DN: []string{"/CN=a", "/CN=a"}}), []string{"access.users.a.dn[1]: it is listed twice"}},
		{"DN of two", users(access.UserConfig{Name: "a", DN: []string{"/CN=a"}}, access.UserConfig{Name: "b", DN: []string{"/CN=b", "/CN=a"}}), []string{"access.users.b.dn[1]: it is user a's already"}},
		{"peer", users(access.UserConfig{Name: "a", Peers: []string{"dns:a b", "", "dns:é", strings.Repeat("x", 257)}}), []string{
			`access.users.a.peers[0]: want a peer's name, such as dns:agent-7, got "dns:a b"`, "access.users.a.peers[1]: want", "access.users.a.peers[2]: want", "access.users.a.peers[3]: want",
		}},
		{"peer of two", users(access.UserConfig{Name: "a", Peers: []string{"dns:a"}}, access.UserConfig{Name: "b", Peers: []string{"dns:a"}}), []string{"access.users.b.peers[0]: it is user a's already"}},
		{"token", users(access.UserConfig{Name: "a", Tokens: []string{"a", "@i", "a@", "a@i\x00"}}), []string{
			`access.users.a.tokens[0]: want subject@issuer, got "a"`, "access.users.a.tokens[1]: want", "access.users.a.tokens[2]: want", "access.users.a.tokens[3]: want",
		}},
		{"token of two", users(access.UserConfig{Name: "a", Tokens: []string{"x@i"}}, access.UserConfig{Name: "b", Tokens: []string{"x@i"}}), []string{"access.users.b.tokens[0]: it is user a's already"}},
		{"suspended in what is none", users(access.UserConfig{Name: "a", DN: []string{"/CN=a"}, Suspended: []string{"vo"}}), []string{`access.users.a.suspended[0]: no group is of the virtual organisation "vo"`}},

		{"host without a name", hosts(access.HostConfig{DN: []string{"/CN=h"}}), []string{"access.hosts.: the name: it is empty"}},
		{"host twice", hosts(access.HostConfig{Name: "h", DN: []string{"/CN=h"}}, access.HostConfig{Name: "h", DN: []string{"/CN=i"}}), []string{"access.hosts.h: there are two hosts of this name"}},
		{"nothing proves a host", hosts(access.HostConfig{Name: "h"}), []string{"access.hosts.h: want at least one of dn, peers"}},
		{"DN of two hosts", hosts(access.HostConfig{Name: "h", DN: []string{"/CN=h"}}, access.HostConfig{Name: "i", DN: []string{"/CN=h"}}), []string{"access.hosts.i.dn[0]: it is host h's already"}},
		{"host's property", hosts(access.HostConfig{Name: "h", DN: []string{"/CN=h"}, Properties: []string{"", "Trusted Host", "Any", "X", "x"}}), []string{
			"access.hosts.h.properties[0]: it is empty", "access.hosts.h.properties[1]: want letters", "access.hosts.h.properties[2]: Any is a word of rules, not a property", "access.hosts.h.properties[4]: x is listed twice",
		}},

		{"group without a name", groups(access.GroupConfig{Users: alice}), []string{"access.groups.: the name: it is empty"}},
		{"reserved groups", groups(access.GroupConfig{Name: "hosts", Users: alice}, access.GroupConfig{Name: "visitor", Users: alice}), []string{"access.groups.hosts: hosts stands", "access.groups.visitor: visitor stands"}},
		{"group twice", groups(access.GroupConfig{Name: "g", Users: alice}, access.GroupConfig{Name: "g", Users: alice}), []string{"access.groups.g: there are two groups of this name"}},
		{"group without users", groups(access.GroupConfig{Name: "g"}), []string{"access.groups.g.users: want at least one user"}},
		{"unknown member", groups(access.GroupConfig{Name: "g", Users: []string{"alice", "alcie", "alice"}}), []string{`access.groups.g.users[1]: there is no user "alcie" (did you mean "alice"?)`, "access.groups.g.users[2]: user alice is listed twice"}},
		{"group's property", groups(access.GroupConfig{Name: "g", Users: alice, Properties: []string{"authenticated"}}), []string{"access.groups.g.properties[0]: authenticated is a word of rules"}},
		{"group's vo", groups(access.GroupConfig{Name: "g", Users: alice, VO: "a b"}), []string{"access.groups.g.vo: the name: want letters"}},

		{"unknown default", access.RegistryConfig{DefaultGroups: []string{"g"}}, []string{`access.default_groups[0]: there is no group "g"`}},
		{"several at once", access.RegistryConfig{
			Users:         []access.UserConfig{{Name: "a"}},
			Hosts:         []access.HostConfig{{Name: "h"}},
			Groups:        []access.GroupConfig{{Name: "prod", Users: []string{"b"}}},
			DefaultGroups: []string{"pord"},
		}, []string{"access.users.a: want", "access.hosts.h: want", "access.groups.prod.users[0]: there is no user", `access.default_groups[0]: there is no group "pord" (did you mean "prod"?)`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p, err := access.New(access.Config{Registry: tc.c})
			wantFaults(t, err, tc.want...)
			if p != nil {
				t.Error("there is a policy for all that")
			}
		})
	}
}

func TestFaultsOfRules(t *testing.T) {
	t.Parallel()
	_, err := access.New(access.Config{Registry: registry(), Services: map[string]access.ServiceRules{
		"A/B": {
			Default: []string{"Any", "group:group_tset"}, Connect: []string{"", "group:"},
			Messages: map[string][]string{"M": {"vo:testvo"}, "N": {}},
			Methods:  map[string][]string{"m": {"Group:group_test"}, "n": {"group:hosts"}, "o": {"group:visitor"}, "p": nil},
		},
		"A":     {Default: []string{"a b"}},
		"A/B/C": {},
	}})
	wantFaults(t, err,
		"services.A: want System/Component",
		"services.A.access.default[0]: the name of the property: want letters, digits and ._@+-, got \"a b\"",
		`services.A/B.access.default[1]: there is no group group_tset (did you mean "group_test"?)`,
		"services.A/B.access.connect[0]: the name of the property: it is empty",
		"services.A/B.access.connect[1]: the name of the group: it is empty",
		`services.A/B.access.messages.M[0]: no group is of the virtual organisation testvo (did you mean "testVO"?)`,
		"services.A/B.access.messages.N: want at least one word",
		`services.A/B.access.methods.m[0]: want any, authenticated, a property, group:NAME or vo:NAME, got "Group:group_test"`,
		"services.A/B.access.methods.o[0]: visitor is who acts in no group",
		"services.A/B.access.methods.p: want at least one word",
		"services.A/B/C: want System/Component",
	)
	_, err = access.New(access.Config{Services: map[string]access.ServiceRules{"A/B": {Default: []string{"group:hosts"}}}})
	wantFaults(t, err, "services.A/B.access.default[0]: there is no group hosts")
	_, err = access.New(access.Config{Open: true, Registry: registry()})
	wantFaults(t, err, "access: a policy that lets everybody in who is somebody has no registry")
}

func TestFaultsAreBounded(t *testing.T) {
	t.Parallel()
	var c access.RegistryConfig
	for i := range 1000 {
		c.Users = append(c.Users, access.UserConfig{Name: fmt.Sprint("user", i)})
	}
	_, err := access.New(access.Config{Registry: c})
	joined := err.(interface{ Unwrap() []error }).Unwrap()
	if len(joined) != 51 || joined[50].Error() != "access: there are more faults than these" {
		t.Errorf("got %d faults, the last: %v", len(joined), joined[len(joined)-1])
	}
}

// TestDefaultGroups is row B35 for more than one of them.
func TestDefaultGroups(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		defaults []string
		want     string
	}{
		{nil, "u/second"},
		{[]string{"first", "third"}, "u/third"},
		{[]string{"third", "second"}, "u/third"},
		{[]string{"second"}, "u/second"},
	} {
		p := newPolicy(t, access.Config{Registry: access.RegistryConfig{
			Users: []access.UserConfig{{Name: "u", DN: []string{"/CN=u"}}, {Name: "v", DN: []string{"/CN=v"}}},
			Groups: []access.GroupConfig{
				{Name: "first", Users: []string{"v"}}, {Name: "second", Users: []string{"u"}}, {Name: "third", Users: []string{"v", "u"}},
			},
			DefaultGroups: tc.defaults,
		}})
		g := guardOf(p, access.Authenticated)
		if got := show(g.Method("ask", certificate("/CN=u"), none)); got != tc.want {
			t.Errorf("defaults %q: got %s, want %s", tc.defaults, got, tc.want)
		}
		if got := show(g.Method("ask", certificate("/CN=u"), in("second"))); got != "u/second" {
			t.Errorf("defaults %q: in a group that he names: got %s", tc.defaults, got)
		}
	}
}
