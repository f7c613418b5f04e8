package session

import (
	"busd/bus"
	"busd/internal/wire"
)

// Defaults and limits; docs/protocol.md states them.
const (
	// DefaultCredit is what each end grants the other, in bytes.
	DefaultCredit = 1 << 20
	// DefaultBuffer bounds the frames kept for the peer, unsent and
	// unacknowledged together, in bytes.
	DefaultBuffer = 1 << 20
	// MinCost is what a frame costs in credit at least, in bytes.
	MinCost = 64
	// ackFrames and ackBytes are after how much an ack is due at once.
	ackFrames = 64
	ackBytes  = 256 << 10
	// keptRequests is for how many unanswered requests an idle session keeps
	// its memory.
	keptRequests = 64
	// unanswered is how many answers may be on their way after the credit of
	// their requests came back.
	unanswered = 16 << 10
)

// A Lane says what rule a frame is under.
type Lane uint8

// The lanes.
const (
	// Bulk: data, requests and calls. They consume the peer's credit.
	Bulk Lane = iota
	// Urgent: answers and errors. They consume none, and pass bulk frames
	// that wait for credit.
	Urgent
)

// What a frame's tag waits for.
const (
	waitNothing uint8 = iota
	waitAck
	waitAnswer
)

// A Session is one end's view of the frames between an identity and a
// service. It must not be used concurrently.
type Session struct {
	// Fixed at creation.
	buffer int // bound of what is kept of a lane, unsent and unacknowledged
	grant  uint64
	ackAt  int // an ack is due after so many bytes

	// Outgoing.
	lanes   [2]queue
	sent    queue  // written and not acknowledged, in the order of numbers
	unacked [2]int // bytes in sent, by lane
	order   uint64
	written uint64            // number of the last frame written
	acked   uint64            // number of the last frame the peer has seen
	credit  uint64            // bytes ever granted to us
	spent   uint64            // bytes ever spent of it
	granted uint64            // the peer's first grant
	asked   map[uint64]uint64 // number of an unanswered request → its tag
	numbers map[uint64]uint64 // the same the other way round
	most    int               // how many there ever were of them at once
	bulk    uint64            // bulk frames ever written
	settled uint64            // answers and errors that ever came for them
	given   map[uint64]bool   // tags whose unsent frame was taken back

	// Incoming.
	arrived   uint64 // number of the last frame from the peer
	seen      uint64 // number of the last frame that was taken
	skipping  bool   // a frame was not taken: seen stays
	consumed  uint64 // bytes of credit the peer ever spent
	released  uint64 // bytes of credit ever given back
	toldSeen  uint64 // what the last ack said
	toldBack  uint64
	unackedIn int // bytes seen since the last ack
	ackAsked  bool
	asking    bool   // the next ack asks for one in return
	askedAt   uint64 // written, when one was last asked for
}

// New makes a session. grant is the credit that this end has granted the
// peer, credit what the peer has granted this end, buffer the bound on what is
// kept for the peer; all in bytes.
func New(grant, credit, buffer int) *Session {
	return &Session{
		buffer:  buffer,
		grant:   uint64(grant),
		granted: uint64(credit),
		credit:  uint64(credit),
		ackAt:   min(ackBytes, grant/4),
	}
}

// Cost is what a frame of so many bytes on the wire costs in credit.
func Cost(size int) uint64 { return uint64(max(size, MinCost)) }

// Room tells whether a frame of size bytes finds room in the lane now. A lane
// that is empty always has room for one frame of the buffer's size. Each lane
// has a bound of its own: answers must not wait for credit behind bulk frames,
// and a peer that asks and never acknowledges must not make them pile up.
func (s *Session) Room(lane Lane, size int) bool {
	return s.lanes[lane].bytes()+s.unacked[lane]+size <= s.buffer
}

// Put queues a frame without its number ([wire.AppendNumber] adds it when it
// is first written). The caller has asked Room, or may not wait.
func (s *Session) Put(lane Lane, frame []byte) { s.put(lane, frame, 0, waitNothing) }

// PutAcked is Put for a bulk frame whose ack is awaited: [Session.Acked]
// returns tag. Tags are the caller's, unique and never 0.
func (s *Session) PutAcked(frame []byte, tag uint64) { s.put(Bulk, frame, tag, waitAck) }

