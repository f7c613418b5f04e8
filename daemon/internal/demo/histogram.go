package demo

import (
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

// A histogram counts durations. One goroutine may add while others take
// snapshots.
type histogram struct {
	counts [buckets]atomic.Uint64
}

func (h *histogram) add(d time.Duration) { h.counts[bucketOf(d)].Add(1) }

// counts is a snapshot of one histogram, or of several together.
type counts [buckets]uint64

// addFrom adds what h has counted so far.
func (c *counts) addFrom(h *histogram) {
	for i := range h.counts {
		c[i] += h.counts[i].Load()
	}
}

// since returns what was counted after an earlier snapshot.
func (c *counts) since(before *counts) *counts {
	var diff counts
	for i := range c {
		diff[i] = c[i] - before[i]
	}
	return &diff
}

func (c *counts) total() (n uint64) {
	for _, count := range c {
		n += count
	}
	return n
}

// quantile returns the duration that a share q of all did not exceed, rounded
// up to the end of its bucket; 0 if nothing was counted.
func (c *counts) quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(q * float64(c.total())))
	if rank == 0 {
		return 0
	}
	var seen uint64
	for i, count := range c {
		if seen += count; seen >= rank {
			return bucketEnd(i)
		}
	}
	return bucketEnd(buckets - 1)
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
