package session

import (
	"encoding/binary"

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
	// ackFrames is after how many frames an ack is due, lateFrames after how many it may
	// not wait for company any more, ackBytes after how many bytes.
	ackFrames  = 64
	lateFrames = 4 * ackFrames
	ackBytes   = 256 << 10
	// keptEntries is for how many entries of a map an idle session keeps its
	// memory: a map never shrinks.
	keptEntries = 64
	// requestSize is about what an unanswered request takes, in bytes.
	requestSize = 80
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
	lanes   [2]queue // what is kept, unsent and unacknowledged
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
	held    bool              // no bulk frame is begun any more
	given   map[uint64]bool   // tags whose unsent frame was taken back
	revoked map[uint64]bool   // numbers of requests that were taken back and have no answer
	latest  map[string]*slot  // unsent frames of which only the newest counts, by key

	mostLatest int // how many of them there ever were at once

	// Written again after a resume: the frames from again to againTo.
	again, againTo uint64

	// Incoming.
	arrived   uint64 // number of the last frame from the peer
	next      uint64 // the least number that the next frame on this line may have
	seen      uint64 // number of the last frame that was taken
	skipping  bool   // a frame was not taken: seen stays
	consumed  uint64 // bytes of credit the peer ever spent
	released  uint64 // bytes of credit ever given back
	toldSeen  uint64 // what the last ack said
	toldBack  uint64
	unackedIn int // bytes seen since the last ack
	ackAsked  bool
	untold    bool   // the peer may not know what earlier acks said
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
		next:    1,
	}
}

// Cost is what a frame of so many bytes on the wire costs in credit.
func Cost(size int) uint64 { return uint64(max(size, MinCost)) }

// Room tells whether a frame of size bytes finds room in the lane now. A lane
// that is empty always has room for one frame of the buffer's size. Each lane
// has a bound of its own: answers must not wait for credit behind bulk frames,
// and a peer that asks and never acknowledges must not make them pile up.
func (s *Session) Room(lane Lane, size int) bool {
	return s.kept(lane)+size <= s.buffer
}

// kept is how many bytes are kept of a lane, unsent and unacknowledged.
func (s *Session) kept(lane Lane) int { return s.lanes[lane].bytes() }

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
	s.lanes[lane].push(record{order: s.order, tag: tag, kind: waits}, frame)
}

// AppendFrames appends what may be written now, in the order in which it was
// put, and numbers each frame. It stops before dst would pass limit bytes, but
// appends one frame at least if dst is shorter than that. Where the oldest bulk
// frame waits for credit, urgent frames pass it.
//
// After a resume it first writes what the peer has not seen, with the numbers
// that it had.
func (s *Session) AppendFrames(dst []byte, limit int) []byte {
	for len(dst) < limit && s.Repeating() {
		dst = s.repeat(dst)
	}
	for begin := len(dst); len(dst) < limit; {
		lane, ok := s.lane()
		if !ok || (len(dst) > begin && len(dst)+s.nextSize(lane) > limit) {
			break
		}
		dst = s.write(dst, lane)
		if s.lanes[1-lane].empty() && len(s.given) == 0 {
			dst = s.writePlain(dst, lane, limit)
		}
	}
	return dst
}

// writePlain appends frames of the lane, while they are what nearly all are: in no
// slot, and nobody waits for an answer. The other lane must be empty. It stops before
// dst would pass limit bytes, and where credit is lacking.
func (s *Session) writePlain(dst []byte, lane Lane, limit int) []byte {
	q := &s.lanes[lane]
	c, at, bytes := q.unsent.chunk, q.unsent.at, 0
	if c == nil {
		return dst
	}
	for at < len(c.buf) {
		b := c.buf[at : at+recordSize]
		size := int(binary.LittleEndian.Uint32(b[16:]))
		whole := size + wire.NumberSize(s.written+1)
		if b[20] == waitAnswer || b[21] != behind || len(dst)+whole > limit {
			break
		}
		if lane == Bulk {
			if s.spent+Cost(whole) > s.credit {
				break
			}
			s.bulk++
			s.spent += Cost(whole)
		}
		s.written++
		at += recordSize
		dst = wire.AppendNumber(dst, c.buf[at:at+size], s.written)
		binary.LittleEndian.PutUint64(b, s.written)
		at += size
		bytes += size
	}
	q.passUnsent(at, bytes)
	return dst
}

