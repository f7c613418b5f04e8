package msgclient

import (
	"errors"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"time"

	"busd/bus"
	"busd/internal/ws"
)

// An address is one of a client's URLs.
type address struct {
	url  *url.URL
	held time.Time // until when it asked to be left alone; guarded by the addresses' mu
}

// addresses are a client's URLs, in the order of the next attempts.
type addresses struct {
	least time.Duration // added at random to how long one is left alone

	mu sync.Mutex
	// Guarded by mu.
	order []*address
}

func (a *addresses) init(urls []*url.URL, least time.Duration) {
	a.least = least
	for _, i := range rand.Perm(len(urls)) { //nolint:gosec // not a secret
		a.order = append(a.order, &address{url: urls[i]})
	}
}

// round returns all of them, in order.
func (a *addresses) round() []*address {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.order)
}

// next returns the first that need not be left alone, or else the one that
// need not soonest, and how long it must be.
func (a *addresses) next() (best *address, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, x := range a.order {
		left := max(0, time.Until(x.held))
		if best == nil || left < wait {
			best, wait = x, left
		}
	}
	return best, wait
}

// failed puts an address to the end: others are tried first. One that refused
// with Retry-After is left alone for that time.
func (a *addresses) failed(x *address, why error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.Index(a.order, x)
	if i < 0 {
		return // where a service asked the client to move to
	}
	a.order = append(slices.Delete(a.order, i, i+1), x)
	if hint, ok := retryAfter(why); ok {
		x.held = time.Now().Add(hinted(hint, a.least))
	}
}

// prefer puts an address first: what the client had begun waits there. It has one
// attempt, then the others have theirs.
func (a *addresses) prefer(x *address) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := slices.Index(a.order, x); i >= 0 {
		a.order = slices.Insert(slices.Delete(a.order, i, i+1), 0, x)
	}
}

// retryAfter tells when the address that refused an attempt may be asked
// again, if its answer said so. What a drop says is the service's word, for all
// addresses.
func retryAfter(why error) (bus.Retry, bool) {
	var e *bus.Error
	if !errors.As(why, &e) || e.Retry.After == 0 || !errors.As(why, new(*ws.StatusError)) {
		return bus.Retry{}, false
	}
	return e.Retry, true
}
