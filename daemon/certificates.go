package daemon

import (
	"errors"
	"strings"
	"time"

	"busd/bus"
	"busd/daemon/internal/config"
	"busd/internal/mtls"
)

// certificates are the sources of certificates: one for each way to treat
// clients that show none, by the word in the configuration. All of them read
// the same files.
type certificates map[string]*mtls.Source

// end is when the certificate expires that is served now.
func (c certificates) end() time.Time {
	for _, source := range c {
		return source.Leaf().NotAfter
	}
	return time.Time{}
}

// acceptsProxies tells whether a proxy certificate (RFC 3820) counts as its user's.
func acceptsProxies(c *config.Config) bool { return c.Auth.Proxies == "accept" }

// verifier says what certificates prove.
func (c certificates) verifier() *mtls.Verifier {
	for _, source := range c {
		return source.Verifier()
	}
	return nil
}

// readCertificates reads the files, and keeps the keys of session tickets where
// it is told.
func readCertificates(c *config.Config, tickets mtls.Tickets) (certificates, error) {
	naming, err := mtls.NewNaming(c.TLS.PeerName...)
	if err != nil {
		return nil, &config.Error{Faults: []*config.Fault{c.Fault("tls.peer_name", "%v", err)}}
	}
	all := certificates{}
	for _, l := range c.Listeners {
		if all[l.ClientCertificate] != nil {
			continue
		}
		source, err := mtls.NewSource(
			mtls.Files{Cert: c.TLS.Certificate, Key: c.TLS.Key, CA: c.TLS.ClientCA, Tickets: tickets},
			mtls.Policy{
				Require: l.ClientCertificate == "require", Naming: naming, HTTP2: true, Proxies: acceptsProxies(c),
			},
		)
		if err != nil {
			return nil, certificateFault(c, err)
		}
		all[l.ClientCertificate] = source
	}
	return all, nil
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
	case strings.Contains(reason, "session ticket file "):
		return "tls.session_tickets"
	}
	return ""
}
