//go:build linux

package hostile_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// thePKI is where the scripts' certificates come from, by name; it is made before
// the tests.
var thePKI *pki

// caName is the name of the CA, and of those that would like to be it.
const caName = "hostile test CA"

// A pki issues what a script asks for.
type pki struct {
	// Fixed at creation.
	ca                *authority
	sub, revoked      *authority // which the CA has signed; revoked is on its list
	narrow, pathless  *authority // may sign names below example.org; may sign no CA
	other, lookalike  *authority // of no use here; the same under the CA's name
	alice             tls.Certificate
	made              map[string]func() tls.Certificate
	revokedLeafSerial *big.Int

	mu sync.Mutex
	// Guarded by mu.
	issued map[string]tls.Certificate
}

// An authority is a CA's certificate and key.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newPKI() *pki {
	p := &pki{issued: map[string]tls.Certificate{}, revokedLeafSerial: big.NewInt(666)}
	p.ca = newAuthority(caName, nil, nil)
	p.sub = newAuthority("a CA below it", p.ca, nil)
	p.revoked = newAuthority("a CA that was revoked", p.ca, nil)
	p.narrow = newAuthority("a narrow CA", p.ca, func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"example.org"}, true
	})
	p.pathless = newAuthority("a CA without CAs", p.ca, func(c *x509.Certificate) { c.MaxPathLenZero = true })
	p.other = newAuthority("another CA", nil, nil)
	p.lookalike = newAuthority(caName, nil, nil)
	p.alice = p.leaf(p.ca, dns("alice"))
	p.made = p.makers()
	return p
}

func newAuthority(name string, parent *authority, more func(*x509.Certificate)) *authority {
	a := &authority{key: newKey()}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	if more != nil {
		more(template)
	}
	if parent == nil {
		parent = &authority{cert: template, key: a.key}
	}
	a.cert = must(x509.ParseCertificate(parent.sign(template, a.key.Public())))
	return a
}

func newKey() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

// must is for what can fail in no test.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// sign fills in what every certificate has. Nobody reads it here: it may be one that
// cannot be.
func (a *authority) sign(template *x509.Certificate, public any) []byte {
	if template.SerialNumber == nil {
		template.SerialNumber = must(rand.Int(rand.Reader, big.NewInt(1<<62)))
	}
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Minute)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	template.KeyUsage |= x509.KeyUsageDigitalSignature
	template.BasicConstraintsValid = true
	return must(x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key))
}

// A change makes a client's certificate another one.
type change func(*x509.Certificate)

func dns(names ...string) change {
	return func(c *x509.Certificate) { c.DNSNames = names }
}

func cn(name string) change {
	return func(c *x509.Certificate) { c.Subject.CommonName, c.DNSNames = name, nil }
}

func usage(u ...x509.ExtKeyUsage) change {
	return func(c *x509.Certificate) { c.ExtKeyUsage = u }
}

func between(from, to time.Duration) change {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(to) }
}

func extension(critical bool, size int) change {
	return func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: []int{1, 2, 3, 4}, Critical: critical, Value: make([]byte, size)})
	}
}

// san is the extension of alternative names, of names as they are: the tag of a
// kind and its bytes.
func san(kind int, names ...string) change {
	return func(c *x509.Certificate) {
		var all []asn1.RawValue
		for _, n := range names {
			all = append(all, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: kind, Bytes: []byte(n)})
		}
		c.DNSNames = nil
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: []int{2, 5, 29, 17}, Value: must(asn1.Marshal(all))})
	}
}

// The tags of kinds of alternative names.
const emailSAN, dnsSAN, uriSAN = 1, 2, 6

// leaf is a client's certificate, mallory's but for the changes.
func (p *pki) leaf(by *authority, changes ...change) tls.Certificate {
	return p.leafOf(by, newKey(), changes...)
}

func (p *pki) leafOf(by *authority, key crypto.Signer, changes ...change) tls.Certificate {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "somebody"}, DNSNames: []string{"mallory"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, c := range changes {
		c(template)
	}
	cert := tls.Certificate{Certificate: [][]byte{by.sign(template, key.Public())}, PrivateKey: key}
	if by != p.ca && len(by.cert.Raw) > 0 && by.cert.Issuer.String() != by.cert.Subject.String() {
		cert.Certificate = append(cert.Certificate, by.cert.Raw)
	}
	return cert
}

// cert issues a certificate, once.
func (p *pki) cert(name string) (tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c, ok := p.issued[name]; ok {
		return c, nil
	}
	f, ok := p.made[name]
	if !ok {
		return tls.Certificate{}, fmt.Errorf("nobody has the certificate %q", name)
	}
	c := f()
	p.issued[name] = c
	return c, nil
}

