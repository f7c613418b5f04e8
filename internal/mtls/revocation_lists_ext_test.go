package mtls_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"busd/bus"
	"busd/internal/mtls"
)

func (o *office) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: o.cert.Raw})
}

// believe configures more CAs beside the root.
func (po *post) believe(more ...*office) {
	po.t.Helper()
	cas, err := os.ReadFile(po.files.CA[0])
	if err != nil {
		po.t.Fatal(err)
	}
	for _, o := range more {
		cas = append(cas, o.pem()...)
	}
	po.put(po.files.CA[0], cas)
}

// directory puts CAs into a directory, as grid sites have it, and believes these.
func (po *post) directory(cas ...*office) string {
	po.t.Helper()
	dir := filepath.Join(po.dir, "certificates")
	for i, o := range cas {
		po.put(filepath.Join(dir, string(rune('a'+i))+".0"), o.pem())
	}
	po.files.CA = []string{dir}
	return dir
}

func (po *post) remove(path string) {
	po.t.Helper()
	if err := os.Remove(path); err != nil {
		po.t.Fatal(err)
	}
}

// Wherever a file of several lists is cut, who is revoked stays so, and somebody
// hears of it.
func TestCutBundle(t *testing.T) {
	t.Parallel()
	po := newPost(t)
	second := newOffice(t, "Second CA", nil)
	po.believe(second)
	mallory := second.client("mallory")
	whole := func(number int64) []byte {
		return slices.Concat(pemCRL(po.root.crl(number, nil)), pemCRL(second.crl(number, nil, mallory.Leaf)))
	}
	po.put(po.crl, whole(1))
	po.open(mtls.Policy{}, po.crl)
	po.wants("mallory", mallory, revoked)
	next := whole(2)
	begin := bytes.LastIndex(next, []byte("-----BEGIN"))
	end := bytes.LastIndex(next, []byte("-----END"))
	for _, cut := range []int{begin + len("-----BEGIN"), begin + 30, begin + 200, end, len(next) - 10} {
		po.put(po.crl, next[:cut])
		po.reload(false, "cut off or damaged")
		po.wants("mallory, whose list is cut", mallory, revoked)
		if _, err := mtls.NewSource(po.files, mtls.Policy{}); err == nil {
			t.Errorf("a server starts with a file that is cut after %d bytes of %d", cut, len(next))
		}
	}
	damaged := bytes.Replace(next, []byte("BEGIN X509 CRL-----\n"), []byte("BEGIN X509 CRL-----\n!"), 1)
	po.put(po.crl, damaged)
	po.reload(false, "cut off or damaged")

	// Where no block shows it, the list is missed.
	for range 2 {
		po.put(po.crl, next[:begin+5])
		if _, err := po.s.Reload(); err == nil {
			t.Error("that a list is missing is not told")
		}
		po.wants("mallory, whose list is missing", mallory, revoked)
	}
	po.put(po.crl, next)
	po.reload(true, "")
	po.wants("mallory", mallory, revoked)
	po.put(po.crl, slices.Concat(pemCRL(po.root.crl(3, nil)), pemCRL(second.crl(3, nil))))
	po.reload(true, "")
	po.wants("mallory after all", mallory, 0)
}

// A list that goes from a file stays in force until another file says the same,
// or nobody believes its issuer.
func TestLostList(t *testing.T) {
	t.Parallel()
	po := newPost(t)
	second := newOffice(t, "Second CA", nil)
	dir := po.directory(po.root, second)
	mallory := second.client("mallory")
	bundle, other := filepath.Join(dir, "all.crl"), filepath.Join(dir, "other.crl")
	const lost = "the list of /CN=Second CA is not in it any more: what it said is kept"
	po.put(bundle, slices.Concat(pemCRL(po.root.crl(1, nil)), pemCRL(second.crl(1, nil, mallory.Leaf))))
	po.open(mtls.Policy{}, dir)
	po.put(bundle, pemCRL(po.root.crl(2, nil)))
	po.reload(true, lost)
	po.wants("mallory", mallory, revoked)
	po.reload(false, lost)
	po.put(bundle, pemCRL(po.root.crl(3, nil)))
	po.reload(true, lost)
	po.wants("mallory, at the next list", mallory, revoked)
	if got := len(po.s.CRLs()); got != 2 {
		t.Errorf("got %d lists in force, want 2", got)
	}
	po.put(other, pemCRL(second.crl(2, nil, mallory.Leaf)))
	po.reload(true, "")
	po.wants("mallory, by another file", mallory, revoked)
	po.remove(other)
	po.reload(false, "other.crl has gone")
	po.wants("mallory, whose list has gone", mallory, revoked)
	po.remove(filepath.Join(dir, "b.0"))
	po.reload(true, "")
	if got := len(po.s.CRLs()); got != 1 {
		t.Errorf("got %d lists in force, want the root's alone", got)
	}
}

