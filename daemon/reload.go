package daemon

import (
	"errors"
	"strings"

	"go.uber.org/zap"

	"busd/daemon/internal/config"
)

// reload reads configuration, certificates and keys again, and applies what a
// running program can. If anything is wrong nothing of the configuration
// changes. Certificates, and the keys of each issuer of tokens, are taken each
// for itself, as they are by those who look at their files every so often: what
// is good of them is in use also where something else is wrong with them. If
// the configuration is wrong they are not read here.
func (s *server) reload() {
	next, warnings, err := s.program.load(s.options)
	renewed := false
	if err == nil {
		var nobody []string
		nobody, err = s.program.checkAccess(next, s.options.Dev)
		warnings = append(warnings, nobody...)
		err = together([]error{err, checkDeny(next)})
	}
	if err == nil {
		renewed, err = s.reloadFiles()
	}
	if err != nil {
		s.admin.Reloaded(err)
		s.logs.Error("configuration not reloaded, what ran before goes on", zap.Strings("faults", faultsOf(err)))
		return
	}
	for _, w := range warnings {
		s.logs.Warn("configuration", zap.String("warning", w))
	}
	if s.pki != nil { // the files are not the operator's
		next.TLS.Certificate, next.TLS.Key, next.TLS.ClientCA = s.config.TLS.Certificate, s.config.TLS.Key, s.config.TLS.ClientCA
		next.TLS.SessionTickets, next.TLS.DenyFile = s.config.TLS.SessionTickets, s.config.TLS.DenyFile
	}
	var applied, restart []string
	for _, change := range s.config.Changes(next) {
		text := change.Path + ": " + change.Old + " -> " + change.New
		if change.Live {
			applied = append(applied, text)
		} else {
			restart = append(restart, text)
		}
	}
	if err := s.apply(next); err != nil { // it was checked: this cannot be
		s.logs.Error("access or deny list not reloaded", zap.NamedError("reason", err))
	}
	s.admin.Reloaded(nil) // once it is in force
	s.logs.Info("configuration reloaded", zap.Strings("applied", applied), zap.Strings("needs_restart", restart),
		zap.Bool("certificates_changed", renewed), s.notAfter())
}

// apply puts the keys marked live in force. The configuration in force keeps
// its other keys, so that the next reload still tells that they need a
// restart.
func (s *server) apply(next *config.Config) error {
	s.config.Deny, s.config.Log.Level = next.Deny, next.Log.Level
	for _, g := range s.gates {
		g.SetDeny(next.Deny)
	}
	s.logs.setLevel(next.Log.Level)
	s.config.Access = next.Access
	for name, said := range next.Services {
		now := s.config.Services[name]
		now.Access = said.Access
		s.config.Services[name] = now
	}
	if err := s.policy.Swap(s.program.accessOf(s.config, s.options.Dev)); err != nil {
		return err
	}
	s.bus.AccessChanged()
	s.config.TLS.Deny = next.TLS.Deny
	if err := s.denials.configure(denialsOf(next)); err != nil {
		return err
	}
	s.revoke()
	return nil
}

// reloadFiles reads certificates and the keys of tokens, and tells whether the
// former had changed. The error has what is wrong with either.
func (s *server) reloadFiles() (renewed bool, err error) {
	renewed, wrong := s.reloadCertificates()
	all := &config.Error{}
	for _, err := range []error{wrong, s.reloadKeys()} {
		var e *config.Error
		if errors.As(err, &e) {
			all.Faults = append(all.Faults, e.Faults...)
		}
	}
	if all.Faults != nil {
		return false, all
	}
	return renewed, nil
}

// faultsOf returns a line for each thing that is wrong.
func faultsOf(err error) []string {
	var e *config.Error
	if !errors.As(err, &e) {
		return []string{err.Error()}
	}
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i], _, _ = strings.Cut(f.Error(), "\n")
	}
	return lines
}
