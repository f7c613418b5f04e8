package mtls

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"

	"busd/bus"
)

// maxRSABits is what crypto/tls allows in a handshake, where a longer key would
// cost too much.
const maxRSABits = 8192

// A Proof is what verified certificates prove. It is shared by all who ask, and
// must not be changed.
type Proof struct {
	// Peer is who it is: the end-entity certificate's name, also where a proxy
	// certificate was shown. NotAfter is when the first certificate of the chain
	// expires, those of proxies included.
	Peer bus.Peer
	// Shown is the SHA-256 of the certificate that was shown: the end-entity
	// certificate, or the last of its proxies.
	Shown [sha256.Size]byte
	// Proxy is what that says if it is a proxy certificate, else nil.
	Proxy *Proxy
	// NotBefore is since when all of the chain is valid.
	NotBefore time.Time
	// Credential is for asking later whether it was revoked.
	Credential *Credential

	nameless error     // why the naming gives it no name; nil: it has one
	until    time.Time // when the first certificate ends
}

// holds tells whether all of it is valid at a time.
func (p *Proof) holds(now time.Time) bool { return !now.Before(p.NotBefore) && !now.After(p.until) }

// A Verifier says what certificates prove, by CAs and a policy: also those that
// crypto/tls has not verified, because they may be proxy certificates. It
// verifies them by itself, whatever was done before, and remembers proofs, so
// that it may be asked for every request. One that belongs to a [Source]
// follows its files: when other CAs are believed, everybody is verified anew,
// also on connections that are open, and whether a certificate was revoked is
// looked up each time. Its methods may be called concurrently.
type Verifier struct {
	trust func() *trust
}

// NewVerifier returns a verifier with CAs that do not change, of which there
// must be one. Of the policy Require and HTTP2 do not count.
func NewVerifier(cas []*x509.Certificate, p Policy) (*Verifier, error) {
	if len(cas) == 0 {
		return nil, broken(nil, "a verifier needs at least one CA to believe")
	}
	t := newTrust(poolOf(cas), p, nil)
	return &Verifier{func() *trust { return t }}, nil
}

// Verifier returns a verifier with the source's policy that follows its files.
func (s *Source) Verifier() *Verifier {
	return &Verifier{func() *trust { return s.current.Load().trust }}
}

// Connection returns what a finished handshake proves. It is an error of
// [bus.CodeUnauthenticated] if the other end showed no certificate, or one that
// is not (or no longer) valid here, of [bus.CodeCertificateRevoked] if it was
// revoked or is denied, and of [bus.CodePermissionDenied] if the
// policy's naming gives it no name. The reasons are for a stranger.
func (v *Verifier) Connection(state tls.ConnectionState) (*Proof, error) {
	switch {
	case len(state.PeerCertificates) == 0:
		return nil, refuse("no client certificate")
	case !state.HandshakeComplete: // nobody has shown that he has the key
		return nil, refuse("the handshake is not over")
	}
	return v.Certificates(state.PeerCertificates)
}

// Certificates returns what certificates, the one that was shown first, would
// prove of somebody who has the key; the caller vouches for that. The errors
// are those of Connection.
func (v *Verifier) Certificates(certs []*x509.Certificate) (*Proof, error) {
	if len(certs) == 0 {
		return nil, refuse("no client certificate")
	}
	proof, err := v.trust().prove(certs)
	if err != nil {
		return nil, forStranger(err)
	}
	if proof.nameless != nil {
		return nil, bus.Wrap(bus.CodePermissionDenied, proof.nameless, "the certificate has no name that may connect here")
	}
	return proof, nil
}

// forStranger says in a stranger's words why certificates were not verified.
func forStranger(err error) *bus.Error {
	var known *bus.Error
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	reason := "the client certificate is not valid"
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &unknown):
		reason = "the client certificate is not signed by a CA that is trusted here"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		reason = "the client certificate, or one of its chain, is expired or not valid yet"
	}
	return bus.Wrap(bus.CodeUnauthenticated, err, reason)
}

// A trust verifies certificates by one set of CAs, and remembers what they
// prove.
type trust struct {
	// Fixed at creation.
	pool    *x509.CertPool
	policy  Policy
	revoked *revocations // nil: nothing ever is
	proofs  *proofs
}

func newTrust(pool *x509.CertPool, p Policy, revoked *revocations) *trust {
	return &trust{pool: pool, policy: p, revoked: revoked, proofs: newProofs()}
}

