package access_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"busd/access"
)

// model decides as docs/access.md says it, step by step and slowly, over the
// configuration itself.
type model struct{ c access.RegistryConfig }

// decide returns what show makes of the decision.
func (m model) decide(words []string, c *access.Caller, claim access.Claim) string {
	var anyone, known, restricted bool
	for _, w := range words {
		anyone = anyone || strings.EqualFold(w, "any") || strings.EqualFold(w, "all")
		known = known || strings.EqualFold(w, "authenticated")
		restricted = restricted || strings.HasPrefix(w, "group:") || strings.HasPrefix(w, "vo:")
	}
	refused := no403
	if c == nil || c.Via == access.ViaNothing {
		refused = no401
	}
	name, group, by, ok, hard := m.who(c, claim)
	behind := ""
	if by != "" {
		behind = " by " + by
	}
	switch {
	case hard:
		return refused
	case !ok && anyone && !restricted:
		return "anonymous?/visitor!" + behind
	case !ok, restricted && !m.inOneOf(group, words):
		return refused
	}
	if group == "" {
		group = "visitor!"
	}
	if anyone || known {
		return name + "/" + group + behind
	}
	var asked, matched []string
	for _, w := range words {
		if !strings.Contains(w, ":") && !slices.ContainsFunc(asked, func(a string) bool { return strings.EqualFold(a, w) }) {
			asked = append(asked, w)
		}
	}
	if len(asked) == 0 {
		return name + "/" + group + behind
	}
	for _, p := range m.properties(name, group) {
		for _, w := range asked {
			if strings.EqualFold(w, p) {
				matched = append(matched, w)
			}
		}
	}
	if matched == nil {
		return refused
	}
	return name + "/" + group + " " + strings.Join(matched, "+") + behind
}

// who is the name and the group, empty for none; ok: he may be somebody; hard:
// not even anonymous.
func (m model) who(c *access.Caller, claim access.Claim) (name, group, by string, ok, hard bool) {
	nothing := c == nil || c.Via == access.ViaNothing
	if f := claim.Forward; f != nil {
		if nothing || c.Group != "" && c.Group != "hosts" {
			return "", "", "", false, true
		}
		by = m.host(c)
		if !slices.ContainsFunc(m.properties(by, "hosts"), func(p string) bool { return strings.EqualFold(p, "TrustedHost") }) {
			return "", "", "", false, true
		}
		c, claim, nothing = certificate(f.DN), access.Claim{Group: f.Group}, f.DN == ""
		c.Peer.Name = ""
	}
	if nothing {
		return "", "", by, false, false
	}
	if c.Group != "" {
		claim.Host = claim.Host && c.Group != "hosts" // then he is one anyway
		if claim.Host {
			return "", "", by, false, false
		}
		claim.Group = c.Group
	}
	if claim.Host {
		if claim.Group != "" && claim.Group != "hosts" {
			return "", "", by, false, false
		}
		claim.Group = "hosts"
	}
	user := m.user(c)
	if claim.Group == "hosts" || user == "" {
		host := m.host(c)
		return host, "hosts", by, host != "" && (claim.Group == "" || claim.Group == "hosts"), false
	}
	var his []string
	for _, g := range m.c.Groups {
		if slices.Contains(g.Users, user) {
			his = append(his, g.Name)
		}
	}
	group = claim.Group
	if group == "" && len(his) > 0 {
		group = his[0]
		if at := slices.IndexFunc(m.c.DefaultGroups, func(g string) bool { return slices.Contains(his, g) }); at >= 0 {
			group = m.c.DefaultGroups[at]
		}
	}
	if group != "" && !slices.Contains(his, group) {
		return "", "", by, false, false
	}
	for _, u := range m.c.Users {
		if vo := m.vo(group); u.Name == user && (slices.Contains(u.Suspended, "all") || vo != "" && slices.Contains(u.Suspended, vo)) {
			return "", "", by, false, false
		}
	}
	return user, group, by, true, false
}

func (m model) user(c *access.Caller) string {
	for _, u := range m.c.Users {
		if c.Via == access.ViaToken && slices.Contains(u.Tokens, c.TokenSubject+"@"+c.TokenIssuer) || c.Via != access.ViaToken && slices.Contains(u.DN, c.Peer.DN) {
			return u.Name
		}
	}
	for _, u := range m.c.Users {
		if c.Via != access.ViaToken && slices.Contains(u.Peers, c.Peer.Name) {
			return u.Name
		}
	}
	return ""
}

func (m model) host(c *access.Caller) string {
	for _, h := range m.c.Hosts {
		if c.Via != access.ViaToken && (slices.Contains(h.DN, c.Peer.DN) || slices.Contains(h.Peers, c.Peer.Name)) {
			return h.Name
		}
	}
	return ""
}

func (m model) vo(group string) string {
	for _, g := range m.c.Groups {
		if g.Name == group {
			return g.VO
		}
	}
	return ""
}

func (m model) properties(name, group string) []string {
	for _, h := range m.c.Hosts {
		if group == "hosts" && h.Name == name {
			return h.Properties
		}
	}
	for _, g := range m.c.Groups {
		if g.Name == group {
			return g.Properties
		}
	}
	return nil
}

func (m model) inOneOf(group string, words []string) bool {
	return slices.ContainsFunc(words, func(w string) bool {
		vo, isVO := strings.CutPrefix(w, "vo:")
		return w == "group:"+group && group != "" || isVO && m.vo(group) == vo
	})
}

