package session

import (
	"encoding/binary"
	"math"
	"testing"

	"busd/internal/wire"
)

// A script is what the bytes of a fuzz target say.
type script []byte

func (b *script) byte() (v byte) {
	if len(*b) > 0 {
		v, *b = (*b)[0], (*b)[1:]
	}
	return v
}

// number is one near those that count for s, or any.
func (b *script) number(s *Session) uint64 {
	v := b.byte()
	near := [...]uint64{s.written, s.acked, s.arrived, s.next, s.released, s.spent, 0}
	if at := int(v >> 5); at < len(near) {
		return near[at] + uint64(v&31) - 16 // around 0 on purpose
	}
	if v&1 == 0 {
		return math.MaxUint64 - uint64(b.byte())
	}
	var n [8]byte
	*b = (*b)[copy(n[:], *b):]
	return binary.LittleEndian.Uint64(n[:])
}

// A hostile is what plays against one session: its peer may say anything.
type hostile struct {
	t     *testing.T
	s     *Session
	tags  uint64
	taken uint64 // frames handed up
	sizes []int  // of those that consume credit and are not released
	grown bool
}

// FuzzSession drives a session by a peer that says what it likes: the session
// finds it out or copes, never panics, and keeps within its bounds.
func FuzzSession(f *testing.F) {
	f.Add([]byte("\x00\x40\x01\x40\x02\x40\x03\x40\x05\x06\x10\x10\x07\x10\x10\x08\x05"))
	f.Add([]byte("\x03\x20\x03\xff\x05\x07\x30\x00\x05\x06\x11\x90\x0b\x02\x00\x05\x0c\x05"))
	f.Add([]byte("\x02\x30\x02\x30\x05\x04\x01\x09\x11\x04\x02\x07\x0f\x10\x05\x0a\x51\x20\x0a\x50\x20\x0d\x0e"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b := script(data)
		h := &hostile{t: t, s: New(1<<(6+b.byte()%8), 1<<(6+b.byte()%8), 1<<(6+b.byte()%8))}
		for len(b) > 0 {
			if over := h.event(&b); over {
				return
			}
			h.bounds()
		}
	})
}

// event is one thing that this end does or its peer says. over tells that the
// session ends by it.
func (h *hostile) event(b *script) (over bool) {
	s := h.s
	switch b.byte() % 16 {
	case 0, 1, 2, 3:
		h.put(b.byte(), int(b.byte()))
	case 4:
		if tag := uint64(b.byte()); tag > 0 && tag <= h.tags {
			s.Withdraw(tag)
		}
	case 5:
		h.write(int(b.byte()) * 8)
	case 6:
		_, _ = s.Acked(b.number(s), b.number(s)) // refused, it changes nothing
	case 7:
		_, _ = s.Resume(b.number(s), b.number(s))
	case 8:
		_, _ = s.Answered(b.number(s))
	case 9, 10, 11:
		return h.received(b.number(s), int(b.byte())*16, b.byte())
	case 12:
		return s.Skip(b.number(s)) != nil
	case 13:
		if len(h.sizes) > 0 {
			s.Release(h.sizes[0])
			h.sizes = h.sizes[1:]
		}
	case 14:
		s.AskAck()
		s.AppendAck(nil)
	case 15:
		s.Hold()
	}
	return false
}

func (h *hostile) put(what byte, size int) {
	frame := data(20 + size)
	key := string(rune('a' + what%5))
	switch {
	case what%4 == 0 && h.s.Replace(key, frame):
		h.grown = true
		return
	case !h.s.Room(Lane(what%4/3), len(frame)):
		return
	}
	h.tags++
	switch what % 4 {
	case 0:
		h.s.PutLatest(key, frame)
	case 1:
		h.s.PutAcked(frame, h.tags)
	case 2:
		h.s.PutRequest(frame, h.tags)
	case 3:
		h.s.Put(Urgent, frame)
	}
}

func (h *hostile) write(limit int) {
	for b := h.s.AppendFrames(nil, limit); len(b) > 0; {
		f, err := wire.Decoder{}.Next(b)
		if err != nil || f.N > h.s.written || f.N <= h.s.acked {
			h.t.Fatalf("wrote %+v, %v; %d frames were written, %d are acknowledged", f, err, h.s.written, h.s.acked)
		}
		b = b[f.Size:]
	}
}

func (h *hostile) received(n uint64, size int, kind byte) (over bool) {
	consumes := kind&1 == 0
	fresh, err := h.s.Received(n, size, consumes, kind&2 == 0)
	if err != nil {
		return true
	}
	if fresh {
		if h.taken >= n {
			h.t.Fatalf("frame %d is handed up after frame %d", n, h.taken)
		}
		h.taken = n
		if consumes {
			h.sizes = append(h.sizes, size)
		}
	}
	return false
}

// bounds looks at what must hold whatever a peer says.
func (h *hostile) bounds() {
	s, bound := h.s, h.s.buffer
	if h.grown {
		bound *= latestBound
	}
	unsent, written, taken := 0, s.unacknowledged(), uint64(0)
	s.EachUnsent(func([]byte, uint64) { unsent++ })
	for _, size := range h.sizes {
		taken += Cost(size)
	}
	switch {
	case s.kept(Bulk) > bound || s.kept(Urgent) > s.buffer || s.kept(Bulk)+s.kept(Urgent) != s.Queued():
		h.t.Fatalf("kept: %d and %d bytes, %d together, bound %d", s.kept(Bulk), s.kept(Urgent), s.Queued(), s.buffer)
	case s.acked > s.written || written != int(s.written-s.acked) || s.Repeated() > written:
		h.t.Fatalf("%d frames kept, %d written again, of %d with %d acknowledged", written, s.Repeated(), s.written, s.acked)
	case s.spent > s.credit || s.credit > s.granted+s.spent:
		h.t.Fatalf("credit: %d spent, %d had, %d granted", s.spent, s.credit, s.granted)
	case taken > s.grant || s.consumed-s.released != taken:
		h.t.Fatalf("credit: %d bytes are in use, the session says %d, %d were granted", taken, s.consumed-s.released, s.grant)
	case len(s.asked) != len(s.numbers) || len(s.revoked) > len(s.asked) || len(s.latest) > unsent:
		h.t.Fatalf("%d, %d asked, %d revoked; %d of class latest of %d unsent", len(s.asked), len(s.numbers), len(s.revoked), len(s.latest), unsent)
	case s.seen > s.arrived || s.Unacknowledged() > written || s.Memory() < s.Queued():
		h.t.Fatalf("%+v", s)
	}
}
