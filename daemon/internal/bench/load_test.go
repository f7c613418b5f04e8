package bench

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
)

// With a rate time counts from when an operation was due, if nobody was free to
// begin it; of who waited for it, from when he woke.
func TestScheduleCountsFromWhenItWasDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := &schedule{began: began, until: began.Add(time.Second), rate: 10}
		turn := func() time.Duration {
			from, ok := s.turn(t.Context(), time.Now())
			if !ok {
				return -1
			}
			return from.Sub(began)
		}
		if a, b := turn(), turn(); a != 0 || b != 100*time.Millisecond || time.Since(began) != b {
			t.Errorf("in time: got %v and %v after %v", a, b, time.Since(began))
		}
		time.Sleep(400 * time.Millisecond) // the server stalls
		if a, b := turn(), turn(); a != 200*time.Millisecond || b != 300*time.Millisecond || time.Since(began) != 500*time.Millisecond {
			t.Errorf("late: got %v and %v after %v", a, b, time.Since(began))
		}
		time.Sleep(time.Second)
		if a := turn(); a != -1 {
			t.Errorf("after the end: got %v", a)
		}
		if left := s.left(); left != 6 {
			t.Errorf("got %d that had no turn, want 6", left)
		}
	})
}

// Without a rate there is no schedule but the end.
func TestScheduleWithoutARate(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := &schedule{began: now, until: now.Add(time.Hour)}
	if from, ok := s.turn(t.Context(), now); !ok || !from.Equal(now) {
		t.Errorf("got %v, %t", from, ok)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, ok := s.turn(ctx, now); ok {
		t.Error("it goes on after its context")
	}
	if s.left() != 0 {
		t.Error("something is left")
	}
}

// What stalls at the end is not waited for for ever, and is no success.
func TestStall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		l := &load{
			inFlight: 1, duration: time.Second, tally: &tally{},
			stations: []station{{do: func(ctx context.Context) error {
				if calls++; calls < 10 {
					time.Sleep(50 * time.Millisecond)
					return nil
				}
				<-ctx.Done()
				return bus.Errorf(bus.CodeUnknown, "its context has ended")
			}}},
		}
		took := l.run(t.Context(), func(time.Time) {})
		var r Result
		l.tally.into(&r, took, "sent", false)
		if r.Warmup != 2 || r.Operations != 7 || r.Errors["deadline_exceeded"] != 1 || took != time.Second+graceTime {
			t.Errorf("got %+v after %v, want 2 and 7 and one that stalled", r, took)
		}
	})
}

// What this program itself takes of an operation.
func BenchmarkOperation(b *testing.B) {
	now := time.Now()
	s := &schedule{began: now, until: now.Add(time.Hour)}
	l := &load{tally: &tally{}}
	n := 0
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	l.work(ctx, s, station{do: func(context.Context) error {
		if n++; n == b.N {
			cancel()
		}
		return nil
	}}, true)
}
