package mtls

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"sync"
	"sync/atomic"
	"time"
)

// A Source serves certificates from files and reads them again, without
// dropping anyone: each handshake takes what was read last. If the files
// cannot be used, what was read before stays. All methods may be called
// concurrently.
type Source struct {
	// Fixed at creation.
	files  Files
	policy Policy
	config *tls.Config

	current atomic.Pointer[generation]

	// mu makes reloads one after the other.
	mu      sync.Mutex
	seen    [sha256.Size]byte
	tickets *ticketKeeper // nil: the keys of session tickets are in memory
}

// NewSource reads the files. The error names the file that cannot be used:
// missing, not PEM, a key that is not the certificate's, a key file that
// others than its owner may read, no CA at all; or a file of session ticket
// keys that others may read, or that cannot be written.
func NewSource(files Files, policy Policy) (*Source, error) {
	s := &Source{files: files, policy: policy}
	if files.Tickets.File != "" {
		s.tickets = newTicketKeeper(files.Tickets, policy.now)
	}
	if _, err := s.Reload(); err != nil {
		return nil, err
	}
	s.config = &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: policy.nextProtos(),
		Time:       policy.now,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return s.current.Load().config, nil
		},
	}
	return s, nil
}

// Config returns the configuration for a listener. It stays valid: handshakes
// follow the files.
func (s *Source) Config() *tls.Config { return s.config }

// Leaf returns the certificate that is served now, for a notice before it
// expires. The caller must not change it.
func (s *Source) Leaf() *x509.Certificate { return s.current.Load().config.Certificates[0].Leaf }

// Reload reads the files now. It tells whether they had changed. On an error
// nothing changes. TLS sessions can be resumed across a change, except of the
// set of CAs. It also looks at the file of session ticket keys, if there is
// one; what is wrong with that is told to [Tickets.Warn] alone.
func (s *Source) Reload() (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed, err = s.reloadLocked()
	if s.tickets != nil && s.current.Load() != nil {
		s.tickets.keep()
	}
	return changed, err
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
	if err != nil {
		return false, err
	}
	g, err := newGeneration(m, s.policy, last)
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
// error. It compares contents, so that neither a quick second change nor a
// swapped symbolic link escapes it. report, which may be nil, is called with
// nil when other files are served, and with an error when files cannot be
// used; the same error again and again is reported once.
//
// Without Run, or calls of Reload, keys of session tickets in a file do not
// rotate.
func (s *Source) Run(ctx context.Context, every time.Duration, report func(err error)) error {
	return Poll(ctx, every, s.Reload, report)
}
