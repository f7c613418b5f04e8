package mtls

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
)

// altNames are the subject alternative names of a certificate as raw bytes.
// crypto/x509 parses URIs and puts them together again, which does not always
// give back what stood there.
type altNames struct {
	uris, dns, emails []string
}

var oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// Tags of GeneralName, RFC 5280 section 4.2.1.6.
const (
	tagEmail = 1
	tagDNS   = 2
	tagURI   = 6
)

func altNamesOf(cert *x509.Certificate) (altNames, error) {
	var names altNames
	i := slices.IndexFunc(cert.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidSubjectAltName) })
	if i < 0 {
		return names, nil
	}
	var seq asn1.RawValue
	rest, err := asn1.Unmarshal(cert.Extensions[i].Value, &seq)
	if err != nil {
		return names, fmt.Errorf("subject alternative names: %w", err)
	}
	if len(rest) > 0 || !seq.IsCompound || seq.Tag != asn1.TagSequence || seq.Class != asn1.ClassUniversal {
		return names, errors.New("subject alternative names: not one sequence")
	}
	for rest = seq.Bytes; len(rest) > 0; {
		var name asn1.RawValue
		if rest, err = asn1.Unmarshal(rest, &name); err != nil {
			return names, fmt.Errorf("subject alternative names: %w", err)
		}
		if name.Class != asn1.ClassContextSpecific {
			return names, errors.New("subject alternative names: a name of an unknown class")
		}
		if name.IsCompound && (name.Tag == tagEmail || name.Tag == tagDNS || name.Tag == tagURI) {
			return names, errors.New("subject alternative names: a text in parts")
		}
		switch name.Tag {
		case tagEmail:
			names.emails = append(names.emails, string(name.Bytes))
		case tagDNS:
			names.dns = append(names.dns, string(name.Bytes))
		case tagURI:
			names.uris = append(names.uris, string(name.Bytes))
		}
	}
	return names, nil
}
