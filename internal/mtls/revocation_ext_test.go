package mtls_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"busd/bus"
	"busd/internal/mtls"
)

// An office is a CA that can do what an Authority never does: have CAs below it,
// and make bad lists.
type office struct {
	t    testing.TB
	cert *x509.Certificate
	key  crypto.Signer
	up   []*office // who issued it, the nearest first
}

func newOffice(t testing.TB, name string, above *office) *office {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	o := &office{t: t, key: key}
	template := &x509.Certificate{
		SerialNumber: newSerial(t), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true,
	}
	signer := o
	if above != nil {
		signer, o.up = above, append([]*office{above}, above.up...)
	} else {
		o.cert = template
	}
	o.cert = signer.sign(template, key.Public())
	return o
}

func newSerial(t testing.TB) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		t.Fatal(err)
	}
	return n.Add(n, big.NewInt(1))
}

func (o *office) sign(template *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	o.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, o.cert, public, o.key)
	if err != nil {
		o.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		o.t.Fatal(err)
	}
	return cert
}

// client makes a client's certificate, sent with the CAs in between.
func (o *office) client(name string) tls.Certificate {
	o.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		o.t.Fatal(err)
	}
	leaf := o.sign(&x509.Certificate{
		SerialNumber: newSerial(o.t), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}, key.Public())
	pair := tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	for _, ca := range append([]*office{o}, o.up...) {
		if len(ca.up) > 0 {
			pair.Certificate = append(pair.Certificate, ca.cert.Raw)
		}
	}
	return pair
}

// crl makes a list in DER.
func (o *office) crl(number int64, change func(*x509.RevocationList), revoked ...*x509.Certificate) []byte {
	o.t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
	for _, cert := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: cert.SerialNumber, RevocationTime: time.Now()})
	}
	if change != nil {
		change(list)
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, o.cert, o.key)
	if err != nil {
		o.t.Fatal(err)
	}
	return der
}

func pemCRL(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}) }

// A post is a server that believes an office, with lists.
type post struct {
	desk
	t    testing.TB
	root *office
	crl  string
	s    *mtls.Source
}

func newPost(t testing.TB) *post {
	t.Helper()
	p := newPKI(t, "server's CA")
	po := &post{desk: newDesk(t, p), t: t, root: newOffice(t, "Root CA", nil)}
	po.put(po.files.CA[0], append(p.ca.CertPEM(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: po.root.cert.Raw})...))
	po.crl = filepath.Join(po.dir, "root.crl")
	return po
}

func (po *post) put(path string, data []byte) {
	po.t.Helper()
	if err := mtls.WriteFiles(true, mtls.File{Path: path, Data: data}); err != nil {
		po.t.Fatal(err)
	}
}

func (po *post) open(policy mtls.Policy, crls ...string) *mtls.Source {
	po.t.Helper()
	po.files.CRL = crls
	var err error
	if po.s, err = mtls.NewSource(po.files, policy); err != nil {
		po.t.Fatal(err)
	}
	return po.s
}

// wants is how a client with a certificate fares: in a handshake, and with a
// verifier that is asked for each request.
func (po *post) wants(what string, cert tls.Certificate, code bus.Code) {
	po.t.Helper()
	m := meet(po.t, po.s.Config(), po.clientOf(cert))
	if got := bus.CodeOf(m.serverErr); got != code {
		po.t.Errorf("%s: the handshake: got %v (%v), want %v", what, got, m.serverErr, code)
	}
	if _, err := po.s.Verifier().Certificates(chainOf(po.t, cert)); bus.CodeOf(err) != code {
		po.t.Errorf("%s: the verifier: got %v, want %v", what, err, code)
	}
}

func (po *post) clientOf(cert tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: "localhost", InsecureSkipVerify: true, // it is about clients
		Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"},
	}
}

func (po *post) reload(changed bool, says string) {
	po.t.Helper()
	got, err := po.s.Reload()
	if got != changed || (err != nil) != (says != "") || err != nil && !strings.Contains(err.Error(), says) {
		po.t.Errorf("reload: got %t, %v, want %t, %q", got, err, changed, says)
	}
}

func chainOf(t testing.TB, cert tls.Certificate) []*x509.Certificate {
	t.Helper()
	var chain []*x509.Certificate
	for _, der := range cert.Certificate {
		one, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, one)
	}
	return chain
}

const revoked = bus.CodeCertificateRevoked

