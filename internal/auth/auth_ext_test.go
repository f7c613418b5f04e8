package auth_test

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"busd/access"
	"busd/bus"
	"busd/internal/auth"
	"busd/internal/mtls"
)

func TestCertificates(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	a := f.authenticator(t)

	c, err := a.Authenticate(f.over(t, nil, nil))
	wantCaller(t, "nobody", c, err, "", "")

	c, err = a.Authenticate(f.over(t, &f.alice, nil))
	wantCaller(t, "alice", c, err, "cn:alice", "")
	cert := f.alice.certs[0]
	want := access.Caller{
		Peer: c.Peer, Via: access.ViaCertificate, Subject: "/CN=alice", Issuer: "/CN=test CA", NotBefore: cert.NotBefore, NotAfter: cert.NotAfter,
		Credential: c.Credential,
	}
	if c != want || c.Peer.DN != "/CN=alice" || c.Peer.NotAfter != cert.NotAfter {
		t.Errorf("alice: got %+v (%+v), want %+v", c, c.Peer.DN, want)
	}

	proxy := f.alice.proxy(t, "dirac_user", false).proxy(t, "", true)
	c, err = a.Authenticate(f.over(t, &proxy, nil))
	wantCaller(t, "her proxy", c, err, "cn:alice", "")
	want = access.Caller{
		Peer: c.Peer, Via: access.ViaProxy, Group: "dirac_user", Limited: true,
		Subject: "/CN=alice/CN=17/CN=17", Issuer: "/CN=alice/CN=17", NotBefore: c.NotBefore, NotAfter: proxy.certs[0].NotAfter,
		Credential: c.Credential,
	}
	if c != want || c.Peer.DN != "/CN=alice" {
		t.Errorf("proxy: got %+v, want %+v", c, want)
	}

	// Headers for proxies are ignored from everybody who is none.
	forged := http.Header{"X-Ssl-Cert": {f.bob.pem()}, "X-Ssl-Client-Verify": {"SUCCESS"}, "X-Ssl_client_verify": {"SUCCESS"}}
	c, err = a.Authenticate(f.over(t, &f.alice, forged))
	wantCaller(t, "alice says she is bob", c, err, "cn:alice", "")
	c, err = a.Authenticate(f.over(t, nil, forged))
	wantCaller(t, "nobody says he is bob", c, err, "", "")
}

// A server that verifies nobody makes nobody somebody.
func TestCertificatesThatNobodyVerified(t *testing.T) {
	t.Parallel()
	f, other := newFarm(t), newFarm(t)
	a := f.authenticator(t)
	r := request("192.0.2.1:1234", nil)
	r.TLS = &tls.ConnectionState{
		HandshakeComplete: true, PeerCertificates: other.alice.certs, VerifiedChains: [][]*x509.Certificate{other.alice.certs},
	}
	c, err := a.Authenticate(r)
	wantCaller(t, "another CA's", c, err, "", "not signed by a CA that is trusted here")
	if err.Code != bus.CodeUnauthenticated {
		t.Errorf("got %v, want unauthenticated", err.Code)
	}
	r.TLS = &tls.ConnectionState{PeerCertificates: f.alice.certs}
	c, err = a.Authenticate(r)
	wantCaller(t, "in the middle of the handshake", c, err, "", "not over")

	nameless := f.user(t, mtls.Request{Name: "x", DNS: []string{"a", "b"}})
	r.TLS = &tls.ConnectionState{HandshakeComplete: true, PeerCertificates: nameless.certs}
	c, err = a.Authenticate(r)
	wantCaller(t, "two names", c, err, "", "no name that may connect here")
	if err.Code != bus.CodePermissionDenied {
		t.Errorf("got %v, want permission_denied", err.Code)
	}
}

// Where one kind of name is pinned, a CN can say anything; but not that it is a
// token.
func TestCertificateNamedAsAToken(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	naming, err := mtls.NewNaming(mtls.KindCN)
	if err != nil {
		t.Fatal(err)
	}
	if f.config.Certificates, err = mtls.NewVerifier([]*x509.Certificate{f.ca.Certificate()}, mtls.Policy{Naming: naming}); err != nil {
		t.Fatal(err)
	}
	a := f.authenticator(t)
	mallory := f.user(t, mtls.Request{Name: "token:alice@" + issuerName})
	c, failed := a.Authenticate(f.over(t, &f.alice, nil))
	wantCaller(t, "alice", c, failed, "alice", "")
	r := request("192.0.2.1:1234", nil)
	r.TLS = &tls.ConnectionState{HandshakeComplete: true, PeerCertificates: mallory.certs}
	c, failed = a.Authenticate(r)
	wantCaller(t, "mallory", c, failed, "", "as those of bearer tokens do")
}

