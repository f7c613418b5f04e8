package session

import (
	"math"
	"strings"
	"testing"

	"busd/bus"
	"busd/internal/wire"
)

// data is a data frame of size bytes on the wire while numbers are below 128.
func data(size int) []byte { return frame(wire.Data, 0, size-19) }

func request(size int) []byte { return frame(wire.Request, 0, size-19) }

// answer is an urgent frame.
func answer(re uint64) []byte {
	b, _ := wire.AppendAnswer(nil, re, nil, nil)
	return b
}

// written returns the kinds and numbers of what s writes now.
func written(t *testing.T, s *Session, limit int) []wire.Frame {
	t.Helper()
	var all []wire.Frame
	for b := s.AppendFrames(nil, limit); len(b) > 0; {
		f, err := wire.Decoder{}.Next(b)
		if err != nil {
			t.Fatalf("AppendFrames wrote what is no frame: %v", err)
		}
		all, b = append(all, f), b[f.Size:]
	}
	return all
}

// received takes a frame that has not been received before.
func received(s *Session, n uint64, size int, consumes, ackAtOnce bool) *bus.Error {
	fresh, err := s.Received(n, size, consumes, ackAtOnce)
	if err == nil && !fresh {
		panic("a new frame is taken for an old one")
	}
	return err
}

func wantCode(t *testing.T, what string, err *bus.Error, want bus.Code, reason string) {
	t.Helper()
	if err == nil || err.Code != want || !strings.Contains(err.Reason, reason) {
		t.Errorf("%s: got %v, want %s … %q", what, err, want, reason)
	}
}

func TestUrgentPassesBulkThatWaitsForCredit(t *testing.T) {
	t.Parallel()
	s := New(1024, 128, 1<<20)
	s.Put(Bulk, data(100))
	s.Put(Bulk, data(100)) // waits: 128 bytes were granted
	s.Put(Urgent, answer(1))
	s.Put(Bulk, data(20))
	got := written(t, s, 1<<20)
	if len(got) != 2 || got[0].Kind != wire.Data || got[1].Kind != wire.Answer || got[1].N != 2 {
		t.Fatalf("got %+v, want data 1, answer 2", got)
	}
	if s.Writable() || !s.Unsent() || !s.Unacked() {
		t.Errorf("Writable %t, Unsent %t, Unacked %t; want false, true, true", s.Writable(), s.Unsent(), s.Unacked())
	}
	if _, err := s.Acked(1, 100); err != nil {
		t.Fatal(err)
	}
	got = written(t, s, 1<<20)
	if len(got) != 1 || got[0].N != 3 { // 128 + 100 - 200 leave 28, and the least cost is 64
		t.Fatalf("after credit came: got %+v, want data 3 alone", got)
	}
}

func TestOrderWithCredit(t *testing.T) {
	t.Parallel()
	s := New(1024, 1024, 1<<20)
	s.Put(Bulk, data(64))
	s.Put(Urgent, answer(1))
	s.Put(Bulk, data(64))
	got := written(t, s, 1<<20)
	if len(got) != 3 || got[0].Kind != wire.Data || got[1].Kind != wire.Answer || got[2].Kind != wire.Data {
		t.Errorf("got %+v, want the order in which they were put", got)
	}
}

func TestAppendFramesStopsAtTheLimit(t *testing.T) {
	t.Parallel()
	s := New(1024, 1<<20, 1<<20)
	for range 5 {
		s.Put(Bulk, data(100))
	}
	// A frame of 100 bytes fills what is left of 99, as it is alone.
	for i, want := range []int{2, 1, 1, 1, 0} {
		limit := []int{200, 199, 99, 1 << 20, 1 << 20}[i]
		if got := written(t, s, limit); len(got) != want {
			t.Errorf("limit %d: got %d frames, want %d", limit, len(got), want)
		}
	}
	if got := s.AppendFrames(make([]byte, 50), 50); len(got) != 50 {
		t.Errorf("a full batch grew to %d bytes", len(got))
	}
}

