package mtls_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"busd/bus"
	"busd/internal/mtls"
)

// Each chain meets a server that accepts proxies, and one that does not; and a
// verifier that has seen nothing of a handshake.
func TestProxies(t *testing.T) {
	t.Parallel()
	p, cases := allProxies(t)
	material := mtls.Material{Certificate: p.server, CAs: p.cas()}
	server := serverConfig(t, material, mtls.Policy{Proxies: true})
	strict := serverConfig(t, material, mtls.Policy{})
	verifier := newVerifier(t, p, mtls.Policy{Proxies: true})
	for _, test := range cases {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			client := clientConfig(t, &mtls.Credentials{Certificate: test.chain.tls(), CAs: p.cas()})
			if m := meet(t, strict, client); m.serverErr == nil || m.clientErr == nil {
				t.Errorf("without the option: server got %v, client got %v, want errors", m.serverErr, m.clientErr)
			}
			m := meet(t, server, client)
			_, told := verifier.Certificates(test.chain.certs)
			if test.says != "" {
				if m.serverErr == nil || bus.CodeOf(mtls.Explain(m.clientErr)) != bus.CodeUnauthenticated {
					t.Errorf("handshake: server got %v, client got %v, want it refused", m.serverErr, m.clientErr)
				}
				if told == nil || !strings.Contains(told.Error(), test.says) {
					t.Errorf("got %v, want it to say %q", told, test.says)
				}
				return
			}
			m.fine(t)
			proof, err := verifier.Connection(m.server)
			if err != nil || told != nil {
				t.Fatalf("got %v and %v, want proofs", err, told)
			}
			wantAlice(t, proof, test)
			if _, err := (mtls.Naming{}).Peer(m.server); bus.CodeOf(err) != bus.CodeUnauthenticated {
				t.Errorf("without a verifier: got %v, want unauthenticated", err)
			}
		})
	}
}

func wantAlice(t *testing.T, proof *mtls.Proof, test proxyCase) {
	t.Helper()
	certs := test.chain.certs
	end := slices.MinFunc(certs, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) }).NotAfter
	peer := proof.Peer
	if peer.Name != "cn:alice" || peer.DN != "/CN=alice" || peer.Issuer != "/CN=test CA" || !peer.NotAfter.Equal(end) {
		t.Errorf("peer: got %+v, want alice until %v", peer, end)
	}
	if proof.Shown != sha256.Sum256(certs[0].Raw) {
		t.Error("got another certificate, want the one that was shown")
	}
	got := proof.Proxy
	if got == nil {
		t.Fatal("got no proxy")
	}
	want := mtls.Proxy{Subject: "/CN=alice" + strings.Repeat("/CN=4711", len(certs)-1), Issuer: "/CN=alice" + strings.Repeat("/CN=4711", len(certs)-2)}
	want.Limited, want.Group = test.want.Limited, test.want.Group
	if *got != want {
		t.Errorf("proxy: got %+v, want %+v", *got, want)
	}
}

