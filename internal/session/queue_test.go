package session

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"busd/internal/wire"
)

// unacknowledged counts the frames that are written and not acknowledged.
func (s *Session) unacknowledged() (n int) {
	for lane := range s.lanes {
		s.lanes[lane].eachWritten(func(record, []byte) { n++ })
	}
	return n
}

// waitingFor makes somebody wait for the ack of some of a test's frames.
func waitingFor(n uint64) uint8 {
	if n%5 == 2 {
		return waitAck
	}
	return waitNothing
}

// A queue gives back what it was given, byte for byte, as long as it is kept:
// unsent, written, and written again.
func TestQueue(t *testing.T) {
	t.Parallel()
	var q queue
	var put, written, dropped uint64
	size := func(n uint64) int { return 1 + int(n*n%97) + int(n%11/10)*int(n%7)*15_000 }
	check := func(what string, n uint64, frame []byte) {
		t.Helper()
		if !bytes.Equal(frame, bytes.Repeat([]byte{byte(n)}, size(n))) {
			t.Fatalf("%s frame %d: got %d bytes, want %d", what, n, len(frame), size(n))
		}
	}
	for round := range uint64(2000) {
		for range round%13 + 1 {
			q.push(record{tag: put, kind: waitingFor(put)}, bytes.Repeat([]byte{byte(put)}, size(put)))
			put++
		}
		for range min(round*7%17, put-written) {
			r, frame := q.first()
			if check("first", written, frame); r.tag != written {
				t.Fatalf("got tag %d, want %d", r.tag, written)
			}
			q.number(r, len(frame), written)
			written++
		}
		q.rewind()
		for n := dropped + round%3; n < written; n++ {
			frame, ok := q.repeat(n)
			if check("repeated", n, frame); !ok {
				t.Fatalf("frame %d is not written again", n)
			}
		}
		if n := min(round*5%19, written-dropped); n > 0 {
			var awaited []uint64
			for range n {
				if waitingFor(dropped) == waitAck {
					awaited = append(awaited, dropped)
				}
				dropped++
			}
			if got := q.forget(dropped-1, nil); !slices.Equal(got, awaited) {
				t.Fatalf("forget: got tags %d, want %d", got, awaited)
			}
		}
		left := dropped
		q.eachWritten(func(_ record, frame []byte) { check("written", left, frame); left++ })
		q.eachUnsent(func(_ record, frame []byte) { check("unsent", left, frame); left++ })
		if left != put {
			t.Fatalf("%d frames are there, want %d", left-dropped, put-dropped)
		}
		if q.memory() < q.bytes() || q.memory() > 2*q.bytes()+4*maxChunk {
			t.Fatalf("%d bytes take %d", q.bytes(), q.memory())
		}
		if put == dropped && q != (queue{}) {
			t.Fatalf("an empty queue holds something: %+v", q)
		}
	}
}

// A session that is never empty does not keep a list of all that it ever had.
func TestQueuesAreCompact(t *testing.T) {
	t.Parallel()
	puts := map[string]func(s *Session, i int){
		"bulk":   func(s *Session, _ int) { s.Put(Bulk, data(64)) },
		"latest": func(s *Session, i int) { s.PutLatest(fmt.Sprint(i), data(64)) },
		"requests, taken back": func(s *Session, i int) {
			s.PutRequest(request(64), uint64(i)+1)
			s.Withdraw(uint64(i) + 1)
			s.Put(Bulk, data(64))
		},
	}
	for name, put := range puts {
		s := New(1<<20, 1<<20, 1<<20)
		put(s, 0)
		for i := 1; i <= 20_000; i++ {
			put(s, i)
			n := len(s.AppendFrames(nil, 1))
			if _, err := s.Acked(uint64(max(1, i-1)), s.spent); err != nil || n == 0 { // one stays here too
				t.Fatalf("%s: frame %d: %d bytes, %v", name, i, n, err)
			}
		}
		if got := s.unacknowledged(); got != 1 || s.Memory() > 2*maxChunk {
			t.Errorf("%s: %d frames take %d bytes", name, got, s.Memory())
		}
	}
}

// A queue begins with little and grows to what is common; a chunk that was used is as good as new.
func TestChunkSizes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ after, size, want int }{
		{0, 1, minChunk},
		{0, minChunk, minChunk},
		{0, minChunk + 1, 4 * minChunk},
		{minChunk, 1, 4 * minChunk},
		{maxChunk, 1, maxChunk},
		{maxChunk, maxChunk, maxChunk},
		{minChunk, maxChunk + 1, maxChunk + 1},
		{5 * maxChunk, 1, maxChunk},
	} {
		var after *chunk
		if tt.after > 0 {
			after = &chunk{buf: make([]byte, 0, tt.after)}
		}
		for range 3 { // new ones, and such that were used
			c := newChunk(after, tt.size)
			if cap(c.buf) != tt.want || len(c.buf) != 0 || c.next != nil || c.slots != nil {
				t.Errorf("for %d bytes after a chunk of %d: got %+v, want %d", tt.size, tt.after, c, tt.want)
			}
			c.buf, c.next, c.slots = c.buf[:1], c, make([]*slot, 1)
			c.free()
		}
	}
}

