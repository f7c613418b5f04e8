package auth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"

	"busd/access"
	"busd/bus"
	"busd/internal/auth"
	"busd/internal/mtls"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const issuerName = "https://idp.example.org"

// A farm is a CA, users of it, and an issuer of tokens with its keys.
type farm struct {
	ca         *mtls.Authority
	server     tls.Certificate
	alice, bob holder
	rsa        *rsa.PrivateKey
	ec         *ecdsa.PrivateKey
	ed         ed25519.PrivateKey
	path       string // of the issuer's keys
	clock      time.Duration
	config     auth.Config
}

type holder struct {
	certs []*x509.Certificate
	key   crypto.Signer
}

func newFarm(t testing.TB) *farm {
	t.Helper()
	f := &farm{path: filepath.Join(t.TempDir(), "keys.json")}
	var err error
	if f.ca, err = mtls.NewAuthority("test CA", time.Hour); err != nil {
		t.Fatal(err)
	}
	f.server = f.issue(t, mtls.Request{Name: "server", DNS: []string{"localhost"}, Server: true}).TLS()
	f.alice, f.bob = f.user(t, mtls.Request{Name: "alice"}), f.user(t, mtls.Request{Name: "bob"})
	if f.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	f.ec = ecKey(t, elliptic.P256())
	if _, f.ed, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	f.keys(t, f.jwk("r1", &f.rsa.PublicKey), f.jwk("e1", &f.ec.PublicKey), f.jwk("ed1", f.ed.Public()))
	verifier, err := mtls.NewVerifier([]*x509.Certificate{f.ca.Certificate()}, mtls.Policy{Proxies: true})
	if err != nil {
		t.Fatal(err)
	}
	f.config = auth.Config{
		Certificates: verifier,
		Issuers:      []auth.Issuer{{Name: issuerName, KeyFiles: []string{f.path}, Audiences: []string{"busd"}, GroupClaim: "group"}},
		Now:          func() time.Time { return time.Now().Add(f.clock) },
	}
	return f
}

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (f *farm) issue(t testing.TB, r mtls.Request) *mtls.Issued {
	t.Helper()
	issued, err := f.ca.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

func (f *farm) user(t testing.TB, r mtls.Request) holder {
	t.Helper()
	r.Client = true
	issued := f.issue(t, r)
	return holder{[]*x509.Certificate{issued.Certificate}, issued.TLS().PrivateKey.(crypto.Signer)}
}

// proxy makes a proxy certificate (RFC 3820) with a group, limited or not.
func (h holder) proxy(t testing.TB, group string, limited bool) holder {
	t.Helper()
	language := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 21, 1}
	if limited {
		language = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3536, 1, 1, 1, 9}
	}
	type policy struct{ Language asn1.ObjectIdentifier }
	info, err := asn1.Marshal(struct{ Policy policy }{policy{language}})
	if err != nil {
		t.Fatal(err)
	}
	var name pkix.RDNSequence
	if _, err := asn1.Unmarshal(h.certs[0].RawSubject, &name); err != nil {
		t.Fatal(err)
	}
	subject, err := asn1.Marshal(append(name, pkix.RelativeDistinguishedNameSET{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "17"}}))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(17), RawSubject: subject, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: h.certs[0].NotBefore, NotAfter: h.certs[0].NotAfter.Add(-time.Minute),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 14}, Critical: true, Value: info}},
	}
	if group != "" {
		value := append([]byte{asn1.TagIA5String, byte(len(group))}, group...)
		template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 42, 42}, Value: value})
	}
	key := ecKey(t, elliptic.P256())
	der, err := x509.CreateCertificate(rand.Reader, template, h.certs[0], key.Public(), h.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return holder{append([]*x509.Certificate{cert}, h.certs...), key}
}

func (h holder) tls() *tls.Certificate {
	c := &tls.Certificate{PrivateKey: h.key}
	for _, cert := range h.certs {
		c.Certificate = append(c.Certificate, cert.Raw)
	}
	return c
}

