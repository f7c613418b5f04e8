package mtls

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"sync/atomic"
	"time"
)

// A crl is one list of revoked certificates (RFC 5280, section 5). But for
// signed it is immutable once others see it.
type crl struct {
	issuer      string   // who made it, as nameKey writes it
	dn          string   // the same for people
	number      *big.Int // nil: it has none
	from, until time.Time
	revoked     map[string]struct{} // serial numbers in hexadecimal

	// list is what a signature is checked on; nil once a certificate of the
	// CAs has verified it.
	list *x509.RevocationList
	// signed: a certificate that is believed here, and has the issuer's name, has
	// verified it. Until then it says nothing.
	signed atomic.Bool
}

var (
	oidDeltaCRL          = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidIssuingPoint      = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidAuthorityKeyID    = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidCRLNumber         = asn1.ObjectIdentifier{2, 5, 29, 20}
	tagIndirectCRL       = 4 // of IssuingDistributionPoint
	tagOnlyAttributeCert = 5
)

// parseCRLs reads the lists in a file: PEM, in which other things may stand
// beside them, or one list in DER.
func parseCRLs(data []byte) ([]*crl, error) {
	var lists []*crl
	anyPEM := false
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		anyPEM = true
		if block.Type != "X509 CRL" {
			continue
		}
		list, err := parseCRL(block.Bytes)
		if err != nil {
			return nil, err
		}
		lists = append(lists, list)
	}
	switch {
	case anyPEM:
		return lists, nil
	case len(bytes.TrimSpace(data)) == 0:
		return nil, errors.New("it is empty")
	}
	list, err := parseCRL(data)
	if err != nil {
		return nil, err
	}
	return []*crl{list}, nil
}

// parseCRL reads a list in DER. It refuses what cannot be used by itself: one
// that only says what has changed, and one of certificates of other issuers.
func parseCRL(der []byte) (*crl, error) {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, errors.New("it is not a list of revoked certificates (CRL), in PEM or DER")
	}
	if err := checkCRLExtensions(list.Extensions); err != nil {
		return nil, err
	}
	if list.NextUpdate.IsZero() {
		return nil, errors.New("the list does not say when the next one is due")
	}
	if usesWeakHash(list.SignatureAlgorithm) && list.SignatureAlgorithm != x509.SHA1WithRSA && list.SignatureAlgorithm != x509.ECDSAWithSHA1 {
		return nil, fmt.Errorf("the list is signed with %v: want SHA-256 or better", list.SignatureAlgorithm)
	}
	dn, err := DN(list.RawIssuer)
	if err != nil || dn == "" {
		return nil, errors.New("the list does not say whose it is")
	}
	c := &crl{
		issuer: nameKey(list.RawIssuer), dn: dn, number: list.Number, from: list.ThisUpdate, until: list.NextUpdate,
		revoked: make(map[string]struct{}, len(list.RevokedCertificateEntries)), list: list,
	}
	for _, entry := range list.RevokedCertificateEntries {
		c.revoked[entry.SerialNumber.Text(16)] = struct{}{}
	}
	// Which may be much, and is not needed again.
	list.RevokedCertificateEntries, list.RevokedCertificates = nil, nil //nolint:staticcheck // what is deprecated is filled in all the same
	return c, nil
}

// checkCRLExtensions refuses lists that mean something else than they say to
// who does not know their extensions.
func checkCRLExtensions(extensions []pkix.Extension) error {
	for _, e := range extensions {
		switch {
		case e.Id.Equal(oidDeltaCRL):
			return errors.New("the list only says what has changed (a delta CRL): want a whole one")
		case e.Id.Equal(oidIssuingPoint):
			if err := checkIssuingPoint(e.Value); err != nil {
				return err
			}
		case e.Critical && !e.Id.Equal(oidAuthorityKeyID) && !e.Id.Equal(oidCRLNumber):
			return fmt.Errorf("the list has a critical extension that is not known here: %v", e.Id)
		}
	}
	return nil
}

func checkIssuingPoint(der []byte) error {
	unread := errors.New("what the list is for (issuingDistributionPoint) cannot be read")
	var seq asn1.RawValue
	rest, err := asn1.Unmarshal(der, &seq)
	if err != nil || len(rest) > 0 || !seq.IsCompound || seq.Tag != asn1.TagSequence || seq.Class != asn1.ClassUniversal {
		return unread
	}
	for rest = seq.Bytes; len(rest) > 0; {
		var part asn1.RawValue
		if rest, err = asn1.Unmarshal(rest, &part); err != nil || part.Class != asn1.ClassContextSpecific {
			return unread
		}
		set := !bytes.Equal(part.Bytes, []byte{0})
		switch {
		case part.Tag == tagIndirectCRL && set:
			return errors.New("the list is of certificates of other issuers (an indirect CRL): want one of each issuer")
		case part.Tag == tagOnlyAttributeCert && set:
			return errors.New("the list is of attribute certificates alone")
		}
	}
	return nil
}

// verifiedBy tells whether a certificate's key has signed the list, and may.
func (c *crl) verifiedBy(issuer *x509.Certificate) bool {
	return c.list.CheckSignatureFrom(issuer) == nil
}

// olderThan tells whether the list was made before another of the same issuer.
func (c *crl) olderThan(other *crl) bool {
	if c.number != nil && other.number != nil {
		return c.number.Cmp(other.number) < 0
	}
	return c.from.Before(other.from)
}