// Whoever is on a list of his issuer is refused from the moment that the list is
// there, whatever form it has; the others notice nothing.
func TestRevokedByCRL(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		data func(der []byte) []byte
	}{
		{"root.crl", pemCRL},
		{"der.crl", func(der []byte) []byte { return der }},
		{"two.pem", func(der []byte) []byte {
			return append(pemCRL(newOffice(t, "Another", nil).crl(1, nil)), pemCRL(der)...)
		}},
	} {
		po := newPost(t)
		alice, bob := po.root.client("alice"), po.root.client("bob")
		path := filepath.Join(po.dir, test.name)
		po.put(path, test.data(po.root.crl(1, nil)))
		po.open(mtls.Policy{}, path)
		po.wants(test.name+": alice before", alice, 0)
		po.put(path, test.data(po.root.crl(2, nil, alice.Leaf)))
		po.reload(true, "")
		po.wants(test.name+": alice", alice, revoked)
		po.wants(test.name+": bob", bob, 0)
		po.put(path, test.data(po.root.crl(3, nil)))
		po.reload(true, "")
		po.wants(test.name+": alice after all", alice, 0)
	}
}

// A directory as grid sites have it holds CAs and lists beside each other.
func TestDirectoryOfCRLs(t *testing.T) {
	t.Parallel()
	po := newPost(t)
	second := newOffice(t, "Second CA", nil)
	dir := filepath.Join(po.dir, "certificates")
	po.put(filepath.Join(dir, "0a.0"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: po.root.cert.Raw}))
	po.put(filepath.Join(dir, "0b.0"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: second.cert.Raw}))
	po.put(filepath.Join(dir, "0b.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: second.cert.Raw}))
	po.put(filepath.Join(dir, "README"), []byte("not a list"))
	po.files.CA = []string{dir}
	alice, bob := po.root.client("alice"), second.client("bob")
	po.put(filepath.Join(dir, "0a.r0"), pemCRL(po.root.crl(1, nil, alice.Leaf)))
	po.open(mtls.Policy{}, dir)
	po.wants("alice", alice, revoked)
	po.wants("bob", bob, 0)
	po.put(filepath.Join(dir, "0b.r0"), second.crl(1, nil, bob.Leaf))
	po.reload(true, "")
	po.wants("bob", bob, revoked)
	if got := len(po.s.CRLs()); got != 2 {
		t.Errorf("got %d lists, want 2", got)
	}

	// One bad file does not keep the others out.
	carol := po.root.client("carol")
	po.put(filepath.Join(dir, "0b.r0"), []byte("half a"))
	po.put(filepath.Join(dir, "0a.r0"), pemCRL(po.root.crl(2, nil, alice.Leaf, carol.Leaf)))
	po.reload(true, "0b.r0: it is not a list")
	po.wants("carol", carol, revoked)
	po.wants("bob, whose list is broken", bob, revoked)
	// Nor does it keep the server from starting, unless lists must be there.
	po.open(mtls.Policy{}, dir)
	po.reload(false, "0b.r0: it is not a list")
	if _, err := mtls.NewSource(po.files, mtls.Policy{RefuseStale: true}); err == nil {
		t.Error("a server that wants lists starts with a broken one")
	}
}

// A list that cannot be used changes nothing, and is told.
func TestBadCRLsKeepTheLastGoodOne(t *testing.T) {
	t.Parallel()
	po := newPost(t)
	alice, bob := po.root.client("alice"), po.root.client("bob")
	po.put(po.crl, pemCRL(po.root.crl(5, nil, alice.Leaf)))
	po.open(mtls.Policy{}, po.crl)
	good := pemCRL(po.root.crl(6, nil, alice.Leaf))
	lookalike := newOffice(t, "Root CA", nil)
	extended := func(id asn1.ObjectIdentifier, value []byte) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			l.ExtraExtensions = append(l.ExtraExtensions, pkix.Extension{Id: id, Critical: true, Value: value})
		}
	}
	for _, test := range []struct {
		what, says string
		data       []byte
	}{
		{"empty", "it is empty", nil},
		{"half", "it is not a list of revoked certificates (CRL), in PEM or DER", good[:len(good)/2]},
		{"garbage", "not a list of revoked certificates", []byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff}},
		{"damaged", "not signed by its issuer", pemCRL(flip(po.root.crl(6, nil, bob.Leaf)))},
		{"of a CA of the same name", "not signed by its issuer", pemCRL(lookalike.crl(9, nil))},
		{"older", "older than the one before it (number 4, before 5)", pemCRL(po.root.crl(4, nil))},
		{"a delta", "delta CRL", pemCRL(po.root.crl(6, extended(asn1.ObjectIdentifier{2, 5, 29, 27}, []byte{2, 1, 1})))},
		{"an indirect one", "indirect CRL", pemCRL(po.root.crl(6, extended(asn1.ObjectIdentifier{2, 5, 29, 28}, []byte{0x30, 3, 0x84, 1, 0xff})))},
		{"something critical", "critical extension", pemCRL(po.root.crl(6, extended(asn1.ObjectIdentifier{1, 2, 3}, []byte{5, 0})))},
		{"a certificate", "want a list of revoked certificates", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: po.root.cert.Raw})},
	} {
		po.put(po.crl, test.data)
		po.reload(false, test.says)
		po.wants(test.what+": alice", alice, revoked)
		po.wants(test.what+": bob", bob, 0)
		if _, err := mtls.NewSource(po.files, mtls.Policy{}); (err == nil) != (test.what == "older") {
			t.Errorf("%s: at start: got %v", test.what, err)
		}
	}
	if err := os.Remove(po.crl); err != nil {
		t.Fatal(err)
	}
	po.reload(false, "no such file")
	po.wants("missing: alice", alice, revoked)
	if po.s.Fault() == nil {
		t.Error("got no fault while the file is missing")
	}
	po.put(po.crl, pemCRL(po.root.crl(7, nil, alice.Leaf, bob.Leaf)))
	po.reload(true, "")
	po.wants("good again: bob", bob, revoked)
	if err := po.s.Fault(); err != nil {
		t.Errorf("got %v, want no fault any more", err)
	}
}