// nextSize is how large the lane's oldest unsent frame is with its number.
func (s *Session) nextSize(lane Lane) int {
	return s.lanes[lane].unsent.size() + wire.NumberSize(s.written+1)
}

// Writable tells whether AppendFrames would append anything.
func (s *Session) Writable() bool {
	_, ok := s.lane()
	return ok || s.Repeating()
}

// Unsent tells whether anything waits to be written, for credit or for the
// writer.
func (s *Session) Unsent() bool { return !s.lanes[Bulk].empty() || !s.lanes[Urgent].empty() }

// UnsentBytes is how much waits to be written, in bytes.
func (s *Session) UnsentBytes() int { return s.lanes[Bulk].waiting + s.lanes[Urgent].waiting }

// Unacked tells whether anything written was not acknowledged yet.
func (s *Session) Unacked() bool { return s.acked != s.written }

// Hold begins no bulk frame any more: what is unsent is for another session.
func (s *Session) Hold() { s.held = true }

// Asking tells whether a request of ours has no answer.
func (s *Session) Asking() bool { return len(s.asked) > 0 }

// lane chooses the lane of the next frame to write.
func (s *Session) lane() (Lane, bool) {
	s.skipGiven()
	bulk, urgent := &s.lanes[Bulk], &s.lanes[Urgent]
	if s.held || bulk.empty() || !s.affordable() {
		return Urgent, !urgent.empty()
	}
	if urgent.empty() {
		return Bulk, true
	}
	if bulk.unsent.order() < urgent.unsent.order() {
		return Bulk, true
	}
	return Urgent, true
}

// skipGiven removes bulk frames at the head that were taken back.
func (s *Session) skipGiven() {
	if len(s.given) > 0 { // seldom
		s.popGiven()
	}
}

func (s *Session) popGiven() {
	for len(s.given) > 0 && !s.lanes[Bulk].empty() {
		r, _ := s.lanes[Bulk].first()
		if r.tag == 0 || !s.given[r.tag] {
			return
		}
		delete(s.given, r.tag)
		s.lanes[Bulk].revoke(r)
	}
	if len(s.given) == 0 {
		s.given = nil // it may have been large
	}
}

// affordable tells whether credit is left for the oldest bulk frame.
func (s *Session) affordable() bool {
	return s.spent+Cost(s.nextSize(Bulk)) <= s.credit
}

// write appends the oldest unsent frame of the lane to dst.
func (s *Session) write(dst []byte, lane Lane) []byte {
	q := &s.lanes[lane]
	r, frame := q.first()
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
	if r.where == slotted {
		s.begun(q.unsent.slots[r.size])
	}
	q.number(r, len(frame), s.written)
	return dst
}

// Withdraw takes a request back that nobody waits for any more. If its frame
// was written it returns its number, so that a cancel can be sent; otherwise
// the frame is never written.
func (s *Session) Withdraw(tag uint64) (n uint64, written bool) {
	if n, written = s.numbers[tag]; written {
		if s.revoked == nil {
			s.revoked = map[uint64]bool{}
		}
		s.revoked[n] = true
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
	delete(s.revoked, re)
	if len(s.asked) == 0 && s.most > keptEntries {
		s.asked, s.numbers, s.revoked, s.most = nil, nil, nil, 0
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
	tags = s.forget(seen)
	s.credit = s.granted + released
	s.skipGiven() // what it held is room again, and nothing else would tell who waits
	return tags, nil
}

// forget lets go of what the peer has seen, and returns the tags that waited for
// that.
func (s *Session) forget(seen uint64) (tags []uint64) {
	for lane := range s.lanes {
		tags = s.lanes[lane].forget(seen, tags)
	}
	s.acked = max(s.acked, seen)
	s.again = max(s.again, s.acked+1)
	return tags
}

// Queued returns how much is kept for the peer, unsent or unacknowledged, in
// bytes.
func (s *Session) Queued() int {
	return s.lanes[Bulk].bytes() + s.lanes[Urgent].bytes()
}

// Memory returns about how many bytes the session takes for what it keeps and
// for what it waits for.
func (s *Session) Memory() int {
	return s.lanes[Bulk].memory() + s.lanes[Urgent].memory() + len(s.asked)*requestSize
}