func bind(cert *x509.Certificate) func(*form) {
	sum := sha256.Sum256(cert.Raw)
	return with("cnf", map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])})
}

func TestWhichCredentialCounts(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	a := f.authenticator(t)
	carol := with("sub", "carol")
	proxy := f.alice.proxy(t, "", false)
	const token = "token:carol@" + issuerName
	for _, test := range []struct {
		what       string
		who        *holder
		authorize  string
		name, says string
	}{
		{"a token alone", nil, "Bearer " + f.token(t, carol), token, ""},
		{"in small letters", nil, "bearer  " + f.token(t, carol), token, ""},
		{"a certificate and a token", &f.alice, "Bearer " + f.token(t, carol), "cn:alice", ""},
		{"a certificate and a bad token", &f.alice, "Bearer x", "cn:alice", ""},
		{"a certificate and half a header", &f.alice, "Bearer", "cn:alice", ""},
		{"a token bound to the certificate", &f.alice, "Bearer " + f.token(t, carol, bind(f.alice.certs[0])), token, ""},
		{"bound to the proxy that is shown", &proxy, "Bearer " + f.token(t, carol, bind(proxy.certs[0])), token, ""},
		{"bound to the proxy's user", &proxy, "Bearer " + f.token(t, carol, bind(f.alice.certs[0])), "", "bound to another certificate"},
		{"bound to bob's certificate", &f.alice, "Bearer " + f.token(t, carol, bind(f.bob.certs[0])), "", "bound to another certificate"},
		{"bound, and no certificate", nil, "Bearer " + f.token(t, carol, bind(f.alice.certs[0])), "", "bound to a certificate, which was not shown"},
		{"bound to this one, and expired", &f.alice, "Bearer " + f.token(t, carol, bind(f.alice.certs[0]), with("exp", 1)), "cn:alice", ""},
		{"bound to another key", nil, "Bearer " + f.token(t, carol, with("cnf", map[string]any{"jkt": "x"})), "", "cannot be checked here"},
		{"bound to more", &f.alice, "Bearer " + f.token(t, carol, with("cnf", map[string]any{"jkt": "x", "x5t#S256": "x"})), "cn:alice", ""},
		{"bound to no hash", nil, "Bearer " + f.token(t, carol, with("cnf", map[string]any{"x5t#S256": "AAAA"})), "", "cannot be checked here"},
		{"bound to nothing", nil, "Bearer " + f.token(t, carol, with("cnf", []string{})), "", "cannot be checked here"},
		{"a bad token", nil, "Bearer x", "", "not a JWT"},
		{"no token", nil, "Bearer ", "", "malformed"},
		{"two words", nil, "Bearer a b", "", "malformed"},
		{"a password", nil, "Basic YWxpY2U6c2VjcmV0", "", ""},
		{"something else", nil, "Bearerx y", "", ""},
		{"nothing", nil, "", "", ""},
	} {
		header := http.Header{}
		if test.authorize != "" {
			header.Set("Authorization", test.authorize)
		}
		c, err := a.Authenticate(f.over(t, test.who, header))
		wantCaller(t, test.what, c, err, test.name, test.says)
		if err != nil && err.Code != bus.CodeUnauthenticated {
			t.Errorf("%s: got %v, want unauthenticated", test.what, err.Code)
		}
		keptSecret(t, test.authorize, err)
	}
	twice := request("192.0.2.1:1234", http.Header{"Authorization": {"Bearer " + f.token(t), "Bearer " + f.token(t)}})
	c, err := a.Authenticate(twice)
	wantCaller(t, "two tokens", c, err, "", "malformed")
	both := request("192.0.2.1:1234", http.Header{"Authorization": {"Basic YWxpY2U6c2VjcmV0", "Bearer " + f.token(t)}})
	c, err = a.Authenticate(both)
	wantCaller(t, "a password and a token", c, err, "token:alice@"+issuerName, "")
}

