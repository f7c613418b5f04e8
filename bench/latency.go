package main

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// latencies are how long things took, once they are to be recorded. Its methods
// may be called concurrently.
type latencies struct {
	on atomic.Bool

	mu  sync.Mutex
	all []time.Duration
}

// start begins recording.
func (l *latencies) start() { l.on.Store(true) }

// add records one, or nothing before start.
func (l *latencies) add(d time.Duration) {
	if !l.on.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, d)
}

// into stores percentiles, in microseconds.
func (l *latencies) into(m metrics) {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.Sort(l.all)
	for name, p := range map[string]float64{"p50": 0.50, "p99": 0.99, "max": 1} {
		m[name] = float64(percentile(l.all, p)) / float64(time.Microsecond)
	}
}

// percentile returns the value below which the part p of a sorted list is; 0 of
// an empty one.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}
