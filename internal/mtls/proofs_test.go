package mtls

import (
	"crypto/sha256"
	"crypto/x509"
	"strconv"
	"strings"
	"testing"
	"time"

	"busd/bus"
)

// However many come by, few are remembered; and those who come again are
// verified again.
func TestMemoryOfProofsIsBounded(t *testing.T) {
	t.Parallel()
	ca, err := NewAuthority("test CA", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	all := newTrust(poolOf([]*x509.Certificate{ca.Certificate()}), Policy{}, nil)
	strangers := 0
	for full := 0; full == strangers; full = len(all.proofs.all) { // of whom nobody comes again
		n := strconv.Itoa(strangers)
		all.proofs.put(sha256.Sum256([]byte(n)), &Proof{}, []*x509.Certificate{{Raw: []byte(n)}})
		strangers++
	}
	var first *Issued
	for range 10 {
		issued, err := ca.Issue(Request{Name: "x", Client: true})
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = issued
		}
		if _, err := all.prove([]*x509.Certificate{issued.Certificate}); err != nil {
			t.Fatal(err)
		}
	}
	checkProofs(t, all.proofs)
	if n := len(all.proofs.all); n < 10_000 || n > strangers {
		t.Errorf("%d proofs are remembered, want 10,000, and none too many: %d came", n, strangers)
	}
	for range 2 {
		if _, err := all.prove([]*x509.Certificate{first.Certificate}); err != nil {
			t.Error(err)
		}
	}
}

// Who shows many chains with one certificate takes the place of his own proofs, and
// of nobody else's; and one that is too large has no place at all.
func TestProofsOfOneUserAreBounded(t *testing.T) {
	t.Parallel()
	p := newProofs()
	bob := sha256.Sum256([]byte("bob"))
	p.put(bob, &Proof{}, []*x509.Certificate{{Raw: []byte("bob")}})
	alice := []*x509.Certificate{{Raw: []byte("alice")}}
	for i := range 10_000 {
		p.put(sha256.Sum256([]byte(strconv.Itoa(i))), &Proof{Proxy: &Proxy{Subject: strings.Repeat("x", 8<<10)}}, alice)
		if i == 4 {
			p.put(sha256.Sum256([]byte("4")), &Proof{}, alice) // again: one entry
		}
	}
	p.put(sha256.Sum256([]byte("vast")), &Proof{Peer: bus.Peer{DN: strings.Repeat("x", maxUserProofBytes)}}, alice)
	checkProofs(t, p)
	if p.get(bob) == nil {
		t.Error("bob's proof had to go for alice's")
	}
	if p.bytes > maxUserProofBytes+maxUserProofBytes/100 || p.bytes < maxUserProofBytes*9/10 {
		t.Errorf("alice and bob hold %d bytes, want about %d", p.bytes, maxUserProofBytes)
	}
}

// checkProofs checks that what is counted is what there is.
func checkProofs(t *testing.T, p *proofs) {
	t.Helper()
	sum, keys := 0, 0
	for _, w := range p.all {
		sum += w.bytes
	}
	users := 0
	for _, mine := range p.users {
		users += mine.bytes
		keys += len(mine.keys)
		if mine.bytes > maxUserProofBytes {
			t.Errorf("a user's proofs hold %d bytes, want at most %d", mine.bytes, maxUserProofBytes)
		}
	}
	if sum != p.bytes || users != p.bytes || keys != len(p.all) || p.bytes > maxProofBytes {
		t.Errorf("%d bytes in %d proofs, %d of users in %d, %d counted, want the same, and at most %d",
			sum, len(p.all), users, keys, p.bytes, maxProofBytes)
	}
}
