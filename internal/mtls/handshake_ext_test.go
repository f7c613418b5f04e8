package mtls_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"busd/bus"
	"busd/internal/mtls"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pki is a CA, a server and a client of it.
type pki struct {
	ca             *mtls.Authority
	server, client tls.Certificate
}

func newPKI(t testing.TB, name string) pki {
	t.Helper()
	ca, err := mtls.NewAuthority(name, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	p := pki{ca: ca}
	p.server = p.issue(t, mtls.Request{Name: "server", DNS: []string{"localhost"}, Server: true})
	p.client = p.issue(t, mtls.Request{Name: "alice", Client: true})
	return p
}

func (p pki) issue(t testing.TB, r mtls.Request) tls.Certificate {
	t.Helper()
	issued, err := p.ca.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	return issued.TLS()
}

func (p pki) cas() []*x509.Certificate { return []*x509.Certificate{p.ca.Certificate()} }

// forge signs what Issue would never make. The CA's key is read from its PEM.
func (p pki) forge(t testing.TB, public crypto.PublicKey, private crypto.PrivateKey, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	keyPEM, err := p.ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(p.ca.CertPEM(), keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "alice"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true, DNSNames: []string{"localhost"},
	}
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, p.ca.Certificate(), public, pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

func (p pki) forgeEC(t testing.TB, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return p.forge(t, key.Public(), key, change)
}

// meeting is what both ends saw of a handshake and one byte each way.
type meeting struct {
	server, client       tls.ConnectionState
	serverErr, clientErr error
}

func meet(t testing.TB, server, client *tls.Config) meeting {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var m meeting
	done := make(chan struct{})
	go func() {
		defer close(done)
		raw, err := l.Accept()
		if err != nil {
			m.serverErr = err
			return
		}
		defer raw.Close()
		_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
		c := tls.Server(raw, server)
		if m.serverErr = c.Handshake(); m.serverErr == nil {
			m.server = c.ConnectionState()
			_, m.serverErr = c.Write([]byte{1})
		}
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	c := tls.Client(raw, client)
	if m.clientErr = c.Handshake(); m.clientErr == nil {
		_, m.clientErr = c.Read(make([]byte, 1))
		m.client = c.ConnectionState()
	}
	_ = raw.Close()
	<-done
	return m
}

func (m meeting) fine(t testing.TB) {
	t.Helper()
	if m.serverErr != nil || m.clientErr != nil {
		t.Fatalf("handshake: server got %v, client got %v, want neither", m.serverErr, m.clientErr)
	}
}

func serverConfig(t testing.TB, m mtls.Material, p mtls.Policy) *tls.Config {
	t.Helper()
	c, err := mtls.ServerConfig(m, p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func clientConfig(t testing.TB, c *mtls.Credentials) *tls.Config {
	t.Helper()
	config, err := c.TLS("localhost")
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// Ordinary certificates fare alike, whether proxy certificates are accepted or
// not.
func TestHandshakes(t *testing.T) {
	t.Parallel()
	for _, proxies := range []bool{false, true} {
		t.Run("proxies="+strconv.FormatBool(proxies), func(t *testing.T) {
			t.Parallel()
			testHandshakes(t, proxies)
		})
	}
}

func testHandshakes(t *testing.T, proxies bool) {
	t.Helper()
	p, lookalike := newPKI(t, "test CA"), newPKI(t, "test CA")
	other := newPKI(t, "another CA")
	ask := serverConfig(t, mtls.Material{Certificate: p.server, CAs: p.cas()}, mtls.Policy{Proxies: proxies})
	require := serverConfig(t, mtls.Material{Certificate: p.server, CAs: p.cas()}, mtls.Policy{Proxies: proxies, Require: true})
	spiffe, err := mtls.NewNaming(mtls.KindSPIFFE)
	if err != nil {
		t.Fatal(err)
	}
	pinned := serverConfig(t, mtls.Material{Certificate: p.server, CAs: p.cas()}, mtls.Policy{Proxies: proxies, Naming: spiffe})
	verifier := newVerifier(t, p, mtls.Policy{Proxies: proxies})

	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsa1032, err := rsa.GenerateKey(rand.Reader, 1032)
	if err != nil {
		t.Fatal(err)
	}
	none := func(*x509.Certificate) {}
	usage := func(u ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = u }
	}
	selfSigned := mtlsSelfSigned(t)
	past := time.Now().Add(-2 * time.Hour)
	tests := []struct {
		what   string
		server *tls.Config
		client *tls.Certificate
		want   bus.Code // 0: it works
		says   string   // part of what the server says
	}{
		{"none, ask", ask, nil, 0, ""},
		{"none, require", require, nil, bus.CodeUnauthenticated, "didn't provide a certificate"},
		{"good, ask", ask, &p.client, 0, ""},
		{"good, require", require, &p.client, 0, ""},
		{"Ed25519", ask, ptr(p.forge(t, edPublic, edKey, none)), 0, ""},
		{"RSA 2048", ask, ptr(p.forge(t, rsa2048.Public(), rsa2048, none)), 0, ""},
		{"RSA 1032", ask, ptr(p.forge(t, rsa1032.Public(), rsa1032, none)), bus.CodeUnauthenticated, "RSA key of 1032 bits"},
		{"expired", ask, ptr(p.issue(t, mtls.Request{Name: "alice", Client: true, NotBefore: past, Validity: time.Hour})), bus.CodeCertificateExpired, "expired"},
		{"not yet", ask, ptr(p.issue(t, mtls.Request{Name: "alice", Client: true, NotBefore: time.Now().Add(30 * time.Minute)})), bus.CodeCertificateExpired, "not yet valid"},
		{"wrong CA", ask, &other.client, bus.CodeUnauthenticated, "unknown authority"},
		{"lookalike CA", ask, &lookalike.client, bus.CodeUnauthenticated, "unknown authority"},
		{"self-signed", ask, &selfSigned, bus.CodeUnauthenticated, "unknown authority"},
		{"wrong CA, require", require, &other.client, bus.CodeUnauthenticated, "unknown authority"},
		{"a server's", ask, ptr(p.forgeEC(t, usage(x509.ExtKeyUsageServerAuth))), bus.CodeUnauthenticated, ""},
		{"any use", ask, ptr(p.forgeEC(t, usage(x509.ExtKeyUsageAny))), bus.CodeUnauthenticated, "any use"},
		{"any use and client's", ask, ptr(p.forgeEC(t, usage(x509.ExtKeyUsageAny, x509.ExtKeyUsageClientAuth))), bus.CodeUnauthenticated, "any use"},
		{"no use said", ask, ptr(p.forgeEC(t, usage())), bus.CodeUnauthenticated, "want extended key usage clientAuth"},
		{"both uses", ask, ptr(p.forgeEC(t, usage(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth))), 0, ""},
		{"a CA's", ask, ptr(p.forgeEC(t, func(c *x509.Certificate) { c.IsCA = true; c.KeyUsage |= x509.KeyUsageCertSign })), bus.CodeUnauthenticated, "is a CA's"},
		{"may sign certificates", ask, ptr(p.forgeEC(t, func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCRLSign })), bus.CodeUnauthenticated, "is a CA's"},
		{"unknown critical extension", ask, ptr(p.forgeEC(t, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		})), bus.CodeUnauthenticated, "critical extension"},
		{"too large", ask, ptr(p.forgeEC(t, func(c *x509.Certificate) {
			c.DNSNames = nil
			for i := range 1000 {
				c.IPAddresses = append(c.IPAddresses, net.IPv4(10, 0, byte(i>>8), byte(i)).To16(), net.ParseIP("2001:db8::1"))
			}
		})), bus.CodeUnauthenticated, "at most 16384"},
		{"two names", ask, ptr(p.forgeEC(t, func(c *x509.Certificate) { c.DNSNames = []string{"a", "b"} })), bus.CodeUnauthenticated, "2 dns names"},
		{"wildcard", ask, ptr(p.forgeEC(t, func(c *x509.Certificate) { c.DNSNames = []string{"*.org"} })), bus.CodeUnauthenticated, "wildcard"},
		{"no SPIFFE ID where one is wanted", pinned, &p.client, bus.CodeUnauthenticated, "spiffe"},
		{"a SPIFFE ID", pinned, ptr(p.issue(t, mtls.Request{Name: "a", Client: true, URIs: []string{"spiffe://example.org/a"}})), 0, ""},
	}
	for _, test := range tests {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			client := clientConfig(t, &mtls.Credentials{Certificate: test.client, CAs: p.cas()})
			m := meet(t, test.server, client)
			if test.want == 0 {
				m.fine(t)
				if m.client.Version != tls.VersionTLS13 || m.client.NegotiatedProtocol != "http/1.1" {
					t.Errorf("got version %x, protocol %q", m.client.Version, m.client.NegotiatedProtocol)
				}
				want := 0
				if test.client != nil && !proxies {
					want = 1
				}
				if len(m.server.VerifiedChains) != want {
					t.Errorf("verified chains: got %d, want %d", len(m.server.VerifiedChains), want)
				}
				if proof, err := verifier.Connection(m.server); (err == nil) != (test.client != nil) || err == nil && proof.Proxy != nil {
					t.Errorf("got %+v, %v, want an ordinary certificate if there is one", proof, err)
				}
				return
			}
			if m.serverErr == nil || !strings.Contains(m.serverErr.Error(), test.says) {
				t.Errorf("server: got %v, want it refused for %q", m.serverErr, test.says)
			}
			if test.want == bus.CodeCertificateExpired && proxies {
				test.want = bus.CodeUnauthenticated // there is one alert for all of them
			}
			got := mtls.Explain(m.clientErr)
			if got == nil || got.Code != test.want || got.Retry.When != bus.RetryAfter || got.Reason == "" {
				t.Errorf("client: got %v (of %v), want %v, retry after", got, m.clientErr, test.want)
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }

func mtlsSelfSigned(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotAfter: time.Now().Add(time.Hour),
		NotBefore: time.Now().Add(-time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs: []*url.URL{{Scheme: "spiffe", Host: "example.org", Path: "/alice"}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestPeerOfHandshake(t *testing.T) {
	t.Parallel()
	p := newPKI(t, "test CA")
	server := serverConfig(t, mtls.Material{Certificate: p.server, CAs: p.cas()}, mtls.Policy{})
	m := meet(t, server, clientConfig(t, &mtls.Credentials{Certificate: &p.client, CAs: p.cas()}))
	m.fine(t)
	peer, err := mtls.Naming{}.Peer(m.server)
	if err != nil {
		t.Fatal(err)
	}
	if peer.Name != "cn:alice" || peer.Kind != "cn" || peer.DN != "/CN=alice" || peer.Issuer != "/CN=test CA" {
		t.Errorf("got %+v", peer)
	}
	if !peer.NotAfter.Equal(p.ca.Certificate().NotAfter) {
		t.Errorf("not after: got %v, want the CA's end %v", peer.NotAfter, p.ca.Certificate().NotAfter)
	}
	if _, err := (mtls.Naming{}).Peer(tls.ConnectionState{}); bus.CodeOf(err) != bus.CodeUnauthenticated {
		t.Errorf("nobody: got %v, want unauthenticated", err)
	}
	m.server.VerifiedChains = nil
	if _, err := (mtls.Naming{}).Peer(m.server); bus.CodeOf(err) != bus.CodeUnauthenticated {
		t.Errorf("not verified: got %v, want unauthenticated", err)
	}
}

func TestClientRefusesServers(t *testing.T) {
	t.Parallel()
	p, other := newPKI(t, "test CA"), newPKI(t, "another CA")
	weak, err := rsa.GenerateKey(rand.Reader, 1032)
	if err != nil {
		t.Fatal(err)
	}
	serves := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
	for _, test := range []struct {
		what   string
		server tls.Certificate
		want   bus.Code
		says   string
	}{
		{"good", p.server, 0, ""},
		{"wrong CA", other.server, bus.CodeUnauthenticated, "not signed by a CA that you trust: it says /CN=another CA"},
		{"wrong name", p.issue(t, mtls.Request{Name: "s", DNS: []string{"elsewhere"}, Server: true}), bus.CodeUnauthenticated, "not for localhost"},
		{"expired", p.issue(t, mtls.Request{
			Name: "s", DNS: []string{"localhost"}, Server: true, NotBefore: time.Now().Add(-time.Hour), Validity: time.Minute,
		}), bus.CodeCertificateExpired, "expired"},
		{"a client's", p.forgeEC(t, func(*x509.Certificate) {}), bus.CodeUnauthenticated, "not valid"},
		{"weak key", p.forge(t, weak.Public(), weak, serves), bus.CodeUnauthenticated, "RSA key of 1032 bits"},
	} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			server := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{test.server}}
			m := meet(t, server, clientConfig(t, &mtls.Credentials{CAs: p.cas()}))
			if test.want == 0 {
				m.fine(t)
				return
			}
			got := mtls.Explain(m.clientErr)
			if got == nil || got.Code != test.want || !strings.Contains(got.Reason, test.says) {
				t.Errorf("got %v, want %v saying %q", got, test.want, test.says)
			}
		})
	}
}

func TestResumption(t *testing.T) {
	t.Parallel()
	p := newPKI(t, "test CA")
	now := time.Now()
	shift := time.Duration(0)
	server := serverConfig(t, mtls.Material{Certificate: p.server, CAs: p.cas()},
		mtls.Policy{Now: func() time.Time { return now.Add(shift) }})
	creds := &mtls.Credentials{Certificate: &p.client, CAs: p.cas()}
	m := meet(t, server, clientConfig(t, creds))
	m.fine(t)
	if m.server.DidResume {
		t.Error("the first handshake resumed")
	}
	m = meet(t, server, clientConfig(t, creds))
	m.fine(t)
	if !m.server.DidResume || len(m.server.VerifiedChains) != 1 {
		t.Errorf("second: resumed %t with %d chains, want a resumed one with its chain", m.server.DidResume, len(m.server.VerifiedChains))
	}
	// Another certificate begins anew.
	bob := p.issue(t, mtls.Request{Name: "bob", Client: true})
	creds.Certificate = &bob
	m = meet(t, server, clientConfig(t, creds))
	m.fine(t)
	if peer, err := (mtls.Naming{}).Peer(m.server); m.server.DidResume || err != nil || peer.Name != "cn:bob" {
		t.Errorf("other certificate: resumed %t as %q, %v, want bob in a full handshake", m.server.DidResume, peer.Name, err)
	}
	// The certificate ends meanwhile.
	shift = 2 * time.Hour
	m = meet(t, server, clientConfig(t, creds))
	if m.serverErr == nil || bus.CodeOf(mtls.Explain(m.clientErr)) != bus.CodeCertificateExpired {
		t.Errorf("after its end: server got %v, client got %v, want it expired", m.serverErr, m.clientErr)
	}
}

func TestServerConfigRefuses(t *testing.T) {
	t.Parallel()
	p := newPKI(t, "test CA")
	for what, m := range map[string]mtls.Material{
		"nothing":        {},
		"no CA":          {Certificate: p.server},
		"no certificate": {CAs: p.cas()},
	} {
		if _, err := mtls.ServerConfig(m, mtls.Policy{}); bus.CodeOf(err) != bus.CodeFailedPrecondition {
			t.Errorf("%s: got %v, want failed_precondition", what, err)
		}
	}
	server, err := p.ca.Issue(mtls.Request{Name: "server", DNS: []string{"localhost"}, Server: true})
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, err := server.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mtls.MaterialFromPEM(server.CertPEM(), keyPEM, p.ca.CertPEM()); err != nil {
		t.Errorf("from PEM: %v", err)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	if got := mtls.Explain(nil); got != nil {
		t.Errorf("nil: got %v", got)
	}
	known := bus.Errorf(bus.CodeNotFound, "x")
	if got := mtls.Explain(known); got != known {
		t.Errorf("an Error: got %v, want itself", got)
	}
	_, refusedErr := net.DialTimeout("tcp", "127.0.0.1:1", time.Second)
	for _, test := range []struct {
		err  error
		code bus.Code
		says string
	}{
		{refusedErr, bus.CodeUnavailable, "nobody listens"},
		{&net.DNSError{Name: "no.example", IsNotFound: true}, bus.CodeUnavailable, "no host has the name no.example"},
		{&net.DNSError{Name: "no.example"}, bus.CodeUnavailable, "could not be looked up"},
		{context.DeadlineExceeded, bus.CodeUnavailable, "in time"},
		{context.Canceled, bus.CodeCanceled, "given up"},
		{tls.RecordHeaderError{}, bus.CodeUnavailable, "does not speak TLS"},
		{net.ErrClosed, bus.CodeUnavailable, "closed before"},
		{errors.New("x"), bus.CodeUnavailable, "could not be made"},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: alert(200)")}, bus.CodeUnavailable, "ended the handshake"},
	} {
		got := mtls.Explain(test.err)
		if got.Code != test.code || !strings.Contains(got.Reason, test.says) || got.Retry.When != bus.RetryAfter || !errors.Is(got, test.err) {
			t.Errorf("%v: got %v, %v, want %v saying %q", test.err, got, got.Retry.When, test.code, test.says)
		}
	}
}

// TestAlerts sends each alert over a real connection, as a server would that
// refuses the handshake's first message.
func TestAlerts(t *testing.T) {
	t.Parallel()
	never, last := 0, -1
	for _, alert := range mtls.Alerts() {
		if int(alert.Number) <= last {
			t.Errorf("alert %d: not in order", alert.Number)
		}
		last = int(alert.Number)
		if alert.Retry == bus.RetryNever {
			never++
			if alert.Name != "certificate_revoked" {
				t.Errorf("%s: never, want that of certificate_revoked alone", alert.Name)
			}
		}
		client, server := net.Pipe()
		go func() {
			_, _ = server.Read(make([]byte, 4096))
			_, _ = server.Write([]byte{21, 3, 3, 0, 2, 2, alert.Number})
			_ = server.Close()
		}()
		err := tls.Client(client, &tls.Config{ServerName: "localhost"}).Handshake()
		_ = client.Close()
		got := mtls.Explain(err)
		if alert.Number == 0 { // close_notify is the end of the data, for crypto/tls
			if got.Code != alert.Code {
				t.Errorf("%s: got %v, want %v", alert.Name, got, alert.Code)
			}
			continue
		}
		if got.Code != alert.Code || got.Retry.When != alert.Retry || got.Reason != alert.Reason {
			t.Errorf("%s: got %v %v (of %v), want %v %v %q", alert.Name, got, got.Retry.When, err, alert.Code, alert.Retry, alert.Reason)
		}
	}
	if never != 1 {
		t.Errorf("%d alerts are final, want 1", never)
	}
}
