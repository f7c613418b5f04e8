// Package bounded has a context for work that is mostly over before anybody waits for
// its context's end.
package bounded

import (
	"context"
	"sync"
	"time"
)

// A Context ends with its parent, when its time is over, and when it is canceled. Until
// somebody waits for its end it has no timer, no channel and no place among its
// parent's children: those are half of what a small call costs. It is a part of what it
// belongs to, so that it is no allocation of its own. Begin readies it; then its methods
// may be called concurrently.
type Context struct {
	// Fixed by Begin.
	parent   context.Context
	deadline time.Time // zero: none of its own
	late     error     // the cause of the end at deadline; nil: context.DeadlineExceeded

	mu sync.Mutex
	// Guarded by mu.
	canceled bool
	cause    error
	watcher  func()
	quit     chan struct{}   // closed with canceled; nil: nobody waits for that alone
	inner    context.Context // what it has become once somebody wants to know of its end
	end      func(cause error)
}

// Begin readies a context that was not used before. deadline may be zero; late is the
// cause of an end then.
func (c *Context) Begin(parent context.Context, deadline time.Time, late error) {
	c.parent, c.deadline, c.late = parent, deadline, late
}

// Cancel ends it, for a cause; nil is [context.Canceled]. Who watches is told. Only the
// first call counts. Whoever begins a Context cancels it.
func (c *Context) Cancel(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.canceled {
		return
	}
	if cause != nil && c.inner == nil && c.isOverLocked() { // that came first
		c.becomeLocked()
	}
	c.canceled, c.cause = true, cause
	if c.end != nil {
		c.end(cause)
	}
	if c.quit != nil {
		close(c.quit)
	}
	if c.watcher != nil {
		go c.watcher() // ends by itself; who cancels may hold locks
	}
}

// Watch has f called, in a goroutine of its own, once it is canceled, if that happens
// before f is forgotten, by Watch(nil). Of the end of its parent and of its time f is
// not told. It watches for one.
func (c *Context) Watch(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watcher = f; f != nil && c.canceled {
		go f() // as in Cancel
	}
}

// Deadline is the sooner of its own and its parent's.
func (c *Context) Deadline() (time.Time, bool) {
	deadline, ok := c.parent.Deadline()
	if !c.deadline.IsZero() && (!ok || c.deadline.Before(deadline)) {
		return c.deadline, true
	}
	return deadline, ok
}

// Done is closed when it has ended.
func (c *Context) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.becomeLocked().Done()
}

// Err tells whether it has ended.
func (c *Context) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.errLocked()
}

func (c *Context) errLocked() error {
	if c.inner == nil && !c.isOverLocked() {
		return nil
	}
	return c.becomeLocked().Err()
}

// Value is the parent's. [context.Cause] asks for one too.
func (c *Context) Value(key any) any {
	c.mu.Lock()
	within := c.parent
	if c.inner != nil || c.isOverLocked() {
		within = c.becomeLocked()
	}
	c.mu.Unlock()
	return within.Value(key)
}

// isOverLocked tells whether it has ended, of one that has become nothing else yet.
func (c *Context) isOverLocked() bool {
	return c.canceled || c.parent.Err() != nil || (!c.deadline.IsZero() && !time.Now().Before(c.deadline))
}

// becomeLocked makes it a context of package context, which can be waited for.
func (c *Context) becomeLocked() context.Context {
	switch {
	case c.inner != nil:
	case c.canceled || c.deadline.IsZero():
		c.inner, c.end = context.WithCancelCause(c.parent)
		if c.canceled { // and that is how it ended, whatever the time is now
			c.end(c.cause)
		}
	default:
		within, end := context.WithCancelCause(c.parent)
		inner, stop := context.WithDeadlineCause(within, c.deadline, c.late)
		c.inner, c.end = inner, func(cause error) {
			end(cause) // first: stop knows no cause
			stop()
		}
	}
	return c.inner
}

// Ended tells how and why it has ended; nil: it has not. It knows so as soon as its
// parent has, or the time is there: who waits for it may hear of that a moment later.
func (c *Context) Ended() (err, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err = c.errLocked(); err != nil {
		return err, context.Cause(c.inner)
	}
	if err = c.parent.Err(); err != nil {
		return err, context.Cause(c.parent)
	}
	now := time.Now()
	if !c.deadline.IsZero() && !now.Before(c.deadline) {
		return context.DeadlineExceeded, c.late
	}
	if by, ok := c.parent.Deadline(); ok && !now.Before(by) {
		return context.DeadlineExceeded, context.DeadlineExceeded
	}
	return nil, nil
}

// Dones are two channels, of which one at least is closed once it has ended: for who
// waits for both, which costs less than Done where it has no deadline of its own.
func (c *Context) Dones() (one, other <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner != nil || !c.deadline.IsZero() {
		return c.becomeLocked().Done(), nil
	}
	if c.quit == nil {
		c.quit = make(chan struct{})
		if c.canceled {
			close(c.quit)
		}
	}
	return c.parent.Done(), c.quit
}

// Dones are those of ctx, if it is a [Context] or has one in it, else what its Done
// returns, and nil.
func Dones(ctx context.Context) (one, other <-chan struct{}) {
	if own, ok := ctx.(interface {
		Dones() (one, other <-chan struct{})
	}); ok {
		return own.Dones()
	}
	return ctx.Done(), nil
}

// Limit is its own deadline; zero: it has none.
func (c *Context) Limit() time.Time { return c.deadline }

// Watch has f called, in a goroutine of its own, once ctx has ended, unless stop was
// called before. Where ctx is a [Context], or has one in it, f is not told of the end of
// its time, which is until, nor of its parent's end; else until is zero.
func Watch(ctx context.Context, f func()) (until time.Time, stop func()) {
	if own, ok := ctx.(watched); ok {
		own.Watch(f)
		until, _ = ctx.Deadline()
		return until, func() { own.Watch(nil) }
	}
	forget := context.AfterFunc(ctx, f)
	return time.Time{}, func() { forget() }
}

type watched interface{ Watch(f func()) }