// flip changes the last byte, which is of the signature.
func flip(der []byte) []byte {
	der[len(der)-1] ^= 1
	return der
}

// A whole branch goes with its CA; and a list of an intermediate CA counts from
// when somebody shows that CA, also for those who came before.
func TestIntermediates(t *testing.T) {
	t.Parallel()
	po := newPost(t)
	branch := newOffice(t, "Branch CA", po.root)
	twig := newOffice(t, "Twig CA", branch)
	alice, bob, carol := twig.client("alice"), twig.client("bob"), po.root.client("carol")
	branchList := filepath.Join(po.dir, "branch.crl")
	twigList := filepath.Join(po.dir, "twig.crl")
	po.put(po.crl, pemCRL(po.root.crl(1, nil)))
	po.put(branchList, pemCRL(branch.crl(1, nil)))
	po.put(twigList, twig.crl(1, nil, alice.Leaf))
	po.open(mtls.Policy{}, po.crl, branchList, twigList)
	verified := func() (n int) {
		for _, list := range po.s.CRLs() {
			if list.Verified {
				n++
			}
		}
		return n
	}
	if got := verified(); got != 1 {
		t.Errorf("got %d verified lists, want the root's alone", got)
	}
	po.wants("alice", alice, revoked)
	po.wants("bob", bob, 0)
	if got := verified(); got != 3 {
		t.Errorf("got %d verified lists, want all", got)
	}
	proof, err := po.s.Verifier().Certificates(chainOf(t, bob))
	if err != nil {
		t.Fatal(err)
	}
	// The next list of a CA that was seen is verified as it comes.
	po.put(twigList, twig.crl(2, nil, alice.Leaf, bob.Leaf))
	po.reload(true, "")
	if err := proof.Credential.Revoked(); bus.CodeOf(err) != revoked {
		t.Errorf("bob, who is connected: got %v, want revoked", err)
	}
	po.put(twigList, twig.crl(3, nil))
	po.reload(true, "")
	po.wants("bob", bob, 0)
	po.put(branchList, pemCRL(branch.crl(2, nil, twig.cert)))
	po.reload(true, "")
	po.wants("bob, whose CA was revoked", bob, revoked)
	po.wants("carol", carol, 0)
	po.put(branchList, pemCRL(branch.crl(3, nil)))
	po.put(po.crl, pemCRL(po.root.crl(2, nil, branch.cert)))
	po.reload(true, "")
	po.wants("bob, whose CA's CA was revoked", bob, revoked)
	po.wants("carol", carol, 0)
}

