package mtls_test

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"busd/bus"
	"busd/internal/mtls"
)

func newVerifier(t testing.TB, p pki, policy mtls.Policy) *mtls.Verifier {
	t.Helper()
	v, err := mtls.NewVerifier(p.cas(), policy)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A verifier believes nobody: neither a server that let everyone in, nor chains
// that somebody says were verified.
func TestVerifierVerifies(t *testing.T) {
	t.Parallel()
	p, other := newPKI(t, "test CA"), newPKI(t, "test CA")
	open := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{p.server}, ClientAuth: tls.RequestClientCert}
	verifier := newVerifier(t, p, mtls.Policy{Proxies: true})
	for _, test := range []struct {
		what string
		cert *tls.Certificate
		code bus.Code
	}{
		{"nobody", nil, bus.CodeUnauthenticated},
		{"alice", &p.client, 0},
		{"a lookalike", &other.client, bus.CodeUnauthenticated},
		{"a lookalike's proxy", holderOf(t, other.client).proxy(t).tls(), bus.CodeUnauthenticated},
		{"self-signed", ptr(mtlsSelfSigned(t)), bus.CodeUnauthenticated},
		{"somebody of two names", ptr(p.forgeEC(t, func(c *x509.Certificate) { c.DNSNames = []string{"a", "b"} })), bus.CodePermissionDenied},
	} {
		m := meet(t, open, clientConfig(t, &mtls.Credentials{Certificate: test.cert, CAs: p.cas()}))
		m.fine(t)
		m.server.VerifiedChains = [][]*x509.Certificate{m.server.PeerCertificates}
		for range 2 { // and it remembers no lie
			proof, err := verifier.Connection(m.server)
			if bus.CodeOf(err) != test.code || (proof != nil) != (test.code == 0) {
				t.Errorf("%s: got %v, %v, want code %v", test.what, proof, err, test.code)
			}
			if err != nil && bus.AsError(err).Reason == "" {
				t.Errorf("%s: got no reason", test.what)
			}
		}
	}
	if _, err := verifier.Certificates(nil); bus.CodeOf(err) != bus.CodeUnauthenticated {
		t.Errorf("no certificates: got %v, want unauthenticated", err)
	}
	if _, err := mtls.NewVerifier(nil, mtls.Policy{}); bus.CodeOf(err) != bus.CodeFailedPrecondition {
		t.Errorf("no CAs: got %v, want failed_precondition", err)
	}
	huge := holderOf(t, p.client)
	giant := *rsaKey(t, 2048)
	giant.N = giant.N.Lsh(giant.N, 7000)
	huge.certs[0].PublicKey = &giant.PublicKey
	if _, err := newVerifier(t, p, mtls.Policy{}).Certificates(huge.certs); err == nil || !strings.Contains(err.Error(), "at most 8192") {
		t.Errorf("a giant key: got %v, want it refused", err)
	}
}

// What a verifier remembers ends with the certificates' time.
func TestProofsEnd(t *testing.T) {
	t.Parallel()
	p := newPKI(t, "test CA")
	alice := holderOf(t, p.client)
	shift := time.Duration(0)
	verifier := newVerifier(t, p, mtls.Policy{Proxies: true, Now: func() time.Time { return time.Now().Add(shift) }})
	ends := func(certs []*x509.Certificate, want bool) {
		t.Helper()
		if _, err := verifier.Certificates(certs); (bus.CodeOf(err) == bus.CodeUnauthenticated) != want || want && !strings.Contains(err.Error(), "expired") {
			t.Errorf("after %v: got %v, want it expired: %t", shift, err, want)
		}
	}
	proxy := alice.proxy(t).certs
	ends(proxy, false)
	ends(alice.certs, false)
	shift = 30 * time.Minute
	ends(proxy, true)
	ends(alice.certs, false)
	shift = 2 * time.Hour
	ends(alice.certs, true)
	shift = -time.Hour
	ends(alice.certs, true)
	shift = 0
	ends(proxy, false)
}

// What one request costs, of somebody who is remembered.
func BenchmarkVerifier(b *testing.B) {
	p := newPKI(b, "test CA")
	alice := holderOf(b, p.client)
	verifier := newVerifier(b, p, mtls.Policy{Proxies: true})
	for _, test := range []struct {
		name  string
		certs []*x509.Certificate
	}{{"ordinary", alice.certs}, {"proxy", alice.proxy(b).proxy(b).certs}} {
		state := tls.ConnectionState{HandshakeComplete: true, PeerCertificates: test.certs}
		b.Run(test.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := verifier.Connection(state); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
