package bounded_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"busd/internal/bounded"
)

var (
	errLate  = errors.New("it was late")
	errGiven = errors.New("it was given up")
	errOuter = errors.New("the whole has ended")
)

// TestEnds: it ends as a context of package context does that has the same parent and
// the same time, whether somebody waits for it or only looks, and stays as it ended.
func TestEnds(t *testing.T) {
	type key struct{}
	looks := map[string]func(ctx context.Context){
		"nobody looked": func(context.Context) {},
		"looked at":     func(ctx context.Context) { _ = ctx.Err() },
		"waited for":    func(ctx context.Context) { _ = ctx.Done() },
	}
	for _, tt := range []struct {
		name       string
		limit      time.Duration
		then       func(c *bounded.Context, outer context.CancelCauseFunc)
		err, cause error
	}{
		{"it goes on", time.Hour, func(*bounded.Context, context.CancelCauseFunc) {}, nil, nil},
		{"its time is over", time.Second, func(*bounded.Context, context.CancelCauseFunc) { time.Sleep(time.Second) }, context.DeadlineExceeded, errLate},
		{"it is canceled", 0, func(c *bounded.Context, _ context.CancelCauseFunc) { c.Cancel(errGiven) }, context.Canceled, errGiven},
		{"it is canceled in time", time.Hour, func(c *bounded.Context, _ context.CancelCauseFunc) { c.Cancel(nil) }, context.Canceled, context.Canceled},
		{"it is canceled before its time is over", time.Second, func(c *bounded.Context, _ context.CancelCauseFunc) {
			c.Cancel(nil)
			time.Sleep(time.Minute)
		}, context.Canceled, context.Canceled},
		{"its parent ends", time.Hour, func(_ *bounded.Context, outer context.CancelCauseFunc) { outer(errOuter) }, context.Canceled, errOuter},
		{"its parent ends without a time", 0, func(_ *bounded.Context, outer context.CancelCauseFunc) { outer(errOuter) }, context.Canceled, errOuter},
	} {
		for name, look := range looks {
			t.Run(tt.name+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					parent, outer := context.WithCancelCause(context.WithValue(t.Context(), key{}, "value"))
					defer outer(nil)
					c, deadline := new(bounded.Context), time.Time{}
					if tt.limit > 0 {
						deadline = time.Now().Add(tt.limit)
					}
					c.Begin(parent, deadline, errLate)
					defer c.Cancel(nil)
					if got, ok := c.Deadline(); !got.Equal(deadline) || ok != (tt.limit > 0) {
						t.Errorf("its deadline is %v, %v, want %v", got, ok, deadline)
					}
					look(c)
					tt.then(c, outer)
					synctest.Wait()
					child, leave := context.WithCancel(c)
					defer leave()
					for range 2 {
						if cause := context.Cause(c); !errors.Is(cause, tt.cause) || !errors.Is(c.Err(), tt.err) {
							t.Errorf("it has ended with %v because of %v, want %v because of %v", c.Err(), cause, tt.err, tt.cause)
						}
					}
					if cause := context.Cause(child); !errors.Is(cause, tt.cause) {
						t.Errorf("what was made of it has ended because of %v, want %v", cause, tt.cause)
					}
					ended := false
					select {
					case <-c.Done():
						ended = true
					default:
					}
					if ended != (tt.err != nil) {
						t.Errorf("who waits for it hears %v, want %v", ended, tt.err != nil)
					}
					if got := c.Value(key{}); got != "value" {
						t.Errorf("of its parent's values it has %v", got)
					}
				})
			})
		}
	}
}

// TestParentsTime: the sooner deadline is its own.
func TestParentsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c := new(bounded.Context)
		c.Begin(parent, time.Now().Add(time.Minute), errLate)
		defer c.Cancel(nil)
		if until, ok := c.Deadline(); !ok || time.Until(until) != time.Second {
			t.Errorf("its deadline is in %v, want 1s", time.Until(until))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if cause := context.Cause(c); !errors.Is(cause, context.DeadlineExceeded) {
			t.Errorf("it has ended because of %v, want its parent's", cause)
		}
	})
}

// TestWatch: who watches is told once that it is canceled, unless he looks away before.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		own, away, late := new(bounded.Context), new(bounded.Context), new(bounded.Context)
		for _, c := range []*bounded.Context{own, away, late} {
			c.Begin(t.Context(), time.Time{}, nil)
		}
		other, cancel := context.WithCancel(t.Context())
		watch := func(ctx context.Context, name string) (stop func()) {
			_, stop = bounded.Watch(ctx, func() { told = append(told, name) })
			return stop
		}
		defer watch(own, "own")()
		watch(away, "away")()
		defer watch(other, "other")()
		own.Cancel(nil)
		own.Cancel(nil)
		away.Cancel(nil)
		late.Cancel(nil)
		synctest.Wait()
		cancel()
		synctest.Wait()
		defer watch(late, "late")()
		synctest.Wait()
		if want := []string{"own", "other", "late"}; !slices.Equal(told, want) {
			t.Errorf("told were %v, want %v", told, want)
		}
	})
}
