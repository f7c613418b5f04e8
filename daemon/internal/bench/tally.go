package bench

import (
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"busd/bus"
	"busd/daemon/internal/histogram"
)

// A tally counts what comes of a measurement. It may be used concurrently.
type tally struct {
	latency    histogram.Histogram
	operations atomic.Uint64
	warmup     atomic.Uint64
	lost       atomic.Uint64 // connections
	notBegun   atomic.Uint64

	mu sync.Mutex
	// Guarded by mu.
	errors map[string]uint64
	first  string
}

// done counts what ended well, after so long.
func (t *tally) done(d time.Duration) {
	t.latency.Add(d)
	t.operations.Add(1)
}

// fail counts what failed.
func (t *tally) fail(err error) { t.failed(bus.CodeOf(err), 1, sentence(err)) }

// failed counts so many failures of a code, one of which says what.
func (t *tally) failed(code bus.Code, n uint64, what string) {
	if n == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.errors == nil {
		t.errors = map[string]uint64{}
	}
	t.errors[code.String()] += n
	if t.first == "" {
		t.first = what
	}
}

// sentence says an error in one line, without what is underneath.
func sentence(err error) string {
	var e *bus.Error
	if errors.As(err, &e) && e.Text() != "" {
		return e.Text()
	}
	return err.Error()
}

// into says in a result what was counted in so long a time.
func (t *tally) into(r *Result, elapsed time.Duration, from string, parts bool) {
	r.took(t.operations.Load(), elapsed)
	r.Latency = durations(&t.latency, from, parts)
	r.Warmup = t.warmup.Load()
	r.Lost, r.NotBegun = t.lost.Load(), t.notBegun.Load()
	t.mu.Lock()
	defer t.mu.Unlock()
	r.Errors = maps.Clone(t.errors)
	if r.Errors == nil {
		r.Errors = map[string]uint64{} // for programs there is always one
	}
	r.First = t.first
}