// OpenSSL takes what we take.
func TestProxiesAsOpenSSLSeesThem(t *testing.T) {
	t.Parallel()
	tool, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed: there is nothing to compare with")
	}
	p, cases := allProxies(t)
	dir := t.TempDir()
	put := func(name string, certs ...*x509.Certificate) string {
		path := filepath.Join(dir, name)
		var data []byte
		for _, cert := range certs {
			data = append(data, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := put("ca.pem", p.ca.Certificate())
	for i, test := range cases {
		certs := test.chain.certs
		leaf := put(strconv.Itoa(i)+".pem", certs[0])
		rest := put(strconv.Itoa(i)+"rest.pem", append(certs[1:], p.ca.Certificate())...)
		if test.loose {
			continue
		}
		out, err := exec.CommandContext(t.Context(), tool, "verify", "-allow_proxy_certs", "-CAfile", ca, "-untrusted", rest, leaf).CombinedOutput()
		if want := test.says == ""; (err == nil) != want {
			t.Errorf("%s: openssl accepts it: %t, want %t\n%s", test.what, err == nil, want, out)
		}
	}
}

// The proxies that the openssl command makes are accepted: it writes the subject
// anew, as UTF8String, where the user's own is a PrintableString.
func TestProxyMadeByOpenSSL(t *testing.T) {
	t.Parallel()
	tool, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed: there is nothing to make a proxy with")
	}
	p := newPKI(t, "test CA")
	user, err := p.ca.Issue(mtls.Request{Name: "alice", Client: true})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	key, err := user.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"user.pem": user.CertPEM(), "user.key": key,
		"ext": []byte("proxyCertInfo = critical, language:id-ppl-inheritAll\nkeyUsage = critical, digitalSignature\n"),
	} {
		if err := os.WriteFile(at(name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"req", "-new", "-newkey", "rsa:2048", "-nodes", "-utf8", "-subj", "/CN=alice/CN=4711", "-keyout", at("proxy.key"), "-out", at("proxy.csr")},
		{"x509", "-req", "-in", at("proxy.csr"), "-CA", at("user.pem"), "-CAkey", at("user.key"), "-set_serial", "4711", "-days", "1000", "-extfile", at("ext"), "-out", at("proxy.pem")},
	} {
		if out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput(); err != nil {
			t.Fatalf("openssl %s: %v\n%s", args[0], err, out)
		}
	}
	pair, err := tls.LoadX509KeyPair(at("proxy.pem"), at("proxy.key"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.HasPrefix(pair.Leaf.RawSubject[2:], user.Certificate.RawSubject[2:]) { // behind the lengths
		t.Fatal("openssl has not written the name anew: this test shows nothing")
	}
	proof, err := newVerifier(t, p, mtls.Policy{Proxies: true}).Certificates([]*x509.Certificate{pair.Leaf, user.Certificate})
	if err != nil || proof.Peer.Name != "cn:alice" || proof.Proxy.Subject != "/CN=alice/CN=4711" || !proof.Peer.NotAfter.Equal(user.Certificate.NotAfter) {
		t.Errorf("got %+v, %v, want alice until %v", proof, err, user.Certificate.NotAfter)
	}
}

// What somebody sees who looks at a proxy, without CAs and clock, is what a
// verifier makes of it.
func TestInspectProxy(t *testing.T) {
	t.Parallel()
	p, cases := allProxies(t)
	verifier := newVerifier(t, p, mtls.Policy{Proxies: true})
	// What clocks and CAs say, and what is wrong with the user's own certificate.
	unseen := []string{"expired", "not valid yet", "not signed by a CA that is trusted here", "not valid", "any use", "no name that may connect here", "before RFC 3820", "not"}
	for _, test := range cases {
		seen, err := mtls.InspectProxy(test.chain.certs)
		proof, refused := verifier.Certificates(test.chain.certs)
		switch {
		case refused != nil:
			if err == nil && !slices.Contains(unseen, test.says) {
				t.Errorf("%s: got %+v, want that it is refused: %v", test.what, seen, refused)
			}
		case err != nil || seen == nil:
			t.Errorf("%s: got %v, want what it is", test.what, err)
		case seen.Proxy != *proof.Proxy || !seen.NotAfter.Equal(proof.Peer.NotAfter) || !seen.User.Equal(test.chain.certs[len(test.chain.certs)-1]):
			t.Errorf("%s: got %+v, want what is proven: %+v", test.what, seen, proof)
		}
	}
	alice := holderOf(t, p.client)
	old := alice.proxy(t, func(s *sketch) { s.info.Id, s.RawSubject = nil, below(alice.certs[0].RawSubject, cn("proxy")) })
	if seen, err := mtls.InspectProxy(old.certs); seen != nil || err == nil || !strings.Contains(err.Error(), "before RFC 3820") {
		t.Errorf("of Globus 2: got %v, %v", seen, err)
	}
	expired := alice.proxy(t, func(s *sketch) { s.NotAfter = time.Now().Add(-time.Second) })
	if seen, err := mtls.InspectProxy(expired.certs); err != nil || !seen.NotAfter.Before(time.Now()) {
		t.Errorf("expired: got %v, %v, want to see that", seen, err)
	}
	for what, certs := range map[string][]*x509.Certificate{"a user's": alice.certs, "with its CA's": {alice.certs[0], p.ca.Certificate()}, "none": nil} {
		if seen, err := mtls.InspectProxy(certs); seen != nil || err != nil {
			t.Errorf("%s: got %v, %v, want nothing", what, seen, err)
		}
	}
}

// Who has somebody's certificates, and not the key, is nobody: also where the
// server has just verified them.
func TestProxyWithoutItsKey(t *testing.T) {
	t.Parallel()
	p := newPKI(t, "test CA")
	server := serverConfig(t, mtls.Material{Certificate: p.server, CAs: p.cas()}, mtls.Policy{Proxies: true})
	proxy := holderOf(t, p.client).proxy(t)
	meet(t, server, clientConfig(t, &mtls.Credentials{Certificate: proxy.tls(), CAs: p.cas()})).fine(t)
	proxy.key = holderOf(t, p.server).key
	m := meet(t, server, clientConfig(t, &mtls.Credentials{Certificate: proxy.tls(), CAs: p.cas()}))
	if m.serverErr == nil || m.server.HandshakeComplete {
		t.Fatalf("got %v, want it refused", m.serverErr)
	}
	// What a callback of crypto/tls sees, before the key has been shown.
	_, err := newVerifier(t, p, mtls.Policy{Proxies: true}).Connection(tls.ConnectionState{PeerCertificates: proxy.certs})
	if bus.CodeOf(err) != bus.CodeUnauthenticated || !strings.Contains(err.Error(), "not over") {
		t.Errorf("in the middle of a handshake: got %v, want unauthenticated", err)
	}
}

func TestProxiesResume(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	start := func(proxies bool) *mtls.Source {
		t.Helper()
		s, err := mtls.NewSource(f.files, mtls.Policy{Now: f.now, Proxies: proxies})
		if err != nil {
			t.Fatal(err)
		}
		f.keys(t)
		return s
	}
	grid, plain := start(true), start(false) // they share their ticket keys
	pilot, alice := f.agent(), f.agent()
	pilot.creds.Certificate = holderOf(t, f.p.client).proxy(t, group("pilot")).tls()
	arrives := func(s *mtls.Source, a *agent, resumed bool) *mtls.Proof {
		t.Helper()
		m := meet(t, s.Config(), a.config(t))
		m.fine(t)
		proof, err := s.Verifier().Connection(m.server)
		if err != nil || proof.Peer.Name != "cn:alice" || m.server.DidResume != resumed {
			t.Fatalf("got %v, %v, resumed %t, want alice, resumed %t", proof, err, m.server.DidResume, resumed)
		}
		return proof
	}
	arrives(grid, pilot, false)
	if proof := arrives(grid, pilot, true); proof.Proxy == nil || proof.Proxy.Group != "pilot" {
		t.Errorf("resumed: got %+v, want a proxy with group pilot", proof.Proxy)
	}
	// A ticket of one listener does not open another that takes no proxies.
	m := meet(t, plain.Config(), pilot.config(t))
	if m.serverErr == nil {
		t.Error("a proxy got through where none are accepted")
	}
	// Ordinary sessions go on at either.
	arrives(plain, alice, false)
	arrives(grid, alice, true)
	arrives(plain, alice, true)
	bob := f.agent()
	arrives(grid, bob, false)
	arrives(plain, bob, false) // crypto/tls has not verified it there

	// The proxy's user expires meanwhile, and the proxy does not.
	user := holderOf(t, f.p.issue(t, mtls.Request{Name: "alice", Client: true, Validity: time.Hour}))
	end := user.certs[0].NotAfter.Add(24 * time.Hour)
	lasting := f.agent()
	lasting.creds.Certificate = user.proxy(t, func(s *sketch) { s.NotAfter = end }).tls()
	arrives(grid, lasting, false)
	arrives(grid, lasting, true)
	f.clock = time.Hour + time.Minute
	if m := meet(t, grid.Config(), lasting.config(t)); m.serverErr == nil || !strings.Contains(m.serverErr.Error(), "expired") {
		t.Errorf("got %v, want it refused: a proxy ends with its user's certificate", m.serverErr)
	}
	f.clock = 0

	// Other CAs: who is connected is verified anew, and nobody resumes.
	m = meet(t, grid.Config(), pilot.config(t))
	m.fine(t)
	verifier := grid.Verifier()
	f.ca(t, newPKI(t, "next CA"))
	reload(t, grid, true)
	if _, err := verifier.Connection(m.server); bus.CodeOf(err) != bus.CodeUnauthenticated {
		t.Errorf("after its CA is gone: got %v, want unauthenticated", err)
	}
	if m := meet(t, grid.Config(), pilot.config(t)); m.serverErr == nil || m.server.DidResume {
		t.Errorf("got %v, resumed %t, want it refused", m.serverErr, m.server.DidResume)
	}
}

// A proxy is one file with a certificate, its key, and the user's certificate.
func TestCredentialsOfAProxyFile(t *testing.T) {
	t.Parallel()
	p := newPKI(t, "test CA")
	key := rsaKey(t, 2048)
	proxy := holderOf(t, p.client).proxy(t, group("dirac_user"), func(s *sketch) { s.key = key })
	var data []byte
	add := func(kind string, der []byte) {
		data = append(data, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
	}
	add("CERTIFICATE", proxy.certs[0].Raw)
	add("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
	add("CERTIFICATE", proxy.certs[1].Raw)
	path := filepath.Join(t.TempDir(), "x509up_u1000")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	server := serverConfig(t, mtls.Material{Certificate: p.server, CAs: p.cas()}, mtls.Policy{Proxies: true, Require: true})
	m := meet(t, server, clientConfig(t, &mtls.Credentials{CertFile: path, KeyFile: path, CAs: p.cas()}))
	m.fine(t)
	proof, err := newVerifier(t, p, mtls.Policy{Proxies: true}).Connection(m.server)
	if err != nil || proof.Peer.Name != "cn:alice" || proof.Proxy == nil || proof.Proxy.Group != "dirac_user" {
		t.Errorf("got %+v, %v, want alice's proxy", proof, err)
	}
}

func TestHTTP2IsOffered(t *testing.T) {
	t.Parallel()
	p := newPKI(t, "test CA")
	for _, test := range []struct {
		policy mtls.Policy
		offers []string
		want   string
	}{
		{mtls.Policy{HTTP2: true}, []string{"h2", "http/1.1"}, "h2"},
		{mtls.Policy{HTTP2: true}, []string{"http/1.1"}, "http/1.1"},
		{mtls.Policy{HTTP2: true}, nil, ""},
		{mtls.Policy{}, []string{"h2", "http/1.1"}, "http/1.1"},
	} {
		server := serverConfig(t, mtls.Material{Certificate: p.server, CAs: p.cas()}, test.policy)
		client := clientConfig(t, &mtls.Credentials{CAs: p.cas()})
		client.NextProtos = test.offers
		m := meet(t, server, client)
		m.fine(t)
		if got := m.client.NegotiatedProtocol; got != test.want {
			t.Errorf("%+v, a client offers %v: got %q, want %q", test.policy, test.offers, got, test.want)
		}
	}
}
