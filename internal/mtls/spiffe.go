package mtls

import (
	"errors"
	"fmt"
	"strings"
)

// Limits of the SPIFFE ID standard, in bytes.
const (
	maxSPIFFE      = 2048
	maxTrustDomain = 255
)

const spiffeScheme = "spiffe"

// isSPIFFE tells whether a URI claims to be a SPIFFE ID. Letter case is
// ignored here, so that an ID with a wrong one is refused by checkSPIFFE and
// not taken for some other URI.
func isSPIFFE(uri string) bool {
	return len(uri) > len(spiffeScheme) && uri[len(spiffeScheme)] == ':' &&
		strings.EqualFold(uri[:len(spiffeScheme)], spiffeScheme)
}

// checkSPIFFE checks an ID by the SPIFFE ID standard, and that it has a path,
// as the leaf of an X509-SVID must. What the standard does not allow (query,
// fragment, user, port, percent-encoding) is outside its alphabets.
func checkSPIFFE(id string) error {
	if len(id) > maxSPIFFE {
		return fmt.Errorf("a SPIFFE ID has at most %d bytes, this one %d", maxSPIFFE, len(id))
	}
	rest, ok := strings.CutPrefix(id, spiffeScheme+"://")
	if !ok {
		return errors.New("a SPIFFE ID begins with spiffe:// in lower case")
	}
	domain, path, ok := strings.Cut(rest, "/")
	if !ok {
		return errors.New("a SPIFFE ID that names a client has a path after its trust domain")
	}
	if domain == "" || len(domain) > maxTrustDomain {
		return fmt.Errorf("the trust domain of a SPIFFE ID has 1 to %d bytes, this one %d", maxTrustDomain, len(domain))
	}
	for i := range len(domain) {
		if c := domain[i]; !isSPIFFEByte(c) || 'A' <= c && c <= 'Z' {
			return fmt.Errorf("the trust domain of a SPIFFE ID is made of [a-z0-9._-], this one has %q", c)
		}
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return errors.New("the path of a SPIFFE ID has no empty, . or .. segment")
		}
		for i := range len(segment) {
			if !isSPIFFEByte(segment[i]) {
				return fmt.Errorf("the path of a SPIFFE ID is made of [A-Za-z0-9._-], this one has %q", segment[i])
			}
		}
	}
	return nil
}

func isSPIFFEByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-'
}
