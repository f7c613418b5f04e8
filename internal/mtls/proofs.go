package mtls

import (
	"crypto/sha256"
	"crypto/x509"
	"sync"
)

// Bounds of the proofs that are remembered. Anybody who has a certificate can show
// it with as many chains of proxy certificates, or of others, as he likes.
const (
	// maxProofBytes is what all proofs together may hold, in bytes, as weigh
	// counts them: more than 10,000. Beyond it one is forgotten, and verified again
	// when it comes again.
	maxProofBytes = 32 << 20
	// maxUserProofBytes is what the proofs of one end-entity certificate may hold:
	// who goes beyond it takes the place of his own.
	maxUserProofBytes = maxProofBytes / 4
	// proofBytes is what a proof holds beside what grows with its certificates.
	proofBytes = 2 << 10
	// markBytes is what is kept of each certificate of a chain, beside its issuer.
	markBytes = 256
)

// proofKey is the hash of all certificates that were sent.
type proofKey = [sha256.Size]byte

// A weighed is a proof that is remembered.
type weighed struct {
	*Proof

	user  [sha256.Size]byte // the end-entity certificate's hash
	bytes int
}

// proofs remembers proofs. Its methods may be called concurrently.
type proofs struct {
	mu sync.RWMutex
	// Guarded by mu.
	all   map[proofKey]weighed
	users map[[sha256.Size]byte]*userProofs
	bytes int
}

// userProofs are those of one end-entity certificate.
type userProofs struct {
	keys  map[proofKey]struct{}
	bytes int
}

func newProofs() *proofs {
	return &proofs{all: map[proofKey]weighed{}, users: map[[sha256.Size]byte]*userProofs{}}
}

// get returns a proof, or nil.
func (p *proofs) get(key proofKey) *Proof {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.all[key].Proof
}

// put remembers what certificates prove, of which the end-entity's stands behind
// those of proxies, and forgets others where there are too many: which ones, nobody
// knows.
func (p *proofs) put(key proofKey, proof *Proof, certs []*x509.Certificate) {
	user := certs[min(countProxies(certs), len(certs)-1)]
	w := weighed{proof, sha256.Sum256(user.Raw), proof.weigh(len(certs))}
	if w.bytes > maxUserProofBytes {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgetLocked(key)
	for mine := p.users[w.user]; mine != nil && mine.bytes+w.bytes > maxUserProofBytes; mine = p.users[w.user] {
		for other := range mine.keys {
			p.forgetLocked(other)
			break
		}
	}
	for p.bytes+w.bytes > maxProofBytes {
		for other := range p.all {
			p.forgetLocked(other)
			break
		}
	}
	mine := p.users[w.user]
	if mine == nil {
		mine = &userProofs{keys: map[proofKey]struct{}{}}
		p.users[w.user] = mine
	}
	p.all[key], mine.keys[key] = w, struct{}{}
	mine.bytes += w.bytes
	p.bytes += w.bytes
}

func (p *proofs) forgetLocked(key proofKey) {
	w, has := p.all[key]
	if !has {
		return
	}
	delete(p.all, key)
	p.bytes -= w.bytes
	mine := p.users[w.user]
	delete(mine.keys, key)
	if mine.bytes -= w.bytes; len(mine.keys) == 0 {
		delete(p.users, w.user)
	}
}

// weigh is roughly how many bytes of memory it holds, of so many certificates that
// were sent: rather too many, for what several proofs share is counted for each.
func (p *Proof) weigh(sent int) int {
	n, issuer := len(p.Peer.Name)+len(p.Peer.DN)+len(p.Peer.Issuer)+len(p.Peer.Serial), len(p.Peer.Issuer)
	if p.Proxy != nil {
		n, issuer = n+len(p.Proxy.Subject)+len(p.Proxy.Issuer), max(issuer, len(p.Proxy.Issuer))
	}
	return proofBytes + n + sent*(markBytes+issuer)
}
