package auth

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"busd/access"
	"busd/bus"
	"busd/internal/mtls"
)

// DefaultLeeway is how far clocks may disagree on a token's time.
const DefaultLeeway = 30 * time.Second

// Config says by what somebody may show who he is.
type Config struct {
	// Certificates says what certificates prove. It is needed.
	Certificates *mtls.Verifier
	// Proxies are the addresses of the proxies that may pass on certificates;
	// none: nobody may.
	Proxies []netip.Prefix
	// Issuers are those whose bearer tokens are accepted; none: no tokens are.
	Issuers []Issuer
	// Leeway is how far clocks may disagree on a token's time; 0 means
	// DefaultLeeway.
	Leeway time.Duration
	// Now is the clock that tokens are checked against; nil means time.Now. The
	// verifier has its own.
	Now func() time.Time
}

// An Authenticator finds out who sends a request. Its methods may be called
// concurrently.
type Authenticator struct {
	// Fixed at creation.
	certificates *mtls.Verifier
	proxies      []netip.Prefix
	issuers      map[string]*issuer // by name
	algorithms   []algorithm        // of all issuers
	leeway       time.Duration
	now          func() time.Time
}

// New makes an Authenticator, and reads the files of its keys. The error, of
// [bus.CodeInvalidArgument] or, about a file, [bus.CodeFailedPrecondition],
// says what is wrong.
func New(c Config) (*Authenticator, error) {
	a := &Authenticator{
		certificates: c.Certificates,
		issuers:      map[string]*issuer{},
		leeway:       c.Leeway,
		now:          c.Now,
	}
	switch {
	case a.certificates == nil:
		return nil, bus.Errorf(bus.CodeInvalidArgument, "there is nobody to verify certificates")
	case a.leeway < 0:
		return nil, bus.Errorf(bus.CodeInvalidArgument, "leeway: want a duration from 0, got %v", a.leeway)
	case a.leeway == 0:
		a.leeway = DefaultLeeway
	}
	if a.now == nil {
		a.now = time.Now
	}
	for _, prefix := range c.Proxies {
		if !prefix.IsValid() || prefix.Addr().Is4In6() {
			return nil, bus.Errorf(bus.CodeInvalidArgument, "proxies: %v: want networks such as 192.0.2.0/24 or 2001:db8::/32", prefix)
		}
		a.proxies = append(a.proxies, prefix.Masked())
	}
	for _, one := range c.Issuers {
		i, err := newIssuer(one)
		if err != nil {
			return nil, err
		}
		if a.issuers[one.Name] != nil {
			return nil, bus.Errorf(bus.CodeInvalidArgument, "token issuer %s stands twice", one.Name)
		}
		a.issuers[one.Name] = i
		for _, alg := range i.algorithms {
			if !slices.Contains(a.algorithms, alg) {
				a.algorithms = append(a.algorithms, alg)
			}
		}
	}
	return a, nil
}

// Reload reads the files of keys now, and tells whether keys had changed. Where
// a file cannot be used, its issuer's last good keys stay, and the error says
// why; the other issuers' are renewed all the same.
func (a *Authenticator) Reload() (changed bool, err error) {
	var faults []error
	for _, name := range a.names() {
		one, err := a.issuers[name].reload()
		changed = changed || one
		if err != nil {
			faults = append(faults, err)
		}
	}
	if len(faults) == 1 {
		return changed, faults[0]
	}
	return changed, errors.Join(faults...)
}

// names are in order, so that errors are.
func (a *Authenticator) names() []string {
	names := make([]string, 0, len(a.issuers))
	for name := range a.issuers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Run looks at the files of keys every so often, until ctx ends, and returns
// ctx's error. It compares contents. report, which may be nil, is called with
// nil when other keys are in use, and with an error when a file cannot be used;
// the same error again and again is reported once.
func (a *Authenticator) Run(ctx context.Context, every time.Duration, report func(err error)) error {
	return mtls.Poll(ctx, every, a.Reload, report)
}

// Authenticate finds out who sends r. Nobody, who has shown nothing, is the zero
// Caller, but for Proxied. The error is of [bus.CodeUnauthenticated] if what was shown is no
// good (any more), and of [bus.CodePermissionDenied] if it gives no name. Its
// reason is for a stranger, and neither it nor its cause holds any part of a
// token.
func (a *Authenticator) Authenticate(r *http.Request) (access.Caller, *bus.Error) {
	proxied := a.isProxy(r.RemoteAddr)
	proof, err := a.certificate(r, proxied)
	if err != nil {
		return access.Caller{}, err
	}
	text, err := bearer(r.Header)
	switch {
	case proof != nil:
	case err != nil:
		return access.Caller{}, err
	case text == "":
		return access.Caller{Proxied: proxied}, nil
	default:
		return a.byToken(text)
	}
	if text != "" {
		// What is wrong with a token that does not count is nobody's business.
		if t, err := a.verify(text); err == nil && t.bound != nil {
			if !t.boundTo(proof.Shown) {
				return access.Caller{}, refuse("the bearer token is bound to another certificate")
			}
			return t.caller()
		}
	}
	return certificateCaller(proof)
}

// byToken is for who has shown nothing else.
func (a *Authenticator) byToken(text string) (access.Caller, *bus.Error) {
	t, err := a.verify(text)
	switch {
	case err != nil:
		return access.Caller{}, err
	case t.bound != nil:
		return access.Caller{}, refuse("the bearer token is bound to a certificate, which was not shown")
	case t.strange:
		return access.Caller{}, refuse("the bearer token is bound to something that cannot be checked here")
	}
	return t.caller()
}

// certificate returns what the certificate proves that belongs to the request;
// nil, if there is none. Of a proxy's own it says nothing.
func (a *Authenticator) certificate(r *http.Request, proxied bool) (*mtls.Proof, *bus.Error) {
	if proxied {
		certs, err := forwarded(r.Header)
		if err != nil || certs == nil {
			return nil, err
		}
		return proven(a.certificates.Certificates(certs))
	}
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil, nil
	}
	return proven(a.certificates.Connection(*r.TLS))
}

// proven keeps a nil error a nil error.
func proven(proof *mtls.Proof, err error) (*mtls.Proof, *bus.Error) {
	if err != nil {
		return nil, bus.AsError(err)
	}
	return proof, nil
}

func certificateCaller(proof *mtls.Proof) (access.Caller, *bus.Error) {
	if strings.HasPrefix(proof.Peer.Name, tokenPrefix) {
		return access.Caller{}, bus.Errorf(bus.CodePermissionDenied, "the certificate's name begins with %s, as those of bearer tokens do", tokenPrefix)
	}
	c := access.Caller{
		Peer: proof.Peer, Via: access.ViaCertificate, NotAfter: proof.Peer.NotAfter,
		Subject: proof.Peer.DN, Issuer: proof.Peer.Issuer, NotBefore: proof.NotBefore, Credential: proof.Credential,
	}
	if p := proof.Proxy; p != nil {
		c.Via, c.Subject, c.Issuer, c.Limited, c.Group = access.ViaProxy, p.Subject, p.Issuer, p.Limited, p.Group
	}
	return c, nil
}

func refuse(format string, args ...any) *bus.Error {
	return bus.Errorf(bus.CodeUnauthenticated, format, args...)
}