// PutRequest is Put for a bulk frame whose answer is awaited:
// [Session.Answered] returns tag.
func (s *Session) PutRequest(frame []byte, tag uint64) { s.put(Bulk, frame, tag, waitAnswer) }

func (s *Session) put(lane Lane, frame []byte, tag uint64, waits uint8) {
	s.order++
	s.lanes[lane].push(record{order: s.order, tag: tag, kind: waits, lane: lane}, frame)
}

// AppendFrames appends what may be written now, in the order in which it was
// put, until dst holds limit bytes or more; it numbers each frame. Where the
// oldest bulk frame waits for credit, urgent frames pass it.
func (s *Session) AppendFrames(dst []byte, limit int) []byte {
	for len(dst) < limit {
		lane, ok := s.next()
		if !ok {
			break
		}
		dst = s.write(dst, lane)
	}
	return dst
}

// Writable tells whether AppendFrames would append anything.
func (s *Session) Writable() bool {
	_, ok := s.next()
	return ok
}

// Unsent tells whether anything waits to be written, for credit or for the
// writer.
func (s *Session) Unsent() bool { return !s.lanes[Bulk].empty() || !s.lanes[Urgent].empty() }

// Unacked tells whether anything written was not acknowledged yet.
func (s *Session) Unacked() bool { return !s.sent.empty() }

// next chooses the lane of the next frame to write.
func (s *Session) next() (Lane, bool) {
	s.skipGiven()
	bulk, urgent := &s.lanes[Bulk], &s.lanes[Urgent]
	if bulk.empty() || !s.affordable() {
		return Urgent, !urgent.empty()
	}
	if urgent.empty() {
		return Bulk, true
	}
	b, _ := bulk.first()
	u, _ := urgent.first()
	if b.order < u.order {
		return Bulk, true
	}
	return Urgent, true
}

// skipGiven removes bulk frames at the head that were taken back.
func (s *Session) skipGiven() {
	for len(s.given) > 0 && !s.lanes[Bulk].empty() {
		r, _ := s.lanes[Bulk].first()
		if r.tag == 0 || !s.given[r.tag] {
			return
		}
		delete(s.given, r.tag)
		s.lanes[Bulk].pop()
	}
}

// affordable tells whether credit is left for the oldest bulk frame.
func (s *Session) affordable() bool {
	r, _ := s.lanes[Bulk].first()
	return s.spent+Cost(r.size+wire.NumberSize(s.written+1)) <= s.credit
}

// write moves the oldest frame of the lane to dst and to the sent ones.
func (s *Session) write(dst []byte, lane Lane) []byte {
	r, frame := s.lanes[lane].first()
	s.written++
	start := len(dst)
	dst = wire.AppendNumber(dst, frame, s.written)
	if lane == Bulk {
		s.bulk++
		s.spent += Cost(len(dst) - start)
	}
	if r.kind == waitAnswer {
		if s.asked == nil {
			s.asked, s.numbers = map[uint64]uint64{}, map[uint64]uint64{}
		}
		s.asked[s.written], s.numbers[r.tag] = r.tag, s.written
		s.most = max(s.most, len(s.asked))
	}
	s.unacked[lane] += r.size
	s.sent.push(r, frame)
	s.lanes[lane].pop()
	return dst
}

// Withdraw takes a request back that nobody waits for any more. If its frame
// was written it returns its number, so that a cancel can be sent; otherwise
// the frame is never written.
func (s *Session) Withdraw(tag uint64) (n uint64, written bool) {
	if n, written = s.numbers[tag]; written {
		return n, true
	}
	if s.given == nil {
		s.given = map[uint64]bool{}
	}
	s.given[tag] = true
	s.skipGiven()
	return 0, false
}

// Answered takes an answer's or error's reference to one of our frames. It
// returns the tag that waits for it, or 0 if nobody does. Each bulk frame has
// one at most: answers and errors consume no credit, and a peer must not send
// them without end.
func (s *Session) Answered(re uint64) (tag uint64, err *bus.Error) {
	if re == 0 || re > s.written {
		return 0, bus.Errorf(bus.CodeProtocolError, "answer to frame %d: the last frame sent was %d", re, s.written)
	}
	if s.settled++; s.settled > s.bulk {
		return 0, bus.Errorf(bus.CodeProtocolError, "answer to frame %d: there are more answers than the %d frames that can have one", re, s.bulk)
	}
	if tag = s.asked[re]; tag == 0 {
		return 0, nil
	}
	delete(s.asked, re)
	delete(s.numbers, tag)
	if len(s.asked) == 0 && s.most > keptRequests { // a map never shrinks
		s.asked, s.numbers, s.most = nil, nil, 0
	}
	return tag, nil
}

