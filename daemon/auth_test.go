package daemon

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"busd/bus"
	"busd/daemon/internal/cli"
	"busd/internal/auth"
	"busd/internal/wire"
	"busd/msgclient"
	"busd/rpc/rpcclient"
)

// An idp is an issuer of tokens.
type idp struct{ key *ecdsa.PrivateKey }

func newIDP(t *testing.T) *idp {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &idp{key}
}

// jwks is the file with its public key.
func (i *idp) jwks(t *testing.T) string {
	t.Helper()
	public, err := i.key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "one", "x": %q, "y": %q}]}`,
		base64.RawURLEncoding.EncodeToString(public[1:33]), base64.RawURLEncoding.EncodeToString(public[33:]))
}

// token makes a token that is good for a minute.
func (i *idp) token(t *testing.T, claims map[string]any) string {
	t.Helper()
	claims["exp"] = time.Now().Add(time.Minute).Unix()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","kid":"one","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// who says who somebody is who calls with a configuration: user and group, or a code.
func (r *running) who(cfg rpcclient.Config) string {
	r.t.Helper()
	cfg.URL, cfg.CAFiles = "https://"+r.bus+"/Test/One", []string{r.file("ca.crt")}
	c, err := rpcclient.New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Call(r.t.Context(), "add", 1, 2); err != nil {
		return bus.CodeOf(err).String()
	}
	me, err := rpcclient.Call[map[string]any](r.t.Context(), c, "whoami")
	if err != nil {
		r.t.Fatal(err)
	}
	return fmt.Sprintf("%v in %v", me["username"], me["group"])
}

const registry = `access:
  users:
    al: {peers: ["dns:alice"], tokens: ["4711@https://idp.example.org"]}
  groups:
    users: {users: [al]}
    ops: {users: [al]}