// A CA that is configured can be revoked all the same, by one above it that is
// configured, too.
func TestConfiguredIntermediateIsRevoked(t *testing.T) {
	t.Parallel()
	for _, policy := range []mtls.Policy{{}, {RefuseStale: true}} {
		po := newPost(t)
		sub := newOffice(t, "Sub CA", po.root)
		twig := newOffice(t, "Twig CA", sub)
		dir := po.directory(po.root, sub, twig)
		alice, bob, carol := sub.client("alice"), twig.client("bob"), po.root.client("carol")
		bare := bob
		bare.Certificate = bob.Certificate[:1] // he needs to send nothing else
		rootList := filepath.Join(dir, "a.r0")
		po.put(rootList, pemCRL(po.root.crl(1, nil)))
		po.put(filepath.Join(dir, "b.r0"), pemCRL(sub.crl(1, nil)))
		po.put(filepath.Join(dir, "c.r0"), pemCRL(twig.crl(1, nil)))
		po.open(policy, dir)
		po.wants("alice", alice, 0)
		po.wants("bob", bob, 0)
		po.wants("bob alone", bare, 0)
		po.wants("carol", carol, 0)
		proof, err := po.s.Verifier().Certificates(chainOf(t, bare))
		if err != nil {
			t.Fatal(err)
		}
		po.put(rootList, pemCRL(po.root.crl(2, nil, sub.cert)))
		po.reload(true, "")
		po.wants("alice, whose CA the root has revoked", alice, revoked)
		po.wants("bob, whose CA's CA it has", bob, revoked)
		po.wants("bob alone", bare, revoked)
		po.wants("carol", carol, 0)
		if err := proof.Credential.Revoked(); err == nil {
			t.Error("bob stays, who was connected before")
		}
	}
}

// Where the list of the CA above is missing, nobody can know of the one that is
// configured; where that CA is not configured, nobody is asked.
func TestConfiguredIntermediateWithoutList(t *testing.T) {
	t.Parallel()
	for _, above := range []bool{true, false} {
		po := newPost(t)
		sub := newOffice(t, "Sub CA", po.root)
		cas, code := []*office{sub, po.root}, bus.CodeUnauthenticated
		if !above {
			cas, code = cas[:1], 0
		}
		dir := po.directory(cas...)
		po.put(filepath.Join(dir, "a.r0"), pemCRL(sub.crl(1, nil)))
		po.open(mtls.Policy{RefuseStale: true}, dir)
		po.wants("alice", sub.client("alice"), code)
	}
}

// A CA that has changed its key under its name has two series of lists, each with
// numbers of its own.
func TestTwoKeysOfOneName(t *testing.T) {
	t.Parallel()
	po := newPost(t)
	again := newOffice(t, "Root CA", nil)
	po.believe(again)
	alice, bob := po.root.client("alice"), again.client("bob")
	both := func(first, second []byte) []byte { return slices.Concat(pemCRL(first), pemCRL(second)) }
	po.put(po.crl, both(po.root.crl(100, nil), again.crl(1, nil)))
	po.open(mtls.Policy{}, po.crl)
	po.wants("bob", bob, 0)
	po.put(po.crl, both(po.root.crl(101, nil), again.crl(2, nil, bob.Leaf)))
	po.reload(true, "")
	po.wants("bob, revoked by the new key", bob, revoked)
	po.wants("alice", alice, 0)
	po.put(po.crl, both(po.root.crl(102, nil), again.crl(1, nil)))
	po.reload(false, "older than the one before it (number 1, before 2)")
	po.wants("bob", bob, revoked)

	// One of two files goes: the other is no substitute.
	newList := filepath.Join(po.dir, "lists", "new.crl")
	po.put(filepath.Join(po.dir, "lists", "old.crl"), pemCRL(po.root.crl(101, nil)))
	po.put(newList, pemCRL(again.crl(2, nil, bob.Leaf)))
	po.open(mtls.Policy{}, filepath.Dir(newList))
	po.remove(newList)
	po.reload(false, "new.crl has gone")
	po.wants("bob, whose list has gone", bob, revoked)
}

// The serial number of one does not mean the certificate of the other, where each has
// a list. Where only one has, that speaks for both: a CA may revoke with its new key
// what the old one has signed.
func TestOneSerialOfTwoKeys(t *testing.T) {
	t.Parallel()
	po := newPost(t)
	again := newOffice(t, "Root CA", nil)
	po.believe(again)
	alice, bob := po.root.client("alice"), again.client("bob")
	po.put(po.crl, pemCRL(again.crl(1, nil, alice.Leaf)))
	po.open(mtls.Policy{}, po.crl)
	po.wants("alice, revoked with the new key", alice, revoked)
	po.wants("bob", bob, 0)
	po.put(po.crl, slices.Concat(pemCRL(again.crl(2, nil, alice.Leaf)), pemCRL(po.root.crl(1, nil, bob.Leaf))))
	po.open(mtls.Policy{}, po.crl)
	po.wants("alice, whose serial number is another's with that key", alice, 0)
	po.wants("bob, likewise", bob, 0)
}

