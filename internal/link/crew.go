package link

import (
	"sync"
	"time"
)

// A crew are workers that rest: while calls follow each other closely those that have
// nothing to do stay for a moment. Measured: a goroutine for each call, whose stack
// grows anew each time, was a sixth of what a small call costs its server. It is
// guarded by the stream's mu.
type crew struct {
	resting   int
	called    int // of those that rested and are to work
	dismissed int // of those that rested and are to end
	fewest    int // as few have rested at a time since the watch last looked
	wake      *sync.Cond
	watch     *time.Timer // nil: there was never one
	watching  bool
	last      time.Time // when a call last came
	close     bool      // it came soon after the one before
	ended     bool      // nobody rests any more
}

// came takes note that a call has come.
func (c *crew) came(now time.Time) { c.close, c.last = now.Sub(c.last) < patience, now }

// call has one of those that rest work; false: nobody rests.
func (c *crew) call() bool {
	if c.resting == 0 {
		return false
	}
	c.resting--
	c.called++
	c.fewest = min(c.fewest, c.resting)
	c.wake.Signal()
	return true
}

// rests tells whether a worker that has nothing to do is to stay.
func (c *crew) rests() bool { return c.close && !c.ended }

// rest returns when the worker is called, or, with false, when it is to end. mu is held,
// and given back meanwhile; look is [crew.look], with mu.
func (c *crew) rest(mu *sync.Mutex, look func()) bool {
	c.resting++
	if c.wake == nil {
		c.wake = sync.NewCond(mu)
	}
	switch {
	case c.watching:
	case c.watch == nil:
		c.watch = time.AfterFunc(patience, look)
	default:
		c.watch.Reset(patience)
	}
	c.watching = true
	for c.called == 0 && c.dismissed == 0 {
		c.wake.Wait()
	}
	if c.called > 0 {
		c.called--
		return true
	}
	c.dismissed--
	return false
}

// look dismisses those who have not been needed since it last did.
func (c *crew) look() {
	c.dismiss(min(c.fewest, c.resting))
	c.fewest = c.resting
	if c.watching = c.resting > 0; c.watching {
		c.watch.Reset(patience)
	}
}

func (c *crew) dismiss(n int) {
	if n == 0 {
		return
	}
	c.resting -= n
	c.dismissed += n
	c.wake.Broadcast()
}

// end dismisses all, for good.
func (c *crew) end() {
	c.ended = true
	c.dismiss(c.resting)
}

// lookAtCrew is the crew's watch.
func (s *Stream) lookAtCrew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls.crew.look()
}