var (
	vocabulary = []string{"any", "All", "authenticated", "NormalUser", "normaluser", "Operator", "TrustedHost", "group:group_test", "group:zeta", "group:hosts", "vo:testVO", "vo:testVOOther"}
	everyone   = []*access.Caller{
		nil, nobody, userA, userB, userS, userX, userM, twin, unknown, hostA, hostB,
		peer("dns:a.example"), peer("dns:lone.example"), peer("dns:p.example"), bearer("a", "https://login.example"), bearer("b", "https://login.example"),
		proxy("/O=test/CN=userM", "zeta"), proxy("/O=test/CN=userA", "group_bad"), proxy("/O=test/CN=twin", "free"), proxy("/O=test/CN=twin", "hosts"), proxy("/O=test/CN=hostA", "zeta"),
	}
	claims = []access.Claim{
		none, asHost, in("hosts"), in("group_test"), in("zeta"), in("free"), in("unheard"),
		{Host: true, Group: "zeta"},
		forward("/O=test/CN=userA", "group_test"), forward("/O=test/CN=userM", ""), forward("/O=test/CN=userS", "group_test"), forward("/O=test/CN=twin", "hosts"), forward("", ""), forward("/O=test/CN=stranger", "zeta"),
	}
)

// TestModel asks every one of those, with every claim, under every rule of up
// to three words, and compares with the model.
func TestModel(t *testing.T) {
	t.Parallel()
	p := newPolicy(t, access.Config{Registry: registry()})
	m := model{registry()}
	seen := map[string]int{}
	check := func(words ...string) {
		g := guardOf(p, access.MustRule(words...))
		for _, c := range everyone {
			for _, claim := range claims {
				got, want := show(g.Method("ask", c, claim)), m.decide(words, c, claim)
				if got != want {
					t.Errorf("rule %q, caller %+v, claim %+v, forward %+v: got %s, want %s", words, c, claim, claim.Forward, got, want)
				}
				seen[got]++
			}
		}
	}
	for i, a := range vocabulary {
		check(a)
		for j, b := range vocabulary[i+1:] {
			check(a, b)
			for _, c := range vocabulary[i+j+2:] {
				check(a, b, c)
			}
		}
	}
	if len(seen) < 20 || seen[no401] == 0 || seen[no403] == 0 {
		t.Errorf("only these decisions were seen: %v", slices.Sorted(maps.Keys(seen)))
	}
}

// TestARuleChangesNothingElse: a word more in an operator's rules changes
// decisions about that message, method, default or connecting of that service,
// and no other.
func TestARuleChangesNothingElse(t *testing.T) {
	t.Parallel()
	const seed = 7
	random := rand.New(rand.NewPCG(seed, seed))
	words := func() []string {
		var w []string
		for range random.IntN(3) {
			w = append(w, vocabulary[random.IntN(len(vocabulary))])
		}
		return w
	}
	several := func(names ...string) map[string][]string {
		lists := map[string][]string{}
		for _, name := range names {
			if w := words(); len(w) > 0 {
				lists[name] = w
			}
		}
		return lists
	}
	services := []string{"A/A", "A/B", "B/A"}
	changes := 0
	for range 30 {
		c := access.Config{Registry: registry(), Services: map[string]access.ServiceRules{}}
		for _, s := range services {
			c.Services[s] = access.ServiceRules{Default: words(), Connect: words(), Messages: several("M", "N"), Methods: several("M", "N")}
		}
		p := newPolicy(t, c)
		guards := map[string]*access.Guard{}
		for _, s := range services {
			own := access.Rules{Messages: map[string]access.Rule{"M": {}, "N": access.Authenticated}, Methods: map[string]access.Rule{"M": {}, "N": access.MustRule("NormalUser")}}
			guards[s] = p.Guard(s, own)
		}
		decisions := func() map[string]string {
			all := map[string]string{}
			for s, g := range guards {
				for _, caller := range everyone {
					for _, claim := range claims[:5] { // forwarding is in the model
						key := func(what string) string { return s + " " + what }
						all[key("connect")] += show(g.Connect(caller, claim)) + ";"
						for _, name := range []string{"M", "N"} {
							all[key("message "+name)] += show(g.Message(name, caller, claim)) + ";"
							all[key("method "+name)] += show(g.Method(name, caller, claim)) + ";"
						}
					}
				}
			}
			return all
		}
		before := decisions()
		service := services[random.IntN(len(services))]
		rules, name, word := c.Services[service], []string{"M", "N"}[random.IntN(2)], vocabulary[random.IntN(len(vocabulary))]
		allowed := []string{service + " connect"} // by the union
		switch random.IntN(4) {
		case 0:
			rules.Default = append(rules.Default, word)
			allowed = append(allowed, service+" message M", service+" method M")
		case 1:
			rules.Connect = append(rules.Connect, word)
		case 2:
			rules.Messages[name] = append(rules.Messages[name], word)
			allowed = append(allowed, service+" message "+name)
		case 3:
			rules.Methods[name] = append(rules.Methods[name], word)
			allowed = append(allowed, service+" method "+name)
		}
		c.Services[service] = rules
		if err := p.Swap(c); err != nil {
			t.Fatal(err)
		}
		for what, got := range decisions() {
			if got == before[what] {
				continue
			}
			changes++
			if !slices.Contains(allowed, what) {
				t.Errorf("seed %d: the word %q in %+v of %s changed %s", seed, word, rules, service, what)
			}
		}
	}
	if changes == 0 {
		t.Error("no rule changed anything")
	}
}
