package mtls

import (
	"bytes"
	"crypto/x509"
	"slices"
	"unique"
)

// Bounds of what is above a CA that is configured. Nobody has as much; of what
// is beyond nothing is looked up.
const (
	// maxWay bounds the CAs one above the other.
	maxWay = 8
	// maxWays bounds the ways from one CA, where those above have several
	// certificates each.
	maxWays = 16
)

// ways are, for each CA that is configured and was issued by another that is,
// who stands above it, the nearest first: in all the ways that there are. Being
// configured is no reason to believe a CA that the one above it has revoked, as
// grid sites have both.
type ways map[unique.Handle[mark]][][]unique.Handle[mark]

func waysOf(cas []*x509.Certificate) ways {
	bySubject := map[string][]*x509.Certificate{}
	for _, cert := range cas {
		bySubject[string(cert.RawSubject)] = append(bySubject[string(cert.RawSubject)], cert)
	}
	all := ways{}
	for _, ca := range cas {
		var found [][]unique.Handle[mark]
		var climb func(way []*x509.Certificate)
		climb = func(way []*x509.Certificate) {
			if len(found) == maxWays {
				return
			}
			top, ended := way[len(way)-1], true
			if len(way) <= maxWay && !bytes.Equal(top.RawIssuer, top.RawSubject) {
				for _, issuer := range bySubject[string(top.RawIssuer)] {
					if slices.ContainsFunc(way, issuer.Equal) || top.CheckSignatureFrom(issuer) != nil {
						continue
					}
					ended = false
					climb(append(slices.Clone(way), issuer))
				}
			}
			if ended && len(way) > 1 {
				marks := make([]unique.Handle[mark], 0, len(way)-1)
				for _, cert := range way[1:] {
					marks = append(marks, markOf(cert))
				}
				found = append(found, marks)
			}
		}
		climb([]*x509.Certificate{ca})
		if len(found) > 0 {
			all[markOf(ca)] = found
		}
	}
	return all
}
