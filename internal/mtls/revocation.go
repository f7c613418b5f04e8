package mtls

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"busd/bus"
)

// maxIssuers bounds the intermediate CAs that are kept, to verify lists of
// theirs that come later.
const maxIssuers = 1024

// A mark is what lists of revoked certificates and deny lists know a
// certificate by.
type mark struct {
	issuer unique.Handle[string] // as nameKey writes it
	serial string                // hexadecimal
	key    string                // SHA-256 of the public key, hexadecimal
}

// marks are those of all verified chains of a client, the end-entity first and
// the believed CA last, and of his proxy certificates. Those of CAs are shared.
type marks struct {
	names   clientNames
	chains  [][]unique.Handle[mark]
	proxies []unique.Handle[mark]
}

// clientNames are what a pattern may mean.
type clientNames struct{ peer, subject string }

func markOf(cert *x509.Certificate) unique.Handle[mark] {
	key := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return unique.Make(mark{unique.Make(nameKey(cert.RawIssuer)), cert.SerialNumber.Text(16), hex.EncodeToString(key[:])})
}

func marksOf(chains [][]*x509.Certificate, proxies []*x509.Certificate, peer bus.Peer) *marks {
	m := &marks{names: clientNames{peer.Name, peer.DN}}
	for _, chain := range chains {
		list := make([]unique.Handle[mark], len(chain))
		for i, cert := range chain {
			list[i] = markOf(cert)
		}
		m.chains = append(m.chains, list)
	}
	for _, cert := range proxies {
		m.proxies = append(m.proxies, markOf(cert))
	}
	return m
}

// A Credential is what is kept of verified certificates, so that they can be
// asked about again as long as a connection lives. Its methods may be called
// concurrently.
type Credential struct {
	marks *marks
	in    *revocations
}

// Revoked says whether the certificates were revoked or denied meanwhile, by an
// error of [bus.CodeCertificateRevoked]; nil: they were not. It takes a
// microsecond, and looks at no clock.
func (c *Credential) Revoked() *bus.Error {
	if c == nil || c.in == nil {
		return nil
	}
	return c.in.current.Load().revokes(c.marks)
}

// revocations are what one [Source] knows of revoked certificates.
type revocations struct {
	// Fixed at creation.
	strict bool // who issues must have a list that is in date
	now    func() time.Time

	current atomic.Pointer[revocation]

	mu sync.Mutex
	// Guarded by mu.
	files crlFiles
	// seen are intermediate CAs of clients that were verified, by hash.
	seen map[[sha256.Size]byte]*x509.Certificate
}

// A revocation is what is known at one time. Which lists are signed may change.
type revocation struct {
	lists map[string][]*crl // by issuer
	deny  *DenyList
}

func newRevocations(p Policy) *revocations {
	r := &revocations{strict: p.RefuseStale, now: p.now, files: crlFiles{}, seen: map[[sha256.Size]byte]*x509.Certificate{}}
	r.current.Store(&revocation{})
	return r
}

// load reads the files of lists, and tells whether something else holds now.
func (r *revocations) load(paths []string, cas []*x509.Certificate) (changed bool, faults []crlFault) {
	if len(paths) == 0 {
		return false, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := make([]*x509.Certificate, 0, len(r.seen))
	for _, cert := range r.seen {
		seen = append(seen, cert)
	}
	next, faults := r.files.load(paths, newIssuers(cas, seen))
	for path, file := range next {
		changed = changed || r.files[path] != file
	}
	changed = changed || len(next) != len(r.files)
	if changed {
		r.files = next
		lists := map[string][]*crl{}
		for _, file := range next {
			for _, list := range file.lists {
				lists[list.issuer] = append(lists[list.issuer], list)
			}
		}
		r.current.Store(&revocation{lists: lists, deny: r.current.Load().deny})
	}
	return changed, faults
}

// setDeny puts another deny list in force.
func (r *revocations) setDeny(list *DenyList) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current.Store(&revocation{lists: r.current.Load().lists, deny: list})
}

