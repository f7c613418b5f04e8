package admin

import (
	"errors"
	"sync"
	"time"

	"busd/msgbus"
	"busd/rpc"
)

// Config is where an [Admin] gets its numbers. All functions must be safe for
// concurrent use and return at once.
type Config struct {
	// Version and Revision are the program's, Node is its name.
	Version, Revision, Node string
	// Services returns what the services have counted.
	Services func() []msgbus.ServiceStats
	// Calls returns what their methods have counted.
	Calls func() []rpc.ServiceStats
	// Transport returns what the listeners have counted.
	Transport func() Transport
	// CertificateEnd returns when the server's certificate expires.
	CertificateEnd func() time.Time
	// Revocations returns what is known of revoked certificates.
	Revocations func() Revocations
	// Deny is the deny list.
	Deny DenyList
	// Memory returns how much there is, and what was done where it was short.
	Memory func() Memory
	// LogLines returns how many lines were not written.
	LogLines func() LogLines
	// SessionsAtRest returns how many sessions wait for their clients to come
	// back, and what they keep meanwhile, in bytes.
	SessionsAtRest func() (sessions, bytes int)
	// Overflowed returns how many of them have ended because they kept too much, or
	// were too many.
	Overflowed func() uint64
	// Drain begins to drain the program, or says why it cannot be done as it was
	// asked for. It must not call the Admin.
	Drain func(r DrainRequest) error
}

// Transport are the numbers of all listeners together.
type Transport struct {
	// Open connections now, those of them that nobody has vouched for, and
	// those that wait for the bounds of their address.
	Open, Unauthenticated, Waiting int64
	// Handshaking connections now, and handshakes that compute.
	Handshaking, Computing int64
	// Handshakes that succeeded, and how many of them resumed a session.
	Handshakes, Resumed uint64
	// AcceptErrors of the operating system.
	AcceptErrors uint64
	// Refused connections and Failed handshakes, by reason. Reasons are words
	// of the program: a stranger cannot make new ones.
	Refused, Failed map[string]uint64
}

// Memory is that of the process.
type Memory struct {
	// Used is what of the Limit of Go's runtime cannot be given back, as last seen,
	// in bytes; a Limit of 0 is none.
	Used, Limit int64
	// Short: nobody new is let in.
	Short bool
	// Cut is how many sessions were given up because it was short.
	Cut uint64
}

// LogLines are lines of the log that were not written.
type LogLines struct {
	// Dropped were not read in time; Repeated say of a remote what was said of it a
	// moment ago; Sampled are some of many of one text.
	Dropped, Repeated, Sampled uint64
}

// Revocations are the numbers of revoked and denied certificates.
type Revocations struct {
	// Good lists (CRLs) are in date, Stale ones are not, and count all the same
	// or not as the configuration says; of Unverified ones the issuer is not known
	// yet, and they do not count.
	Good, Stale, Unverified int
	// Revoked certificates are on these lists, Denied entries on the deny list.
	Revoked, Denied int
	// NextUpdate is when the first of the lists is out of date, or has been since;
	// zero: there are none.
	NextUpdate time.Time
	// Reloads of certificate files that succeeded, and that Failed. Failing: the
	// last one did, and what was there before is in use.
	Reloads, Failed uint64
	Failing         bool
}

// A Phase says how far the life of the program is.
type Phase string

// The phases.
const (
	Starting Phase = "starting"
	Serving  Phase = "serving"
	Draining Phase = "draining"
)

// Admin says what an operator may see. Its methods may be called concurrently.
type Admin struct {
	// Fixed at creation.
	config Config

	mu sync.Mutex
	// Guarded by mu.
	phase               Phase
	reloadFailed        error // why the last reload failed; nil: it did not
	reloads, failedOnes uint64
	since               time.Time // of phase Draining
	outcome             error     // why a drain did not end well; good once over is closed

	over chan struct{} // closed once the program has drained
}

// New makes an Admin, in phase [Starting].
func New(c Config) *Admin {
	return &Admin{config: c, phase: Starting, over: make(chan struct{})}
}

// SetPhase says how far the life of the program is. It does not go back from
// [Draining], which somebody may have asked for meanwhile.
func (a *Admin) SetPhase(p Phase) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case p == Draining:
		a.drainsLocked()
	case a.phase != Draining:
		a.phase = p
	}
}

// Reloaded counts a reload of the configuration; err is why it failed, or nil.
// After a failed one the program is not ready until one succeeds: what runs is
// not what the files say.
func (a *Admin) Reloaded(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reloadFailed = err
	if err != nil {
		a.failedOnes++
	} else {
		a.reloads++
	}
}

// Ready returns nil if new connections are wanted here, and otherwise why not.
func (a *Admin) Ready() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.phase != Serving:
		return errors.New(string(a.phase))
	case a.config.Memory().Short:
		return errors.New("memory is short")
	case a.reloadFailed != nil:
		return errors.New("the last reload of the configuration failed, and what ran before goes on: the log says why")
	}
	return nil
}

// Services returns what the services have counted.
func (a *Admin) Services() []msgbus.ServiceStats { return a.config.Services() }

// Calls returns what the methods of the services have counted.
func (a *Admin) Calls() []rpc.ServiceStats { return a.config.Calls() }

// Transport returns what the listeners have counted.
func (a *Admin) Transport() Transport { return a.config.Transport() }

// SessionsAtRest returns how many sessions wait for their clients to come back,
// and what they keep meanwhile, in bytes.
func (a *Admin) SessionsAtRest() (sessions, bytes int) { return a.config.SessionsAtRest() }

// Reloads returns how many reloads succeeded, and how many failed.
func (a *Admin) Reloads() (ok, failed uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.reloads, a.failedOnes
}
