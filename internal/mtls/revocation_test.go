package mtls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"
	"unique"

	"busd/bus"
)

// aSource is a source with a list that waits for its issuer, and that list.
func aSource(t *testing.T) (*Source, *crl) {
	t.Helper()
	ca, err := NewAuthority("test CA", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := ca.Issue(Request{Name: "server", DNS: []string{"localhost"}, Server: true, Validity: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	key, err := issued.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	files := Files{Cert: at("s.crt"), Key: at("s.key"), CA: []string{at("ca.crt")}, CRL: []string{at("ca.crl")}}
	for path, data := range map[string][]byte{files.Cert: issued.CertPEM(), files.Key: key, files.CA[0]: ca.CertPEM(), files.CRL[0]: aList(t, nil)} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := NewSource(files, Policy{})
	if err != nil {
		t.Fatal(err)
	}
	return s, s.revoked.current.Load().files[files.CRL[0]].lists[0]
}

// Nobody waits while lists are read and their signatures checked, which may take
// a second: no handshake, not of a client with a CA that nobody has shown before
// either, no metric, and no entry of the deny list.
func TestNobodyWaitsForLists(t *testing.T) {
	t.Parallel()
	s, list := aSource(t)
	between := s.current.Load().issuers[0] // whichever: it has not been seen as one in between
	chain := []*x509.Certificate{s.Leaf(), between, between}

	list.mu.Lock() // the reload stops where it would check this list's signature
	reloaded := make(chan struct{})
	go func() {
		defer close(reloaded)
		_, _ = s.Reload()
	}()
	for s.mu.TryLock() {
		s.mu.Unlock()
		runtime.Gosched()
	}
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		s.revoked.learn([][]*x509.Certificate{chain})
		if err := s.revoked.check(marksOf([][]*x509.Certificate{chain}, nil, bus.Peer{})); err != nil {
			t.Errorf("got %v, want him let in", err)
		}
		if err := s.Fault(); err != nil {
			t.Errorf("got %v, want no fault", err)
		}
		if got := len(s.CRLs()); got != 1 {
			t.Errorf("got %d lists, want 1", got)
		}
		s.Deny(nil)
	}()
	select {
	case <-asked:
	case <-time.After(10 * time.Second):
		t.Error("somebody waits for a reload")
	}
	list.mu.Unlock()
	<-reloaded
	<-asked
}

// A client may show a CA while its list is read for the first time: the list
// counts, whichever comes first.
func TestSeenWhileListsAreRead(t *testing.T) {
	t.Parallel()
	ca, err := NewAuthority("Sub CA", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	data, _, err := ca.RevocationList(1, time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sub.crl")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		r := newRevocations(Policy{})
		learned := make(chan struct{})
		go func() {
			defer close(learned)
			r.learn([][]*x509.Certificate{{ca.cert, ca.cert, ca.cert}})
		}()
		if _, faults := r.load([]string{path}, nil); len(faults) > 0 {
			t.Fatal(faults[0].err)
		}
		<-learned
		if all := r.all(); len(all) != 1 || !all[0].Verified {
			t.Fatalf("got %+v, want the list verified", all)
		}
	}
}

// However often CAs have signed each other, the ways up are few, and end.
func TestWaysAreBounded(t *testing.T) {
	t.Parallel()
	const names, each = 4, 6
	var keys []*ecdsa.PrivateKey
	for range names {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	ca := func(n int) *x509.Certificate {
		return &x509.Certificate{
			Subject: pkix.Name{CommonName: fmt.Sprint("CA ", n)}, NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(2e9, 0),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
	}
	var cas []*x509.Certificate
	for n := range names {
		for by := range each {
			subject, issuer := ca(n), (n+1+by%(names-1))%names
			subject.SerialNumber = big.NewInt(int64(1 + len(cas)))
			der, err := x509.CreateCertificate(rand.Reader, subject, ca(issuer), keys[n].Public(), keys[issuer])
			if err != nil {
				t.Fatal(err)
			}
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			cas = append(cas, cert)
		}
	}
	all := waysOf(cas)
	if len(all) != len(cas) {
		t.Errorf("got ways from %d CAs, want from all %d", len(all), len(cas))
	}
	for _, ways := range all {
		if len(ways) > maxWays || slices.ContainsFunc(ways, func(way []unique.Handle[mark]) bool { return len(way) > maxWay }) {
			t.Fatalf("got %d ways, or one that is too long: %v", len(ways), ways)
		}
	}
}