// makers are the certificates that scripts name.
func (p *pki) makers() map[string]func() tls.Certificate {
	all := map[string]func() tls.Certificate{
		"nobody": func() tls.Certificate { return tls.Certificate{} },
		"server": func() tls.Certificate {
			return p.leaf(p.ca, dns("localhost"), usage(x509.ExtKeyUsageServerAuth))
		},
		"selfsigned":   func() tls.Certificate { return p.selfSigned("mallory") },
		"selfsignedca": func() tls.Certificate { return p.selfSigned(caName) },
		"ca": func() tls.Certificate {
			return tls.Certificate{Certificate: [][]byte{p.ca.cert.Raw}, PrivateKey: p.ca.key}
		},
		"rsa1024":  func() tls.Certificate { return p.leafOf(p.ca, must(rsa.GenerateKey(rand.Reader, 1024))) },
		"hugersa":  func() tls.Certificate { return p.hugeRSA(16_384) },
		"notalice": func() tls.Certificate { return tls.Certificate{Certificate: p.alice.Certificate, PrivateKey: newKey()} },
		"garbage": func() tls.Certificate {
			return tls.Certificate{Certificate: [][]byte{bytes.Repeat([]byte{0x30}, 500)}, PrivateKey: newKey()}
		},
		"empty": func() tls.Certificate { return tls.Certificate{Certificate: [][]byte{{}}, PrivateKey: newKey()} },
		"trailing": func() tls.Certificate {
			c := p.leaf(p.ca)
			c.Certificate = [][]byte{append(bytes.Clone(c.Certificate[0]), 0, 0)}
			return c
		},
		"twice": func() tls.Certificate {
			c := p.leaf(p.ca)
			c.Certificate = append(c.Certificate, c.Certificate[0], c.Certificate[0])
			return c
		},
		"leafsigned": p.leafSigned,
		"pathlen":    func() tls.Certificate { return p.below(p.pathless) },
		"long chain": func() tls.Certificate { return p.chain(60) },
		"same names": func() tls.Certificate { return p.sameNames(100) },
		"huge serial": func() tls.Certificate {
			return p.leaf(p.ca, func(c *x509.Certificate) { c.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 150) })
		},
	}
	for name, changes := range certificates {
		all[name] = func() tls.Certificate { return p.leaf(p.ca, changes...) }
	}
	for name, by := range map[string]*authority{
		"other": p.other, "lookalike": p.lookalike, "below": p.sub, "below revoked": p.revoked, "narrow": p.narrow,
	} {
		all[name] = func() tls.Certificate { return p.leaf(by) }
	}
	dashed := map[string]func() tls.Certificate{} // scripts write one word
	for name, f := range all {
		dashed[strings.ReplaceAll(name, " ", "-")] = f
	}
	return dashed
}

// certificates are those of the CA itself.
var certificates = map[string][]change{
	"mallory": nil, "bob": {dns("bob")}, "carol": {dns("carol")},
	"portal":  {dns("portal")},
	"expired": {between(-time.Hour, -time.Second)}, "early": {between(time.Minute, time.Hour)},
	"revoked": {func(c *x509.Certificate) { c.SerialNumber = big.NewInt(666) }},
	"any use": {usage(x509.ExtKeyUsageAny)}, "any and clients": {usage(x509.ExtKeyUsageAny, x509.ExtKeyUsageClientAuth)},
	"no use": {usage()}, "email use": {usage(x509.ExtKeyUsageEmailProtection)},
	"critical": {extension(true, 2)}, "20 KiB": {extension(false, 20<<10)}, "100 KiB": {extension(false, 100<<10)},
	"leaf ca": {func(c *x509.Certificate) { c.IsCA = true }},

	// Names that would like to be alice's, or nobody's at all.
	"two names": {dns("mallory", "alice")}, "cn alice": {cn("alice")}, "cn dns alice": {cn("dns:alice")},
	"capitals": {dns("ALICE")}, "dot": {dns("alice.")}, "space": {san(dnsSAN, "alice ")}, "escaped": {dns("%61lice")},
	"nul": {san(dnsSAN, "alice\x00.evil.example")}, "nul first": {san(dnsSAN, "\x00alice")}, "crlf": {san(dnsSAN, "alice\r\nbob")},
	"wildcard": {dns("*")}, "wildcard domain": {dns("*.example.org")}, "slash": {san(dnsSAN, "mallory/../alice")},
	"confusable": {san(dnsSAN, "\u0430lice")}, "not utf8": {san(dnsSAN, "\xffalice")}, "escape codes": {san(dnsSAN, "\x1b[2J\x1b[31malice")},
	"empty name": {san(dnsSAN, "")}, "300 bytes": {san(dnsSAN, strings.Repeat("a", 300))}, "no name": {cn("")},
	"email alice": {san(emailSAN, "alice")}, "uri alice": {san(uriSAN, "dns:alice")}, "uri nul": {san(uriSAN, "spiffe://example.org/a\x00b")},
	"two spiffe": {san(uriSAN, "spiffe://example.org/a", "spiffe://example.org/b")}, "spiffe dots": {san(uriSAN, "spiffe://example.org/../alice")},
	"spiffe port": {san(uriSAN, "spiffe://example.org:80/alice")}, "spiffe query": {san(uriSAN, "spiffe://example.org/alice?x=y")},
	"spiffe user": {san(uriSAN, "spiffe://alice@example.org/x")}, "5000 names": {san(dnsSAN, make([]string, 5000)...)},
	"300 names": {san(dnsSAN, strings.Split(strings.Repeat("alice.example.org ", 300), " ")[:300]...)},
	"long dn": {func(c *x509.Certificate) {
		c.DNSNames, c.Subject = nil, pkix.Name{OrganizationalUnit: strings.Split(strings.Repeat("x ", 300), " ")[:300]}
	}},
}