// Lists for different kinds of certificates stand beside each other.
func TestListsByDistributionPoint(t *testing.T) {
	t.Parallel()
	po := newPost(t)
	alice := po.root.client("alice")
	only := func(tag byte) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 3, tag, 1, 0xff}}}
		}
	}
	const users, cas = 0x81, 0x82
	dir := filepath.Join(po.dir, "lists")
	usersList := filepath.Join(dir, "users.crl")
	po.put(usersList, pemCRL(po.root.crl(1, only(users), alice.Leaf)))
	po.put(filepath.Join(dir, "cas.crl"), pemCRL(po.root.crl(7, only(cas))))
	po.open(mtls.Policy{}, dir)
	po.wants("alice", alice, revoked)
	po.remove(usersList)
	po.reload(false, "users.crl has gone")
	po.wants("alice, whose list has gone", alice, revoked)
}

// Of two lists with one number the later counts, and of two of one time the one
// that says no less.
func TestOneNumberTwice(t *testing.T) {
	t.Parallel()
	po := newPost(t)
	alice, bob := po.root.client("alice"), po.root.client("bob")
	noon := time.Now().Add(-time.Hour)
	at := func(when time.Time) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) { l.ThisUpdate = when }
	}
	po.put(po.crl, pemCRL(po.root.crl(5, at(noon), alice.Leaf)))
	po.open(mtls.Policy{}, po.crl)
	po.put(po.crl, pemCRL(po.root.crl(5, at(noon.Add(-time.Minute)), alice.Leaf, bob.Leaf)))
	po.reload(false, "older than the one before it")
	po.put(po.crl, pemCRL(po.root.crl(5, at(noon), bob.Leaf)))
	po.reload(false, "or says less")
	po.wants("alice", alice, revoked)
	po.put(po.crl, pemCRL(po.root.crl(5, at(noon), alice.Leaf, bob.Leaf)))
	po.reload(true, "")
	po.wants("bob", bob, revoked)
	po.put(po.crl, pemCRL(po.root.crl(5, at(noon.Add(time.Minute)), bob.Leaf)))
	po.reload(true, "")
	po.wants("alice after all", alice, 0)
}

// An intermediate CA may have got another key under its name: that it was shown
// with one says nothing against a list that the other has signed.
func TestRekeyedIntermediate(t *testing.T) {
	t.Parallel()
	po := newPost(t)
	before, after := newOffice(t, "Sub CA", po.root), newOffice(t, "Sub CA", po.root)
	mallory, bob := before.client("mallory"), after.client("bob")
	subList := filepath.Join(po.dir, "sub.crl")
	po.put(po.crl, pemCRL(po.root.crl(1, nil)))
	po.put(subList, pemCRL(before.crl(1, nil)))
	po.open(mtls.Policy{}, po.crl, subList)
	po.wants("bob, of the new key", bob, 0)
	po.put(subList, pemCRL(before.crl(2, nil, mallory.Leaf)))
	po.reload(true, "")
	po.wants("mallory, revoked by the old key", mallory, revoked)
	po.wants("bob", bob, 0)

	// It is settled now: what nobody has signed does not take its place.
	po.put(subList, pemCRL(flip(before.crl(3, nil))))
	po.reload(true, "the list of /CN=Sub CA is not in it any more: what it said is kept")
	po.wants("mallory", mallory, revoked)
	po.put(subList, pemCRL(before.crl(4, nil)))
	po.reload(true, "")
	po.wants("mallory after all", mallory, 0)
}

// A list with an entry that means something else than it seems to is refused.
func TestEntriesOfOthers(t *testing.T) {
	t.Parallel()
	po := newPost(t)
	alice, bob := po.root.client("alice"), po.root.client("bob")
	po.put(po.crl, pemCRL(po.root.crl(1, nil, alice.Leaf)))
	po.open(mtls.Policy{}, po.crl)
	entry := func(number int64, id asn1.ObjectIdentifier, critical bool, value []byte) []byte {
		return pemCRL(po.root.crl(number, func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = []x509.RevocationListEntry{{
				SerialNumber: new(big.Int).Set(bob.Leaf.SerialNumber), RevocationTime: time.Now(),
				ExtraExtensions: []pkix.Extension{{Id: id, Critical: critical, Value: value}},
			}}
		}))
	}
	issuer, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: alice.Leaf.RawSubject}})
	if err != nil {
		t.Fatal(err)
	}
	for _, critical := range []bool{true, false} {
		po.put(po.crl, entry(2, asn1.ObjectIdentifier{2, 5, 29, 29}, critical, issuer))
		po.reload(false, "indirect CRL")
	}
	po.put(po.crl, entry(2, asn1.ObjectIdentifier{1, 2, 3}, true, []byte{5, 0}))
	po.reload(false, "critical extension that is not known")
	po.wants("alice", alice, revoked)
	po.wants("bob", bob, 0)
	po.put(po.crl, entry(2, asn1.ObjectIdentifier{1, 2, 3}, false, []byte{5, 0}))
	po.reload(true, "")
	po.wants("bob", bob, revoked)
	po.put(po.crl, entry(3, asn1.ObjectIdentifier{2, 5, 29, 24}, true, []byte("\x18\x0f20200101000000Z")))
	po.reload(true, "")
}
