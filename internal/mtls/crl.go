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
	"sync"
	"sync/atomic"
	"time"
)

// A crl is one list of revoked certificates (RFC 5280, section 5). But for what
// mu guards, and signer, it is immutable once others see it.
type crl struct {
	issuer      string   // who made it, as nameKey writes it
	dn          string   // the same for people
	number      *big.Int // nil: it has none
	from, until time.Time
	revoked     map[string]struct{} // serial numbers in hexadecimal
	keyID       string              // its authorityKeyIdentifier; empty: it has none
	point       string              // its issuingDistributionPoint, in DER; empty: it has none

	// signer is the key that has signed it, as keyOf writes it: that of a
	// certificate that is believed here, and has the issuer's name. Until there is
	// one it says nothing.
	signer atomic.Pointer[string]

	mu sync.Mutex
	// Guarded by mu.
	list *x509.RevocationList // what a signature is checked on; nil once there is a signer
}

var (
	oidDeltaCRL          = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidIssuingPoint      = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidAuthorityKeyID    = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidCRLNumber         = asn1.ObjectIdentifier{2, 5, 29, 20}
	oidReasonCode        = asn1.ObjectIdentifier{2, 5, 29, 21}
	oidInvalidityDate    = asn1.ObjectIdentifier{2, 5, 29, 24}
	oidCertificateIssuer = asn1.ObjectIdentifier{2, 5, 29, 29}
	tagIndirectCRL       = 4 // of IssuingDistributionPoint
	tagOnlyAttributeCert = 5
)

// parseCRLs reads the lists in a file: PEM, in which other things may stand
// beside them, or one list in DER. It refuses PEM of which a block is cut off or
// damaged, whatever it was.
func parseCRLs(data []byte) ([]*crl, error) {
	var lists []*crl
	blocks := 0
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		blocks++
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
	case blocks > 0 && blocks < pemBegins(data): // package pem passes over what it cannot read
		return nil, errors.New("a part of it is cut off or damaged")
	case blocks > 0:
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

// pemBegins counts the lines that begin a block.
func pemBegins(data []byte) (n int) {
	for line := range bytes.Lines(data) {
		if bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte("-----BEGIN")) {
			n++
		}
	}
	return n
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
		revoked: make(map[string]struct{}, len(list.RevokedCertificateEntries)), keyID: string(list.AuthorityKeyId), list: list,
	}
	for _, e := range list.Extensions {
		if e.Id.Equal(oidIssuingPoint) {
			c.point = string(e.Value)
		}
	}
	for _, entry := range list.RevokedCertificateEntries {
		if err := checkEntryExtensions(entry.Extensions); err != nil {
			return nil, err
		}
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

// checkEntryExtensions does that to one entry: with an issuer of its own, it and
// all that follow are about certificates of somebody else.
func checkEntryExtensions(extensions []pkix.Extension) error {
	for _, e := range extensions {
		switch {
		case e.Id.Equal(oidCertificateIssuer):
			return errors.New("the list has entries of other issuers' certificates (an indirect CRL): want one of each issuer")
		case e.Critical && !e.Id.Equal(oidReasonCode) && !e.Id.Equal(oidInvalidityDate):
			return fmt.Errorf("an entry of the list has a critical extension that is not known here: %v", e.Id)
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

// signed tells whether the list counts.
func (c *crl) signed() bool { return c.signer.Load() != nil }

// verify looks for the one of the certificates, all of the issuer's name, whose
// key has signed the list, and may; unless it was found before.
func (c *crl) verify(issuers []*x509.Certificate) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.signed() {
		return true
	}
	for _, meant := range []bool{true, false} { // whom it names first: the others cost a check each
		for _, cert := range issuers {
			if (string(cert.SubjectKeyId) == c.keyID) != meant || c.list.CheckSignatureFrom(cert) != nil {
				continue
			}
			key := keyOf(cert)
			c.list = nil // its bytes may be much
			c.signer.Store(&key)
			return true
		}
	}
	return false
}

// follows tells whether two lists are of one series, in which each takes the
// place of the one before it: a CA that has changed its key under its name has
// two, and so has one that makes a list for each kind of certificate.
func (c *crl) follows(other *crl) bool {
	if c.issuer != other.issuer || c.point != other.point {
		return false
	}
	if a, b := c.signer.Load(), other.signer.Load(); a != nil && b != nil {
		return *a == *b
	}
	return c.keyID == other.keyID
}

// olderThan tells whether the list was made before another of its series: it
// has a lower number, or with the same an earlier date, or with both the same it
// lacks what the other says.
func (c *crl) olderThan(other *crl) bool {
	if c.number != nil && other.number != nil {
		if d := c.number.Cmp(other.number); d != 0 {
			return d < 0
		}
	}
	if !c.from.Equal(other.from) {
		return c.from.Before(other.from)
	}
	for serial := range other.revoked {
		if _, there := c.revoked[serial]; !there {
			return true
		}
	}
	return false
}

// replaces tells whether nothing is lost when another list goes: this one is of
// its series, not older, and counts if that one does.
func (c *crl) replaces(other *crl) bool {
	return c.follows(other) && !c.olderThan(other) && (c.signed() || !other.signed())
}
