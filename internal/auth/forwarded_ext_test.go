package auth_test

import (
	"crypto/x509"
	"net/http"
	"strings"
	"testing"

	"busd/internal/auth"
	"busd/internal/mtls"
)

func TestForwardedCertificates(t *testing.T) {
	t.Parallel()
	f, other := newFarm(t), newFarm(t)
	f.config.Proxies = prefixes("192.0.2.0/24", "2001:db8::/64")
	a := f.authenticator(t)
	const ngx, dirac, cert = "X-Ssl-Client-Verify", "X-Ssl_client_verify", "X-Ssl-Cert"
	alice := f.alice.pem()
	proxy := f.alice.proxy(t, "dirac_user", false)
	deep := f.alice
	for range mtls.MaxProxies {
		deep = deep.proxy(t, "", false)
	}
	many := holder{certs: deep.certs}
	for len(many.certs) <= auth.MaxForwardedCertificates {
		many.certs = append(many.certs, f.ca.Certificate())
	}
	for _, test := range []struct {
		what       string
		header     http.Header
		name, says string
	}{
		{"a certificate", http.Header{ngx: {"SUCCESS"}, cert: {alice}}, "cn:alice", ""},
		{"as DIRAC spells it", http.Header{dirac: {"SUCCESS"}, cert: {alice}}, "cn:alice", ""},
		{"both", http.Header{ngx: {"SUCCESS"}, dirac: {"SUCCESS"}, cert: {alice}}, "cn:alice", ""},
		{"with its proxy", http.Header{ngx: {"SUCCESS"}, cert: {proxy.pem()}}, "cn:alice", ""},
		{"with all its proxies", http.Header{ngx: {"SUCCESS"}, cert: {deep.pem()}}, "cn:alice", ""},
		{"no headers", http.Header{}, "", ""},
		{"none was shown", http.Header{ngx: {"NONE"}, cert: {""}}, "", ""},
		{"nothing is said", http.Header{ngx: {""}, dirac: {""}, cert: {""}}, "", ""},
		{"a token", http.Header{ngx: {"NONE"}, "Authorization": {"Bearer " + f.token(t)}}, "token:alice@" + issuerName, ""},
		{"a token bound to the certificate", http.Header{ngx: {"SUCCESS"}, cert: {alice}, "Authorization": {"Bearer " + f.token(t, with("sub", "carol"), bind(f.alice.certs[0]))}}, "token:carol@" + issuerName, ""},
		{"not verified", http.Header{ngx: {"FAILED:certificate has expired"}, cert: {alice}}, "", "does not say that it has verified"},
		{"not verified, and withheld", http.Header{ngx: {"FAILED"}}, "", "does not say that it has verified"},
		{"nothing said of it", http.Header{cert: {alice}}, "", "does not say that it has verified"},
		{"in small letters", http.Header{ngx: {"success"}, cert: {alice}}, "", "does not say that it has verified"},
		{"one says so, the other not", http.Header{ngx: {"SUCCESS"}, dirac: {"NONE"}, cert: {alice}}, "", "does not say that it has verified"},
		{"said twice", http.Header{ngx: {"NONE", "SUCCESS"}, cert: {alice}}, "", "does not say that it has verified"},
		{"verified, and withheld", http.Header{ngx: {"SUCCESS"}}, "", "does not pass it on"},
		{"two", http.Header{ngx: {"SUCCESS"}, cert: {alice, f.bob.pem()}}, "", "twice"},
		{"verified by another CA", http.Header{ngx: {"SUCCESS"}, cert: {other.alice.pem()}}, "", "not signed by a CA that is trusted here"},
		{"a server's", http.Header{ngx: {"SUCCESS"}, cert: {(holder{certs: []*x509.Certificate{f.server.Leaf}}).pem()}}, "", "not valid"},
		{"garbage", http.Header{ngx: {"SUCCESS"}, cert: {"garbage"}}, "", "cannot be read"},
		{"bad encoding", http.Header{ngx: {"SUCCESS"}, cert: {alice + "%G0"}}, "", "cannot be read"},
		{"garbage at its end", http.Header{ngx: {"SUCCESS"}, cert: {alice + "garbage"}}, "", "cannot be read"},
		{"garbage before it", http.Header{ngx: {"SUCCESS"}, cert: {"garbage" + alice}}, "", "cannot be read"},
		{"a damaged one before it", http.Header{ngx: {"SUCCESS"}, cert: {strings.Replace(f.bob.pem(), "MII", "!II", 1) + alice}}, "", "cannot be read"},
		{"without its end", http.Header{ngx: {"SUCCESS"}, cert: {strings.Split(alice, "-----END")[0] + alice}}, "", "cannot be read"},
		{"a key", http.Header{ngx: {"SUCCESS"}, cert: {strings.ReplaceAll(alice, "CERTIFICATE", "PRIVATE%20KEY")}}, "", "cannot be read"},
		{"spaces alone", http.Header{ngx: {"SUCCESS"}, cert: {"%20"}}, "", "cannot be read"},
		{"no certificate in it", http.Header{ngx: {"SUCCESS"}, cert: {"-----BEGIN CERTIFICATE-----%0AAAAA%0A-----END CERTIFICATE-----%0A"}}, "", "cannot be read"},
		{"too many", http.Header{ngx: {"SUCCESS"}, cert: {many.pem()}}, "", "cannot be read"},
		{"too long", http.Header{ngx: {"SUCCESS"}, cert: {strings.Repeat("%20", auth.MaxForwarded)}}, "", "too long"},
	} {
		c, err := a.Authenticate(request("192.0.2.17:4711", test.header))
		wantCaller(t, test.what, c, err, test.name, test.says)
	}
	c, err := a.Authenticate(request("192.0.2.17:4711", http.Header{ngx: {"SUCCESS"}, cert: {proxy.pem()}}))
	if err != nil || c.Group != "dirac_user" || c.Subject != "/CN=alice/CN=17" || c.Peer.DN != "/CN=alice" {
		t.Errorf("a proxy certificate: got %+v, %v", c, err)
	}

	for from, name := range map[string]string{
		"192.0.2.255:1": "cn:alice", "[::ffff:192.0.2.1]:1": "cn:alice", "[2001:db8::1%eth0]:1": "cn:alice",
		"192.0.3.0:1": "", "[2001:db9::1]:1": "", "[::ffff:c000:300]:1": "", "192.0.2.1": "", "pipe": "", "": "", "@": "",
	} {
		c, err := a.Authenticate(request(from, http.Header{ngx: {"SUCCESS"}, cert: {alice}}))
		wantCaller(t, "from "+from, c, err, name, "")
		if c.Proxied {
			t.Errorf("from %s: it is said that a proxy passed no certificate on", from)
		}
	}
}

// What a proxy proves of itself makes nobody of its clients.
func TestProxyIsNobody(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	f.config.Proxies = prefixes("127.0.0.0/8", "::1/128")
	a := f.authenticator(t)
	c, err := a.Authenticate(f.over(t, &f.bob, nil))
	wantCaller(t, "the proxy's own certificate", c, err, "", "")
	if !c.Proxied {
		t.Error("it is not said that a proxy passed no certificate on")
	}
	c, err = a.Authenticate(f.over(t, &f.bob, http.Header{"X-SSL-CERT": {f.alice.pem()}, "X-Ssl_client_verify": {"SUCCESS"}}))
	wantCaller(t, "for alice", c, err, "cn:alice", "")
	c, err = a.Authenticate(f.over(t, &f.bob, http.Header{"Authorization": {"Bearer " + f.token(t)}}))
	wantCaller(t, "for a token's subject", c, err, "token:alice@"+issuerName, "")
	c, err = a.Authenticate(f.over(t, &f.bob, http.Header{"Authorization": {"Bearer " + f.token(t, bind(f.bob.certs[0]))}}))
	wantCaller(t, "for a token bound to the proxy", c, err, "", "which was not shown")
}
