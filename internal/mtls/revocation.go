package mtls

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"iter"
	"maps"
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
	return unique.Make(mark{unique.Make(nameKey(cert.RawIssuer)), cert.SerialNumber.Text(16), keyOf(cert)})
}

func keyOf(cert *x509.Certificate) string {
	key := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(key[:])
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

	// mu makes changes of current one after the other.
	mu sync.Mutex

	seenMu sync.RWMutex
	// Guarded by seenMu: intermediate CAs of clients that were verified, by hash.
	seen map[[sha256.Size]byte]*x509.Certificate
}

// A revocation is what is known at one time. It is immutable, but for which
// lists are signed.
type revocation struct {
	files crlFiles
	lists map[string][]*crl // those of files, by issuer
	deny  *DenyList
	cas   []*x509.Certificate // that are configured
	above ways                // from these
}

func newRevocations(p Policy) *revocations {
	r := &revocations{strict: p.RefuseStale, now: p.now, seen: map[[sha256.Size]byte]*x509.Certificate{}}
	r.current.Store(&revocation{})
	return r
}

// load reads the files of lists, and tells whether something else holds now.
// It is called once at a time; nobody waits for it.
func (r *revocations) load(paths []string, cas []*x509.Certificate) (changed bool, faults []crlFault) {
	last := r.current.Load()
	next := crlFiles{}
	if len(paths) > 0 {
		next, faults = last.files.load(paths, newIssuers(cas, r.known()))
	}
	for path, file := range next {
		changed = changed || last.files[path] != file
	}
	changed = changed || len(next) != len(last.files)
	same := slices.Equal(last.cas, cas)
	if !changed && same {
		return false, faults
	}
	lists := map[string][]*crl{}
	for _, file := range next {
		for _, list := range file.all() {
			lists[list.issuer] = append(lists[list.issuer], list)
		}
	}
	above := last.above
	if !same {
		above = waysOf(cas)
	}
	r.change(func(now *revocation) { now.files, now.lists, now.cas, now.above = next, lists, cas, above })
	// Whom learn has met meanwhile did not see these lists.
	issuers := newIssuers(nil, r.known())
	for _, some := range lists {
		for _, list := range some {
			issuers.settle(list)
		}
	}
	return changed, faults
}

// change puts something else in force.
func (r *revocations) change(do func(*revocation)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := *r.current.Load()
	do(&next)
	r.current.Store(&next)
}

// setDeny puts another deny list in force.
func (r *revocations) setDeny(list *DenyList) {
	r.change(func(now *revocation) { now.deny = list })
}

// known returns the intermediate CAs that were seen.
func (r *revocations) known() []*x509.Certificate {
	r.seenMu.RLock()
	defer r.seenMu.RUnlock()
	return slices.Collect(maps.Values(r.seen))
}

// learn keeps the intermediate CAs of verified chains, and verifies lists of
// theirs that wait for that.
func (r *revocations) learn(chains [][]*x509.Certificate) {
	if r == nil {
		return
	}
	for _, chain := range chains {
		for _, cert := range chain[1:max(1, len(chain)-1)] {
			if !r.see(cert) {
				continue
			}
			one := newIssuers(nil, []*x509.Certificate{cert})
			for _, list := range r.current.Load().lists[nameKey(cert.RawSubject)] {
				one.settle(list)
			}
		}
	}
}

// see tells whether an intermediate CA is new here, and keeps it.
func (r *revocations) see(cert *x509.Certificate) bool {
	hash := sha256.Sum256(cert.Raw)
	r.seenMu.RLock()
	_, known := r.seen[hash]
	r.seenMu.RUnlock()
	if known {
		return false
	}
	r.seenMu.Lock()
	defer r.seenMu.Unlock()
	if _, known = r.seen[hash]; !known && len(r.seen) >= maxIssuers {
		for other := range r.seen { // whichever comes first
			delete(r.seen, other)
			break
		}
	}
	r.seen[hash] = cert
	return !known
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
	if r.anyChain(m, func(chain []unique.Handle[mark]) bool {
		why = r.badLink(chain, m.names)
		return why == nil
	}) {
		return nil
	}
	return why
}

// anyChain tells whether a client has a chain that is good. One that ends at a
// CA whose issuer is also configured goes on to that.
func (r *revocation) anyChain(m *marks, good func(chain []unique.Handle[mark]) bool) bool {
	for _, chain := range m.chains {
		ways := r.above[chain[len(chain)-1]]
		if len(ways) == 0 && good(chain) {
			return true
		}
		for _, way := range ways {
			if good(slices.Concat(chain, way)) {
				return true
			}
		}
	}
	return len(m.chains) == 0
}

// badLink says which certificate of a chain is bad.
func (r *revocation) badLink(chain []unique.Handle[mark], names clientNames) *bus.Error {
	for i, link := range chain {
		cert := link.Value()
		if r.deny.denies(cert, names) {
			return denied()
		}
		if i > 0 && i == len(chain)-1 {
			break // it is believed because it is configured, and nobody is above it
		}
		for list := range r.listsFor(chain, i) {
			if _, revoked := list.revoked[cert.serial]; !revoked {
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

// listsFor yields the lists that count for a link of a chain: those that the key of
// its issuer in this chain has signed, as another CA of that name has serial numbers
// of its own. Where that key has signed none, all of that name count: a CA that has a
// new key may speak with it of what the old one signed.
func (r *revocation) listsFor(chain []unique.Handle[mark], i int) iter.Seq[*crl] {
	return func(yield func(*crl) bool) {
		lists := r.lists[chain[i].Value().issuer.Value()]
		own := func(list *crl) bool {
			signer := list.signer.Load()
			return signer != nil && i+1 < len(chain) && *signer == chain[i+1].Value().key
		}
		all := !slices.ContainsFunc(lists, own)
		for _, list := range lists {
			if (own(list) || all && list.signer.Load() != nil) && !yield(list) {
				return
			}
		}
	}
}

func denied() *bus.Error {
	return bus.Errorf(bus.CodeCertificateRevoked, "the client certificate is denied here")
}

// stale says whose list is missing or out of date, so that nobody can know.
func (r *revocation) stale(m *marks, now time.Time) error {
	if r.anyChain(m, func(chain []unique.Handle[mark]) bool {
		for i := range max(1, len(chain)-1) {
			inDate := false
			for list := range r.listsFor(chain, i) {
				inDate = inDate || !now.After(list.until)
			}
			if !inDate {
				return false
			}
		}
		return true
	}) {
		return nil
	}
	return refuse("whether the client certificate was revoked cannot be told: the list of its issuer, or of one above, is missing or out of date")
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

// all returns all lists, in no order.
func (r *revocations) all() []CRL {
	var all []CRL
	for _, file := range r.current.Load().files {
		for _, list := range file.all() {
			c := CRL{
				Issuer: list.dn, Path: file.path, Revoked: len(list.revoked), ThisUpdate: list.from, NextUpdate: list.until,
				Verified: list.signed(),
			}
			if list.number != nil {
				c.Number = list.number.String()
			}
			all = append(all, c)
		}
	}
	return all
}
