package msgclient

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"busd/bus"
	"busd/internal/keys"
)

// keepConnected is Run's loop: it returns when there will be no connection any
// more.
func (c *Client) keepConnected(ctx context.Context) error {
	wait := backoff{min: c.cfg.MinWait, max: c.cfg.MaxWait}
	alone := time.Now() // since when there is no connection
	for attempt := 1; ; attempt++ {
		conn, err := c.await(ctx, alone)
		switch {
		case conn != nil:
			err = conn.why
			wait.connected(conn)
			alone, attempt = conn.since.Add(conn.lived), 0
		case err == nil:
			continue // it came while we were about to dial, or the client has moved
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if ended := c.endedBy(err); ended != nil {
			return ended
		}
		pause := c.pause(&wait, err)
		if left := c.cfg.GiveUpAfter - time.Since(alone); c.cfg.GiveUpAfter > 0 && pause >= left {
			if c.sleep(ctx, left) {
				return bus.Wrap(bus.CodeDeadlineExceeded, err, "no connection for "+c.cfg.GiveUpAfter.String())
			}
			continue
		}
		c.log.Info("waiting to connect", keys.Attempt(attempt+1), keys.Wait(pause), keys.Code(err), keys.Reason(err))
		if c.cfg.OnRetry != nil {
			c.protect("OnRetry", func() { c.cfg.OnRetry(c, err, pause) })
		}
		if !c.sleep(ctx, pause) {
			continue
		}
	}
}

// pause says how long to wait before the next attempt. An address that asked
// for a while is left alone for it; the others have not asked.
func (c *Client) pause(wait *backoff, err error) time.Duration {
	_, held := c.urls.next()
	if _, asked := retryAfter(err); asked {
		if held > 0 {
			wait.atOnce = false
			return held
		}
		err = nil
	}
	return max(wait.next(err), held)
}

// await waits for the end of the connection there is and returns it, or makes
// an attempt to have one: then it returns nil and the attempt's outcome. alone
// is since when there is none.
func (c *Client) await(ctx context.Context, alone time.Time) (*connection, error) {
	c.mu.Lock()
	conn := c.current
	c.mu.Unlock()
	if conn == nil {
		if c.cfg.GiveUpAfter > 0 {
			limited, cancel := context.WithDeadline(ctx, alone.Add(c.cfg.GiveUpAfter))
			defer cancel()
			ctx = limited
		}
		return nil, c.once(ctx)
	}
	select {
	case <-conn.gone:
		c.mu.Lock()
		defer c.mu.Unlock()
		if conn.left {
			return nil, nil
		}
		if c.current == conn {
			c.current = nil
		}
		return conn, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// once makes an attempt with the next address, unless somebody connects already.
func (c *Client) once(ctx context.Context) error {
	select {
	case <-c.dialing:
		defer func() { c.dialing <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	c.mu.Lock()
	connected := c.current != nil
	c.mu.Unlock()
	if connected {
		return nil
	}
	next, _ := c.urls.next()
	return c.attempt(ctx, next)
}

// endedBy returns why there is no use in trying again, or nil.
func (c *Client) endedBy(err error) error {
	c.mu.Lock()
	ended := c.ended
	c.mu.Unlock()
	switch {
	case ended != nil:
		return ended
	case c.cfg.RetrySuperseded && bus.CodeOf(err) == bus.CodeSuperseded:
		return nil
	case isFinal(err):
		return err
	}
	return nil
}

// isFinal tells whether a refusal or a drop is for good.
func isFinal(err error) bool {
	var e *bus.Error
	return errors.As(err, &e) && e.Remote && e.Retry.When == bus.RetryNever
}

// sleep returns false if the client was closed or ctx ended meanwhile.
func (c *Client) sleep(ctx context.Context, d time.Duration) bool {
	c.mu.Lock()
	ended, changed := c.ended, c.changed
	c.mu.Unlock()
	if ended != nil {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-changed:
	case <-ctx.Done():
	}
	return false
}

// A backoff says how long to wait before the next attempt: a random time below
// a bound that doubles ("full jitter"), so that clients that lost their
// connection together do not come back together.
type backoff struct {
	min, max time.Duration
	failures int
	short    int  // connections in a row that were dropped soon after their welcome
	atOnce   bool // the last attempt was made at once
}

// maxHint bounds what a drop says of when to come back, as Retry-After is.
const maxHint = time.Hour

// connected takes note of a connection that has ended. Its welcome has reset the
// bound. But one that was soon dropped is likely to be dropped again, for the
// same message: while that goes on the bound doubles all the same.
func (b *backoff) connected(conn *connection) {
	if conn.lived >= b.max || !conn.wasDropped() {
		b.failures, b.short = 0, 0
		return
	}
	b.failures = b.short
	b.short++
}

// wasDropped tells whether one of the ends dropped a connection, without saying
// when to come back: the line did not break, and no ping was left unanswered.
func (conn *connection) wasDropped() bool {
	var e *bus.Error
	if !errors.As(conn.why, &e) || e.Retry != (bus.Retry{When: bus.RetryAfter}) {
		return false
	}
	return e.Remote || e.Code != bus.CodeUnavailable || conn.failed.Load()
}

// hinted is how long to wait where the service says so: a random time within its
// spread, or least. No service keeps a client away for longer than maxHint and
// as much again, or makes the sum overflow.
func hinted(hint bus.Retry, least time.Duration) time.Duration {
	return min(hint.After, maxHint) + rand.N(max(min(hint.Spread, maxHint), least)) //nolint:gosec // not a secret
}

// next takes the error of the last attempt or connection. What the service
// said goes first; but a second "now" in a row is not taken at its word.
func (b *backoff) next(err error) time.Duration {
	var e *bus.Error
	if errors.As(err, &e) {
		hint := e.Retry
		switch {
		case hint.After > 0 || hint.Spread > 0:
			b.atOnce = false
			return hinted(hint, b.min)
		case hint.When == bus.RetryNow && !b.atOnce:
			b.atOnce = true
			return 0
		}
	}
	b.atOnce = false
	bound := b.max
	if b.failures < 30 {
		bound = min(b.max, b.min<<b.failures)
	}
	b.failures++
	return rand.N(bound + 1) //nolint:gosec // not a secret
}
