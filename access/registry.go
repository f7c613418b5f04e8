package access

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"busd/bus"
	"busd/internal/nearest"
)

// TrustedHost is the property of hosts that may ask for somebody else.
const TrustedHost = "TrustedHost"

// SuspendedEverywhere stands in [UserConfig].Suspended for all virtual
// organisations, and for groups of none.
const SuspendedEverywhere = "all"

// RegistryConfig is the registry: who is who. Without any user, host and group
// it is open: whoever shows a good credential is known, by his peer's name,
// without groups and properties.
type RegistryConfig struct {
	Users []UserConfig
	Hosts []HostConfig
	// Groups: of a user's groups the first is his default, unless one of
	// DefaultGroups is his.
	Groups []GroupConfig
	// DefaultGroups go before the order of Groups, the first first.
	DefaultGroups []string
}

// UserConfig is a user: what he is called, and what proves him, at least one
// thing.
type UserConfig struct {
	Name string
	// DN are subjects of certificates in DIRAC's form, "/C=ch/CN=alice", compared
	// byte by byte.
	DN []string
	// Peers are peers' names, "dns:agent-7".
	Peers []string
	// Tokens are "subject@issuer"; the last @ divides them.
	Tokens []string
	// Suspended are virtual organisations in whose groups he may not act;
	// [SuspendedEverywhere] for all.
	Suspended []string
}

// HostConfig is a host.
type HostConfig struct {
	Name string
	// DN and Peers are as a user's.
	DN, Peers []string
	// Properties are what rules ask for; see [TrustedHost].
	Properties []string
}

// GroupConfig is a group of users.
type GroupConfig struct {
	Name string
	// Users are names of [UserConfig], at least one.
	Users []string
	// Properties are what rules ask for.
	Properties []string
	// VO is the virtual organisation that it belongs to; empty: none.
	VO string
}

func (c *RegistryConfig) empty() bool { return len(c.Users)+len(c.Hosts)+len(c.Groups) == 0 }

// registry is a compiled [RegistryConfig]. It is never changed after newRegistry.
type registry struct {
	open bool
	// users and hosts by what proves them.
	users, hosts proofs
	// groups by name, and how many numbers they have; the hosts' group and the
	// visitors' have numbers too.
	groups map[string]*group
	vos    map[string]bool
	// properties are numbers by name in lower case.
	properties map[string]int
}

// proofs say who is shown by what.
type proofs struct {
	dn, peer map[string]*entity
	token    map[token]*entity
}

type token struct{ subject, issuer string }

// entity is a user or a host.
type entity struct {
	name string
	host bool
	// trusted: a host that may ask for others.
	trusted bool
	// groups are the user's, the default first; a host's is one of its own.
	groups              []*group
	suspendedEverywhere bool
	suspended           []string
}

// group is a group of users, or that of one host.
type group struct {
	name, vo string
	number   int
	// properties as written, and their numbers.
	properties []string
	numbers    []int
}

// Numbers of the groups that are none of the registry's.
const (
	numberVisitor = iota
	numberHosts
	firstNumber
)

// visitor is the group of who has none.
var visitor = &group{name: groupVisitor, number: numberVisitor}

// builder makes a registry and collects faults.
type builder struct {
	faults
	r       *registry
	byName  map[string]*entity // users
	names   []string           // of users, for suggestions
	ordered []*group
}

func newRegistry(c *RegistryConfig, f *faults) *registry {
	proofs := func() proofs {
		return proofs{dn: map[string]*entity{}, peer: map[string]*entity{}, token: map[token]*entity{}}
	}
	b := builder{faults: *f, byName: map[string]*entity{}, r: &registry{
		open: c.empty(), users: proofs(), hosts: proofs(),
		groups: map[string]*group{}, vos: map[string]bool{}, properties: map[string]int{},
	}}
	for _, u := range c.Users {
		b.user(&u)
	}
	hosts := map[string]bool{}
	for _, h := range c.Hosts {
		b.host(&h, hosts)
	}
	for _, g := range c.Groups {
		b.group(&g)
	}
	b.defaults(c.DefaultGroups)
	for _, u := range c.Users {
		b.suspensions(&u)
	}
	*f = b.faults
	return b.r
}

func (b *builder) user(c *UserConfig) {
	where := "access.users." + c.Name
	b.name(where, c.Name, userAnonymous)
	if b.byName[c.Name] != nil {
		b.add(where, "there are two users of this name")
		return
	}
	e := &entity{name: c.Name}
	b.byName[c.Name] = e
	b.names = append(b.names, c.Name)
	if len(c.DN)+len(c.Peers)+len(c.Tokens) == 0 {
		b.add(where, "want at least one of dn, peers, tokens: nothing proves this user")
	}
	b.certificates(where, c.DN, c.Peers, b.r.users, e)
	for i, text := range c.Tokens {
		at := fmt.Sprintf("%s.tokens[%d]", where, i)
		last := strings.LastIndexByte(text, '@')
		if last <= 0 || last == len(text)-1 || !printable(text) {
			b.add(at, "want subject@issuer, got %.200q", text)
			continue
		}
		key := token{text[:last], text[last+1:]}
		if other := b.r.users.token[key]; other != nil {
			b.add(at, "%s", taken(other, e))
			continue
		}
		b.r.users.token[key] = e
	}
}