// learn keeps the intermediate CAs of verified chains, and verifies lists of
// theirs that wait for that.
func (r *revocations) learn(chains [][]*x509.Certificate) {
	if r == nil || !slices.ContainsFunc(chains, func(chain []*x509.Certificate) bool { return len(chain) > 2 }) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, chain := range chains {
		for _, cert := range chain[1:max(1, len(chain)-1)] {
			hash := sha256.Sum256(cert.Raw)
			if r.seen[hash] != nil {
				continue
			}
			if len(r.seen) >= maxIssuers {
				for other := range r.seen { // whichever comes first
					delete(r.seen, other)
					break
				}
			}
			r.seen[hash] = cert
			one := newIssuers([]*x509.Certificate{cert})
			for _, list := range r.current.Load().lists[nameKey(cert.RawSubject)] {
				one.settle(list)
			}
		}
	}
}

// check says why a client with these marks is not to be let in; nil: he is.
func (r *revocations) check(m *marks) error {
	if r == nil {
		return nil
	}
	now := r.current.Load()
	if err := now.revokes(m); err != nil {
		return err
	}
	if r.strict {
		return now.stale(m, r.now())
	}
	return nil
}

// revokes says why a client is out for good. He is not if one of his chains is
// good.
func (r *revocation) revokes(m *marks) *bus.Error {
	for _, proxy := range m.proxies {
		if r.deny.denies(proxy.Value(), m.names) {
			return denied()
		}
	}
	var why *bus.Error
	for _, chain := range m.chains {
		bad := r.badLink(chain, m.names)
		if bad == nil {
			return nil
		}
		why = bad
	}
	return why
}

// badLink says which certificate of a chain is bad.
func (r *revocation) badLink(chain []unique.Handle[mark], names clientNames) *bus.Error {
	for i, link := range chain {
		cert := link.Value()
		if r.deny.denies(cert, names) {
			return denied()
		}
		if i > 0 && i == len(chain)-1 {
			break // it is believed because it is configured, and nobody else's word counts
		}
		for _, list := range r.lists[cert.issuer.Value()] {
			if _, revoked := list.revoked[cert.serial]; !revoked || !list.signed.Load() {
				continue
			}
			if i > 0 {
				return bus.Errorf(bus.CodeCertificateRevoked, "the certificate of the CA that signed the client certificate was revoked")
			}
			return bus.Errorf(bus.CodeCertificateRevoked, "the client certificate was revoked")
		}
	}
	return nil
}

func denied() *bus.Error {
	return bus.Errorf(bus.CodeCertificateRevoked, "the client certificate is denied here")
}

// stale says whose list is missing or out of date, so that nobody can know.
func (r *revocation) stale(m *marks, now time.Time) error {
	var why error
	for _, chain := range m.chains {
		i := slices.IndexFunc(chain[:max(1, len(chain)-1)], func(link unique.Handle[mark]) bool {
			return !slices.ContainsFunc(r.lists[link.Value().issuer.Value()], func(list *crl) bool {
				return list.signed.Load() && !now.After(list.until)
			})
		})
		if i < 0 {
			return nil
		}
		why = refuse("whether the client certificate was revoked cannot be told: the list of its issuer, or of one above, is missing or out of date")
	}
	return why
}

// A CRL is a list of revoked certificates that is in use, for who watches over
// them.
type CRL struct {
	// Issuer is whose it is, in DIRAC's form, and Path the file that it was in.
	Issuer, Path string
	// Number is the list's, empty: it has none. Revoked is how many it lists.
	Number  string
	Revoked int
	// ThisUpdate is when it was made, NextUpdate when the next is due.
	ThisUpdate, NextUpdate time.Time
	// Verified: its issuer has signed it. It is false as long as the issuer is an
	// intermediate CA that nobody has shown yet: until then the list says nothing.
	Verified bool
}

// lists returns all lists, in no order.
func (r *revocations) all() []CRL {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []CRL
	for _, file := range r.files {
		for _, list := range file.lists {
			c := CRL{
				Issuer: list.dn, Path: file.path, Revoked: len(list.revoked), ThisUpdate: list.from, NextUpdate: list.until,
				Verified: list.signed.Load(),
			}
			if list.number != nil {
				c.Number = list.number.String()
			}
			all = append(all, c)
		}
	}
	return all
}