// What stands in slots and what does not come out as they were put, whatever the
// queue does with its memory.
func TestQueueWithSlots(t *testing.T) {
	t.Parallel()
	s := New(1<<30, 1<<30, 1<<30)
	var want []int
	for round := range 500 {
		for i := range round%7 + 1 {
			size := 30 + (round*7+i)%90
			if (round+i)%3 == 0 {
				s.PutLatest(fmt.Sprint(round, i), data(size))
			} else {
				s.Put(Bulk, data(size))
			}
			want = append(want, size)
		}
		n, left := 0, []int(nil)
		s.lanes[Bulk].eachUnsent(func(_ record, frame []byte) { left = append(left, len(frame)+1) })
		if !slices.Equal(left, want) {
			t.Fatalf("round %d: each: got sizes %v, want %v", round, left, want)
		}
		for range round % 6 {
			for b := s.AppendFrames(nil, 1); len(b) > 0; {
				f, err := wire.Decoder{}.Next(b)
				if err != nil || f.Size-wire.NumberSize(f.N)+1 != want[n] {
					t.Fatalf("round %d: got a frame of %d bytes, %v; want %d", round, f.Size-wire.NumberSize(f.N)+1, err, want[n])
				}
				n++
				b = b[f.Size:]
			}
		}
		want = want[n:]
	}
}

// A record is read as it was written, and takes what is accounted for.
func TestRecord(t *testing.T) {
	t.Parallel()
	want := record{order: 1<<64 - 2, tag: 1<<63 + 3, size: 1<<32 - 4, kind: waitAnswer, where: revoked}
	c := newChunk(nil, recordSize)
	c.append(want, nil)
	if got := (place{chunk: c}).record(); got != want || len(c.buf) != recordSize {
		t.Errorf("got %+v in %d bytes, want %+v in %d", got, len(c.buf), want, recordSize)
	}
}

// BenchmarkBacklog is a message put, written and acknowledged while many others are
// kept.
func BenchmarkBacklog(b *testing.B) {
	for _, size := range []int{16, 256, 4096} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			const kept = 128
			s := New(1<<30, 1<<62, 1<<30)
			msg, buf := data(size), make([]byte, 0, 1<<16)
			for range kept {
				s.Put(Bulk, msg)
			}
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				s.Put(Bulk, msg)
				buf = s.AppendFrames(buf[:0], 1)
				if s.written > kept {
					if _, err := s.Acked(s.written-kept, 0); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// A frame of any size has a place, and its chunk is used again or is not.
func TestChunksOfAnySize(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, maxShared - recordSize, maxShared, maxChunk - recordSize, maxChunk, 4*maxChunk - recordSize, 4 * maxChunk} {
		for range 3 {
			s := New(1<<20, 4<<20, 4<<20)
			for range 2 {
				s.Put(Bulk, make([]byte, max(size, 64)))
			}
			if got, want := len(s.AppendFrames(nil, 4<<20)), 2*(max(size, 64)+wire.NumberSize(1)); got != want {
				t.Fatalf("frames of %d bytes: got %d bytes of two, want %d", size, got, want)
			}
			if _, err := s.Acked(2, 0); err != nil || s.Memory() != 0 {
				t.Fatalf("frames of %d bytes: %v, %d bytes are kept", size, err, s.Memory())
			}
		}
	}
}

// Many frames written at once, and acknowledged at once, are what the same frames are
// one after the other, whatever is among them.
func TestPlainFramesAreAsOthers(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 21))
	many, single := New(1<<20, 1<<20, 1<<20), New(1<<20, 1<<20, 1<<20)
	both := func(do func(s *Session)) { do(many); do(single) }
	tag, seen := uint64(0), uint64(0)
	for round := range 20_000 {
		for range random.IntN(9) {
			tag++
			frame, kind := data(10+random.IntN(300)), random.IntN(20)
			both(func(s *Session) {
				switch kind {
				case 0:
					s.PutAcked(frame, tag)
				case 1:
					s.PutRequest(request(len(frame)), tag)
				case 2:
					s.PutLatest(fmt.Sprint(tag%3), frame)
				case 3:
					s.Put(Urgent, frame)
				case 4:
					s.PutRequest(request(len(frame)), tag)
					s.Withdraw(tag)
				default:
					s.Put(Bulk, frame)
				}
			})
		}
		limit := 1 + random.IntN(2000)
		got := many.AppendFrames(nil, limit)
		var want []byte
		for len(want) < len(got) {
			want = single.AppendFrames(want, len(want)+1)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("round %d: %d bytes were written at once, one after the other %d, or other ones", round, len(got), len(want))
		}
		if most := max(limit, 400); len(got) > most { // one frame there always is
			t.Fatalf("round %d: %d bytes were written, with a limit of %d", round, len(got), limit)
		}
		both(func(s *Session) { s.skipGiven() }) // which either does when it looks for more
		to := seen + uint64(random.IntN(int(many.written-seen)+1))
		tags, err := many.Acked(to, many.spent)
		if err != nil {
			t.Fatal(err)
		}
		var each []uint64
		for ; seen < to; seen++ {
			more, err := single.Acked(seen+1, single.spent)
			if err != nil {
				t.Fatal(err)
			}
			each = append(each, more...)
		}
		if !slices.Equal(tags, each) || many.Queued() != single.Queued() || many.spent != single.spent || many.bulk != single.bulk ||
			many.unacknowledged() != single.unacknowledged() {
			t.Fatalf("round %d: acknowledged at once: %d, %+v; one after the other: %d, %+v", round, tags, many, each, single)
		}
	}
}