func (p *pki) selfSigned(name string) tls.Certificate {
	key := newKey()
	template := &x509.Certificate{Subject: pkix.Name{CommonName: name}}
	return p.leafOf(&authority{cert: template, key: key}, key, func(c *x509.Certificate) { c.Subject.CommonName = name })
}

// leafSigned is a certificate that mallory signed with his own.
func (p *pki) leafSigned() tls.Certificate {
	mallory := p.leaf(p.ca)
	own := &authority{cert: must(x509.ParseCertificate(mallory.Certificate[0])), key: mallory.PrivateKey.(crypto.Signer)}
	return p.leaf(own, dns("alice"))
}

// below is a certificate of a CA that the authority has signed.
func (p *pki) below(a *authority) tls.Certificate {
	lower := newAuthority("a CA too low", a, nil)
	cert := p.leaf(lower)
	cert.Certificate = append(cert.Certificate, a.cert.Raw)
	return cert
}

// chain is a certificate with so many CAs above it.
func (p *pki) chain(n int) tls.Certificate {
	above := []*authority{p.ca}
	for i := range n {
		above = append(above, newAuthority(fmt.Sprint("CA ", i), above[i], nil))
	}
	cert := p.leaf(above[n])
	for i := n - 1; i > 0; i-- {
		cert.Certificate = append(cert.Certificate, above[i].cert.Raw)
	}
	return cert
}

// sameNames is a certificate among as many CAs of its issuer's name, each of which
// could have signed it and all of the others.
func (p *pki) sameNames(n int) tls.Certificate {
	fake := newAuthority("the same", nil, nil)
	cert := p.leaf(fake)
	name := &x509.Certificate{Subject: pkix.Name{CommonName: "the same"}}
	for range n {
		key := newKey()
		cert.Certificate = append(cert.Certificate, (&authority{cert: name, key: newKey()}).sign(&x509.Certificate{
			Subject: pkix.Name{CommonName: "the same"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
		}, key.Public()))
	}
	return cert
}

// hugeRSA is of a key of so many bits, that nobody has.
func (p *pki) hugeRSA(bits int) tls.Certificate {
	modulus := new(big.Int).SetBit(must(rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits)))), bits-1, 1)
	modulus.SetBit(modulus, 0, 1)
	template := &x509.Certificate{DNSNames: []string{"mallory"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	cert := p.ca.sign(template, &rsa.PublicKey{N: modulus, E: 65537})
	return tls.Certificate{Certificate: [][]byte{cert}, PrivateKey: must(rsa.GenerateKey(rand.Reader, 2048))}
}

// passedOn is a certificate as proxies put it into a header.
func (p *pki) passedOn(name string) ([]byte, error) {
	c := p.alice
	if name != "alice" {
		var err error
		if c, err = p.cert(name); err != nil {
			return nil, err
		}
	}
	return []byte(url.QueryEscape(string(pemOf("CERTIFICATE", c.Certificate[0])))), nil
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// write writes what the server reads.
func (p *pki) write(dir string) error {
	server, err := p.cert("server")
	if err != nil {
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	if err != nil {
		return err
	}
	list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{
			{SerialNumber: p.revokedLeafSerial, RevocationTime: time.Now().Add(-time.Minute)},
			{SerialNumber: p.revoked.cert.SerialNumber, RevocationTime: time.Now().Add(-time.Minute)},
		},
	}, p.ca.cert, p.ca.key)
	if err != nil {
		return err
	}
	for name, b := range map[string][]byte{
		"server.crt": pemOf("CERTIFICATE", server.Certificate[0]), "server.key": pemOf("PRIVATE KEY", key),
		"ca.crt": pemOf("CERTIFICATE", p.ca.cert.Raw), "ca.crl": pemOf("X509 CRL", list),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}
