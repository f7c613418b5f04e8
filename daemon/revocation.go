package daemon

import (
	"time"

	"go.uber.org/zap"

	"busd/daemon/internal/admin"
)

// crlCheck is how often it is looked whether lists of revoked certificates are
// out of date, and told.
const crlCheck = time.Hour

// countFiles counts a reload of certificate files.
func (s *server) countFiles(err error) {
	if err != nil {
		s.filesBad.Add(1)
	} else {
		s.filesRead.Add(1)
	}
}

// polled is told what came of looking at the certificate files.
func (s *server) polled(err error) {
	s.countFiles(err)
	if err != nil {
		s.logs.Error("certificate files cannot be used, the last good ones are", zap.NamedError("reason", err))
		return
	}
	s.logs.Info("certificates reloaded", s.notAfter(), zap.Int("crls", len(s.certs.CRLs())))
	s.revoke()
	s.watchCRLs()
}

// denyPolled is told what came of looking at the file of denied certificates.
func (s *server) denyPolled(err error) {
	if err != nil {
		s.countFiles(err)
		s.logs.Error("the deny file cannot be used, what was denied before is", zap.NamedError("reason", err))
		return
	}
	s.logs.Info("deny list reloaded", zap.Int("entries", s.denials.len()))
	s.revoke()
}

// revoke ends the connections, the sessions and the calls of those whose
// certificates were revoked or denied.
func (s *server) revoke() (conns, sessions int) {
	conns, sessions = s.bus.CredentialsChanged()
	calls := 0
	if s.methods != nil {
		calls = s.methods.CredentialsChanged()
	}
	if conns+sessions+calls > 0 {
		s.logs.Info("revoked certificates lost their connections",
			zap.Int("connections", conns), zap.Int("sessions", sessions), zap.Int("calls", calls))
	}
	return conns, sessions
}

// watchCRLs tells which lists of revoked certificates are out of date, each hour
// anew.
func (s *server) watchCRLs() {
	lists := s.certs.CRLs()
	if len(lists) == 0 && len(s.crlPaths) > 0 {
		s.logs.Error("there is no list of revoked certificates in tls.crl: who was revoked is not known here", zap.Strings("files", s.crlPaths))
	}
	for _, list := range lists {
		if time.Now().After(list.NextUpdate) {
			s.logs.Error("a list of revoked certificates is out of date: who was revoked since is not known here",
				zap.String("issuer", list.Issuer), zap.String("file", list.Path), zap.Time("next_update", list.NextUpdate.UTC()),
				zap.String("stale_crl", s.staleCRL))
		}
	}
}

// crlsDue is watchCRLs for who calls it every so often.
func (s *server) crlsDue() (bool, error) {
	s.watchCRLs()
	return false, nil
}

// revocations are the numbers of lists and entries.
func (s *server) revocations() admin.Revocations {
	r := admin.Revocations{Denied: s.denials.len()}
	now := time.Now()
	for _, list := range s.certs.CRLs() {
		switch {
		case !list.Verified:
			r.Unverified++
			continue
		case now.After(list.NextUpdate):
			r.Stale++
		default:
			r.Good++
		}
		r.Revoked += list.Revoked
		if r.NextUpdate.IsZero() || list.NextUpdate.Before(r.NextUpdate) {
			r.NextUpdate = list.NextUpdate
		}
	}
	r.Reloads, r.Failed = s.filesRead.Load(), s.filesBad.Load()
	r.Failing = s.certs.Fault() != nil || s.denials.fault() != nil
	return r
}

// denyList is what operators do with the deny list of a running server.
type denyList struct{ server *server }

// List returns all entries.
func (d denyList) List() []admin.Denial { return d.server.denials.list() }

// Persistent tells whether what is added is kept.
func (d denyList) Persistent() bool { return d.server.denials.path != "" }

// Add adds an entry, and ends what it is true of.
func (d denyList) Add(said admin.Denial) (admin.DenyOutcome, error) {
	s := d.server
	added, err := s.denials.add(said)
	if err != nil {
		return admin.DenyOutcome{}, err
	}
	o := admin.DenyOutcome{Changed: added, Persistent: d.Persistent()}
	o.Connections, o.Sessions = s.revoke()
	s.logDenial("a certificate was denied", said, added)
	return o, nil
}

// Remove removes an entry.
func (d denyList) Remove(said admin.Denial) (admin.DenyOutcome, error) {
	removed, err := d.server.denials.remove(said)
	if err != nil {
		return admin.DenyOutcome{}, err
	}
	d.server.logDenial("a certificate is denied no more", said, removed)
	return admin.DenyOutcome{Changed: removed, Persistent: d.Persistent()}, nil
}

func (s *server) logDenial(what string, said admin.Denial, changed bool) {
	if !changed {
		return
	}
	entry, _ := entryOf(said) // it was checked
	s.logs.Warn(what, zap.String("entry", entry.String()), zap.String("note", said.Note))
}

var _ admin.DenyList = denyList{}

// reloadCertificates reads all files of certificates now.
func (s *server) reloadCertificates() (changed bool, err error) {
	changed, err = s.certs.Reload()
	s.countFiles(err)
	if err != nil {
		err = certificateFault(s.config, err)
	}
	denied, wrong := s.denials.reload()
	if wrong != nil {
		s.countFiles(wrong)
		err = together([]error{err, certificateFault(s.config, wrong)})
	}
	s.revoke()
	return changed || denied, err
}