// A list that is out of date counts on, or nobody of its issuer gets in; who is
// connected stays.
func TestStaleCRLs(t *testing.T) {
	t.Parallel()
	for _, refuse := range []bool{false, true} {
		po := newPost(t)
		shift := time.Duration(0)
		alice, bob := po.root.client("alice"), po.root.client("bob")
		po.put(po.crl, pemCRL(po.root.crl(1, func(l *x509.RevocationList) { l.NextUpdate = time.Now().Add(10 * time.Minute) }, alice.Leaf)))
		po.open(mtls.Policy{RefuseStale: refuse, Now: func() time.Time { return time.Now().Add(shift) }}, po.crl)
		proof, err := po.s.Verifier().Certificates(chainOf(t, bob))
		if err != nil {
			t.Fatal(err)
		}
		po.wants("bob", bob, 0)
		shift = 20 * time.Minute
		po.wants("alice", alice, revoked)
		want := bus.Code(0)
		if refuse {
			want = bus.CodeUnauthenticated
		}
		po.wants(fmt.Sprintf("refuse=%t: bob, later", refuse), bob, want)
		if err := proof.Credential.Revoked(); err != nil {
			t.Errorf("refuse=%t: bob, who is connected: got %v, want that he stays", refuse, err)
		}
	}
}

// A list of a CA whose lists nobody has counts as out of date.
func TestMissingCRL(t *testing.T) {
	t.Parallel()
	po := newPost(t)
	branch := newOffice(t, "Branch CA", po.root)
	alice, bob := po.root.client("alice"), branch.client("bob")
	po.put(po.crl, pemCRL(po.root.crl(1, nil)))
	po.open(mtls.Policy{RefuseStale: true}, po.crl)
	po.wants("alice", alice, 0)
	po.wants("bob, whose CA has no list", bob, bus.CodeUnauthenticated)
}

// An operator's word is as good as a CA's.
func TestDenyList(t *testing.T) {
	t.Parallel()
	po := newPost(t)
	branch := newOffice(t, "Branch CA", po.root)
	alice, bob := branch.client("alice"), branch.client("bob")
	po.open(mtls.Policy{})
	hash := func(cert *x509.Certificate) string {
		sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
		return "sha256:" + hex.EncodeToString(sum[:])
	}
	serial := alice.Leaf.SerialNumber.Text(16)
	for _, test := range []struct {
		entry      mtls.Denial
		alice, bob bool // denied
	}{
		{mtls.Denial{Serial: serial, Issuer: "/CN=Branch CA"}, true, false},
		{mtls.Denial{Serial: "00:" + strings.ToUpper(serial), Issuer: "/cn=branch  ca"}, true, false},
		{mtls.Denial{Serial: serial, Issuer: "/CN=Root CA"}, false, false},
		{mtls.Denial{Issuer: "/CN=Branch CA"}, true, true},
		{mtls.Denial{Issuer: "/CN=Root CA"}, true, true},
		{mtls.Denial{Issuer: "/CN=Branch"}, false, false},
		{mtls.Denial{Key: hash(alice.Leaf)}, true, false},
		{mtls.Denial{Key: strings.ToUpper(hash(branch.cert))}, true, true},
		{mtls.Denial{Name: "cn:alice"}, true, false},
		{mtls.Denial{Name: "/CN=alice"}, true, false},
		{mtls.Denial{Name: "cn:al*"}, true, false},
		{mtls.Denial{Name: "*b*b"}, false, true},
		{mtls.Denial{Name: "alice"}, false, false},
		{mtls.Denial{Name: "cn:a*", Issuer: "/CN=Branch CA"}, true, false},
		{mtls.Denial{Name: "cn:a*", Key: hash(bob.Leaf)}, false, false},
	} {
		list, err := mtls.NewDenyList([]mtls.Denial{{Name: "cn:nobody"}, test.entry})
		if err != nil {
			t.Fatal(err)
		}
		po.s.Deny(list)
		code := map[bool]bus.Code{true: revoked}
		po.wants(test.entry.String()+": alice", alice, code[test.alice])
		po.wants(test.entry.String()+": bob", bob, code[test.bob])
	}
	po.s.Deny(nil)
	po.wants("alice, denied no more", alice, 0)
	for _, bad := range []mtls.Denial{
		{},
		{Serial: "1"},
		{Serial: "-1", Issuer: "/CN=x"},
		{Serial: "0xzz", Issuer: "/CN=x"},
		{Serial: "12 34", Issuer: "/CN=x"},
		{Issuer: "CN=x"},
		{Issuer: "/"},
		{Key: "abcd"},
		{Key: "sha256:abcd"},
		{Name: "*"},
		{Name: "**"},
		{Name: strings.Repeat("x", 3000)},
	} {
		if _, err := mtls.NewDenyList([]mtls.Denial{bad}); bus.CodeOf(err) != bus.CodeInvalidArgument {
			t.Errorf("%+v: got %v, want it refused", bad, err)
		}
	}
}

