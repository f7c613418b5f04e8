package mtls_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
	"time"

	"busd/internal/mtls"
)

// proxyCase is a chain, and what becomes of it.
type proxyCase struct {
	what  string
	chain holder
	want  mtls.Proxy // if it is good: its Limited and Group
	says  string     // part of the reason why it is refused; empty: it is not
	// loose: OpenSSL may take it all the same, for it does not ask for as much.
	loose bool
}

func goodProxies(t *testing.T, alice holder) []proxyCase {
	t.Helper()
	one := alice.proxy(t)
	deep := alice
	for range mtls.MaxProxies {
		deep = deep.proxy(t)
	}
	return []proxyCase{
		{what: "a proxy", chain: one},
		{what: "of a proxy", chain: one.proxy(t)},
		{what: "as deep as allowed", chain: deep},
		{what: "limited", chain: alice.proxy(t, limited), want: mtls.Proxy{Limited: true}},
		{what: "limited below a full one", chain: one.proxy(t, limited), want: mtls.Proxy{Limited: true}},
		{what: "limited below limited", chain: alice.proxy(t, limited).proxy(t, limited), want: mtls.Proxy{Limited: true}},
		{what: "path length 0", chain: alice.proxy(t, pathLength(0))},
		{what: "path length 1 and one below", chain: alice.proxy(t, pathLength(1)).proxy(t)},
		{what: "path length 2, 0", chain: alice.proxy(t, pathLength(2)).proxy(t).proxy(t, pathLength(0))},
		{what: "a group", chain: alice.proxy(t, group("dirac_user")), want: mtls.Proxy{Group: "dirac_user"}},
		{what: "a group handed on", chain: alice.proxy(t, group("dirac_user")).proxy(t), want: mtls.Proxy{Group: "dirac_user"}},
		{what: "a group chosen later", chain: one.proxy(t, group("dirac_user")), want: mtls.Proxy{Group: "dirac_user"}},
		{what: "a group that the next one changes", chain: alice.proxy(t, group("dirac_user")).proxy(t, group("dirac_admin")), want: mtls.Proxy{Group: "dirac_user"}},
		{what: "no key usage said", chain: alice.proxy(t, func(s *sketch) { s.KeyUsage = 0 })},
		{what: "for clients", chain: alice.proxy(t, func(s *sketch) { s.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })},
		{what: "an RSA key", chain: alice.proxy(t, func(s *sketch) { s.key = rsaKey(t, 2048) }).proxy(t)},
		{what: "longer than its signer, which ends it", chain: alice.proxy(t, func(s *sketch) { s.NotAfter = alice.certs[0].NotAfter.Add(24 * time.Hour) })},
		{what: "longer than the proxy that signed it, which ends it", chain: one.proxy(t, func(s *sketch) { s.NotAfter = alice.certs[0].NotAfter })},
		{what: "older than its signer", chain: alice.proxy(t, func(s *sketch) { s.NotBefore = alice.certs[0].NotBefore.Add(-24 * time.Hour) })},
		{what: "names written anew in another type of string", chain: alice.proxy(t, func(s *sketch) {
			s.RawSubject = nameOf(t, utf8Text("alice"), utf8Text("4711"))
			s.RawIssuer = nameOf(t, utf8Text("alice"))
		})},
		{what: "an extension that is not critical", chain: alice.proxy(t, extra(pkix.Extension{Id: []int{1, 2, 3}, Value: []byte{5, 0}}))},
	}
}

