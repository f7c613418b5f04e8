package access

import (
	"fmt"
	"strings"

	"busd/bus"
)

// action is what a decision is about: a kind, "message", and a name.
type action struct{ kind, name string }

func (a action) String() string {
	if a.name == "" {
		return a.kind
	}
	return a.kind + " " + a.name
}

// request is who asked for what: the cause of a refusal, for the log. It is put
// in words only where it is logged.
type request struct {
	service string
	action  action
	peer    string
	dn      string
	claim   Claim
}

// Error returns the request in one line.
func (r *request) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of %s, asked for by ", r.action, r.service)
	switch {
	case r.peer == "" && r.dn == "":
		b.WriteString("nobody")
	case r.dn == "":
		fmt.Fprintf(&b, "%.256q", r.peer)
	default:
		fmt.Fprintf(&b, "%.256q (%.256q)", r.peer, r.dn)
	}
	if r.claim.Group != "" {
		fmt.Fprintf(&b, " in group %.128q", r.claim.Group)
	}
	if r.claim.Host {
		b.WriteString(" as a host")
	}
	if f := r.claim.Forward; f != nil {
		fmt.Fprintf(&b, " for %.256q in group %.128q", f.DN, f.Group)
	}
	return b.String()
}

// refuse says why none of the tests let w. Of what the caller has said of
// himself nothing is in the reason.
func (g *Guard) refuse(a action, tests []*test, c *Caller, claim Claim, w *who) *bus.Error {
	code := bus.CodePermissionDenied
	cause := &request{service: g.service, action: a, claim: claim}
	if c.Nobody() {
		code = bus.CodeUnauthenticated
	} else {
		cause.peer, cause.dn = c.Peer.Name, c.Peer.DN
		if c.Group != "" {
			cause.claim.Group = c.Group
		}
	}
	if claim.Forward != nil {
		forward := *claim.Forward
		cause.claim.Forward = &forward
	}
	return bus.Wrap(code, cause, fmt.Sprintf("%s: want %s, got %s", a, wanted(tests, w), w.got(c)))
}

// wanted says in words what one of the tests asks for.
func wanted(tests []*test, w *who) string {
	if w.trouble == troubleForward {
		return "a host with the property " + TrustedHost + " to ask for somebody else"
	}
	var one *test
	for _, t := range tests {
		switch {
		case t.rule.IsZero():
		case one != nil:
			return "a caller who may send one of the messages or call one of the methods"
		default:
			one = t
		}
	}
	if one == nil {
		return "nobody, as there is no rule for it"
	}
	return one.rule.said.wanted()
}

// got says in words who is there instead.
func (w *who) got(c *Caller) string {
	credential := "a certificate"
	if c != nil && c.Via == ViaToken {
		credential = "a token"
	}
	switch w.trouble {
	case troubleNobody:
		if w.by != "" {
			return "nobody, for whom host " + w.by + " asks"
		}
		if c != nil && c.Proxied {
			return "no certificate passed on by the TLS proxy that the request came through, and no token"
		}
		return "no certificate and no token"
	case troubleUnknown:
		if w.by != "" {
			return "somebody who is not in the registry, for whom host " + w.by + " asks"
		}
		return credential + " that is not in the registry"
	case troubleGroup:
		return "a group that is not the caller's"
	case troubleHost:
		return credential + " that is no host's"
	case troubleSuspended:
		return "a user who is suspended"
	case troubleForward:
		if c.Nobody() {
			return "no certificate"
		}
		return credential + " of somebody else"
	default:
		return w.called()
	}
}

// called is how somebody who is known is called.
func (w *who) called() string {
	switch {
	case w.host:
		return "host " + w.name
	case w.group == visitor:
		return w.name + ", in no group"
	}
	return w.name + " in group " + w.group.name
}
