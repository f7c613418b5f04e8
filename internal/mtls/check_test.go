package mtls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"math/big"
	"strings"
	"testing"
)

func TestKeyFault(t *testing.T) {
	t.Parallel()
	rsaKey := func(bits uint) *rsa.PublicKey {
		return &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), bits-1), E: 65537}
	}
	for _, test := range []struct {
		what string
		key  any
		want string
	}{
		{"P-224", &ecdsa.PublicKey{Curve: elliptic.P224()}, "kind not accepted"},
		{"P-256", &ecdsa.PublicKey{Curve: elliptic.P256()}, ""},
		{"P-384", &ecdsa.PublicKey{Curve: elliptic.P384()}, ""},
		{"P-521", &ecdsa.PublicKey{Curve: elliptic.P521()}, ""},
		{"RSA 1024", rsaKey(1024), "1024 bits"},
		{"RSA 2047", rsaKey(2047), "2047 bits"},
		{"RSA 2048", rsaKey(2048), ""},
		{"nothing", nil, "kind not accepted"},
	} {
		got := keyFault(&x509.Certificate{PublicKey: test.key})
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.what, got, test.want)
		}
	}
}

// TestCheckClientChain holds what no signature can be made for any more.
func TestCheckClientChain(t *testing.T) {
	t.Parallel()
	cert := func(a x509.SignatureAlgorithm) *x509.Certificate {
		return &x509.Certificate{
			SignatureAlgorithm: a, PublicKey: &ecdsa.PublicKey{Curve: elliptic.P256()},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
	}
	good, weak := cert(x509.ECDSAWithSHA256), cert(x509.SHA1WithRSA)
	for _, test := range []struct {
		what  string
		chain []*x509.Certificate
		fine  bool
	}{
		{"good", []*x509.Certificate{good, good, good}, true},
		{"root signed with SHA-1", []*x509.Certificate{good, good, weak}, true},
		{"intermediate signed with SHA-1", []*x509.Certificate{good, weak, good}, false},
		{"leaf signed with SHA-1", []*x509.Certificate{weak, good}, false},
		{"leaf alone, signed with SHA-1", []*x509.Certificate{weak}, false},
	} {
		if err := checkClientChain(test.chain); (err == nil) != test.fine {
			t.Errorf("%s: got %v, want fine %t", test.what, err, test.fine)
		}
	}
}
