package access

import "slices"

// who is what the registry makes of a caller and his claim: for whom a decision
// is made.
type who struct {
	// trouble says why he is nobody's; then only dn and by are set, and he passes
	// as anonymous where everybody does.
	trouble trouble
	name    string
	// group is the one that he acts in, never nil without trouble.
	group *group
	host  bool
	// dn is the one that was shown, or forwarded.
	dn string
	// by is the host that asks for him.
	by string
}

// A trouble is why somebody is not who he could be.
type trouble uint8

const (
	troubleNone trouble = iota
	// troubleNobody: nothing was shown.
	troubleNobody
	// troubleUnknown: what was shown is nobody's in the registry.
	troubleUnknown
	// troubleGroup: the group of the credential or of the claim is not his.
	troubleGroup
	// troubleHost: he says that he is a host, and is none.
	troubleHost
	// troubleSuspended: he may not act in that group.
	troubleSuspended
	// troubleForward: he asks for somebody else and may not. Unlike the others he
	// does not pass as anonymous: what he asked for was not that.
	troubleForward
)

// identify finds out who asks.
func (r *registry) identify(c *Caller, claim Claim) who {
	if claim.Forward != nil {
		return r.forwarded(c, claim.Forward)
	}
	if c.Nobody() {
		return who{trouble: troubleNobody}
	}
	if r.open {
		return openly(c, claim.Group)
	}
	group := claim.Group
	if c.Group != "" { // what the credential carries bounds what it may be used for
		group = c.Group
	}
	asHost := claim.Host || group == groupHosts
	e := pick(r.user(c), r.host(c), asHost)
	if e == nil && asHost {
		return who{trouble: troubleHost, dn: c.Peer.DN}
	}
	return act(e, group, c.Peer.DN)
}

// pick chooses where a credential is a user's, a host's or both.
func pick(user, host *entity, asHost bool) *entity {
	if asHost || user == nil {
		return host
	}
	return user
}

// openly is identify where there is no registry. A group that the credential
// carries and a claim to be a host ask for nothing that could be had here; a
// claim to a group does.
func openly(c *Caller, group string) who {
	switch {
	case group != "" && group != groupHosts:
		return who{trouble: troubleGroup, dn: c.Peer.DN}
	case c.Peer.Name == "":
		return who{trouble: troubleUnknown, dn: c.Peer.DN}
	}
	return who{name: c.Peer.Name, group: visitor, dn: c.Peer.DN}
}

// forwarded finds out for whom a host asks.
func (r *registry) forwarded(c *Caller, f *Forward) who {
	if c.Nobody() || c.Group != "" && c.Group != groupHosts {
		return who{trouble: troubleForward}
	}
	by := r.host(c)
	if by == nil || !by.trusted {
		return who{trouble: troubleForward, dn: c.Peer.DN}
	}
	w := who{trouble: troubleNobody}
	if f.DN != "" {
		w = act(pick(r.users.dn[f.DN], r.hosts.dn[f.DN], f.Group == groupHosts), f.Group, f.DN)
	}
	w.by = by.name
	return w
}

// user finds the user whose credential it is.
func (r *registry) user(c *Caller) *entity {
	if c.Via == ViaToken {
		return r.users.token[token{c.TokenSubject, c.TokenIssuer}]
	}
	return r.users.certificate(c)
}

// host finds the host whose certificate it is.
func (r *registry) host(c *Caller) *entity {
	if c.Via == ViaToken {
		return nil
	}
	return r.hosts.certificate(c)
}

// certificate finds whose certificate it is: the DN says it before the name.
func (p *proofs) certificate(c *Caller) *entity {
	if e := p.dn[c.Peer.DN]; e != nil {
		return e
	}
	return p.peer[c.Peer.Name]
}

// act lets e act in the group of this name, or in his default.
func act(e *entity, name, dn string) who {
	if e == nil {
		return who{trouble: troubleUnknown, dn: dn}
	}
	g := e.group(name)
	switch {
	case g == nil:
		return who{trouble: troubleGroup, dn: dn}
	case e.suspendedEverywhere, slices.Contains(e.suspended, g.vo):
		return who{trouble: troubleSuspended, dn: dn}
	}
	return who{name: e.name, group: g, host: e.host, dn: dn}
}

// group finds the group of this name among e's, or the default; nil if it is
// not his.
func (e *entity) group(name string) *group {
	if name == "" {
		if len(e.groups) == 0 {
			return visitor
		}
		return e.groups[0]
	}
	for _, g := range e.groups {
		if g.name == name {
			return g
		}
	}
	return nil
}