func (b *builder) host(c *HostConfig, seen map[string]bool) {
	where := "access.hosts." + c.Name
	b.name(where, c.Name, userAnonymous)
	if seen[c.Name] {
		b.add(where, "there are two hosts of this name")
		return
	}
	seen[c.Name] = true
	g := &group{name: groupHosts, number: numberHosts}
	e := &entity{name: c.Name, host: true, groups: []*group{g}}
	if len(c.DN)+len(c.Peers) == 0 {
		b.add(where, "want at least one of dn, peers: nothing proves this host")
	}
	b.certificates(where, c.DN, c.Peers, b.r.hosts, e)
	b.give(where, g, c.Properties)
	e.trusted = slices.ContainsFunc(c.Properties, func(p string) bool { return strings.EqualFold(p, TrustedHost) })
}

func (b *builder) group(c *GroupConfig) {
	where := "access.groups." + c.Name
	b.name(where, c.Name, groupVisitor, groupHosts)
	if b.r.groups[c.Name] != nil {
		b.add(where, "there are two groups of this name")
		return
	}
	g := &group{name: c.Name, vo: c.VO, number: firstNumber + len(b.ordered)}
	b.r.groups[c.Name] = g
	b.ordered = append(b.ordered, g)
	if c.VO != "" {
		b.name(where+".vo", c.VO)
		b.r.vos[c.VO] = true
	}
	b.give(where, g, c.Properties)
	if len(c.Users) == 0 {
		b.add(where+".users", "want at least one user")
	}
	for i, name := range c.Users {
		at := fmt.Sprintf("%s.users[%d]", where, i)
		e := b.byName[name]
		switch {
		case e == nil:
			b.add(at, "there is no user %.200q%s", name, nearest.DidYouMean(name, b.names))
		case slices.Contains(e.groups, g):
			b.add(at, "user %s is listed twice", name)
		default:
			e.groups = append(e.groups, g)
		}
	}
}

// name checks a name.
func (b *builder) name(where, name string, reserved ...string) {
	if wrong := misnamed(name); wrong != "" {
		b.add(where, "the name: %s", wrong)
	} else if slices.Contains(reserved, name) {
		b.add(where, "%s stands for who is none of the registry's", name)
	}
}

// certificates notes by which certificates e is proved.
func (b *builder) certificates(where string, dns, peers []string, p proofs, e *entity) {
	for i, dn := range dns {
		at := fmt.Sprintf("%s.dn[%d]", where, i)
		switch other := p.dn[dn]; {
		case !isDN(dn):
			b.add(at, "want DIRAC's form, such as /C=ch/O=Example/CN=alice, got %.200q", dn)
		case other != nil:
			b.add(at, "%s", taken(other, e))
		default:
			p.dn[dn] = e
		}
	}
	for i, name := range peers {
		at := fmt.Sprintf("%s.peers[%d]", where, i)
		switch other := p.peer[name]; {
		case !isPeer(name):
			b.add(at, "want a peer's name, such as dns:agent-7, got %.200q", name)
		case other != nil:
			b.add(at, "%s", taken(other, e))
		default:
			p.peer[name] = e
		}
	}
}

func taken(other, e *entity) string {
	if other == e {
		return "it is listed twice"
	}
	if e.host {
		return fmt.Sprintf("it is host %s's already", other.name)
	}
	return fmt.Sprintf("it is user %s's already", other.name)
}

// give gives a group its properties.
func (b *builder) give(where string, g *group, properties []string) {
	for i, p := range properties {
		at := fmt.Sprintf("%s.properties[%d]", where, i)
		low := strings.ToLower(p)
		if wrong := misnamed(p); wrong != "" {
			b.add(at, "%s", wrong)
			continue
		}
		if low == wordAny || low == wordAll || low == wordAuthenticated {
			b.add(at, "%s is a word of rules, not a property", p)
			continue
		}
		number, ok := b.r.properties[low]
		if !ok {
			number = len(b.r.properties)
			b.r.properties[low] = number
		}
		if slices.Contains(g.numbers, number) {
			b.add(at, "%s is listed twice", p)
			continue
		}
		g.properties = append(g.properties, p)
		g.numbers = append(g.numbers, number)
	}
	g.properties = slices.Clip(g.properties)
}

// defaults puts each user's default group first.
func (b *builder) defaults(names []string) {
	var first []*group
	for i, name := range names {
		g := b.r.groups[name]
		if g == nil {
			b.add(fmt.Sprintf("access.default_groups[%d]", i), "there is no group %.200q%s", name, nearest.DidYouMean(name, b.r.groupNames()))
			continue
		}
		first = append(first, g)
	}
	for _, e := range b.byName {
		for _, g := range first {
			if at := slices.Index(e.groups, g); at >= 0 {
				e.groups = slices.Insert(slices.Delete(e.groups, at, at+1), 0, g)
				break
			}
		}
	}
}

func (b *builder) suspensions(c *UserConfig) {
	e := b.byName[c.Name]
	for i, vo := range c.Suspended {
		switch {
		case vo == SuspendedEverywhere:
			e.suspendedEverywhere = true
		case !b.r.vos[vo]:
			b.add(fmt.Sprintf("access.users.%s.suspended[%d]", c.Name, i), "no group is of the virtual organisation %.200q%s",
				vo, nearest.DidYouMean(vo, b.r.voNames()))
		default:
			e.suspended = append(e.suspended, vo)
		}
	}
}

func isDN(dn string) bool {
	return strings.HasPrefix(dn, "/") && strings.Contains(dn, "=") && printable(dn) && strings.TrimSpace(dn) == dn
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// isPeer tells whether name may be a peer's: see [bus.Peer].
func isPeer(name string) bool {
	return name != "" && len(name) <= bus.MaxPeerName &&
		!strings.ContainsFunc(name, func(r rune) bool {
			return r >= utf8.RuneSelf || !isNameByte(byte(r)) && !strings.ContainsRune(":/=%", r)
		})
}

func (r *registry) groupNames() []string { return sortedKeys(r.groups) }

func (r *registry) voNames() []string { return sortedKeys(r.vos) }