// keptSecret looks for parts of a token in what is said of it, to strangers and
// in the log.
func keptSecret(t testing.TB, token string, err *bus.Error) {
	t.Helper()
	if err == nil {
		return
	}
	for part := range strings.FieldsFuncSeq(strings.TrimPrefix(token, "Bearer "), func(r rune) bool { return r == '.' || r == ' ' }) {
		clear, _ := base64.RawURLEncoding.DecodeString(part)
		for _, secret := range []string{part, string(clear)} {
			if len(secret) > 8 && (strings.Contains(err.Error(), secret[:8]) || strings.Contains(err.Error(), secret[len(secret)-8:])) {
				t.Errorf("%v tells a part of the token", err)
			}
		}
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	good := f.config
	for _, test := range []struct {
		what   string
		change func(c *auth.Config, i *auth.Issuer)
		says   string
	}{
		{"no verifier", func(c *auth.Config, _ *auth.Issuer) { c.Certificates = nil }, "nobody to verify"},
		{"negative leeway", func(c *auth.Config, _ *auth.Issuer) { c.Leeway = -1 }, "leeway"},
		{"no network", func(c *auth.Config, _ *auth.Issuer) { c.Proxies = make([]netip.Prefix, 1) }, "proxies"},
		{"IPv4 in IPv6", func(c *auth.Config, _ *auth.Issuer) { c.Proxies = prefixes("::ffff:192.0.2.0/120") }, "proxies"},
		{"no name", func(_ *auth.Config, i *auth.Issuer) { i.Name = "" }, "needs its name"},
		{"a name that divides names", func(_ *auth.Config, i *auth.Issuer) { i.Name = "https://a@b" }, "has an @"},
		{"twice", func(c *auth.Config, _ *auth.Issuer) { c.Issuers = append(c.Issuers, c.Issuers[0]) }, "stands twice"},
		{"no audience", func(_ *auth.Config, i *auth.Issuer) { i.Audiences = nil }, "audience"},
		{"any audience", func(_ *auth.Config, i *auth.Issuer) { i.Audiences = []string{""} }, "audience"},
		{"no keys", func(_ *auth.Config, i *auth.Issuer) { i.KeyFiles = nil }, "file of keys"},
		{"shared secrets", func(_ *auth.Config, i *auth.Issuer) { i.Algorithms = []string{"HS256"} }, `algorithm "HS256": want some of ES256, ES384, ES512, EdDSA, PS256`},
		{"no signature", func(_ *auth.Config, i *auth.Issuer) { i.Algorithms = []string{"none"} }, `algorithm "none"`},
		{"keys missing", func(_ *auth.Config, i *auth.Issuer) { i.KeyFiles = []string{"/nowhere"} }, "key file /nowhere: no such file"},
		{"keys that are none", func(_ *auth.Config, i *auth.Issuer) { i.KeyFiles = []string{t.TempDir()} }, "not a regular file"},
		{"the same keys twice", func(_ *auth.Config, i *auth.Issuer) { i.KeyFiles = []string{f.path, f.path} }, "the same kid"},
	} {
		c := good
		c.Issuers = []auth.Issuer{good.Issuers[0]}
		test.change(&c, &c.Issuers[0])
		_, err := auth.New(c)
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: got %v, want an error that says %q", test.what, err, test.says)
		}
		if code := bus.CodeOf(err); code != bus.CodeInvalidArgument && code != bus.CodeFailedPrecondition {
			t.Errorf("%s: got code %v", test.what, code)
		}
	}
}

// A certificate costs little for each request, a token the work of a signature.
func BenchmarkAuthenticate(b *testing.B) {
	f := newFarm(b)
	a := f.authenticator(b)
	f.config.Proxies = prefixes("192.0.2.0/24")
	behind := f.authenticator(b)
	direct := request("198.51.100.1:1", nil)
	direct.TLS = &tls.ConnectionState{HandshakeComplete: true, PeerCertificates: f.alice.certs}
	for _, test := range []struct {
		name string
		a    *auth.Authenticator
		r    *http.Request
	}{
		{"certificate", a, direct},
		{"forwarded", behind, request("192.0.2.1:1", http.Header{"X-Ssl-Cert": {f.alice.pem()}, "X-Ssl-Client-Verify": {"SUCCESS"}})},
		{"token=ES256", a, withToken(f.token(b))},
		{"token=RS256", a, withToken(f.token(b, signedBy("RS256", "r1", f.rsa)))},
	} {
		b.Run(test.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if c, err := test.a.Authenticate(test.r); err != nil || c.Nobody() {
					b.Fatal(c, err)
				}
			}
		})
	}
}
