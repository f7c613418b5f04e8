package mtls

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"busd/bus"
)

// A Source serves certificates from files and reads them again, without
// dropping anyone: each handshake takes what was read last. If the files
// cannot be used, what was read before stays. It also knows which certificates
// were revoked: by lists in files, and by a deny list ([Source.Deny]); no
// handshake succeeds with one of these, and [Credential.Revoked] tells it of
// connections that are open. All methods may be called concurrently.
type Source struct {
	// Fixed at creation.
	files             Files
	policy            Policy
	config, requiring *tls.Config
	revoked           *revocations

	current atomic.Pointer[generation]
	failed  atomic.Pointer[error] // what came of reading the files last; nil: they were not read

	// mu makes reloads one after the other.
	mu       sync.Mutex
	seen     [sha256.Size]byte
	badLists []crlFault
	looked   *sight        // how the files looked before they were read last
	tickets  *ticketKeeper // nil: the keys of session tickets are in memory
}

// NewSource reads the files. The error names the file that cannot be used:
// missing, not PEM, a key that is not the certificate's, a key file that
// others than its owner may read, no CA at all; a list of revoked certificates
// that was named and is missing, or no such list, or not signed by its issuer;
// or a file of session ticket keys that others may read, or that cannot be
// written. What is wrong with lists in a directory is an error only with
// [Policy.RefuseStale]; else Reload says it.
func NewSource(files Files, policy Policy) (*Source, error) {
	s := &Source{files: files, policy: policy, revoked: newRevocations(policy)}
	if files.Tickets.File != "" {
		s.tickets = newTicketKeeper(files.Tickets, policy.now)
	}
	if _, err := s.Reload(); err != nil && (s.current.Load() == nil || s.refusesToStart()) {
		return nil, err
	}
	s.config = s.following(func(g *generation) *tls.Config { return g.config })
	s.requiring = s.following(func(g *generation) *tls.Config { return g.requiring })
	return s, nil
}

func (s *Source) following(of func(*generation) *tls.Config) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: s.policy.nextProtos(),
		Time:       s.policy.now,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return of(s.current.Load()), nil
		},
	}
}

// Config returns the configuration for a listener. It stays valid: handshakes
// follow the files.
func (s *Source) Config() *tls.Config { return s.config }

// Requiring is Config for a listener that demands a client certificate, whatever
// [Policy.Require] says.
func (s *Source) Requiring() *tls.Config { return s.requiring }

// Deny puts another deny list in force, at once; nil denies nobody.
func (s *Source) Deny(list *DenyList) { s.revoked.setDeny(list) }

// Fault is what was wrong with the files when they were read last, or nil. It
// does not wait while they are read.
func (s *Source) Fault() error {
	if failed := s.failed.Load(); failed != nil {
		return *failed
	}
	return nil
}

// CRLs returns the lists of revoked certificates that are in use. It does not
// wait while files are read.
func (s *Source) CRLs() []CRL { return s.revoked.all() }

// Leaf returns the certificate that is served now, for a notice before it
// expires. The caller must not change it.
func (s *Source) Leaf() *x509.Certificate { return s.current.Load().config.Certificates[0].Leaf }

// Reload reads the files now. It tells whether they had changed. On an error of
// certificate, key or CAs none of these changes; lists of revoked certificates
// are taken each for itself, so that there may be both a change and an error.
// TLS sessions can be resumed across a change, except of the set of CAs. It also
// looks at the file of session ticket keys, if there is one; what is wrong with
// that is told to [Tickets.Warn] alone.
func (s *Source) Reload() (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readLocked(s.look())
}

// lookAgain is Reload that reads nothing of files which look as they did.
func (s *Source) lookAgain() (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.look()
	if s.looked.same(now) {
		if s.tickets != nil {
			s.tickets.keep()
		}
		return false, s.Fault()
	}
	return s.readLocked(now)
}

func (s *Source) look() *sight {
	paths := slices.Concat([]string{s.files.Cert, s.files.Key}, s.files.CA, s.files.CRL)
	return look(paths, func(name string) bool { return isCAFile(name) || isCRLFile(name) }, time.Now())
}

func (s *Source) readLocked(now *sight) (changed bool, err error) {
	changed, err = s.reloadLocked()
	if g := s.current.Load(); g != nil {
		if s.tickets != nil {
			s.tickets.keep()
		}
		revoked, faults := s.revoked.load(s.files.CRL, g.issuers)
		changed = changed || revoked
		s.badLists = faults
		err = together(err, faults)
	}
	s.looked = now
	s.failed.Store(&err)
	return changed, err
}

// refusesToStart tells whether what is wrong with lists of revoked certificates
// is too much to begin with.
func (s *Source) refusesToStart() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.policy.RefuseStale || slices.ContainsFunc(s.badLists, func(f crlFault) bool { return f.named })
}

// maxTold bounds how many faults of lists one error names.
const maxTold = 5

// together makes one error of what is wrong with certificates and with lists.
func together(err error, faults []crlFault) error {
	var errs []error
	if err != nil {
		errs = append(errs, err)
	}
	for i, f := range faults {
		if i == maxTold {
			errs = append(errs, broken(nil, fmt.Sprintf("and %d more CRL files", len(faults)-maxTold)))
			break
		}
		errs = append(errs, f.err)
	}
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	reasons := make([]string, len(errs))
	for i, e := range errs {
		reasons[i] = bus.AsError(e).Reason
	}
	return broken(nil, strings.Join(reasons, "; "))
}

func (s *Source) reloadLocked() (changed bool, err error) {
	c, err := s.files.readServer()
	if err != nil {
		return false, err
	}
	hash := c.hash()
	last := s.current.Load()
	if last != nil && hash == s.seen {
		return false, nil
	}
	m, err := serverMaterial(c.cert, c.key, c.cas)
	if err == nil && last != nil {
		err = s.noWorse(c.cert.name, m.Certificate.Leaf)
	}
	if err != nil {
		return false, err
	}
	g, err := newGeneration(m, s.policy, last, s.revoked)
	if err != nil {
		return false, err
	}
	if s.tickets != nil && (last == nil || last.cas != g.cas) {
		// Later it stops nothing, and keep tells it: CAs that are believed no
		// more are worse than keys that a restart forgets.
		if err := s.tickets.begin(g.cas, g.tickets); err != nil && last == nil {
			return false, err
		}
	}
	s.current.Store(g)
	s.seen = hash
	return true, nil
}

// Run looks at the files every so often, until ctx ends, and returns ctx's
// error. It reads those that do not look as they did, or were written within the
// last seconds, and every 30 s all of them, and compares contents: neither a quick
// second change nor a swapped symbolic link escapes it. report, which may be nil, is called with
// nil when other files are served, and with an error when files cannot be
// used; the same error again and again is reported once.
//
// Without Run, or calls of Reload, keys of session tickets in a file do not
// rotate.
func (s *Source) Run(ctx context.Context, every time.Duration, report func(err error)) error {
	return Poll(ctx, every, s.lookAgain, report)
}

// noWorse refuses a certificate that is not valid now in place of one that is.
func (s *Source) noWorse(name string, next *x509.Certificate) error {
	now := s.policy.now()
	valid := func(cert *x509.Certificate) bool { return !now.Before(cert.NotBefore) && !now.After(cert.NotAfter) }
	if valid(next) || !valid(s.Leaf()) {
		return nil
	}
	return broken(nil, fmt.Sprintf("%s: the certificate is valid from %s to %s, and not now", name,
		next.NotBefore.UTC().Format(time.RFC3339), next.NotAfter.UTC().Format(time.RFC3339)))
}
