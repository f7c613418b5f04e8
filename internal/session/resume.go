package session

import (
	"maps"
	"slices"

	"busd/bus"
	"busd/internal/wire"
)

// Seen returns the number of the last frame from the peer that was taken: what
// this end offers to go on from.
func (s *Session) Seen() uint64 { return s.seen }

// Resumes tells whether the session can go on with a peer that says it has seen
// our frames up to seen. It may have acknowledged more since. One that threw a
// frame away cannot: what came after it was taken and not acknowledged, and would
// come twice.
func (s *Session) Resumes(seen uint64) bool { return seen <= s.written && !s.skipping }

// Resume goes on over another line: what was written and the peer has not seen
// will be written again, and an ack is due that says anew what this end has.
// seen is the last of our frames that the peer has, offered what it was told
// that this end has. It returns the tags whose ack that is.
func (s *Session) Resume(seen, offered uint64) (tags []uint64, err *bus.Error) {
	switch {
	case s.skipping:
		return nil, bus.Errorf(bus.CodeSessionLost, "frames after %d were thrown away", s.seen)
	case !s.Resumes(seen):
		return nil, bus.Errorf(bus.CodeProtocolError, "resume from frame %d: the last frame sent was %d", seen, s.written)
	}
	tags = s.forget(seen)
	s.again, s.againTo = s.acked+1, s.written
	s.lanes[Bulk].rewind()
	s.lanes[Urgent].rewind()
	s.next = offered + 1
	s.untold, s.asking, s.askedAt = true, false, noNumber
	s.held = false
	s.skipGiven()
	return tags, nil
}

// noNumber is the number of no frame.
const noNumber = ^uint64(0)

// Repeating tells whether something is still to be written again.
func (s *Session) Repeating() bool { return s.again <= s.againTo && s.again != 0 }

// Repeated returns how many frames a resume has still to write again.
func (s *Session) Repeated() int {
	if !s.Repeating() {
		return 0
	}
	return int(s.againTo - s.again + 1)
}

// repeat writes the next frame again.
func (s *Session) repeat(dst []byte) []byte {
	frame, ok := s.lanes[Bulk].repeat(s.again)
	if !ok { // then it is the other lane's
		frame, _ = s.lanes[Urgent].repeat(s.again)
	}
	dst = wire.AppendNumber(dst, frame, s.again)
	s.again++
	return dst
}

// Revoked returns the numbers of requests that were taken back and have no
// answer: a cancel is not numbered, and one that was on its way is lost with its
// line.
func (s *Session) Revoked() []uint64 { return slices.Sorted(maps.Keys(s.revoked)) }

// EachUnsent calls f with each bulk frame that was never written, in order, and
// the tag that waits for it, if one does. The bytes are good until f returns.
func (s *Session) EachUnsent(f func(frame []byte, tag uint64)) {
	s.lanes[Bulk].eachUnsent(func(r record, frame []byte) {
		if r.tag == 0 || !s.given[r.tag] {
			f(frame, r.tag)
		}
	})
}

// Unacknowledged returns how many data frames that nobody waits for the peer may
// or may not have.
func (s *Session) Unacknowledged() (n int) {
	s.lanes[Bulk].eachWritten(func(r record, _ []byte) {
		if r.tag == 0 {
			n++
		}
	})
	return n
}
