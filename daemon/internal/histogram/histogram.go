// Package histogram counts durations, and says what share of them was how long.
//
// It knows nothing of what took so long.
package histogram

import (
	"fmt"
	"iter"
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// Each power of two is divided into 32 buckets, so that a bucket is at most
	// 3 % wide.
	subBits = 5
	subs    = 1 << subBits
	// maxBits bounds what is told apart: 2^40 ns are 18 minutes.
	maxBits = 40
	buckets = (maxBits - subBits + 1) * subs
)

// A Histogram counts durations, to 3 %. Its methods may be called concurrently,
// and none waits for another. The zero value is empty.
type Histogram struct {
	counts [buckets]atomic.Uint64
	max    atomic.Int64
}

// Add counts a duration; a negative one is none at all.
func (h *Histogram) Add(d time.Duration) {
	h.counts[bucketOf(d)].Add(1)
	for most := h.max.Load(); int64(d) > most && !h.max.CompareAndSwap(most, int64(d)); {
		most = h.max.Load()
	}
}

// Counts is a snapshot of one histogram, or of several together. The zero value
// is empty.
type Counts struct {
	counts [buckets]uint64
	max    time.Duration // 0: not known better than its bucket
}

// AddFrom adds what h has counted so far.
func (c *Counts) AddFrom(h *Histogram) {
	for i := range h.counts {
		c.counts[i] += h.counts[i].Load()
	}
	c.max = max(c.max, time.Duration(h.max.Load()))
}

// AddCounts adds what another snapshot has.
func (c *Counts) AddCounts(other *Counts) {
	for i, n := range other.counts {
		c.counts[i] += n
	}
	c.max = max(c.max, other.max)
}

// Since returns what was counted after an earlier snapshot. Its maximum is that
// of its last bucket.
func (c *Counts) Since(before *Counts) *Counts {
	var diff Counts
	for i := range c.counts {
		diff.counts[i] = c.counts[i] - before.counts[i]
	}
	return &diff
}

// Total is how many were counted.
func (c *Counts) Total() (n uint64) {
	for _, count := range c.counts {
		n += count
	}
	return n
}

// Quantile returns the duration that a share q of all did not exceed, rounded
// up to the end of its bucket, and never above the longest; 0 if nothing was
// counted.
func (c *Counts) Quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(q * float64(c.Total())))
	if rank == 0 {
		return 0
	}
	var seen uint64
	for i, count := range c.counts {
		if seen += count; seen >= rank {
			return c.end(i)
		}
	}
	return c.end(buckets - 1)
}

// Max is the longest duration, or 0 if nothing was counted.
func (c *Counts) Max() time.Duration {
	if c.max > 0 {
		return c.max
	}
	return c.Quantile(1)
}

// All yields the buckets in which something was counted, the shortest first: the
// longest duration of each, and how many there were.
func (c *Counts) All() iter.Seq2[time.Duration, uint64] {
	return func(yield func(time.Duration, uint64) bool) {
		for i, n := range c.counts {
			if n > 0 && !yield(c.end(i), n) {
				return
			}
		}
	}
}

// end is the longest duration of a bucket that there was, as far as is known.
func (c *Counts) end(i int) time.Duration {
	if c.max > 0 && (i == bucketOf(c.max) || i == buckets-1) {
		return c.max
	}
	return bucketEnd(i)
}

// Text says a duration for people, with three digits up to 1000 s.
func Text(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 999500*time.Microsecond:
		return fmt.Sprintf("%.3g ms", float64(d)/float64(time.Millisecond))
	case d < 100*time.Second:
		return fmt.Sprintf("%.3g s", d.Seconds())
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}

// bucketOf returns the bucket of a duration. The first 32 hold a nanosecond
// each; from there on 32 share each power of two.
func bucketOf(d time.Duration) int {
	ns := uint64(max(d, 0))
	if ns < subs {
		return int(ns)
	}
	if ns >= 1<<maxBits {
		return buckets - 1
	}
	shift := bits.Len64(ns) - subBits - 1
	return shift*subs + int(ns>>shift)
}

// bucketEnd returns the longest duration of a bucket.
func bucketEnd(i int) time.Duration {
	if i < subs {
		return time.Duration(i)
	}
	shift := i/subs - 1
	first := uint64(i - shift*subs)
	return time.Duration((first+1)<<shift - 1)
}
