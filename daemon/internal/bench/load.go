package bench

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"busd/bus"
)

const (
	// errorPause keeps a station whose operations fail at once from doing nothing
	// else.
	errorPause = 10 * time.Millisecond
	// graceTime is how long what has begun may take after the end of the time.
	graceTime = 5 * time.Second
	// warmupShare of the duration is for getting warm, and maxWarmup at most.
	warmupShare = 10
	maxWarmup   = 250 * time.Millisecond
	// untimed operations are begun between two looks at the clock.
	untimed = 32
)

// A station is a connection, as load is put on it.
type station struct {
	// do does one operation, and waits for its end unless there is a flush.
	do func(ctx context.Context) error
	// flush does one operation and waits for the end of all that were begun; nil: each
	// waits for itself.
	flush func(ctx context.Context) error
}

// A load is put on stations for a time.
type load struct {
	// Fixed at creation.
	stations []station
	inFlight int // on each station
	duration time.Duration
	rate     float64 // 0: each operation begins when one has ended
	tally    *tally
}

// run puts the load on, after a warm-up, until the time is over or ctx ends, and
// returns how long it took until the last operation had ended. tell is told when
// the warm-up is over.
func (l *load) run(ctx context.Context, tell func(began time.Time)) time.Duration {
	l.phase(ctx, min(l.duration/warmupShare, maxWarmup), false)
	began := time.Now()
	tell(began)
	l.phase(ctx, l.duration, true)
	return time.Since(began)
}

// phase begins operations for so long, and waits for their ends.
func (l *load) phase(ctx context.Context, length time.Duration, counts bool) {
	ctx, cancel := context.WithTimeoutCause(ctx, length+graceTime, errStalled)
	defer cancel()
	began := time.Now()
	s := &schedule{began: began, until: began.Add(length), rate: l.rate}
	var working sync.WaitGroup
	for _, at := range l.stations {
		for range l.inFlight {
			working.Go(func() { l.work(ctx, s, at, counts) })
		}
	}
	working.Wait()
	if counts && ctx.Err() == nil {
		l.tally.notBegun.Add(s.left())
	}
	l.flush(ctx, counts)
}

// errStalled is the cause of what did not end in time.
var errStalled = bus.Errorf(bus.CodeDeadlineExceeded, "it had not ended %s after the end of the time", graceTime)

// work does one operation after the other. It looks at the clock once for each, or
// for each turn of those that are not timed: that costs as much as the rest of it.
func (l *load) work(ctx context.Context, s *schedule, at station, counts bool) {
	atOnce := 1
	if at.flush != nil && l.rate == 0 {
		atOnce = untimed
	}
	now := time.Now()
	for {
		from, ok := s.turn(ctx, now)
		if !ok {
			return
		}
		done, err := at.several(ctx, atOnce)
		now = time.Now()
		switch {
		case !counts:
			l.tally.warmup.Add(done)
		case at.flush != nil || done == 0:
			l.tally.operations.Add(done)
		default:
			l.tally.done(now.Sub(from))
		}
		switch {
		case err != nil && interrupted(ctx):
			return
		case err != nil:
			l.tally.fail(stalled(ctx, err))
			sleep(ctx, errorPause)
			now = time.Now()
		}
	}
}

// several does so many operations, until one fails, and returns how many did not.
func (at station) several(ctx context.Context, n int) (done uint64, err error) {
	for range n {
		if err := at.do(ctx); err != nil {
			return done, err
		}
		done++
	}
	return done, nil
}

// flush waits until what was begun one way has been handled. It does so also when
// ctx was interrupted: the count would mean nothing without.
func (l *load) flush(ctx context.Context, counts bool) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), graceTime, errStalled)
	defer cancel()
	var flushing sync.WaitGroup
	for _, at := range l.stations {
		if at.flush == nil {
			continue
		}
		flushing.Go(func() {
			switch err := at.flush(ctx); {
			case err != nil:
				l.tally.fail(stalled(ctx, err))
			case counts:
				l.tally.operations.Add(1)
			default:
				l.tally.warmup.Add(1)
			}
		})
	}
	flushing.Wait()
}

// stalled is the error of an operation, or that it was not waited for any longer.
func stalled(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errStalled) {
		return errStalled
	}
	return err
}

// interrupted tells whether ctx ended, and not because it took too long.
func interrupted(ctx context.Context) bool {
	return ctx.Err() != nil && !errors.Is(context.Cause(ctx), errStalled)
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// A schedule says when operations begin. It may be used concurrently.
type schedule struct {
	// Fixed at creation.
	began, until time.Time
	rate         float64 // a second; 0: at once

	next atomic.Int64 // the number of the next operation, where there is a rate
}

// turn waits for the turn of the next operation, and returns from when it counts;
// false: the time is over, or ctx has ended. now is the time.
//
// With a rate that is when the operation was due, also if all who could have begun
// it were waiting for others: a server that stalls makes everything that was due
// meanwhile late. Who was there in time counts from when he woke: what a timer of
// this machine is late by is not the server's.
func (s *schedule) turn(ctx context.Context, now time.Time) (from time.Time, ok bool) {
	if ctx.Err() != nil || !now.Before(s.until) {
		return now, false
	}
	if s.rate == 0 {
		return now, true
	}
	due := s.due(s.next.Add(1) - 1)
	if !due.Before(s.until) {
		return now, false
	}
	if !due.After(now) {
		return due, true
	}
	sleep(ctx, due.Sub(now))
	return time.Now(), ctx.Err() == nil
}

func (s *schedule) due(n int64) time.Time {
	return s.began.Add(time.Duration(float64(n) / s.rate * float64(time.Second)))
}

// left is how many were due and had no turn.
func (s *schedule) left() uint64 {
	if s.rate == 0 {
		return 0
	}
	all := int64(s.until.Sub(s.began).Seconds() * s.rate)
	return uint64(max(0, all-s.next.Load()))
}
