package mtls_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"
	"time"
)

var (
	oidProxyInfo   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 14}
	oidDraftInfo   = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3536, 1, 222}
	oidInheritAll  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 21, 1}
	oidIndependent = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 21, 2}
	oidLimited     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3536, 1, 1, 1, 9}
	oidGroup       = asn1.ObjectIdentifier{1, 2, 42, 42}
	oidCN          = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidOU          = asn1.ObjectIdentifier{2, 5, 4, 11}
)

// A holder has certificates, the one to show first, and the key of that.
type holder struct {
	certs []*x509.Certificate
	key   crypto.Signer
}

// holderOf returns who holds an ordinary certificate.
func holderOf(t testing.TB, c tls.Certificate) holder {
	t.Helper()
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return holder{[]*x509.Certificate{leaf}, c.PrivateKey.(crypto.Signer)}
}

func (h holder) tls() *tls.Certificate {
	c := &tls.Certificate{PrivateKey: h.key}
	for _, cert := range h.certs {
		c.Certificate = append(c.Certificate, cert.Raw)
	}
	return c
}

// A sketch is a proxy certificate before it is signed.
type sketch struct {
	*x509.Certificate
	key    crypto.Signer // its own
	signer crypto.Signer // who signs it
	// info is the extension proxyCertInfo; without an Id there is none.
	info pkix.Extension
}

// pathLength and the others change what a sketch is of.
func pathLength(n int) func(*sketch) {
	return func(s *sketch) { s.info.Value = infoDER(n, oidInheritAll, nil) }
}
func limited(s *sketch) { s.info.Value = infoDER(-1, oidLimited, nil) }

func group(name string) func(*sketch) {
	return func(s *sketch) {
		s.ExtraExtensions = append(s.ExtraExtensions, pkix.Extension{Id: oidGroup, Value: ia5(name)})
	}
}

func extra(e pkix.Extension) func(*sketch) {
	return func(s *sketch) { s.ExtraExtensions = append(s.ExtraExtensions, e) }
}

func ia5(s string) []byte { return append([]byte{asn1.TagIA5String, byte(len(s))}, s...) }

// infoDER returns a proxyCertInfo; without a path length if that is negative.
func infoDER(length int, language asn1.ObjectIdentifier, policy []byte) []byte {
	type policyPart struct {
		Language asn1.ObjectIdentifier
		Policy   []byte `asn1:"optional"`
	}
	var der []byte
	var err error
	if length < 0 {
		der, err = asn1.Marshal(struct{ P policyPart }{policyPart{language, policy}})
	} else {
		der, err = asn1.Marshal(struct {
			N int
			P policyPart
		}{length, policyPart{language, policy}})
	}
	if err != nil {
		panic(err)
	}
	return der
}

// below returns a name in DER with more parts at its end.
func below(name []byte, parts ...pkix.AttributeTypeAndValue) []byte {
	var seq asn1.RawValue
	if _, err := asn1.Unmarshal(name, &seq); err != nil {
		panic(err)
	}
	all := slices.Clone(seq.Bytes)
	for _, part := range parts {
		der, err := asn1.Marshal(pkix.RelativeDistinguishedNameSET{part})
		if err != nil {
			panic(err)
		}
		all = append(all, der...)
	}
	der, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: all})
	if err != nil {
		panic(err)
	}
	return der
}

// nameOf returns a name in DER of one common name for each part.
func nameOf(t testing.TB, values ...any) []byte {
	t.Helper()
	var parts pkix.RDNSequence
	for _, value := range values {
		parts = append(parts, pkix.RelativeDistinguishedNameSET{{Type: oidCN, Value: value}})
	}
	return nameOfParts(t, parts...)
}

func nameOfParts(t testing.TB, parts ...pkix.RelativeDistinguishedNameSET) []byte {
	t.Helper()
	der, err := asn1.Marshal(pkix.RDNSequence(parts))
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func utf8Text(s string) asn1.RawValue {
	return asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(s)}
}

func cn(s string) pkix.AttributeTypeAndValue {
	return pkix.AttributeTypeAndValue{Type: oidCN, Value: s}
}

// proxy makes a proxy certificate of the holder's, as tools do, but for what is
// changed, and returns who holds that.
func (h holder) proxy(t testing.TB, changes ...func(*sketch)) holder {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &sketch{
		Certificate: &x509.Certificate{
			SerialNumber: big.NewInt(4711), RawSubject: below(h.certs[0].RawSubject, cn("4711")),
			NotBefore: time.Now().Add(-15 * time.Minute), NotAfter: time.Now().Add(20 * time.Minute),
			KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		},
		key: key, signer: h.key,
		info: pkix.Extension{Id: oidProxyInfo, Critical: true, Value: infoDER(-1, oidInheritAll, nil)},
	}
	for _, change := range changes {
		change(s)
	}
	if s.info.Id != nil {
		s.ExtraExtensions = append(s.ExtraExtensions, s.info)
	}
	parent := *h.certs[0]
	parent.PublicKey = s.signer.Public()
	if s.RawIssuer != nil {
		parent.RawSubject = s.RawIssuer
	}
	der, err := x509.CreateCertificate(rand.Reader, s.Certificate, &parent, s.key.Public(), s.signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return holder{append([]*x509.Certificate{cert}, h.certs...), s.key}
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