services: {Test/One: {access: {default: [authenticated], connect: [authenticated]}}}
`

// A bearer token is a second way to be somebody, for calls; keys are read again
// with the configuration.
func TestTokens(t *testing.T) {
	t.Parallel()
	first, second := newIDP(t), newIDP(t)
	keys := filepath.Join(t.TempDir(), "keys.json")
	write := func(i *idp) {
		if err := os.WriteFile(keys, []byte(i.jwks(t)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(first)
	svc, _, _ := newCalls("Test/One")
	r := start(t, registry+"auth: {tokens: [{issuer: https://idp.example.org, jwks: ["+keys+"], audience: [busd], group_claim: grp}]}\n", cli.ServeOptions{Dev: true}, svc)
	good := func(i *idp, more ...string) rpcclient.Config {
		claims := map[string]any{"iss": "https://idp.example.org", "sub": "4711", "aud": "busd"}
		for n := 0; n < len(more); n += 2 {
			claims[more[n]] = more[n+1]
		}
		return rpcclient.Config{Token: i.token(t, claims)}
	}
	for what, test := range map[string]struct {
		cfg  rpcclient.Config
		want string
	}{
		"good":            {good(first), "al in users"},
		"with a group":    {good(first, "grp", "ops"), "al in ops"},
		"another's key":   {good(second), "unauthenticated"},
		"for others":      {good(first, "aud", "else"), "unauthenticated"},
		"another issuer":  {good(first, "iss", "https://evil.example.org"), "unauthenticated"},
		"an unknown user": {good(first, "sub", "4712"), "permission_denied"},
		"nothing":         {rpcclient.Config{}, "unauthenticated"},
	} {
		if got := r.who(test.cfg); got != test.want {
			t.Errorf("%s: got %s, want %s", what, got, test.want)
		}
	}
	write(second)
	r.reload <- struct{}{}
	r.log.wait(t, "configuration reloaded")
	if got := r.who(good(second)); got != "al in users" {
		t.Errorf("after the issuer's key changed: got %s", got)
	}
	if got := r.who(good(first)); got != "unauthenticated" {
		t.Errorf("the old key: got %s", got)
	}

	// What is wrong elsewhere does not keep new keys out, and nothing of the
	// configuration comes in; all that is wrong is told.
	write(first)
	r.write("busd.yaml", strings.Replace(registry, "default: [authenticated]", "default: [any]", 1))
	r.must(os.WriteFile(r.file("server.crt"), []byte("x"), 0o600))
	failed := func(n int) {
		r.reload <- struct{}{}
		waitFor(t, "a failed reload", func() bool {
			_, metrics := r.get("/metrics")
			return strings.Contains(metrics, fmt.Sprintf(`busd_config_reloads_total{result="failed"} %d`, n))
		})
	}
	failed(1)
	if got := r.who(good(first)); got != "al in users" {
		t.Errorf("new keys beside a broken certificate: got %s", got)
	}
	if got := r.who(rpcclient.Config{}); got != "unauthenticated" {
		t.Errorf("the rules of a configuration that is not in force: nobody got %s", got)
	}
	r.must(os.WriteFile(keys, []byte("x"), 0o600))
	failed(2)
	for _, want := range []string{"tls.certificate: certificate file ", "auth.tokens: "} {
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, r.log)
		}
	}
	if got := r.who(good(first)); got != "al in users" {
		t.Errorf("after the file of keys broke: got %s", got)
	}
	if strings.Contains(r.log.String(), "eyJ") {
		t.Error("a token is in the log")
	}
}

// forwards asks as a TLS proxy does that passes a certificate on; empty: none. It
// returns the answer's status and body.
func (r *running) forwards(method, path, from, cert string) (status int, body string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, "https://"+r.bus+path, strings.NewReader("[1, 2]"))
	r.must(err)
	req.Close = true
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodGet { // a stable connection
		req.Body, req.ContentLength, req.Close = nil, 0, false
		for name, value := range map[string]string{
			"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
			"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": wire.Subprotocol,
		} {
			req.Header.Set(name, value)
		}
	}
	if cert != "" {
		req.Header.Set("X-Ssl-Client-Verify", "SUCCESS")
		req.Header.Set("X-Ssl-Cert", cert)
	}
	resp, err := r.https(from).RoundTrip(req)
	r.must(err)
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp.StatusCode, ""
	}
	data, err := io.ReadAll(resp.Body)
	r.must(err)
	return resp.StatusCode, string(data)
}

// Whose certificate a listed proxy passes on is its client, for calls and for
// connections; nobody else's word is taken for it. Who comes from a listed
// address without that is nobody, and is told why.
func TestTrustedProxies(t *testing.T) {
	t.Parallel()
	const call, connect = "/Test/One/add", "/Test/One"
	for prefix, listed := range map[string]bool{"127.0.0.0/8": true, "192.0.2.0/24": false} {
		svc, _, _ := newCalls("Test/One")
		r := start(t, registry+"auth: {trusted_proxies: ["+prefix+"]}\n", cli.ServeOptions{Dev: true}, svc)
		pem, err := os.ReadFile(r.file("client-alice.crt"))
		r.must(err)
		alice := url.PathEscape(string(pem))
		for _, test := range []struct {
			what, method, path string
			from, cert         string
			want, elsewhere    int // from a listed address, and from another
			says               string
		}{
			{"a call", http.MethodPost, call, "", alice, http.StatusOK, http.StatusUnauthorized, ""},
			{"a connection", http.MethodGet, connect, "", alice, http.StatusSwitchingProtocols, http.StatusUnauthorized, ""},
			{"a call by his own certificate", http.MethodPost, call, "alice", "", http.StatusUnauthorized, http.StatusOK, "got no certificate passed on by the TLS proxy that the request came through, and no token"},
			{"a connection by his own certificate", http.MethodGet, connect, "alice", "", http.StatusUnauthorized, http.StatusSwitchingProtocols, "the TLS proxy that the request came through passed none on"},
		} {
			status, body := r.forwards(test.method, test.path, test.from, test.cert)
			want := test.elsewhere
			if listed {
				want = test.want
			}
			if status != want || strings.Contains(body, "came through") != (listed && test.says != "") || listed && !strings.Contains(body, test.says) {
				t.Errorf("trusted_proxies %s: %s: got %d %s, want %d %s", prefix, test.what, status, body, want, test.says)
			}
		}
	}
}

// A chain as long as any that is accepted needs more room than there is by
// default.
func TestLongForwardedChain(t *testing.T) {
	t.Parallel()
	for size, want := range map[string]int{"16KiB": http.StatusRequestHeaderFieldsTooLarge, "48KiB": http.StatusOK} {
		svc, _, _ := newCalls("Test/One")
		r := start(t, registry+"auth: {trusted_proxies: [127.0.0.1]}\nlimits: {header_size: "+size+"}\n", cli.ServeOptions{Dev: true}, svc)
		pem, err := os.ReadFile(r.file("client-alice.crt"))
		r.must(err)
		chain := url.PathEscape(string(pem))
		chain += strings.Repeat("%0A", (auth.MaxForwarded-len(chain))/3)
		if status, body := r.forwards(http.MethodPost, "/Test/One/add", "", chain); status != want {
			t.Errorf("limits.header_size %s: got %d %s, want %d", size, status, body, want)
		}
	}
}

// proxyOf makes a proxy certificate (RFC 3820) of a development client, and writes
// it as grid tools do: the proxy, its key, the user's certificate.
func (r *running) proxyOf(name string) string {
	r.t.Helper()
	pair, err := tls.LoadX509KeyPair(r.file("client-"+name+".crt"), r.file("client-"+name+".key"))
	r.must(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	r.must(err)
	info, err := asn1.Marshal(struct {
		Policy struct{ Language asn1.ObjectIdentifier }
	}{
		struct{ Language asn1.ObjectIdentifier }{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 21, 1}},
	})
	r.must(err)
	subject := pair.Leaf.Subject.ToRDNSequence()
	subject = append(subject, pkix.RelativeDistinguishedNameSET{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "4242"}})
	raw, err := asn1.Marshal(subject)
	r.must(err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(4242), RawSubject: raw, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:        x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 14}, Critical: true, Value: info}},
	}, pair.Leaf, &key.PublicKey, pair.PrivateKey)
	r.must(err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	r.must(err)
	var file []byte
	for _, block := range []*pem.Block{
		{Type: "CERTIFICATE", Bytes: der}, {Type: "PRIVATE KEY", Bytes: secret}, {Type: "CERTIFICATE", Bytes: pair.Certificate[0]},
	} {
		file = append(file, pem.EncodeToMemory(block)...)
	}
	return r.write("proxy.pem", string(file))
}

func (r *running) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// A proxy certificate is its user's, for calls and connections, where the
// configuration says so, and only there.
func TestProxyCertificates(t *testing.T) {
	t.Parallel()
	for _, accept := range []bool{true, false} {
		svc, _, _ := newCalls("Test/One")
		file := registry
		if accept {
			file += "auth: {proxies: accept}\n"
		}
		r := start(t, file, cli.ServeOptions{Dev: true}, svc)
		proxy := r.proxyOf("alice")
		const want = "al in users"
		if got := r.who(rpcclient.Config{CertFile: proxy}); (got == want) != accept {
			t.Errorf("accept %t: got %s", accept, got)
		}
		c, err := msgclient.New(msgclient.Config{URL: "wss://" + r.bus + "/Test/One", CertFile: proxy, KeyFile: proxy, CAFiles: []string{r.file("ca.crt")}})
		r.must(err)
		if err := c.Connect(t.Context()); (err == nil) != accept {
			t.Errorf("accept %t: connecting: got %v", accept, err)
		}
		if !accept {
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), waitTime)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		// Other certificates are as good as before, and nobody is still nobody.
		if got := r.who(rpcclient.Config{CertFile: r.file("client-alice.crt"), KeyFile: r.file("client-alice.key")}); got != want {
			t.Errorf("a certificate: got %s, want %s", got, want)
		}
		if got := r.who(rpcclient.Config{}); got != "unauthenticated" {
			t.Errorf("nobody: got %s", got)
		}
		waitFor(t, "connections of nobody only", func() bool {
			_, metrics := r.get("/metrics")
			return strings.Contains(metrics, `busd_tcp_connections{state="unauthenticated"} 0`)
		})
	}
}
