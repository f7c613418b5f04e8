package mtls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"time"

	"busd/bus"
)

// Signed tells whether this authority signed a certificate. That another one of
// the same name did is not enough.
func (a *Authority) Signed(cert *x509.Certificate) bool {
	return cert.CheckSignatureFrom(a.cert) == nil
}

// Renew makes a certificate for the key of one that this authority signed, with
// the same names and uses, a serial number of its own, and valid from five
// minutes ago for this long; 0 is as long as the old one was. It never outlives
// the CA's. The old one stays good until it ends or is revoked.
//
// It is an error of [bus.CodeInvalidArgument] if the certificate is a CA's, and
// of [bus.CodeFailedPrecondition] if this authority did not sign it, or its own
// certificate has ended.
func (a *Authority) Renew(old *x509.Certificate, validity time.Duration) (*x509.Certificate, error) {
	return a.renew(old, old.PublicKey, validity)
}

// Rekey is Renew for a new key, which comes with the certificate.
func (a *Authority) Rekey(old *x509.Certificate, validity time.Duration) (*Issued, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	cert, err := a.renew(old, key.Public(), validity)
	if err != nil {
		return nil, err
	}
	return &Issued{Certificate: cert, key: key}, nil
}

func (a *Authority) renew(old *x509.Certificate, public crypto.PublicKey, validity time.Duration) (*x509.Certificate, error) {
	switch {
	case old.IsCA:
		return nil, bus.Errorf(bus.CodeInvalidArgument, "it is the certificate of a CA, which is not renewed: what it signed would have to be, too")
	case !a.Signed(old):
		return nil, bus.Errorf(bus.CodeFailedPrecondition, "this CA did not sign it: another one did, maybe of the same name")
	case validity < 0:
		return nil, bus.Errorf(bus.CodeInvalidArgument, "validity: want a positive duration, got %v", validity)
	case validity == 0:
		validity = old.NotAfter.Sub(old.NotBefore) - backdate
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, RawSubject: old.RawSubject,
		KeyUsage: old.KeyUsage, ExtKeyUsage: old.ExtKeyUsage, UnknownExtKeyUsage: old.UnknownExtKeyUsage,
		BasicConstraintsValid: true,
	}
	// As it is, byte for byte: names must not change by being read and written.
	if i := slices.IndexFunc(old.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidSubjectAltName) }); i >= 0 {
		template.ExtraExtensions = old.Extensions[i : i+1]
	}
	if template.NotBefore, template.NotAfter, err = a.validity(Request{Validity: max(validity, time.Second)}); err != nil {
		return nil, err
	}
	return sign(template, a.cert, public, a.key)
}
