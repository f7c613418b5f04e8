package link

import "sync/atomic"

// Who asks, and is the only one who does, writes his request himself, and gives way as a
// reader does that has answered. A writer would have to be woken for it, and the process
// would go to sleep before the answer is there. Measured: a fifth more requests, one after
// the other, at four fifths of the processor time.

// lineRoom is how much may be kept for the peer, in bytes, where who asks writes: so much
// finds room in a socket of the system's, and he does not wait for the line.
const lineRoom = 8 << 10

// asksAloneLocked tells whether who puts a frame of size bytes, for whose answer he is in
// waiting, is to write it.
func (s *Stream) asksAloneLocked(size int) bool {
	l := s.link
	return l != nil && l.opened && l.ending == nil && !l.writing && len(l.pings)+len(l.pongs)+len(l.goaway) == 0 &&
		s.inline.reader == nil && len(s.waiting) == 1 && len(s.waiters[bulk]) == 0 &&
		s.session.Queued()+size <= lineRoom && s.session.Room(bulk, size) && l.cfg.Socket.Buffers()
}

// askLocked writes what was put, and gives way until its answer comes to ch, for a moment.
// What others put meanwhile is for the writer: it may be much.
func (s *Stream) askLocked(ch chan Answer) {
	l := s.link
	socket := l.cfg.Socket
	if !l.writableLocked() || !l.takeWritingLocked() {
		return
	}
	buf := buffers.Get().(*[]byte) // the pool holds nothing else
	defer buffers.Put(buf)
	*buf = l.carryLocked((*buf)[:0])
	s.mu.Unlock()
	err := socket.Write(*buf)
	if err != nil {
		l.writeFailed(err)
	}
	s.mu.Lock()
	if err != nil {
		l.work.Done()
		return
	}
	if l.writableLocked() {
		l.work.Add(1) // the goroutine; that it writes is taken over
		go l.writeOn(nil, false)
		return
	}
	l.writing = false
	l.work.Done()
	if lively.Load() > 1 || !asking.CompareAndSwap(false, true) {
		return
	}
	s.mu.Unlock()
	defer s.mu.Lock()
	defer asking.Store(false)
	if l.askers.tries() {
		l.askers.had(awaitMore(socket, func() bool { return len(ch) > 0 }))
	}
}

// asking is whether one of those who ask gives way: in a process one does at a time, as
// others may want the processor for the same.
var asking atomic.Bool
