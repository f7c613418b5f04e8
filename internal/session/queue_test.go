package session

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"busd/internal/wire"
)

// A queue gives back what it was given, byte for byte, whatever it does with
// its buffer.
func TestQueue(t *testing.T) {
	t.Parallel()
	var q queue
	var next, oldest uint64
	check := func() {
		r, b := q.first()
		if r.tag != oldest || !bytes.Equal(b, bytes.Repeat([]byte{byte(oldest)}, int(oldest%97)+1)) {
			t.Fatalf("frame %d: got tag %d, %d bytes", oldest, r.tag, len(b))
		}
		q.pop()
		oldest++
	}
	for round := range 2000 {
		for range round%13 + 1 {
			q.push(record{tag: next}, bytes.Repeat([]byte{byte(next)}, int(next%97)+1))
			next++
		}
		for range round % 12 {
			if !q.empty() {
				check()
			}
		}
		if got := q.len(); got != int(next-oldest) {
			t.Fatalf("len: got %d, want %d", got, next-oldest)
		}
		if !q.empty() && cap(q.buf) > 8*(q.bytes()+4096) {
			t.Fatalf("a buffer of %d bytes holds %d", cap(q.buf), q.bytes())
		}
	}
	for !q.empty() {
		check()
	}
	if q.storage != nil || q.bytes() != 0 || q.len() != 0 {
		t.Errorf("an empty queue holds something: %+v", q)
	}
}

// A session that is never empty does not keep a list of all that it ever had.
func TestQueuesAreCompact(t *testing.T) {
	t.Parallel()
	puts := map[string]func(s *Session, i int){
		"bulk":   func(s *Session, _ int) { s.Put(Bulk, data(64)) },
		"latest": func(s *Session, i int) { s.PutLatest(fmt.Sprint(i), data(64)) },
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
		for _, q := range []*queue{&s.lanes[Bulk], &s.sent} {
			if q.len() != 1 || cap(q.recs) > maxPooledFrames || cap(q.buf) > maxPooled {
				t.Errorf("%s: %d frames take a list of %d, and %d bytes", name, q.len(), cap(q.recs), cap(q.buf))
			}
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
		s.lanes[Bulk].each(func(_ record, frame []byte) { left = append(left, len(frame)+1) })
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

func TestRecordSize(t *testing.T) {
	t.Parallel()
	if got := reflect.TypeFor[record]().Size(); got != recordSize {
		t.Errorf("a record takes %d bytes, recordSize says %d", got, recordSize)
	}
}
