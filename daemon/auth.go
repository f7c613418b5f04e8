package daemon

import (
	"fmt"

	"go.uber.org/zap"

	"busd/bus"
	"busd/daemon/internal/config"
	"busd/internal/auth"
	"busd/internal/mtls"
)

// newAuth makes what finds out who sends a request, and reads the keys of
// tokens.
func newAuth(c *config.Config, certificates *mtls.Verifier) (*auth.Authenticator, error) {
	var faults []*config.Fault
	all := auth.Config{Certificates: certificates, Proxies: c.Auth.TrustedProxies}
	if _, err := auth.New(all); err != nil {
		faults = append(faults, c.Fault("auth.trusted_proxies", "%s", reasonOf(err)))
	}
	for i, t := range c.Auth.Tokens {
		one := auth.Issuer{Name: t.Issuer, KeyFiles: t.JWKS, Audiences: t.Audience, Algorithms: t.Algorithms, GroupClaim: t.GroupClaim}
		if _, err := auth.New(auth.Config{Certificates: certificates, Issuers: []auth.Issuer{one}}); err != nil {
			at := fmt.Sprintf("auth.tokens[%d]", i)
			if bus.CodeOf(err) == bus.CodeFailedPrecondition {
				at += ".jwks"
			}
			faults = append(faults, c.Fault(at, "%s", reasonOf(err)))
		}
		all.Issuers = append(all.Issuers, one)
	}
	if faults != nil {
		return nil, &config.Error{Faults: faults}
	}
	a, err := auth.New(all)
	if err != nil {
		return nil, &config.Error{Faults: []*config.Fault{c.Fault("auth", "%s", reasonOf(err))}}
	}
	return a, nil
}

// reasonOf is what a fault of a file says.
func reasonOf(err error) string { return bus.AsError(err).Reason }

// keysPolled is told what came of looking at the files with the keys of tokens.
func (s *server) keysPolled(err error) {
	if err != nil {
		s.logs.Error("token keys cannot be used, the last good ones are", zap.NamedError("reason", err))
		return
	}
	s.logs.Info("token keys reloaded")
}

// reloadKeys reads the keys of tokens anew. The error is a [config.Error].
func (s *server) reloadKeys() error {
	if _, err := s.auth.Reload(); err != nil {
		return &config.Error{Faults: []*config.Fault{s.config.Fault("auth.tokens", "%s", reasonOf(err))}}
	}
	return nil
}
