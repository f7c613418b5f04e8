package link

import (
	"sync/atomic"

	"busd/bus"
	"busd/internal/wire"
)

// A run is some one-way messages that the reader handles one right after the other:
// the lock is taken once for all of them, and not two times for each. What their
// handlers take together is looked at all the same: the watch gives back the credit of
// those that have returned, and a reader that is held up begins no more of them.
type run struct {
	// Guarded by the stream's mu.
	frames  []Incoming // nil: there is none
	settled int        // of how many the credit was given back

	done   atomic.Int32 // how many handlers have returned
	halted atomic.Bool  // none is begun any more
}

// alone tells whether a message may be in a run, if those of its type are handled one
// at a time: nobody waits for an answer.
func (in *Incoming) alone() bool { return in.Kind == wire.Data && in.Fault == nil }

// runLocked returns the messages that are handled together with the next one, which
// waits in the inbox.
func (s *Stream) runLocked() []Incoming {
	frames := s.inbox.first.frames[s.inbox.at:]
	n := 1
	for n < len(frames) && frames[n].alone() && s.atOnceLocked(&frames[n]) == 1 {
		frames[n].Follows = true
		n++
	}
	return frames[:n]
}

// deliverRunLocked handles a run, here, as far as it is not halted, and returns how many
// messages that were.
func (s *Stream) deliverRunLocked(frames []Incoming) (handled int) {
	l, b, r := s.carrier, s.inbox.first, &s.run
	l.running++
	s.inline.moved = true
	r.frames, r.settled = frames, 0
	r.done.Store(0)
	r.halted.Store(false)
	s.mu.Unlock()
	defer func() { // also if a handler ends its goroutine
		s.mu.Lock()
		s.settleRunLocked()
		r.frames, handled = nil, r.settled
		if s.inbox.first == b { // else it was thrown away
			s.inbox.at += handled
		}
		l.ranLocked()
	}()
	for left := frames; len(left) > 0 && !r.halted.Load(); left = frames[r.done.Load():] {
		l.handleRun(left)
	}
	return
}

// handleRun handles messages of a run, to the first whose handler panics.
func (l *Link) handleRun(frames []Incoming) {
	s := l.stream
	at, handles, returned := 0, false, false
	defer func() {
		if returned {
			return
		}
		defer s.run.done.Add(1) // also if what reports it ends the goroutine
		if handles {
			l.settleOneWay(&frames[at], panicked(recover()))
		}
	}()
	for ; at < len(frames) && !s.run.halted.Load(); at++ {
		in := &frames[at]
		handles = true
		err := l.cfg.Handler.Handle(s.handling, in)
		if handles = false; err != nil { // AsError allocates
			l.settleOneWay(in, bus.AsError(err))
		}
		s.run.done.Add(1)
	}
	returned = true
}

// settleRunLocked gives back the credit of those that were handled.
func (s *Stream) settleRunLocked() {
	r := &s.run
	done := int(r.done.Load())
	if r.frames == nil || done == r.settled {
		return
	}
	s.inline.moved = true
	s.inline.steps += done - r.settled
	for i := range r.frames[r.settled:done] {
		s.session.Release(r.frames[r.settled+i].Size)
	}
	r.settled = done
	if s.link != nil {
		s.link.ackLocked()
	}
}
