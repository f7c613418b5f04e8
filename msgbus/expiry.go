package msgbus

import (
	"math"
	"math/rand/v2"
	"time"

	"busd/access"
	"busd/bus"
	"busd/internal/wire"
)

// The end of a certificate, as it is told to a client that is connected.
const (
	// noticePart and maxNotice say when the first notice is: one part of the
	// certificate's lifetime before its end, in so many, and never earlier than
	// that.
	noticePart = 10
	maxNotice  = 24 * time.Hour
	// lastNotice: the notices that follow, each after half of what is left, end
	// at one part in so many of the first.
	lastNotice = 16
	// maxExpiryJitter bounds how long before its certificate's end a connection
	// is dropped, so that a fleet whose certificates end together does not come
	// back together; it is at most half of the time for notice.
	maxExpiryJitter = 30 * time.Second
	// maxNoticeSpread bounds over how long clients begin to move.
	maxNoticeSpread = 10 * time.Minute
	// expiryCheck is how often the clock is looked at, which may be set: timers do
	// not follow it.
	expiryCheck = 5 * time.Minute
)

// An expiry watches over the end of one connection's certificate.
type expiry struct {
	// Fixed at creation.
	conn   *Conn
	end    time.Time     // when the connection is dropped
	notice time.Duration // how long before that the client is told first

	next  time.Time // when it is told again; owned by the timer, whose function runs once at a time
	timer *time.Timer
}

// watchExpiry tells a client in time that its certificate ends, so that it moves
// to a connection with its renewed one, and drops the connection when it has not.
// The client may come back at once. stop ends the watch.
func watchExpiry(c *Conn) (stop func()) {
	if c.caller.NotAfter.IsZero() {
		return func() {}
	}
	now := time.Now()
	e := &expiry{conn: c, notice: noticeOf(&c.caller, now)}
	e.end = c.caller.NotAfter
	jitter := min(maxExpiryJitter, e.notice/2)
	if e.end.Sub(now) > jitter { // else it has come in the last moment, and would come again
		e.end = e.end.Add(-rand.N(jitter + 1)) //nolint:gosec // not a secret
	}
	e.next = e.end.Add(-e.notice)
	if e.next.Before(now) { // it was told on the connection before this one
		e.next = e.after(now)
	}
	// Armed only once it is where look finds it.
	e.timer = time.AfterFunc(math.MaxInt64, e.look)
	e.timer.Reset(e.wait(now))
	return func() { e.timer.Stop() }
}

// noticeOf is how long before the end of a credential its holder is told. Where
// it is not known since when it is valid, that is now.
func noticeOf(c *access.Caller, now time.Time) time.Duration {
	from := c.NotBefore
	if from.IsZero() {
		from = now
	}
	return min(max(0, c.NotAfter.Sub(from)/noticePart), maxNotice)
}

func (e *expiry) wait(now time.Time) time.Duration {
	next := e.end
	if e.next.Before(next) {
		next = e.next
	}
	return max(0, min(next.Sub(now), expiryCheck))
}

// after is when the next notice is, after one now.
func (e *expiry) after(now time.Time) time.Time {
	half := e.end.Sub(now) / 2
	if half < e.notice/lastNotice {
		return e.end
	}
	return now.Add(half)
}

// look does what is due, and waits for what is next.
func (e *expiry) look() {
	now := time.Now()
	left := e.end.Sub(now)
	switch {
	case e.conn.link.Cause() != nil:
		return
	case left <= 0:
		e.conn.link.Drop(bus.Errorf(bus.CodeCertificateExpired, "the certificate of this connection expires: come back with a new one"))
		return
	case !now.Before(e.next):
		e.tell(left)
		e.next = e.after(now)
	}
	e.timer.Reset(e.wait(now))
}

// tell asks the client to move, to where it is: another server has no better
// certificate for it.
func (e *expiry) tell(left time.Duration) {
	if !e.conn.moves {
		return
	}
	spread := min(left/4, maxNoticeSpread)
	e.conn.link.Goaway(&wire.GoawayFrame{DeadlineMS: left.Milliseconds(), SpreadMS: spread.Milliseconds(), Target: e.conn.home})
}
