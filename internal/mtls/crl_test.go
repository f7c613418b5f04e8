package mtls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
)

// aList is a list of two certificates, in DER.
func aList(t testing.TB, change func(*x509.RevocationList)) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issuer := &x509.Certificate{Subject: pkix.Name{CommonName: "CA"}, SubjectKeyId: []byte{1}, KeyUsage: x509.KeyUsageCRLSign}
	list := &x509.RevocationList{
		Number: big.NewInt(7), ThisUpdate: time.Unix(1e9, 0), NextUpdate: time.Unix(2e9, 0),
		RevokedCertificateEntries: []x509.RevocationListEntry{
			{SerialNumber: big.NewInt(0xabc), RevocationTime: time.Unix(1e9, 0), ReasonCode: 1},
			{SerialNumber: big.NewInt(1), RevocationTime: time.Unix(1e9, 0)},
		},
	}
	if change != nil {
		change(list)
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, &x509.Certificate{
		RawSubject: mustDN(t, "/CN=CA"), Subject: issuer.Subject, SubjectKeyId: issuer.SubjectKeyId, KeyUsage: issuer.KeyUsage,
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func mustDN(t testing.TB, text string) []byte {
	t.Helper()
	der, err := parseDN(text)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// Whatever a file of lists holds, it is read without a panic, in memory of its own
// size, and what is found says whose it is and until when; nothing that nobody has
// verified counts.
func FuzzCRL(f *testing.F) {
	der := aList(f, nil)
	f.Add(der)
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
	f.Add(der[:len(der)/2])
	f.Add(aList(f, func(l *x509.RevocationList) {
		l.ExtraExtensions = []pkix.Extension{{Id: oidIssuingPoint, Critical: true, Value: []byte{0x30, 3, 0x84, 1, 0xff}}}
	}))
	f.Add(aList(f, func(l *x509.RevocationList) {
		l.ExtraExtensions = []pkix.Extension{{Id: oidDeltaCRL, Critical: true, Value: []byte{2, 1, 1}}}
	}))
	f.Add([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte("-----BEGIN X509 CRL-----\n-----END X509 CRL-----\n"))
	f.Add([]byte(" \n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		lists, err := parseCRLs(data)
		again, err2 := parseCRLs(data)
		if (err == nil) != (err2 == nil) || len(lists) != len(again) {
			t.Fatalf("not the same twice: %v, %v", err, err2)
		}
		for _, list := range lists {
			if list.issuer == "" || list.dn == "" || list.until.IsZero() || list.signed() || len(list.revoked) > len(data) {
				t.Errorf("got a list of %q until %v, signed %t, of %d certificates", list.dn, list.until, list.signed(), len(list.revoked))
			}
			if (&issuers{}).settle(list) != unknown {
				t.Error("a list was verified by nobody")
			}
		}
	})
}

// An entry of a deny list is refused, or has one way to be written.
func FuzzDenial(f *testing.F) {
	f.Add("0A:1b", "/C=ch/CN=CA", "", "")
	f.Add("0x0", "/cn=ca", "sha256:"+strings.Repeat("ab", 32), "dns:a*b*")
	f.Add("", "", "", "spiffe://example.org/*")
	f.Add("-1", "/CN=\x00", "sha256:", "***")
	f.Fuzz(func(t *testing.T, serial, issuer, key, name string) {
		clean, err := Denial{serial, issuer, key, name}.Clean()
		if err != nil {
			return
		}
		if again, err := clean.Clean(); err != nil || again != clean {
			t.Errorf("got %+v, then %+v, %v", clean, again, err)
		}
		if _, err := NewDenyList([]Denial{clean}); err != nil {
			t.Errorf("a list of %+v: %v", clean, err)
		}
	})
}

func TestFits(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pattern, text string
		want          bool
	}{
		{"abc", "abc", true},
		{"abc", "abcd", false},
		{"a*", "a", true},
		{"a*", "abc", true},
		{"*c", "abc", true},
		{"a*c", "ac", true},
		{"a*a", "a", false},
		{"a*b*c", "a-b-c", true},
		{"a*b*c", "abbc", true},
		{"a*bb*c", "abc", false},
		{"*b*", "abc", true},
		{"*x*", "abc", false},
		{"a**c", "abc", true},
		{"spiffe://e.org/*/7", "spiffe://e.org/a/b/7", true},
	} {
		if got := fits(strings.Split(test.pattern, "*"), test.text); got != test.want {
			t.Errorf("%s and %s: got %t", test.pattern, test.text, got)
		}
	}
}

// Names are found whatever strings they are written in; two that differ are not
// one.
func TestNameKey(t *testing.T) {
	t.Parallel()
	same := []string{"/C=CH/O=Big  Org/CN=Root CA", "/c=ch/o=big org/cn=root ca", "/C=ch/O= Big Org /CN=Root  CA"}
	for _, text := range same {
		if got, want := foldDN(text), "/c=ch/o=big org/cn=root ca"; got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	for _, text := range []string{"/C=CH/O=Big Org/CN=Root CA 2", "/C=CH/CN=Root CA/O=Big Org", "/C=CH/O=BigOrg/CN=Root CA"} {
		if foldDN(text) == foldDN(same[0]) {
			t.Errorf("%s is taken for %s", text, same[0])
		}
	}
	if a, b := nameKey([]byte{1}), nameKey([]byte{2}); a == b {
		t.Error("names that cannot be read are taken for each other")
	}
}
