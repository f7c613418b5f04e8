package rpcclient

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"

	"go.uber.org/zap"

	"busd/internal/keys"
)

const (
	// freshTries bounds how often a call finds that a kept connection is gone, before
	// that counts as its address's failure.
	freshTries = 3
	// leastSpread is what is added at random to how long a busy service wants to
	// be left alone: at most a quarter of that, or this if it is more.
	leastSpread = 250 * time.Millisecond
)

// send makes a request at one address after the other, until one answers, until it may
// have been executed and must not be repeated, or until all have failed. If some of
// them are busy it waits as long as they ask for, if ctx allows it, and begins again.
func (c *Client) send(ctx context.Context, r *request) *Error {
	for {
		busy, err := c.round(ctx, r)
		if err == nil || !c.repeats(ctx, r, err) || busy < 0 {
			return err
		}
		wait := busy + rand.N(max(busy/4, leastSpread)) //nolint:gosec // not a secret
		if wait > c.remaining(ctx) {
			return err
		}
		c.log.Info("waiting for the service", keys.Service(c.service), zap.String("method", r.method), keys.Wait(wait), keys.Reason(err))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err // which says more than the context
		}
	}
}

// round tries each address once. busy is how long the first of those that are busy wants
// to be left alone; -1: none is.
func (c *Client) round(ctx context.Context, r *request) (busy time.Duration, err *Error) {
	var tried []*address
	for busy = -1; ; {
		to := c.urls.next(tried)
		if to == nil {
			return busy, err
		}
		err = c.at(ctx, to, r, c.toConnect(ctx, len(tried)))
		if err == nil {
			c.urls.works(to)
			return busy, nil
		}
		c.ban(to, err)
		if err.busy && (busy < 0 || err.Err.Retry.After < busy) {
			busy = err.Err.Retry.After
		}
		if !c.repeats(ctx, r, err) {
			return busy, err
		}
		if tried = append(tried, to); len(tried) < len(c.urls.all) {
			c.log.Warn("trying another address", keys.Service(c.service), zap.String("method", r.method),
				zap.String("failed", to.url.Host), keys.Code(err), keys.Reason(err))
		}
	}
}

// at makes a request at one address. A connection that was kept may be gone before
// anything came of an answer: then it is made again on another one.
func (c *Client) at(ctx context.Context, to *address, r *request, connect time.Duration) *Error {
	for n := 1; ; n++ {
		a, err := c.attempt(ctx, to, r, connect)
		if err == nil || !a.reused || a.heard.Load() || n == freshTries || !c.repeats(ctx, r, err) {
			return err
		}
		c.http.CloseIdleConnections() // what was cut there was cut for all
	}
}

// repeats tells whether a request that failed may be made again.
func (c *Client) repeats(ctx context.Context, r *request, err *Error) bool {
	return err.again && (err.notExecuted || c.idempotent) && ctx.Err() == nil && r.body.fresh() && (r.taken == nil || !r.taken())
}

// ban has others tried before an address that failed.
func (c *Client) ban(to *address, err *Error) {
	switch {
	case err.busy:
		c.urls.ban(to, err.Err.Retry.After)
	case err.again && (err.Status == 0 || err.Status >= http.StatusBadGateway):
		c.urls.ban(to, banTime)
	}
}

// toConnect is how long an attempt may take to find a connection, so that those
// after it have their turn.
func (c *Client) toConnect(ctx context.Context, tried int) time.Duration {
	return min(dialTimeout, c.remaining(ctx)/time.Duration(len(c.urls.all)-tried))
}

// remaining is how long a call may still take.
func (c *core) remaining(ctx context.Context) time.Duration {
	if at, ok := ctx.Deadline(); ok {
		return time.Until(at)
	}
	return c.cfg.Timeout
}
