package session

import (
	"busd/bus"
	"busd/internal/wire"
)

// Received takes a numbered frame of size bytes from the peer; consumes says
// whether it is of a kind that consumes credit. fresh is false for one that was
// received before a resume: it must be thrown away.
func (s *Session) Received(n uint64, size int, consumes, ackAtOnce bool) (fresh bool, err *bus.Error) {
	if fresh, err = s.arrive(n); !fresh || err != nil {
		return false, err
	}
	if consumes {
		s.consumed += Cost(size)
		if s.consumed-s.released > s.grant {
			return false, bus.Errorf(bus.CodeProtocolError, "credit exceeded: granted %d bytes, %d are in use", s.grant, s.consumed-s.released)
		}
	}
	if s.skipping {
		return true, nil
	}
	s.seen = n
	s.unackedIn += size
	s.ackAsked = s.ackAsked || ackAtOnce
	return true, nil
}

// Skip takes the number of a frame that is thrown away. Neither it nor any
// after it is ever acknowledged, so that the peer knows; the session cannot be
// resumed then.
func (s *Session) Skip(n uint64) *bus.Error {
	fresh, err := s.arrive(n)
	s.skipping = s.skipping || fresh
	return err
}

// arrive takes the number of a frame. On one line numbers rise by one. Over what
// this end has already they may jump: on a resumed line the peer may hear that
// this end has it, while it writes it again.
func (s *Session) arrive(n uint64) (fresh bool, err *bus.Error) {
	switch {
	case n >= s.next && n <= s.arrived+1:
	case s.next <= s.arrived:
		return false, bus.Errorf(bus.CodeProtocolError, "frame number: want %d to %d, got %d", s.next, s.arrived+1, n)
	default:
		return false, bus.Errorf(bus.CodeProtocolError, "frame number: want %d, got %d", s.next, n)
	}
	s.next = n + 1
	if n <= s.arrived {
		return false, nil
	}
	s.arrived = n
	return true, nil
}

// Release gives back the credit that a frame of size bytes consumed: it has
// been handled, or thrown away.
func (s *Session) Release(size int) { s.released += Cost(size) }

// Unreported tells whether there is anything that an ack would say.
func (s *Session) Unreported() bool {
	return s.seen != s.toldSeen || s.released != s.toldBack || s.untold
}

// AckDue tells whether there is to be an ack: one cannot wait, or 64 frames have come.
func (s *Session) AckDue() bool {
	return !s.AckWaits() || s.seen-s.toldSeen >= ackFrames
}

// AckWaits tells whether an ack, if there is anything that it would say, may wait a
// moment for company: nobody asked for it, there were less than 256 frames and 256 KiB of
// them (or a quarter of the credit, if that is less), and less than that of credit came
// back.
func (s *Session) AckWaits() bool {
	return !s.ackAsked && !s.asks() && !s.untold && s.seen-s.toldSeen < lateFrames && s.unackedIn < s.ackAt &&
		s.released-s.toldBack < uint64(s.ackAt)
}

// AckNow makes an ack due.
func (s *Session) AckNow() { s.ackAsked = true }

// AskAck makes an ack due that asks the peer for one in return: it will cover
// everything written so far.
func (s *Session) AskAck() {
	if s.askedAt != s.written { // else the one that was asked for is on its way
		s.askedAt, s.asking = s.written, true
	}
}

// asks tells whether the next ack asks for one in return. It would not cover what
// is still to be written again.
func (s *Session) asks() bool { return s.asking && !s.Repeating() }

// AppendAck appends an ack of everything seen and released so far.
func (s *Session) AppendAck(dst []byte) []byte {
	s.toldSeen, s.toldBack = s.seen, s.released
	s.unackedIn, s.ackAsked, s.untold = 0, false, false
	if s.asks() {
		s.asking = false
		return wire.AppendAckAsking(dst, s.seen, s.released)
	}
	return wire.AppendAck(dst, s.seen, s.released)
}
