package link

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"busd/bus"
)

// Workers rest where calls follow each other closely, and only there: for a moment,
// counting as nothing, and not beyond the end of the session.
func TestWorkersRest(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		d := newDesk()
		a, b := pair(t, nil, d.handler(), options{})
		ask := func() {
			t.Helper()
			if _, err := a.Request(t.Context(), callFrame("m", "")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		wantWorkers := func(when string, want int) {
			t.Helper()
			got := slices.DeleteFunc(linksGoroutines(), func(stack string) bool { return !strings.Contains(stack, "(*Stream).work(") })
			if len(got) != want {
				t.Errorf("%s there are %d workers, want %d: %s", when, len(got), want, got)
			}
		}
		ask()
		wantWorkers("after one call", 0)
		for range 5 {
			ask()
		}
		wantWorkers("after calls that came closely", 1)
		b.mu.Lock()
		idle := b.idleLocked()
		b.mu.Unlock()
		if !idle {
			t.Error("a worker that rests counts as one that works")
		}
		time.Sleep(3 * patience)
		synctest.Wait()
		wantWorkers("a moment later", 0)
		ask()
		wantWorkers("after a call that came late", 0)
		ask()
		wantWorkers("after another", 1)
		began := time.Now()
		b.End(bus.Errorf(bus.CodeGoingAway, "enough"))
		_ = b.wait(t)
		_ = a.wait(t)
		synctest.Wait()
		wantWorkers("after the end", 0)
		if took := time.Since(began); took != 0 {
			t.Errorf("the end took %s", took)
		}
	})
}

// So many rest as were needed at a time, and those who are not needed any more end,
// while others go on.
func TestWorkersThatAreNotNeededEnd(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		const crowd = 10
		d := newDesk()
		a, b := pair(t, nil, d.handler(), options{})
		var answers []<-chan Answer
		for i := range crowd {
			answers = append(answers, call(t.Context(), a, fmt.Sprint("m", i), "wait"))
			synctest.Wait()
		}
		close(d.gate)
		for _, each := range answers {
			receive(t, each, "an answer")
		}
		synctest.Wait()
		resting := func() int {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.calls.crew.resting
		}
		if got := resting(); got != crowd {
			t.Errorf("%d rest, want %d", got, crowd)
		}
		for range 20 {
			if _, err := a.Request(t.Context(), callFrame("m", "")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(patience / 4)
		}
		if got := resting(); got != 1 {
			t.Errorf("%d rest after single calls, want 1", got)
		}
		if got := len(d.read()); got != crowd+20 {
			t.Errorf("%d calls were handled, want %d", got, crowd+20)
		}
	})
}

// A call that is left is answered at once, and nothing waits for its handler, whatever
// becomes of that.
func TestLeave(t *testing.T) {
	t.Parallel()
	for name, then := range map[string]func() error{
		"returns":            func() error { return nil },
		"fails":              func() error { return bus.Errorf(bus.CodeNotFound, "no such thing") },
		"panics":             func() error { panic("late") },
		"ends its goroutine": func() error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctestWithoutParallel(t, func(t *testing.T) {
				entered, stuck := make(chan context.Context, CallsAtOnce+1), make(chan struct{})
				h := &handlers{handle: func(ctx context.Context, _ *end, in *Incoming) error {
					if in.Name == "quick" {
						Leave(context.Background(), bus.Errorf(bus.CodeNotFound, "of another context")) // which is no call's
						return nil
					}
					entered <- ctx
					<-stuck
					return then()
				}}
				a, b := pair(t, nil, h, options{})
				var answers []<-chan Answer
				for range CallsAtOnce {
					answers = append(answers, call(t.Context(), a, "slow", ""))
				}
				synctest.Wait()
				for range CallsAtOnce {
					ctx := <-entered
					Leave(ctx, bus.Errorf(bus.CodeDeadlineExceeded, "it takes too long"))
					Leave(ctx, bus.Errorf(bus.CodeAborted, "a second time"))
					if ctx.Err() == nil {
						t.Error("its context goes on")
					}
				}
				for _, each := range answers {
					wantCode(t, "a call that was left", receive(t, each, "an answer").Err, bus.CodeDeadlineExceeded)
				}
				if _, err := a.Request(t.Context(), callFrame("quick", "")); err != nil {
					t.Errorf("beside as many that were left as may run: %v", err)
				}
				last := call(t.Context(), a, "slow", "")
				synctest.Wait()
				late := <-entered
				b.End(bus.Errorf(bus.CodeGoingAway, "enough"))
				synctest.Wait()
				if late.Err() == nil {
					t.Error("the context of a call goes on after the session")
				}
				Leave(late, late.Err())
				_ = b.wait(t) // though all of them are stuck
				wantCode(t, "the last", receive(t, last, "an answer").Err, bus.CodeSessionLost)
				close(stuck)
				synctest.Wait()
				b.mu.Lock()
				defer b.mu.Unlock()
				if q := &b.calls; q.workers != 0 || q.running != 0 || len(b.requests) != 0 {
					t.Errorf("%d workers, %d calls run, %d are known; want none", q.workers, q.running, len(b.requests))
				}
			})
		})
	}
}

// A call that has returned cannot be left, and a worker goes on with the next.
func TestLeaveTooLate(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		var gone []context.Context
		a, _ := pair(t, nil, &handlers{handle: func(ctx context.Context, _ *end, _ *Incoming) error {
			for _, other := range gone {
				Leave(other, bus.Errorf(bus.CodeAborted, "too late"))
			}
			gone = append(gone, ctx)
			return nil
		}}, options{})
		var failed []error
		for range 5 {
			if _, err := a.Request(t.Context(), callFrame("m", "")); err != nil {
				failed = append(failed, err)
			}
		}
		if len(gone) != 5 || slices.ContainsFunc(gone, func(ctx context.Context) bool { return ctx.Err() == nil }) || failed != nil {
			t.Errorf("%d calls were handled, and failed %v; want 5 whose contexts have ended", len(gone), failed)
		}
	})
}

// What a call that waits is said to take is what it takes.
func TestCallSize(t *testing.T) {
	t.Parallel()
	if got := unsafe.Sizeof(incomingCall{}); got != callSize {
		t.Errorf("a call takes %d bytes, want %d", got, callSize)
	}
}