// pem is what a proxy passes on, as nginx encodes it.
func (h holder) pem() string {
	var data []byte
	for _, cert := range h.certs {
		data = append(data, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return strings.ReplaceAll(url.QueryEscape(string(data)), "+", "%20")
}

func (f *farm) jwk(id string, public any) jose.JSONWebKey {
	return jose.JSONWebKey{Key: public, KeyID: id, Use: "sig"}
}

// keys writes the issuer's file.
func (f *farm) keys(t testing.TB, keys ...jose.JSONWebKey) {
	t.Helper()
	data, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	f.write(t, string(data))
}

func (f *farm) write(t testing.TB, text string) {
	t.Helper()
	if err := os.WriteFile(f.path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (f *farm) authenticator(t testing.TB) *auth.Authenticator {
	t.Helper()
	a, err := auth.New(f.config)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A form is what a token is made of.
type form struct {
	alg    jose.SignatureAlgorithm
	key    any
	kid    string
	header map[jose.HeaderKey]any
	claims map[string]any
}

// token makes a good token of alice's, but for what is changed.
func (f *farm) token(t testing.TB, changes ...func(*form)) string {
	t.Helper()
	now := time.Now().Add(f.clock)
	o := &form{alg: jose.ES256, key: f.ec, kid: "e1", header: map[jose.HeaderKey]any{}, claims: map[string]any{
		"iss": issuerName, "sub": "alice", "aud": "busd", "exp": now.Add(5 * time.Minute).Unix(), "iat": now.Unix(),
	}}
	for _, change := range changes {
		change(o)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: o.alg, Key: jose.JSONWebKey{Key: o.key, KeyID: o.kid}}, &jose.SignerOptions{ExtraHeaders: o.header})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(o.claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// with sets a claim, or takes it away.
func with(claim string, value any) func(*form) {
	return func(o *form) {
		if o.claims[claim] = value; value == nil {
			delete(o.claims, claim)
		}
	}
}

func signedBy(alg jose.SignatureAlgorithm, kid string, key any) func(*form) {
	return func(o *form) { o.alg, o.kid, o.key = alg, kid, key }
}

// request is one without TLS, from an address, with headers.
func request(from string, header http.Header) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/Framework/PingPong", nil)
	r.RemoteAddr = from
	maps.Copy(r.Header, header)
	return r
}

func withToken(text string) *http.Request {
	return request("192.0.2.1:1234", http.Header{"Authorization": {"Bearer " + text}})
}

// over returns a request of h's with these headers as net/http hands it to a
// handler, over a connection to a server that takes proxies.
func (f *farm) over(t testing.TB, h *holder, header http.Header) *http.Request {
	t.Helper()
	conf, err := mtls.ServerConfig(mtls.Material{Certificate: f.server, CAs: []*x509.Certificate{f.ca.Certificate()}}, mtls.Policy{Proxies: true})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan *http.Request, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r }))
	s.TLS = conf
	s.StartTLS()
	defer s.Close()
	creds := &mtls.Credentials{CAs: []*x509.Certificate{f.ca.Certificate()}}
	if h != nil {
		creds.Certificate = h.tls()
	}
	client, err := creds.TLS("localhost")
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(r.Header, header)
	transport := &http.Transport{TLSClientConfig: client}
	defer transport.CloseIdleConnections()
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return <-got
}

// wantCaller checks who it is: somebody of this name, nobody (""), or why not.
func wantCaller(t testing.TB, what string, c access.Caller, err *bus.Error, name, says string) {
	t.Helper()
	switch {
	case says != "":
		if err == nil || !strings.Contains(err.Reason, says) || !c.Nobody() {
			t.Errorf("%s: got %q, %v, want an error that says %q", what, c.Peer.Name, err, says)
		}
	case err != nil || c.Peer.Name != name || c.Nobody() != (name == ""):
		t.Errorf("%s: got %q, %v, want %q", what, c.Peer.Name, err, name)
	}
}

func prefixes(words ...string) []netip.Prefix {
	all := make([]netip.Prefix, 0, len(words))
	for _, word := range words {
		all = append(all, netip.MustParsePrefix(word))
	}
	return all
}
