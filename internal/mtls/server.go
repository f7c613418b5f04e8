package mtls

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"time"

	"busd/bus"
)

// nextProtos: a WebSocket upgrade needs HTTP/1.1.
var nextProtos = []string{"http/1.1"}

// nextProtos2 is for servers of HTTP/2; a client that wants a WebSocket does
// not offer it.
var nextProtos2 = []string{"h2", "http/1.1"}

// A Policy says whom a server accepts. The zero value asks for a certificate,
// verifies it if one is given, and names peers automatically.
type Policy struct {
	// Require demands a client certificate in the handshake. Without it a
	// client without one gets through, as nobody.
	Require bool
	// Naming is the rule for peers' names: a certificate that it gives no
	// name is refused in the handshake.
	Naming Naming
	// Proxies accepts proxy certificates (RFC 3820), of at most [MaxProxies] in a
	// chain, with all rights of their user or limited ones. Who shows one is its
	// user. For other certificates nothing changes, but that a client whose
	// certificate is refused gets the alert bad_certificate in any case, and that
	// a connection's VerifiedChains stay empty: crypto/tls does not verify proxy
	// certificates. Ask a [Verifier] who somebody is.
	Proxies bool
	// RefuseStale refuses clients where the list of revoked certificates (CRL) of
	// somebody who issued a certificate of their chain is missing or out of date,
	// if there are any lists at all; false: what was last known counts.
	RefuseStale bool
	// HTTP2 offers HTTP/2 beside HTTP/1.1.
	HTTP2 bool
	// Now is the clock that certificates are checked against; nil means
	// time.Now.
	Now func() time.Time
}

// clientAuth is how crypto/tls asks. It must not verify where there may be
// proxy certificates.
func (p Policy) clientAuth() tls.ClientAuthType {
	switch {
	case p.Proxies && p.Require:
		return tls.RequireAnyClientCert
	case p.Proxies:
		return tls.RequestClientCert
	case p.Require:
		return tls.RequireAndVerifyClientCert
	}
	return tls.VerifyClientCertIfGiven
}

func (p Policy) nextProtos() []string {
	if p.HTTP2 {
		return nextProtos2
	}
	return nextProtos
}

func (p Policy) now() time.Time {
	if p.Now == nil {
		return time.Now()
	}
	return p.Now()
}

// ServerConfig returns the configuration of a server whose material does not
// change. It refuses material without a certificate or without a CA.
//
// Every check of a client's certificate runs on resumed TLS sessions too:
// chain and time anew, use, key, and the peer's name. Tickets are encrypted
// with keys of this configuration alone, which rotate daily.
func ServerConfig(m Material, p Policy) (*tls.Config, error) {
	g, err := newGeneration(m, p, nil, nil)
	if err != nil {
		return nil, err
	}
	return g.config, nil
}

// A generation is the configuration for one state of the material. Handshakes
// that began with it end with it.
type generation struct {
	config    *tls.Config
	requiring *tls.Config // as config, with a client certificate demanded
	trust     *trust      // shared by generations that believe the same CAs
	cas       [sha256.Size]byte
	issuers   []*x509.Certificate // the CAs
	// tickets has the keys of session tickets, and rotates them if it was
	// given none: it is shared by generations that believe the same CAs. A
	// ticket of another set of CAs cannot be read, so its handshake is a full
	// one.
	tickets *tls.Config
}

func newGeneration(m Material, p Policy, last *generation, revoked *revocations) (*generation, error) {
	if len(m.Certificate.Certificate) == 0 || m.Certificate.PrivateKey == nil {
		return nil, broken(nil, "a server needs a certificate and its key")
	}
	if len(m.CAs) == 0 {
		return nil, broken(nil, "a server needs at least one CA to believe")
	}
	g := &generation{cas: hashSet(m.CAs), issuers: m.CAs}
	if last != nil && last.cas == g.cas {
		g.tickets, g.trust = last.tickets, last.trust
	} else {
		g.tickets = &tls.Config{MinVersion: tls.VersionTLS13, Time: p.now}
		g.trust = newTrust(poolOf(m.CAs), p, revoked)
	}
	g.config = g.serve(m, p)
	p.Require = true
	g.requiring = g.serve(m, p)
	return g, nil
}

// serve makes the configuration for one way to treat clients that show nothing.
func (g *generation) serve(m Material, p Policy) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		NextProtos:   p.nextProtos(),
		Certificates: []tls.Certificate{m.Certificate},
		ClientAuth:   p.clientAuth(),
		ClientCAs:    g.trust.pool,
		Time:         p.now,
		// crypto/tls would take the keys of the listener's configuration,
		// which outlives the CAs.
		WrapSession:   g.tickets.EncryptTicket,
		UnwrapSession: g.tickets.DecryptTicket,
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 && p.Require {
				return bus.Errorf(bus.CodeUnauthenticated, "no client certificate")
			}
			return g.trust.verifyClient(state)
		},
	}
}

// verifyClient runs in every handshake, resumed or not. What crypto/tls has
// verified just now is not verified again; of a resumed session it has verified
// nothing, and of what may be a proxy certificate neither.
func (t *trust) verifyClient(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return nil
	}
	var proof *Proof
	var err error
	if state.DidResume || t.policy.Proxies {
		proof, err = t.prove(state.PeerCertificates)
	} else {
		proof, err = t.accept(state)
	}
	if err != nil {
		return err
	}
	return proof.nameless
}

// verifyAnew verifies the certificates of a resumed session as crypto/tls does
// those of a new one.
func verifyAnew(certs []*x509.Certificate, pool *x509.CertPool, now time.Time) ([][]*x509.Certificate, error) {
	between := x509.NewCertPool()
	for _, cert := range certs[1:] {
		between.AddCert(cert)
	}
	chains, err := certs[0].Verify(x509.VerifyOptions{
		Roots:         pool,
		Intermediates: between,
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, &tls.CertificateVerificationError{UnverifiedCertificates: certs, Err: err}
	}
	return chains, nil
}