// A peer that asks, reads the answers and never acknowledges must not make
// them pile up: what is kept of each lane is bounded, and neither lane takes
// the other's room.
func TestRoomCountsTheUnacknowledged(t *testing.T) {
	t.Parallel()
	for _, lane := range []Lane{Bulk, Urgent} {
		s := New(1<<20, 1<<20, 1000)
		kept := 0
		for s.Room(lane, 100) {
			s.Put(lane, data(101))
			kept++
			s.AppendFrames(nil, 1<<20)
			if kept > 10 {
				t.Fatalf("lane %d: %d frames of 100 bytes are kept, where 1000 bytes are the bound", lane, kept)
			}
		}
		if kept != 10 {
			t.Errorf("lane %d: room for %d frames of 100 bytes in 1000", lane, kept)
		}
		if !s.Room(1-lane, 1000) {
			t.Errorf("lane %d takes the other's room", lane)
		}
		if _, err := s.Acked(1, 0); err != nil {
			t.Fatal(err)
		}
		if !s.Room(lane, 100) || s.Room(lane, 101) {
			t.Errorf("lane %d: an ack must give back the room of its frame, and no more", lane)
		}
	}
}

func TestAckedRefusesLies(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name           string
		seen, released uint64
		want           string
	}{
		{"of what was not sent", 3, 0, "ack of frame 3: the last frame sent was 2"},
		{"back in time", 0, 64, "ack of frame 0 after one of frame 1"},
		{"more credit than was spent", 2, 201, "only 200 were spent"},
		{"less credit than before", 2, 63, "an earlier one gave 64"},
		{"a number that overflows", math.MaxUint64, 64, "the last frame sent was 2"},
		{"credit that overflows", 2, math.MaxUint64, "only 200 were spent"},
		{"credit that overflows with what was granted", 2, math.MaxUint64 - 200 + 1, "only 200 were spent"},
	}
	for _, tt := range tests {
		s := New(1024, 1024, 1<<20)
		s.Put(Bulk, data(100))
		s.Put(Bulk, data(100))
		s.AppendFrames(nil, 1<<20)
		if _, err := s.Acked(1, 64); err != nil {
			t.Fatal(err)
		}
		_, err := s.Acked(tt.seen, tt.released)
		wantCode(t, tt.name, err, bus.CodeProtocolError, tt.want)
		if s.credit != 1024+64 || s.acked != 1 {
			t.Errorf("%s: the refused ack changed something: credit %d, acked %d", tt.name, s.credit, s.acked)
		}
	}
}

func TestReceivedRefusesLies(t *testing.T) {
	t.Parallel()
	s := New(200, 1024, 1<<20)
	for _, n := range []uint64{0, 2, math.MaxUint64} {
		wantCode(t, "first number", received(s, n, 64, true, false), bus.CodeProtocolError, "want 1")
	}
	for n := uint64(1); n <= 3; n++ {
		if err := received(s, n, 1, true, false); err != nil { // the least cost is 64
			t.Fatal(err)
		}
	}
	wantCode(t, "the same again", received(s, 3, 1, true, false), bus.CodeProtocolError, "want 4, got 3")
	wantCode(t, "beyond credit", received(s, 4, 64, true, false), bus.CodeProtocolError, "granted 200 bytes, 256 are in use")

	s = New(200, 1024, 1<<20)
	for n := uint64(1); n <= 100; n++ {
		if err := received(s, n, 200, false, false); err != nil {
			t.Fatalf("answers consume no credit: %v", err)
		}
	}
}

func TestAnsweredRefusesLies(t *testing.T) {
	t.Parallel()
	s := New(1024, 1024, 1<<20)
	s.PutRequest(request(64), 7)
	s.Put(Bulk, data(64))
	wantAnswer := func(what string, re, want uint64) {
		t.Helper()
		if tag, err := s.Answered(re); err != nil || tag != want {
			t.Errorf("%s: got %d, %v; want %d", what, tag, err, want)
		}
	}
	_, err := s.Answered(1)
	wantCode(t, "answer to what was not written", err, bus.CodeProtocolError, "the last frame sent was 0")
	s.AppendFrames(nil, 1<<20)
	_, err = s.Answered(0)
	wantCode(t, "answer to nothing", err, bus.CodeProtocolError, "answer to frame 0")
	wantAnswer("the answer", 1, 7)
	wantAnswer("an error to a one-way frame", 2, 0)
	_, err = s.Answered(2)
	wantCode(t, "answers without end", err, bus.CodeProtocolError, "more answers than the 2 frames")
}

