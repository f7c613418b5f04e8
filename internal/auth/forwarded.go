package auth

import (
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"busd/bus"
	"busd/internal/mtls"
)

// Bounds on a certificate that is passed on, and on those that come with it.
const (
	// MaxForwarded bounds the header, in bytes.
	MaxForwarded = 32 << 10
	// MaxForwardedCertificates is all proxy certificates that a chain may have,
	// the user's, and some of CAs.
	MaxForwardedCertificates = mtls.MaxProxies + 4
)

// The headers of a proxy, in the form that net/http gives to names. DIRAC's
// document spells the first with underscores; a proxy may set either, or both.
var (
	verifyHeaders     = []string{"X-Ssl_client_verify", "X-Ssl-Client-Verify"}
	certificateHeader = "X-Ssl-Cert"
)

// isProxy tells whether a request from this address stands for somebody else.
func (a *Authenticator) isProxy(remote string) bool {
	if len(a.proxies) == 0 {
		return false
	}
	from, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	addr := from.Addr().Unmap().WithZone("")
	return slices.ContainsFunc(a.proxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// forwarded returns the certificates that a proxy passes on, the one that was
// shown to it first, as the proxy says, and nothing if it says that none was
// shown. What does not fit together is an error: then somebody has set the proxy
// up wrong, or got a header of his own past it.
func forwarded(h http.Header) ([]*x509.Certificate, *bus.Error) {
	var said []string
	for _, name := range verifyHeaders {
		said = append(said, h[name]...)
	}
	certs := h[certificateHeader]
	good := slices.ContainsFunc(said, func(word string) bool { return word == "SUCCESS" })
	shown := len(certs) > 0 && certs[0] != ""
	switch {
	case len(certs) > 1:
		return nil, refuse("the proxy passes on the client certificate twice")
	case !shown && !good && !slices.ContainsFunc(said, func(word string) bool { return word != "" && word != "NONE" }):
		return nil, nil
	case !good || slices.ContainsFunc(said, func(word string) bool { return word != "SUCCESS" }):
		return nil, refuse("the proxy does not say that it has verified the client certificate")
	case !shown:
		return nil, refuse("the proxy says that it has verified a client certificate, and does not pass it on")
	}
	return parseForwarded(certs[0])
}

// parseForwarded reads certificates in PEM, percent-encoded.
func parseForwarded(value string) ([]*x509.Certificate, *bus.Error) {
	broken := refuse("the client certificate that the proxy passes on cannot be read")
	if len(value) > MaxForwarded {
		return nil, refuse("the client certificate that the proxy passes on is too long: at most %d bytes are allowed", MaxForwarded)
	}
	text, err := url.PathUnescape(value) // in which a plus is a plus
	if err != nil {
		return nil, broken
	}
	var certs []*x509.Certificate
	for rest := strings.TrimSpace(text); rest != ""; rest = strings.TrimSpace(rest) {
		var one string
		one, rest, _ = strings.Cut(rest, "-----END CERTIFICATE-----")
		body, ok := strings.CutPrefix(one, "-----BEGIN CERTIFICATE-----")
		if !ok || len(certs) == MaxForwardedCertificates {
			return nil, broken
		}
		// Not by package pem, which skips what it cannot read, up to the next.
		der, err := base64.StdEncoding.Strict().DecodeString(strings.Join(strings.Fields(body), ""))
		if err != nil {
			return nil, broken
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, broken
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, broken
	}
	return certs, nil
}
