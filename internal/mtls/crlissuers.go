package mtls

import (
	"crypto/x509"
	"slices"
)

// What settle finds of a list.
type verdict uint8

const (
	unknown  verdict = iota // its issuer is not believed here, yet
	verified                // its issuer has signed it
	refuted                 // its issuer has not
)

// issuers are the certificates that may have signed lists, by nameKey of their
// subjects. It is immutable.
type issuers struct {
	byName map[string][]*x509.Certificate
	fixed  map[string]bool // names of which there is a CA that is configured
}

// newIssuers takes the CAs that are configured, and those in between that were
// seen.
func newIssuers(configured, seen []*x509.Certificate) *issuers {
	i := &issuers{map[string][]*x509.Certificate{}, map[string]bool{}}
	for n, cert := range slices.Concat(configured, seen) {
		key := nameKey(cert.RawSubject)
		if n < len(configured) {
			i.fixed[key] = true
		}
		if !slices.ContainsFunc(i.byName[key], cert.Equal) {
			i.byName[key] = append(i.byName[key], cert)
		}
	}
	return i
}

// believe tells whether who has signed a list is still among them.
func (i *issuers) believe(list *crl) bool {
	signer := list.signer.Load()
	return signer != nil && slices.ContainsFunc(i.byName[list.issuer], func(cert *x509.Certificate) bool { return keyOf(cert) == *signer })
}

// settle verifies a list, unless it is already. Of CAs that were only seen there
// may be another one of the name, with another key, that nobody has shown yet:
// these refute nothing.
func (i *issuers) settle(list *crl) verdict {
	switch {
	case list.verify(i.byName[list.issuer]):
		return verified
	case i.fixed[list.issuer]:
		return refuted
	}
	return unknown
}
