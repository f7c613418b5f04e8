package link

import (
	"context"
	"time"
)

// stayTime is how long a deliverer that has nothing to handle stays, at least:
// so often is looked whether it has handled anything since. It is as long as a
// handler that takes its time may hold back what it has sent.
const stayTime = 2 * time.Millisecond

// maxCorked is how many frames of handlers may wait for the deliverer to write
// them. Measured: with many more the peer has nothing to do meanwhile.
const maxCorked = 32

// A stay is what a deliverer does while messages follow each other closely: it
// waits for the next one instead of ending, and writes by itself, once it has
// nothing more to handle, what the handlers have sent. Measured: a goroutine
// born for each message, and one more to write, whose stacks then grow, were a
// fifth of what a round trip costs, and waking them half of how long it takes. It
// is guarded by the stream's mu.
type stay struct {
	ended   time.Time   // when a deliverer last had nothing more to handle
	waits   chan bool   // a deliverer waits: true is a message, false that it may go; nil: none waits
	handles bool        // the deliverer is in a handler
	corked  int         // frames that wait for the deliverer to write them
	watch   *time.Timer // nil: deliverers neither stay nor write
	moved   bool        // something was handled since the watch last looked
}

// stayLocked writes what was left to the deliverer, and waits for the next
// message if there may be one soon. It returns true once there is, and the
// turn is this deliverer's again. It gives the lock back meanwhile.
func (s *Stream) stayLocked() bool {
	st := &s.stay
	s.writeCorkedLocked()
	if s.inbox.delivering || st.waits != nil {
		return false // another was started meanwhile
	}
	if s.link == nil || s.link.ending != nil || s.held || s.inbox.closed {
		return false
	}
	if st.watch == nil {
		now := time.Now()
		soon := now.Sub(st.ended) < stayTime
		if st.ended = now; !soon {
			return false
		}
		st.watch = time.AfterFunc(stayTime, s.look)
	}
	waits := make(chan bool, 1)
	st.waits = waits
	s.mu.Unlock()
	more := <-waits
	s.mu.Lock()
	return more
}

// look is the watch. It lets a deliverer go that nothing came for, and sees to it
// that what a handler sent does not wait for a handler that takes its time.
func (s *Stream) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &s.stay
	s.wakeCorkedLocked()
	switch {
	case st.watch == nil: // stopped in this moment
	case st.moved:
		st.moved = false
		st.watch.Reset(stayTime)
	default:
		s.dismissLocked()
	}
}

// dismissLocked ends a stay.
func (s *Stream) dismissLocked() {
	st := &s.stay
	if st.watch != nil {
		st.watch.Stop()
		st.watch = nil
	}
	if st.waits != nil {
		st.waits <- false
		st.waits = nil
	}
	s.wakeCorkedLocked()
}

// callBackLocked gives the next message to a deliverer that waits.
func (s *Stream) callBackLocked() bool {
	st := &s.stay
	if st.waits == nil {
		return false
	}
	st.waits <- true
	st.waits = nil
	return true
}

// wakeForLocked is wakeLocked for what was put with ctx. What a handler sends may
// wait until the deliverer writes it.
func (s *Stream) wakeForLocked(ctx context.Context) {
	st := &s.stay
	if st.watch != nil && st.handles && st.corked < maxCorked && s.link != nil && !s.link.writing &&
		ctx.Value(handlerKey{}) == s {
		st.corked++
		return
	}
	s.wakeLocked()
}

// wakeCorkedLocked sees to it that what waits for the deliverer is written
// without it.
func (s *Stream) wakeCorkedLocked() {
	if s.stay.corked > 0 {
		s.stay.corked = 0
		s.wakeLocked()
	}
}

// writeCorkedLocked makes the deliverer the writer. Another one may be started
// meanwhile: a line that takes nothing holds up no handler.
func (s *Stream) writeCorkedLocked() {
	if s.stay.corked == 0 {
		return
	}
	s.stay.corked = 0
	l := s.link
	if l == nil || !l.writableLocked() || !l.takeWritingLocked() {
		return
	}
	s.mu.Unlock()
	l.write(nil, false)
	s.mu.Lock()
}
