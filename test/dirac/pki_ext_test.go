package dirac_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A holder is a certificate, its chain to (and without) the CA, and its key.
type holder struct {
	cert  *x509.Certificate
	chain [][]byte
	key   *ecdsa.PrivateKey
}

// name is /C=ch/O=DIRAC/OU=DIRAC CI/CN=cn.
func name(cn string) pkix.Name {
	return pkix.Name{Country: []string{"ch"}, Organization: []string{"DIRAC"}, OrganizationalUnit: []string{"DIRAC CI"}, CommonName: cn}
}

var serial int64

// issue signs what a template says; nil by is itself.
func issue(t *testing.T, template *x509.Certificate, by *holder) *holder {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial++
	template.SerialNumber = big.NewInt(serial)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	h := &holder{key: key}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
		if !by.cert.IsCA {
			h.chain = append(h.chain, by.cert.Raw)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	if h.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return h
}

func authority(t *testing.T, cn string) *holder {
	return issue(t, &x509.Certificate{
		Subject: name(cn), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, nil)
}

func person(t *testing.T, cn string, by *holder) *holder {
	return issue(t, &x509.Certificate{
		Subject: name(cn), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, by)
}

// proxyOf makes a proxy certificate (RFC 3820) that carries a group of DIRAC's.
func proxyOf(t *testing.T, user *holder, group string) *holder {
	t.Helper()
	type policy struct{ Language asn1.ObjectIdentifier }
	type certInfo struct{ Policy policy }
	info, err := asn1.Marshal(certInfo{policy{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 21, 1}}})
	if err != nil {
		t.Fatal(err)
	}
	said, err := asn1.MarshalWithParams(group, "ia5")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := asn1.Marshal(append(user.cert.Subject.ToRDNSequence(), pkix.RelativeDistinguishedNameSET{
		{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "4711"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	return issue(t, &x509.Certificate{
		RawSubject: raw, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 14}, Critical: true, Value: info},
			{Id: asn1.ObjectIdentifier{1, 2, 42, 42}, Value: said},
		},
	}, user)
}

// write leaves a holder in dir/name.pem: certificate, key, chain.
func (h *holder) write(t *testing.T, dir, name string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(h.key)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	blocks := []*pem.Block{{Type: "CERTIFICATE", Bytes: h.cert.Raw}, {Type: "PRIVATE KEY", Bytes: key}}
	for _, der := range h.chain {
		blocks = append(blocks, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	for _, block := range blocks {
		if err := pem.Encode(&b, block); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, name+".pem"), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}