func TestWithdraw(t *testing.T) {
	t.Parallel()
	s := New(1024, 64, 1<<10)
	s.PutRequest(request(64), 1)
	s.PutRequest(request(64), 2)
	s.PutRequest(request(64), 3)
	s.Put(Bulk, data(64))
	s.AppendFrames(nil, 1<<20) // the first; then credit is spent
	if n, ok := s.Withdraw(1); !ok || n != 1 {
		t.Errorf("of a written request: got %d, %t; want 1, true", n, ok)
	}
	if n, ok := s.Withdraw(3); ok || n != 0 {
		t.Errorf("of one that waits: got %d, %t; want 0, false", n, ok)
	}
	before := s.Queued()
	s.Withdraw(2)
	if got := before - s.Queued(); got != 2*63 {
		t.Errorf("two withdrawn at the head free %d bytes, want %d: their room is needed now", got, 2*63)
	}
	if _, err := s.Acked(1, 64); err != nil {
		t.Fatal(err)
	}
	got := written(t, s, 1<<20)
	if len(got) != 1 || got[0].Kind != wire.Data || got[0].N != 2 {
		t.Errorf("got %+v, want data 2 and nothing that was withdrawn", got)
	}
	if tag, err := s.Answered(1); err != nil || tag != 1 {
		t.Errorf("the late answer to a withdrawn request: got %d, %v; want 1", tag, err)
	}
	if len(s.given)+len(s.asked)+len(s.numbers) != 0 {
		t.Errorf("something is left: %v %v %v", s.given, s.asked, s.numbers)
	}
}

func TestSkipStopsAcks(t *testing.T) {
	t.Parallel()
	s := New(128, 1024, 1<<20)
	for n := uint64(1); n <= 2; n++ {
		if err := received(s, n, 64, true, false); err != nil {
			t.Fatal(err)
		}
	}
	for n := uint64(3); n < 10; n++ { // thrown away: not even credit is counted
		if err := s.Skip(n); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, "Skip out of order", s.Skip(12), bus.CodeProtocolError, "want 10")
	if err := received(s, 10, 64, false, true); err != nil {
		t.Fatal(err)
	}
	if s.seen != 2 {
		t.Errorf("seen: got %d, want 2: what follows a skipped frame is never acknowledged", s.seen)
	}
}

func TestAckDue(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		do    func(s *Session)
		want  bool
		waits bool // for company, although it is due
	}{
		{"nothing came", func(*Session) {}, false, false},
		{"one frame", func(s *Session) { received(s, 1, 64, true, false) }, false, false},
		{"one that asks", func(s *Session) { received(s, 1, 64, true, true) }, true, false},
		{"AckNow", func(s *Session) { s.AckNow() }, true, false},
		{"64 frames", func(s *Session) {
			for n := range uint64(ackFrames) {
				received(s, n+1, 1, false, false)
			}
		}, true, true},
		{"four times as many", func(s *Session) {
			for n := range uint64(lateFrames) {
				received(s, n+1, 1, false, false)
			}
		}, true, false},
		{"a quarter of the credit", func(s *Session) { received(s, 1, 1<<18, true, false) }, true, false},
		{"as much came back", func(s *Session) {
			received(s, 1, 1<<18, true, false)
			s.AppendAck(nil)
			s.Release(1 << 18)
		}, true, false},
	}
	for _, tt := range tests {
		s := New(1<<20, 1<<20, 1<<20)
		tt.do(s)
		if s.AckDue() != tt.want {
			t.Errorf("%s: got %t, want %t", tt.name, s.AckDue(), tt.want)
		}
		if waits := !tt.want || tt.waits; s.AckWaits() != waits {
			t.Errorf("%s: waits: got %t, want %t", tt.name, s.AckWaits(), waits)
		}
		f, err := wire.Decoder{}.Next(s.AppendAck(nil))
		if err != nil || f.Seen != s.seen || f.Released != s.released {
			t.Errorf("%s: got ack %+v, %v; want %d, %d", tt.name, f, err, s.seen, s.released)
		}
		if s.AckDue() || s.Unreported() {
			t.Errorf("%s: an ack is due right after one", tt.name)
		}
	}
}

