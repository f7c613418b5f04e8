package link

import "sync/atomic"

// Who asks, and is the only one who does, writes his request himself, and gives way as a
// reader does that has answered. A writer would have to be woken for it, and the process
// would go to sleep before the answer is there. Measured: a fifth more requests, one after
// the other, at four fifths of the processor time.

const (
	// lineRoom is how much may be kept for the peer, in bytes, where who asks writes: so
	// much finds room in a socket, and he does not wait for the line.
	lineRoom = 8 << 10
	// askBatches is how many WebSocket messages he writes before another goroutine writes
	// on.
	askBatches = 2
)

// asksAloneLocked tells whether who puts a frame of size bytes, for whose answer he is in
// waiting, is to write it.
func (s *Stream) asksAloneLocked(size int) bool {
	return s.link != nil && !s.link.writing && s.inline.reader == nil && len(s.waiting) == 1 && len(s.waiters[bulk]) == 0 &&
		s.session.Queued()+size <= lineRoom
}

// askLocked writes what was put, and gives way until its answer comes to ch, for a moment.
func (s *Stream) askLocked(ch chan Answer) {
	l := s.link
	if !l.writableLocked() || !l.takeWritingLocked() {
		return
	}
	socket := l.cfg.Socket
	s.mu.Unlock()
	defer s.mu.Lock()
	l.write(nil, askBatches)
	if lively.Load() > 1 || !asking.CompareAndSwap(false, true) {
		return
	}
	defer asking.Store(false)
	if l.askers.tries() {
		l.askers.had(awaitMore(socket, func() bool { return len(ch) > 0 }))
	}
}

// asking is whether one of those who ask gives way: in a process one does at a time, as
// others may want the processor for the same.
var asking atomic.Bool