// No TLS session outlives a revocation.
func TestRevokedSessionsAreNotResumed(t *testing.T) {
	t.Parallel()
	po := newPost(t)
	alice := po.root.client("alice")
	po.put(po.crl, pemCRL(po.root.crl(1, nil)))
	po.open(mtls.Policy{}, po.crl)
	client := po.clientOf(alice)
	client.ClientSessionCache = tls.NewLRUClientSessionCache(2)
	meet(t, po.s.Config(), client).fine(t)
	m := meet(t, po.s.Config(), client)
	m.fine(t)
	if !m.server.DidResume {
		t.Fatal("the second handshake did not resume")
	}
	po.put(po.crl, pemCRL(po.root.crl(2, nil, alice.Leaf)))
	po.reload(true, "")
	if m := meet(t, po.s.Config(), client); bus.CodeOf(m.serverErr) != revoked || m.clientErr == nil {
		t.Errorf("got %v, %v, want that it is refused", m.serverErr, m.clientErr)
	}
}

// A listener may want a certificate where another one only asks.
func TestRequiring(t *testing.T) {
	t.Parallel()
	po := newPost(t)
	po.open(mtls.Policy{})
	nobody := po.clientOf(po.root.client("alice"))
	nobody.Certificates = nil
	meet(t, po.s.Config(), nobody).fine(t)
	if m := meet(t, po.s.Requiring(), nobody); m.serverErr == nil {
		t.Error("nobody got in where a certificate is demanded")
	}
	meet(t, po.s.Requiring(), po.clientOf(po.root.client("alice"))).fine(t)
}

// A certificate that is not valid now does not take the place of one that is.
func TestServesNothingWorse(t *testing.T) {
	t.Parallel()
	p := newPKI(t, "test CA")
	d := newDesk(t, p)
	s, err := mtls.NewSource(d.files, mtls.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	before := s.Leaf().SerialNumber
	for what, from := range map[string]time.Time{"ended": time.Now().Add(-time.Hour), "of tomorrow": time.Now().Add(30 * time.Minute)} {
		issued, err := p.ca.Issue(mtls.Request{Name: "server", DNS: []string{"localhost"}, Server: true, NotBefore: from, Validity: 20 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		write(t, d.files.Cert, d.files.Key, issued)
		if changed, err := s.Reload(); changed || err == nil || s.Leaf().SerialNumber.Cmp(before) != 0 {
			t.Errorf("one that is %s: got %t, %v, want that the old one stays", what, changed, err)
		}
	}
	d.server(t, p)
	reload(t, s, true)
}

// What looks the same is not read again for a while; what does not is, at once.
func TestLooks(t *testing.T) {
	t.Parallel()
	po := newPost(t)
	alice := po.root.client("alice")
	list := po.root.crl(1, nil)
	po.put(po.crl, list)
	po.open(mtls.Policy{}, po.crl)
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan error, 100)
	var run sync.WaitGroup
	run.Go(func() { _ = po.s.Run(ctx, time.Millisecond, func(err error) { told <- err }) })
	defer run.Wait()
	defer cancel()
	next := func(says string) {
		t.Helper()
		select {
		case err := <-told:
			if (err != nil) != (says != "") || err != nil && !strings.Contains(err.Error(), says) {
				t.Fatalf("got %v, want %q", err, says)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("a change is not seen")
		}
	}
	for number := int64(2); number < 10; number++ { // all of one length, at once after each other
		po.put(po.crl, po.root.crl(number, nil, alice.Leaf))
		next("")
	}
	po.wants("alice", alice, revoked)
	// In place, with the time that it had.
	info, err := os.Stat(po.crl)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(po.crl, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(bytes.Repeat([]byte("x"), int(info.Size()))); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(po.crl, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	next("not a list of revoked certificates")
	if err := os.Remove(po.crl); err != nil {
		t.Fatal(err)
	}
	next("no such file")
}
