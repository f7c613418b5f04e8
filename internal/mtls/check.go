package mtls

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"

	"busd/bus"
)

// Bounds on what a certificate may bring.
const (
	// MinRSABits is the shortest RSA key that either end accepts.
	MinRSABits = 2048
	// MaxLeaf bounds a client's certificate, in bytes of DER.
	MaxLeaf = 16 << 10
)

// checkClientChain holds what crypto/tls does not ask of a client's verified
// chain, leaf first.
func checkClientChain(chain []*x509.Certificate) error {
	leaf := chain[0]
	if len(leaf.Raw) > MaxLeaf {
		return refuse("the client certificate has %d bytes: at most %d are allowed", len(leaf.Raw), MaxLeaf)
	}
	if leaf.IsCA || leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 {
		return refuse("the client certificate is a CA's: a CA's certificate names no client")
	}
	if slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
		return refuse("the client certificate is good for any use: want extended key usage clientAuth, and not any")
	}
	if !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		return refuse("the client certificate is not made for clients: want extended key usage clientAuth")
	}
	// The root is configured, not sent, and nobody verifies its signature.
	for _, cert := range chain[:max(1, len(chain)-1)] {
		if fault := keyFault(cert); fault != "" {
			return refuse("a certificate has %s", fault)
		}
		if usesWeakHash(cert.SignatureAlgorithm) {
			return refuse("a certificate is signed with %v: want SHA-256 or better", cert.SignatureAlgorithm)
		}
	}
	return nil
}

// serverFault says why no client would believe a server with this certificate;
// "" is nothing. Without any extended key usage a certificate is good for all.
func serverFault(leaf *x509.Certificate) string {
	limited := len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0
	switch {
	case limited && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny):
		return "it is not made for servers: want extended key usage serverAuth"
	case len(leaf.DNSNames)+len(leaf.IPAddresses) == 0:
		return "it names no host: want a DNS name or an address among its alternative names, which clients compare with where they connect"
	}
	return ""
}

// keyFault says what is wrong with a certificate's key; "" is nothing. It
// accepts ECDSA with P-256, P-384 or P-521, Ed25519, and RSA from MinRSABits
// up: crypto/tls accepts RSA keys of 1024 bits.
func keyFault(cert *x509.Certificate) string {
	switch key := cert.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() || key.Curve == elliptic.P384() || key.Curve == elliptic.P521() {
			return ""
		}
	case ed25519.PublicKey:
		return ""
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < MinRSABits {
			return fmt.Sprintf("an RSA key of %d bits: want %d or more", bits, MinRSABits)
		}
		return ""
	}
	return "a key of a kind not accepted here: want ECDSA P-256, P-384, P-521, Ed25519 or RSA"
}

func usesWeakHash(a x509.SignatureAlgorithm) bool {
	switch a { //nolint:exhaustive // the weak ones are named, the others pass
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return true
	}
	return false
}

func refuse(format string, a ...any) error { return bus.Errorf(bus.CodeUnauthenticated, format, a...) }
