package access

import (
	"time"

	"busd/bus"
)

// A Via says by what somebody has shown who he is.
type Via uint8

// The ways to be somebody.
const (
	// ViaNothing: nobody has shown anything. The zero value.
	ViaNothing Via = iota
	// ViaCertificate: an X.509 certificate, in the TLS handshake or passed on by
	// a proxy that is trusted to.
	ViaCertificate
	// ViaProxy: an X.509 proxy certificate (RFC 3820); what it proves is its
	// end-entity certificate.
	ViaProxy
	// ViaToken: a bearer token (RFC 6750).
	ViaToken
)

// A Caller is what authentication has found out about who asks. It holds no
// claims: those are a [Claim]. The zero Caller is nobody.
//
// Whether the credential is still valid is authentication's business; a [Guard]
// has no clock.
type Caller struct {
	// Peer is what the certificate proves; of a proxy certificate, its end-entity
	// certificate. Of a token Name is "token:<subject>@<issuer>" (percent-encoded
	// as all peer names), Kind "token" and DN empty.
	Peer bus.Peer
	Via  Via
	// Group is the group that the credential itself carries: a proxy
	// certificate's DIRAC extension. Empty: none, and a claim may choose one.
	Group string
	// Subject and Issuer are those of the certificate that was shown, in DIRAC's
	// form: of a proxy certificate its own, not its user's.
	Subject, Issuer string
	// Limited: the proxy certificate is a limited one.
	Limited bool
	// NotBefore is since when the credential is valid, NotAfter when it expires;
	// zero: that is not known, and never.
	NotBefore, NotAfter time.Time
	// Credential can be asked, as long as a connection lives, whether what was
	// shown was revoked meanwhile; nil: it cannot be.
	Credential Credential
	// Proxied: nothing was shown, and the request came through a TLS proxy that
	// may pass certificates on: it has passed on none.
	Proxied bool
	// TokenSubject and TokenIssuer are a token's.
	TokenSubject, TokenIssuer string
}

// A Credential is what authentication keeps of what was shown.
type Credential interface {
	// Revoked says why it is good no more, or nil. It returns at once, and may be
	// called concurrently.
	Revoked() *bus.Error
}

// Nobody tells whether nothing was shown.
func (c *Caller) Nobody() bool { return c == nil || c.Via == ViaNothing }

// A Claim is what a caller says of himself beside his credential. The zero Claim
// says nothing.
type Claim struct {
	// Group is the group to act in; empty: the user's default. It does not count
	// where the credential carries one. "hosts" is the same as Host.
	Group string
	// Host: the certificate is a host's. It need be said only where it is a
	// user's too.
	Host bool
	// Forward: the caller, a host that is trusted to, asks for somebody else.
	// Group and Host do not count beside it. nil: he asks for himself.
	Forward *Forward
}

// Forward names for whom a trusted host asks.
type Forward struct {
	// DN is the user's or host's, in DIRAC's form, to the byte. Empty: for
	// somebody who has shown the host nothing.
	DN string
	// Group is the group to act in; empty: the user's default; "hosts": DN is a
	// host's.
	Group string
}

// A Grant says who the caller of one call or message is. It is shared by all
// who are told the same decision, and must not be changed.
type Grant struct {
	// User is the user's name; a host's name; without a registry the peer's name;
	// "anonymous" if nobody knows him.
	User string
	// Group is the group he acts in; "hosts" for a host; "visitor" if he has none.
	Group string
	// DN is the user's, in DIRAC's form; empty if he has shown none.
	DN string
	// VO is the virtual organisation of the group; empty: none.
	VO string
	// Properties are all of the group or the host. Matched are those that let him
	// pass, in the rule's spelling; nil where it was not by a property.
	Properties, Matched []string
	// Known: he is in the registry, or has shown who he is where there is none;
	// false for who passes as anonymous, suspended users among them.
	// ValidGroup: he acts in a group of his, or is a host.
	Known, ValidGroup bool
	// Host: he is a host.
	Host bool
	// ForwardedBy is the name of the host that asks for him; empty: he asks
	// himself.
	ForwardedBy string
}

// What those are called whom nobody knows, and the groups that nobody can make.
const (
	userAnonymous = "anonymous"
	groupVisitor  = "visitor"
	groupHosts    = "hosts"
)

// anonymous is the grant of who has shown nothing.
var anonymous = &Grant{User: userAnonymous, Group: groupVisitor}
