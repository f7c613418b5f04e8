package link

import (
	"sync/atomic"
	"time"
)

const (
	// gives is how often a reader gives way before it waits. Measured: with 5 more are in
	// vain, 20 cost more where they are.
	gives = 10
	// maxSkip is how often at most a reader that gave way in vain does not do so.
	maxSkip = 8
)

// lively is how many streams of this process handle messages that follow each other
// closely. One whose reader gives way is alone: others would have to wait for it.
var lively atomic.Int32

// A way is given by a reader that has answered and would wait now: what it waits for is
// often a thread that has become ready on the same processor, with what was written.
type way struct {
	wrote  bool // the reader wrote what was sent, and has not read since
	roused bool // somebody who waited goes on, and wants the processor first
	luck   luck
}

// luck says whether it is worth while to give way again.
type luck struct {
	skip   uint8 // how often way is not given
	missed uint8 // how often it would not be, were it in vain once more
}

// had takes note of whether it was not in vain.
func (l *luck) had(more bool) {
	if l.missed = min(2*l.missed+1, maxSkip); more {
		l.missed = 0
	}
	l.skip = l.missed
}

// tries tells whether to try this time.
func (l *luck) tries() bool {
	if l.skip > 0 {
		l.skip--
		return false
	}
	return true
}

// giveWay lets others have the processor before the reader waits for the peer's answer.
// To wait puts the whole process to sleep, for it to be woken a moment later. Measured:
// without it there are a quarter fewer round trips, each at half as much time of the
// processor again.
func (l *Link) giveWay() {
	w := &l.way
	due := w.wrote && !w.roused && lively.Load() == 1
	w.wrote, w.roused = false, false
	if due && w.luck.tries() {
		w.luck.had(awaitMore(l.cfg.Socket, func() bool { return false }))
	}
}

// awaitMore gives way until there is more to read, or it is over, for a moment. Where
// another process computes all the time, to give way once takes as long as that may keep
// the processor: then nobody in this process does so for a while, and each time it is
// found to be so, for twice as long.
func awaitMore(from Socket, over func() bool) bool {
	now := time.Since(began)
	if until := busy.until.Load(); !canYield || (until != 0 && int64(now) < until) {
		return false
	}
	for tries := range gives {
		if from.More() {
			if tries > 0 {
				busy.pause.Store(0)
			}
			return true
		}
		if over() {
			return false
		}
		yield()
		before := now
		if now = time.Since(began); now-before > slowYield {
			pause := min(max(2*busy.pause.Load(), int64(minBusy)), int64(maxBusy))
			busy.pause.Store(pause)
			busy.until.Store(int64(now) + pause)
			return false
		}
	}
	return false
}

// Of a processor that others want too.
const (
	// slowYield is longer than a peer takes that answers a batch.
	slowYield = 500 * time.Microsecond
	// minBusy and maxBusy bound for how long nobody gives way then.
	minBusy = 50 * time.Millisecond
	maxBusy = 10 * time.Second
)

// busy is what this process knows of the others on its processors. It is only a guess,
// and who writes last is right.
var busy struct{ until, pause atomic.Int64 } // since began, 0: nothing is known; a duration