// An idle session holds nothing of a busy one.
func TestIdleSessionIsSmall(t *testing.T) {
	t.Parallel()
	s := New(1<<20, 1<<20, 1<<20)
	const n = 5000
	for tag := range uint64(n) {
		s.PutRequest(request(64), tag+1)
	}
	for s.Writable() {
		s.AppendFrames(nil, 1<<20)
	}
	for tag := range uint64(n) {
		s.Withdraw(tag + 1)
	}
	for re := range uint64(n) {
		if tag, err := s.Answered(re + 1); err != nil || tag != re+1 {
			t.Fatalf("answer %d: got %d, %v", re+1, tag, err)
		}
	}
	if _, err := s.Acked(n, n*64); err != nil {
		t.Fatal(err)
	}
	s.PutLatest("before the requests that are taken back", data(64))
	for tag := range uint64(n) {
		s.PutRequest(request(64), tag+1)
		s.Withdraw(tag + 1)
	}
	s.AppendFrames(nil, 1<<20)
	if _, err := s.Acked(n+1, n*64); err != nil {
		t.Fatal(err)
	}
	if s.given != nil || s.asked != nil || s.numbers != nil || s.revoked != nil || s.lanes != [2]queue{} {
		t.Errorf("an idle session holds on to its memory: %+v", s)
	}
}

// exchange carries one message and its ack, as both ends do all day.
func exchange(a, b *Session, msg, buf []byte) []byte {
	a.Put(Bulk, msg)
	buf = a.AppendFrames(buf[:0], 1<<14)
	if err := received(b, b.arrived+1, len(buf), true, true); err != nil {
		panic(err)
	}
	b.Release(len(buf))
	buf = b.AppendAck(buf[:0])
	if _, err := a.Acked(b.seen, b.released); err != nil {
		panic(err)
	}
	return buf
}

func BenchmarkExchange(b *testing.B) {
	one, two := New(1<<20, 1<<20, 1<<20), New(1<<20, 1<<20, 1<<20)
	msg, buf := data(64), make([]byte, 0, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		buf = exchange(one, two, msg, buf)
	}
}

// A request that is taken back behind a frame that waits for credit holds no
// room once that frame is written: nothing else would tell who waits for it.
func TestWithdrawnRequestHoldsNoRoom(t *testing.T) {
	t.Parallel()
	s := New(4096, 4096, 4096)
	s.Put(Bulk, data(1000))
	s.PutRequest(request(1000), 7)
	if _, written := s.Withdraw(7); written {
		t.Fatal("a request that waits was written")
	}
	size := len(s.AppendFrames(nil, 1)) // the batch is full after the first
	if _, err := s.Acked(1, Cost(size)); err != nil {
		t.Fatal(err)
	}
	if s.Unsent() || !s.Room(Bulk, 4096) {
		t.Errorf("after everything was written, acknowledged or taken back: Unsent %t, room for all %t", s.Unsent(), s.Room(Bulk, 4096))
	}
}

// A peer that takes requests, gives their credit back and never answers cannot
// make this end remember them without bound.
func TestUnansweredRequestsAreBounded(t *testing.T) {
	t.Parallel()
	s := New(1<<20, 1<<20, 1<<20)
	var released uint64
	var err *bus.Error
	n := uint64(0)
	for err == nil && n < 10*unanswered {
		n++
		s.PutRequest(request(64), n)
		released += Cost(len(s.AppendFrames(nil, 1<<20)))
		_, err = s.Acked(n, released)
		s.Withdraw(n)
	}
	wantCode(t, "requests that were never answered", err, bus.CodeProtocolError, "have no answer")
	if n <= unanswered {
		t.Errorf("the connection ended after %d requests, want more than %d", n, unanswered)
	}
}
