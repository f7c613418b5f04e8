package rpcclient

import (
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"time"
)

// banTime is how long an address that failed is tried after all others.
const banTime = 30 * time.Second

// An address is one of a client's URLs.
type address struct {
	url      *url.URL
	failover bool
	banned   time.Time // until when others are tried first; guarded by the addresses' mu
}

// addresses are a client's URLs.
type addresses struct {
	// Fixed at creation.
	all []*address // in the order in which they are tried

	mu sync.Mutex // guards what their bans are
}

// newAddresses shuffles: not all clients try the same one first.
func newAddresses(all []*address) *addresses {
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] }) //nolint:gosec // not a secret
	slices.SortStableFunc(all, func(a, b *address) int { return order(a.failover, b.failover) })
	return &addresses{all: all}
}

func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// next returns the one to try after those that were tried: one that is not
// banned, if there is one; no failover; and on another host than the one that was tried
// last. nil: all were tried.
func (a *addresses) next(tried []*address) *address {
	if len(tried) == len(a.all) {
		return nil
	}
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	var best *address
	for _, x := range a.all {
		if !slices.Contains(tried, x) && (best == nil || x.beforeLocked(best, now, tried)) {
			best = x
		}
	}
	return best
}

func (a *address) beforeLocked(b *address, now time.Time, tried []*address) bool {
	banned := a.banned.After(now)
	switch other := b.banned.After(now); {
	case banned != other:
		return other
	case banned && !a.banned.Equal(b.banned):
		return a.banned.Before(b.banned)
	case a.failover != b.failover:
		return b.failover
	case len(tried) > 0:
		failed := tried[len(tried)-1].url.Hostname()
		return a.url.Hostname() != failed && b.url.Hostname() == failed
	}
	return false
}

// ban has an address tried after all others for a while.
func (a *addresses) ban(x *address, d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if until := time.Now().Add(d); until.After(x.banned) {
		x.banned = until
	}
}

// works takes a ban away.
func (a *addresses) works(x *address) {
	if len(a.all) == 1 {
		return // its ban would change nothing
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	x.banned = time.Time{}
}
