package daemon

import (
	"errors"
	"strings"
	"time"

	"busd/bus"
	"busd/daemon/internal/config"
	"busd/internal/mtls"
)

// acceptsProxies tells whether a proxy certificate (RFC 3820) counts as its user's.
func acceptsProxies(c *config.Config) bool { return c.Auth.Proxies == "accept" }

// readCertificates reads the files, and keeps the keys of session tickets where
// it is told. All listeners have the same.
func readCertificates(c *config.Config, tickets mtls.Tickets) (*mtls.Source, error) {
	naming, err := mtls.NewNaming(c.TLS.PeerName...)
	if err != nil {
		return nil, &config.Error{Faults: []*config.Fault{c.Fault("tls.peer_name", "%v", err)}}
	}
	source, err := mtls.NewSource(
		mtls.Files{Cert: c.TLS.Certificate, Key: c.TLS.Key, CA: c.TLS.ClientCA, CRL: c.TLS.CRL, Tickets: tickets},
		mtls.Policy{Naming: naming, HTTP2: true, Proxies: acceptsProxies(c), RefuseStale: c.TLS.StaleCRL == "refuse"},
	)
	if err != nil {
		return nil, certificateFault(c, err)
	}
	return source, nil
}

// certificateFault points at the key whose file cannot be used.
func certificateFault(c *config.Config, err error) error {
	reason := err.Error()
	var e *bus.Error
	if errors.As(err, &e) {
		reason = e.Reason
	}
	path := "tls"
	if said := whereSaid(c, reason); said != "" {
		path = said
	}
	return &config.Error{Faults: []*config.Fault{c.Fault(path, "%s", reason)}}
}

func whereSaid(c *config.Config, reason string) string {
	switch {
	case strings.HasPrefix(reason, "certificate file "+c.TLS.Certificate):
		return "tls.certificate"
	case strings.HasPrefix(reason, "key file "+c.TLS.Key):
		return "tls.key"
	case strings.HasPrefix(reason, "CA file "):
		return "tls.client_ca"
	case strings.HasPrefix(reason, "CRL file "):
		return "tls.crl"
	case strings.HasPrefix(reason, "deny file"):
		return "tls.deny_file"
	case strings.Contains(reason, "session ticket file "):
		return "tls.session_tickets"
	}
	return ""
}

// certificateEnd is when the certificate expires that is served now.
func (s *server) certificateEnd() time.Time { return s.certs.Leaf().NotAfter }