// badProxies are chains that somebody with a good certificate, or a stolen
// proxy, may try.
func badProxies(t *testing.T, p pki, alice, bob holder) []proxyCase {
	t.Helper()
	one := alice.proxy(t)
	tooDeep := alice
	for range mtls.MaxProxies + 1 {
		tooDeep = tooDeep.proxy(t)
	}
	caPEM, err := p.ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	caPair, err := tls.X509KeyPair(p.ca.CertPEM(), caPEM)
	if err != nil {
		t.Fatal(err)
	}
	ca := holderOf(t, caPair)
	info := func(value []byte) func(*sketch) { return func(s *sketch) { s.info.Value = value } }
	subject := func(name []byte) func(*sketch) { return func(s *sketch) { s.RawSubject = name } }
	forged := func(change func(*x509.Certificate)) holder { return holderOf(t, p.forgeEC(t, change)) }
	aliceName := alice.certs[0].RawSubject
	other := newPKI(t, "test CA")
	past := forged(func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Minute)
	})
	next := forged(func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(time.Minute), time.Now().Add(time.Hour)
	})
	return []proxyCase{
		{what: "signed by somebody else", chain: alice.proxy(t, func(s *sketch) { s.signer = bob.key }), says: "signature is not that of"},
		{what: "signed by itself", chain: alice.proxy(t, func(s *sketch) { s.signer = s.key }), says: "signature is not that of"},
		{what: "signed by the CA", chain: alice.proxy(t, func(s *sketch) { s.signer = ca.key }), says: "signature is not that of"},
		{what: "another's certificate below it", chain: holder{[]*x509.Certificate{one.certs[0], bob.certs[0]}, one.key}, says: "does not come from the certificate sent after it"},
		{what: "without its user's certificate", chain: holder{one.certs[:1], one.key}, says: "the user's certificate was not sent"},
		{what: "in the wrong order", chain: holder{[]*x509.Certificate{one.proxy(t).certs[0], alice.certs[0], one.certs[0]}, one.key}, says: "does not come from", loose: true},
		{what: "one left out", chain: holder{append(one.proxy(t).certs[:1:1], alice.certs...), one.key}, says: "does not come from"},
		{what: "of another CA's user", chain: holderOf(t, other.client).proxy(t), says: "not signed by a CA that is trusted here"},
		{what: "of a CA", chain: ca.proxy(t), says: "is a CA's"},
		{what: "of a server", chain: holderOf(t, p.server).proxy(t), says: "not valid", loose: true},
		{what: "of a certificate for any use", chain: forged(func(c *x509.Certificate) { c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageAny) }).proxy(t), says: "any use", loose: true},
		{what: "of somebody without one name", chain: forged(func(c *x509.Certificate) { c.DNSNames = []string{"a", "b"} }).proxy(t), says: "no name that may connect here", loose: true},
		{what: "of somebody who may not sign", chain: forged(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }).proxy(t), says: "may not sign"},
		{what: "of an expired certificate", chain: past.proxy(t), says: "expired"},
		{what: "expired", chain: alice.proxy(t, func(s *sketch) { s.NotAfter = time.Now().Add(-time.Second) }), says: "expired"},
		{what: "expired above a good one", chain: alice.proxy(t, func(s *sketch) { s.NotAfter = time.Now().Add(-time.Second) }).proxy(t), says: "expired"},
		{what: "expired below a good one", chain: one.proxy(t, func(s *sketch) { s.NotAfter = time.Now().Add(-time.Second) }), says: "expired"},
		{what: "of a certificate that is not valid yet", chain: next.proxy(t), says: "not valid yet"},
		{what: "not valid yet", chain: alice.proxy(t, func(s *sketch) { s.NotBefore = time.Now().Add(time.Minute) }), says: "not valid yet"},
		{what: "beyond path length 0", chain: alice.proxy(t, pathLength(0)).proxy(t), says: "allows 0 more below it, and has 1"},
		{what: "beyond path length 1", chain: alice.proxy(t, pathLength(1)).proxy(t).proxy(t), says: "allows 1 more below it, and has 2"},
		{what: "beyond the length of one further down", chain: one.proxy(t, pathLength(0)).proxy(t, pathLength(5)), says: "allows 0 more below it, and has 1"},
		{what: "too deep", chain: tooDeep, says: "has 9 proxy certificates: at most 8", loose: true},
		{what: "full below limited", chain: alice.proxy(t, limited).proxy(t), says: "a full one, and was signed by a limited one", loose: true},
		{what: "full below limited, further down", chain: one.proxy(t, limited).proxy(t, limited).proxy(t).proxy(t, limited), says: "a full one, and was signed by a limited one", loose: true},
		{what: "two more names", chain: alice.proxy(t, subject(below(aliceName, cn("1"), cn("2")))), says: "subject is not its issuer's and one more"},
		{what: "another kind of name", chain: alice.proxy(t, subject(below(aliceName, pkix.AttributeTypeAndValue{Type: oidOU, Value: "1"}))), says: "subject is not its issuer's and one more"},
		{what: "another's name", chain: alice.proxy(t, subject(below(bob.certs[0].RawSubject, cn("1")))), says: "subject is not its issuer's and one more"},
		{what: "its issuer's name", chain: alice.proxy(t, subject(aliceName)), says: "subject is not its issuer's and one more"},
		{what: "the name of the CA's next", chain: alice.proxy(t, subject(below(ca.certs[0].RawSubject, cn("bob")))), says: "subject is not its issuer's and one more"},
		{what: "its issuer's name in other letters", chain: alice.proxy(t, subject(nameOf(t, utf8Text("Alice"), utf8Text("1")))), says: "subject is not its issuer's and one more", loose: true},
		{what: "its issuer's name with spaces", chain: alice.proxy(t, subject(nameOf(t, utf8Text(" alice"), utf8Text("1")))), says: "subject is not its issuer's and one more", loose: true},
		{what: "its issuer's name and more in one part", chain: alice.proxy(t, subject(nameOf(t, utf8Text("alice/CN=1"), utf8Text("1")))), says: "subject is not its issuer's and one more"},
		{what: "two names in one part", chain: alice.proxy(t, subject(nameOfParts(t, pkix.RelativeDistinguishedNameSET{cn("alice"), cn("1")}))), says: "subject is not its issuer's and one more"},
		{what: "two more names in one part", chain: alice.proxy(t, subject(nameOfParts(t, pkix.RelativeDistinguishedNameSET{cn("alice")}, pkix.RelativeDistinguishedNameSET{cn("1"), cn("2")}))), says: "subject is not its issuer's and one more"},
		{what: "an empty name", chain: alice.proxy(t, subject(below(aliceName, cn("")))), says: "subject is not its issuer's and one more", loose: true},
		{what: "alternative names", chain: alice.proxy(t, func(s *sketch) { s.DNSNames = []string{"bob"} }), says: "alternative names"},
		{what: "alternative names of the issuer", chain: alice.proxy(t, extra(pkix.Extension{Id: []int{2, 5, 29, 18}, Value: []byte{0x30, 3, 0x82, 1, 'a'}})), says: "alternative names"},
		{what: "a CA", chain: alice.proxy(t, func(s *sketch) { s.IsCA, s.BasicConstraintsValid = true, true }), says: "is a CA's"},
		{what: "may sign certificates", chain: alice.proxy(t, func(s *sketch) { s.KeyUsage |= x509.KeyUsageCertSign }), says: "is a CA's", loose: true},
		{what: "may sign nothing", chain: alice.proxy(t, func(s *sketch) { s.KeyUsage = x509.KeyUsageKeyEncipherment }), says: "may not sign", loose: true},
		{what: "for servers", chain: alice.proxy(t, func(s *sketch) { s.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), says: "not made for clients", loose: true},
		{what: "not critical", chain: alice.proxy(t, func(s *sketch) { s.info.Critical = false }), says: "not marked critical", loose: true},
		{what: "independent", chain: alice.proxy(t, info(infoDER(-1, oidIndependent, nil))), says: "independent of its user", loose: true},
		{what: "another policy", chain: alice.proxy(t, info(infoDER(-1, asn1.ObjectIdentifier{1, 2, 3, 4}, []byte("allow nothing")))), says: "language that is not known here (1.2.3.4)", loose: true},
		{what: "a policy with a text", chain: alice.proxy(t, info(infoDER(-1, oidInheritAll, []byte("but not this")))), says: "its policy has a text", loose: true},
		{what: "a negative path length", chain: alice.proxy(t, info([]byte("\x30\x0f\x02\x01\xff\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x15\x01"))), says: "path length is negative", loose: true},
		{what: "information that is none", chain: alice.proxy(t, info([]byte{0x30, 0x80})), says: "(proxyCertInfo) is not accepted: it cannot be read"},
		{what: "information of nothing", chain: alice.proxy(t, info(nil)), says: "(proxyCertInfo) is not accepted: it cannot be read"},
		{what: "information and more", chain: alice.proxy(t, info(append(infoDER(-1, oidInheritAll, nil), 5, 0))), says: "it cannot be read", loose: true},
		{what: "an unknown critical extension", chain: alice.proxy(t, extra(pkix.Extension{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}})), says: "not known here: 1.2.3"},
		{what: "the same above a good one", chain: alice.proxy(t, extra(pkix.Extension{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}})).proxy(t), says: "not known here: 1.2.3"},
		{what: "a group that is no string", chain: alice.proxy(t, extra(pkix.Extension{Id: oidGroup, Value: []byte{5, 0}})), says: "group cannot be read", loose: true},
		{what: "a group of two lines", chain: alice.proxy(t, group("a\nb")), says: "group cannot be read", loose: true},
		{what: "RSA 1032", chain: alice.proxy(t, func(s *sketch) { s.key = rsaKey(t, 1032) }), says: "RSA key of 1032 bits", loose: true},
		{what: "RSA 1032 above a good one", chain: alice.proxy(t, func(s *sketch) { s.key = rsaKey(t, 1032) }).proxy(t), says: "RSA key of 1032 bits", loose: true},
		{what: "SHA-1", chain: alice.proxy(t, func(s *sketch) { s.SignatureAlgorithm = x509.ECDSAWithSHA1 }), says: "want SHA-256", loose: true},
		{what: "too large", chain: alice.proxy(t, extra(pkix.Extension{Id: []int{1, 2, 3}, Value: make([]byte, mtls.MaxLeaf)})), says: "at most 16384", loose: true},
		{what: "of the draft", chain: alice.proxy(t, func(s *sketch) { s.info.Id = oidDraftInfo }), says: "before RFC 3820"},
		{what: "of Globus 2", chain: alice.proxy(t, func(s *sketch) { s.info.Id, s.RawSubject = nil, below(aliceName, cn("proxy")) }), says: "before RFC 3820"},
		{what: "limited, of Globus 2", chain: alice.proxy(t, func(s *sketch) { s.info.Id, s.RawSubject = nil, below(aliceName, cn("limited proxy")) }), says: "before RFC 3820"},
		{what: "of a proxy of Globus 2", chain: alice.proxy(t, func(s *sketch) { s.info.Id, s.RawSubject = nil, below(aliceName, cn("proxy")) }).proxy(t), says: "before RFC 3820"},
		{what: "a user who signs another", chain: alice.proxy(t, func(s *sketch) { s.info.Id = nil }), says: "not"},
	}
}

func allProxies(t *testing.T) (pki, []proxyCase) {
	t.Helper()
	p := newPKI(t, "test CA")
	alice := holderOf(t, p.client)
	bob := holderOf(t, p.issue(t, mtls.Request{Name: "bob", Client: true}))
	return p, append(goodProxies(t, alice), badProxies(t, p, alice, bob)...)
}