// Acked takes the peer's ack: the last number it has seen, and how many bytes
// of credit it ever gave back. It returns the tags whose ack that is.
func (s *Session) Acked(seen, released uint64) (tags []uint64, err *bus.Error) {
	switch {
	case seen > s.written:
		return nil, bus.Errorf(bus.CodeProtocolError, "ack of frame %d: the last frame sent was %d", seen, s.written)
	case seen < s.acked:
		return nil, bus.Errorf(bus.CodeProtocolError, "ack of frame %d after one of frame %d", seen, s.acked)
	case released > s.spent:
		return nil, bus.Errorf(bus.CodeProtocolError, "ack gives back %d bytes of credit: only %d were spent", released, s.spent)
	case s.granted+released < s.credit:
		return nil, bus.Errorf(bus.CodeProtocolError, "ack gives back %d bytes of credit: an earlier one gave %d", released, s.credit-s.granted)
	case uint64(len(s.asked)) > (s.spent-released)/MinCost+unanswered:
		// Credit comes back for what was handled, and what was handled is answered.
		return nil, bus.Errorf(bus.CodeProtocolError, "%d requests are handled and have no answer", uint64(len(s.asked))-(s.spent-released)/MinCost)
	}
	for ; s.acked < seen; s.acked++ {
		r, _ := s.sent.first()
		if r.kind == waitAck {
			tags = append(tags, r.tag)
		}
		s.unacked[r.lane] -= r.size
		s.sent.pop()
	}
	s.credit = s.granted + released
	s.skipGiven() // what it held is room again, and nothing else would tell who waits
	return tags, nil
}

// Received takes a numbered frame of size bytes from the peer; consumes says
// whether it is of a kind that consumes credit.
func (s *Session) Received(n uint64, size int, consumes, ackAtOnce bool) *bus.Error {
	if err := s.arrive(n); err != nil {
		return err
	}
	if consumes {
		s.consumed += Cost(size)
		if s.consumed-s.released > s.grant {
			return bus.Errorf(bus.CodeProtocolError, "credit exceeded: granted %d bytes, %d are in use", s.grant, s.consumed-s.released)
		}
	}
	if s.skipping {
		return nil
	}
	s.seen = n
	s.unackedIn += size
	s.ackAsked = s.ackAsked || ackAtOnce
	return nil
}

// Skip takes the number of a frame that is thrown away. Neither it nor any
// after it is ever acknowledged, so that the peer knows.
func (s *Session) Skip(n uint64) *bus.Error {
	s.skipping = true
	return s.arrive(n)
}

func (s *Session) arrive(n uint64) *bus.Error {
	if n != s.arrived+1 {
		return bus.Errorf(bus.CodeProtocolError, "frame number: want %d, got %d", s.arrived+1, n)
	}
	s.arrived = n
	return nil
}

// Release gives back the credit that a frame of size bytes consumed: it has
// been handled, or thrown away.
func (s *Session) Release(size int) { s.released += Cost(size) }

// Unreported tells whether there is anything that an ack would say.
func (s *Session) Unreported() bool { return s.seen != s.toldSeen || s.released != s.toldBack }

// AckDue tells whether an ack must be sent now: the peer asked for it, 64
// frames or 256 KiB came (or a quarter of the credit, if that is less), or as
// much credit came back.
func (s *Session) AckDue() bool {
	return s.ackAsked || s.asking || s.seen-s.toldSeen >= ackFrames || s.unackedIn >= s.ackAt ||
		s.released-s.toldBack >= uint64(s.ackAt)
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

// AppendAck appends an ack of everything seen and released so far.
func (s *Session) AppendAck(dst []byte) []byte {
	s.toldSeen, s.toldBack = s.seen, s.released
	s.unackedIn, s.ackAsked = 0, false
	if s.asking {
		s.asking = false
		return wire.AppendAckAsking(dst, s.seen, s.released)
	}
	return wire.AppendAck(dst, s.seen, s.released)
}

// Queued returns how much is kept for the peer, unsent or unacknowledged, in
// bytes.
func (s *Session) Queued() int {
	return s.lanes[Bulk].bytes() + s.lanes[Urgent].bytes() + s.sent.bytes()
}
