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
		"nobody looked":              func(context.Context) {},
		"looked at":                  func(ctx context.Context) { _ = ctx.Err() },
		"waited for":                 func(ctx context.Context) { _ = ctx.Done() },
		"waited for by two channels": func(ctx context.Context) { _, _ = bounded.Dones(ctx) },
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
					one, other := bounded.Dones(c)
					if got, want := isClosed(one) || isClosed(other), tt.err != nil; got != want || isClosed(c.Done()) != want {
						t.Errorf("who waits for it hears %v and %v, want %v", got, isClosed(c.Done()), want)
					}
					if got := c.Value(key{}); got != "value" {
						t.Errorf("of its parent's values it has %v", got)
					}
				})
			})
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// TestTwoChannels: of a context of package context there is one; and who waits before
// the end hears of it.
func TestTwoChannels(t *testing.T) {
	for name, end := range map[string]func(c *bounded.Context, outer context.CancelFunc){
		"it is canceled":  func(c *bounded.Context, _ context.CancelFunc) { c.Cancel(nil) },
		"its parent ends": func(_ *bounded.Context, outer context.CancelFunc) { outer() },
	} {
		parent, outer := context.WithCancel(t.Context())
		c := new(bounded.Context)
		c.Begin(parent, time.Time{}, nil)
		one, other := bounded.Dones(c)
		same, none := bounded.Dones(parent)
		if isClosed(one) || isClosed(other) || same != parent.Done() || none != nil {
			t.Errorf("%s: it has ended before", name)
		}
		end(c, outer)
		if !isClosed(one) && !isClosed(other) || c.Err() == nil {
			t.Errorf("%s: nobody hears of it", name)
		}
		outer()
		c.Cancel(nil)
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