// prove verifies certificates as they were sent, or remembers that. What it
// refuses it does not remember. Their time, and whether they were revoked, it
// looks at each time.
func (t *trust) prove(certs []*x509.Certificate) (*Proof, error) {
	now := t.policy.now()
	key := hashSent(certs)
	proof := t.proofs.get(key)
	if proof == nil || !proof.holds(now) {
		var err error
		if proof, err = t.verify(certs, now); err != nil {
			return nil, err
		}
		t.proofs.put(key, proof, certs)
	}
	if err := t.revoked.check(proof.Credential.marks); err != nil {
		return nil, err
	}
	return proof, nil
}

// accept makes a proof of what crypto/tls has verified in this handshake.
func (t *trust) accept(state tls.ConnectionState) (*Proof, error) {
	if len(state.VerifiedChains) == 0 {
		return nil, refuse("the client certificate was not verified")
	}
	for _, chain := range state.VerifiedChains {
		if err := checkClientChain(chain); err != nil {
			return nil, err
		}
	}
	proof := t.proof(state.PeerCertificates[0], state.VerifiedChains, nil)
	if err := t.revoked.check(proof.Credential.marks); err != nil {
		return nil, err
	}
	t.proofs.put(hashSent(state.PeerCertificates), proof, state.PeerCertificates)
	return proof, nil
}

// hashSent needs no lengths in between: DER delimits itself.
func hashSent(certs []*x509.Certificate) proofKey {
	sum := sha256.New()
	for _, cert := range certs {
		sum.Write(cert.Raw)
	}
	return proofKey(sum.Sum(nil))
}

// verify verifies the end-entity certificate against the CAs first: nothing
// that only a stranger has signed is looked at.
func (t *trust) verify(certs []*x509.Certificate, now time.Time) (*Proof, error) {
	for _, cert := range certs {
		if key, ok := cert.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxRSABits {
			return nil, refuse("a certificate has an RSA key of %d bits: at most %d are allowed", key.N.BitLen(), maxRSABits)
		}
	}
	n := countProxies(certs)
	switch {
	case n > 0 && !t.policy.Proxies:
		return nil, refuse("proxy certificates are not accepted here")
	case n > MaxProxies:
		return nil, refuseProxies(n)
	case n == len(certs):
		return nil, refuse("the user's certificate was not sent with its proxy certificate")
	}
	chains, err := t.endEntity(certs[n:], now)
	if err != nil {
		return nil, err
	}
	proxies := certs[:n]
	var facts *Proxy
	if n > 0 {
		if facts, err = checkProxies(proxies, chains[0][0]); err != nil {
			return nil, err
		}
		if err := checkProxyTimes(proxies, now); err != nil {
			return nil, err
		}
	}
	proof := t.proof(certs[0], chains, proxies)
	proof.Proxy = facts
	return proof, nil
}

// proof says what verified chains and proxy certificates prove.
func (t *trust) proof(shown *x509.Certificate, chains [][]*x509.Certificate, proxies []*x509.Certificate) *Proof {
	proof := &Proof{Shown: sha256.Sum256(shown.Raw)}
	proof.NotBefore, proof.until = timeOf(chains, proxies)
	proof.Peer, proof.nameless = t.policy.Naming.peerOf(chains)
	for _, cert := range proxies {
		if cert.NotAfter.Before(proof.Peer.NotAfter) {
			proof.Peer.NotAfter = cert.NotAfter
		}
	}
	t.revoked.learn(chains)
	proof.Credential = &Credential{marksOf(chains, proxies, proof.Peer), t.revoked}
	return proof
}

// endEntity verifies a certificate with those that came after it, and makes of
// it all that is asked of a client's. It returns every chain, leaf first.
func (t *trust) endEntity(certs []*x509.Certificate, now time.Time) ([][]*x509.Certificate, error) {
	chains, err := verifyAnew(certs, t.pool, now)
	if err != nil {
		if t.policy.Proxies && isOldProxy(certs[0]) {
			return nil, refuseOldProxy()
		}
		return nil, err
	}
	for _, chain := range chains {
		if err := checkClientChain(chain); err != nil {
			return nil, err
		}
	}
	return chains, nil
}

// timeOf returns the time in which all chains and all proxies are valid.
func timeOf(chains [][]*x509.Certificate, proxies []*x509.Certificate) (from, until time.Time) {
	from, until = chains[0][0].NotBefore, chains[0][0].NotAfter
	for _, certs := range append(chains, proxies) {
		for _, cert := range certs {
			if cert.NotBefore.After(from) {
				from = cert.NotBefore
			}
			if cert.NotAfter.Before(until) {
				until = cert.NotAfter
			}
		}
	}
	return from, until
}
