package rpc

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"busd/access"
	"busd/bus"
	"busd/internal/bounded"
)

// CredentialsChanged ends, with [bus.CodeCertificateRevoked], the calls over HTTPS
// of callers whose certificate was revoked or denied, by what [access.Caller]'s
// Credential says: the contexts of their methods end, nothing more is read or sent,
// and their connections are closed. It is to be called after what was revoked has
// changed, and returns how many calls it has ended. Calls over a stable connection
// end with that. It may be called concurrently.
func (s *Server) CredentialsChanged() (calls int) {
	for _, svc := range s.order {
		calls += svc.bound().web.tethers.changed()
	}
	return calls
}

// A tether is what holds a request to the credential that it came by: once that is
// good no more, the request ends, whatever it is doing.
type tether struct {
	// Fixed by hold.
	x     *exchange
	among *tethers // nil: it hangs on a time alone

	prev, next *tether // guarded by among.mu

	broken atomic.Bool // why is set; written under mu

	mu sync.Mutex
	// Guarded by mu.
	why   *bus.Error       // nil: it holds
	over  bool             // the request is
	own   *bounded.Context // of the method that runs; nil: none
	ended chan struct{}    // closed with why; nil: nobody waits for that
	timer *time.Timer      // for the credential's end; nil: there is none
}

// tethers are those of requests that hang on something that can be revoked.
type tethers struct {
	changes atomic.Uint64 // how often it changed what is revoked

	mu sync.Mutex
	// Guarded by mu.
	first *tether
}

// changed asks for all of them whether they hold, and returns how many it has broken.
func (all *tethers) changed() (calls int) {
	all.changes.Add(1) // first: who has asked before, and is not here yet, asks again
	all.mu.Lock()
	var held []*tether
	for t := all.first; t != nil; t = t.next {
		held = append(held, t)
	}
	all.mu.Unlock()
	for _, t := range held {
		if t.ask() {
			calls++
		}
	}
	return calls
}

// hold begins once it is known who asks, by what was in force as the changes were so
// many. It lasts until loose is called.
func (t *tether) hold(x *exchange, changes uint64) {
	if x.caller.Credential == nil {
		return
	}
	t.x, t.among = x, &x.binding.web.tethers
	all := t.among
	all.mu.Lock()
	if t.next = all.first; t.next != nil {
		t.next.prev = t
	}
	all.first = t
	all.mu.Unlock()
	if all.changes.Load() != changes {
		t.ask()
	}
}

// endAt ends the request of a stream, which may last, when its credential ends.
func (t *tether) endAt(x *exchange) {
	end := x.caller.NotAfter
	if end.IsZero() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.x = x
	t.timer = time.AfterFunc(time.Until(end), func() { t.cut(expired(&x.caller)) })
}

// expired says that a credential has ended.
func expired(c *access.Caller) *bus.Error {
	if c.Via == access.ViaToken {
		return bus.Errorf(bus.CodeUnauthenticated, "the credential has expired")
	}
	return bus.Errorf(bus.CodeCertificateExpired, "the certificate has expired")
}

// loose ends it: nothing is done to the request any more.
func (t *tether) loose() {
	if all := t.among; all != nil {
		all.mu.Lock()
		if t.prev == nil {
			all.first = t.next
		} else {
			t.prev.next = t.next
		}
		if t.next != nil {
			t.next.prev = t.prev
		}
		all.mu.Unlock()
	}
	if t.x == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	if t.timer != nil {
		t.timer.Stop()
	}
}

// ask tells whether the credential was revoked, and the request ended therefore.
func (t *tether) ask() bool {
	why := t.x.caller.Credential.Revoked()
	return why != nil && t.cut(why)
}

// cut ends the request.
func (t *tether) cut(why *bus.Error) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over || t.why != nil {
		return false
	}
	t.why = why
	t.broken.Store(true) // before the deadlines: whoever sets one afterwards looks at it
	if t.own != nil {
		t.own.Cancel(why) // before net/http ends the request's context, which has no such cause
	}
	t.x.interrupt()
	_ = t.x.control.SetWriteDeadline(time.Unix(1, 0))
	if t.ended != nil {
		close(t.ended)
	}
	return true
}

// reason is why it was cut; nil: it was not.
func (t *tether) reason() *bus.Error {
	if t == nil || !t.broken.Load() {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.why
}

// runs makes it end the context of the method, which is about to run.
func (t *tether) runs(own *bounded.Context) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.own = own; t.why != nil {
		own.Cancel(t.why)
	}
}

// breaks is closed when it is cut; nil: that never happens.
func (t *tether) breaks() <-chan struct{} {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended == nil {
		t.ended = make(chan struct{})
		if t.why != nil {
			close(t.ended)
		}
	}
	return t.ended
}

// abort ends the request, and its connection, if it was cut: in the middle of an
// answer nobody must take a part for the whole.
func (t *tether) abort() {
	if why := t.reason(); why != nil {
		t.x.err = &refusal{why}
		panic(http.ErrAbortHandler)
	}
}
