package session

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"busd/bus"
	"busd/internal/wire"
)

// numbers returns the numbers of what s writes now.
func numbers(t *testing.T, s *Session, limit int) (all []uint64) {
	t.Helper()
	for _, f := range written(t, s, limit) {
		all = append(all, f.N)
	}
	return all
}

func wantNumbers(t *testing.T, what string, got []uint64, want ...uint64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// resume is a resume that goes well.
func resume(t *testing.T, s *Session, seen, offered uint64) []uint64 {
	t.Helper()
	tags, err := s.Resume(seen, offered)
	if err != nil {
		t.Fatalf("Resume(%d, %d): %v", seen, offered, err)
	}
	return tags
}

// sent is a session that has written so many frames of 64 bytes.
func sent(n int) *Session {
	s := New(1<<20, 1<<20, 1<<20)
	for range n {
		s.Put(Bulk, data(64))
	}
	s.AppendFrames(nil, 1<<20)
	return s
}

// took is a session to which so many frames of 64 bytes have come.
func took(t *testing.T, n uint64) *Session {
	t.Helper()
	s := New(1<<20, 1<<20, 1<<20)
	for i := range n {
		if err := received(s, i+1, 64, true, false); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestResumeRefusesImpossibleNumbers(t *testing.T) {
	t.Parallel()
	s := sent(3)
	for _, seen := range []uint64{4, math.MaxUint64} {
		if s.Resumes(seen) {
			t.Errorf("Resumes(%d) after 3 frames: got true", seen)
		}
		_, err := s.Resume(seen, 0)
		wantCode(t, "Resume", err, bus.CodeProtocolError, "the last frame sent was 3")
	}
	if s.Repeating() || s.AckDue() || s.Repeated() != 0 {
		t.Errorf("a refused resume changed something: %+v", s)
	}
	for seen := range uint64(4) {
		if !s.Resumes(seen) {
			t.Errorf("Resumes(%d) after 3 frames: got false", seen)
		}
	}
}

// A frame that was thrown away is not acknowledged, nor is an answer after it
// that was taken: written again, that answer would come twice.
func TestWhatThrewFramesAwayDoesNotResume(t *testing.T) {
	t.Parallel()
	s := took(t, 2)
	resume(t, s, 0, 1)
	if err := s.Skip(2); err != nil {
		t.Fatal(err)
	}
	if !s.Resumes(0) {
		t.Error("a duplicate was thrown away, and the session cannot be resumed")
	}
	if err := s.Skip(3); err != nil {
		t.Fatal(err)
	}
	if s.Resumes(0) {
		t.Error("a frame was thrown away, and the session can be resumed")
	}
	_, err := s.Resume(0, 2)
	wantCode(t, "Resume", err, bus.CodeSessionLost, "frames after 2")
}

func TestResumeWritesAgainWhatThePeerLacks(t *testing.T) {
	t.Parallel()
	s := New(1024, 300, 1<<20)
	s.PutAcked(data(64), 1)
	s.PutAcked(data(70), 2)
	s.Put(Urgent, answer(1))
	s.PutRequest(request(80), 3)
	first := s.AppendFrames(nil, 1<<20)
	s.Put(Bulk, data(90)) // waits: 300 - 64 - 70 - 80 leave 86
	s.Put(Urgent, answer(2))

	if got := resume(t, s, 1, 0); !slices.Equal(got, []uint64{1}) {
		t.Errorf("tags whose ack the resume is: got %v, want 1", got)
	}
	if s.Repeated() != 3 || !s.Repeating() || !s.Writable() {
		t.Errorf("Repeated: got %d, want 3", s.Repeated())
	}
	again := s.AppendFrames(nil, 1<<20)
	head, rest := len(first)-64, len(again)-(len(first)-64)
	if !bytes.Equal(again[:head], first[64:]) {
		t.Error("what was written again is not what was written")
	}
	if f, err := (wire.Decoder{}).Next(again[head:]); err != nil || f.Size != rest || f.N != 5 || f.Kind != wire.Answer {
		t.Errorf("after it: got %+v, %v; want answer 5 alone, credit was spent once", f, err)
	}
	if s.Repeating() || s.Repeated() != 0 || s.Writable() {
		t.Error("something is still to be written again")
	}
	if tags, err := s.Acked(5, 214); err != nil || !slices.Equal(tags, []uint64{2}) {
		t.Errorf("Acked: got %v, %v; want tag 2", tags, err)
	}
	if tag, err := s.Answered(4); err != nil || tag != 3 {
		t.Errorf("the answer to a request that was written twice: got %d, %v; want 3", tag, err)
	}
	wantNumbers(t, "after credit came", numbers(t, s, 1<<20), 6)
}

// On a move the old line goes on between the hello and the resume, so the peer
// may have acknowledged more than its hello says.
func TestResumeWithAStaleOffer(t *testing.T) {
	t.Parallel()
	s := sent(5)
	if _, err := s.Acked(3, 0); err != nil {
		t.Fatal(err)
	}
	if got := resume(t, s, 1, 0); got != nil {
		t.Errorf("tags: got %v, want none", got)
	}
	wantNumbers(t, "again", numbers(t, s, 1<<20), 4, 5)
	if _, err := s.Acked(2, 0); err == nil {
		t.Error("an ack went back in time")
	}
}

func TestSeveralCutsInARow(t *testing.T) {
	t.Parallel()
	s := sent(4)
	for range 3 { // cut before anything was written again
		resume(t, s, 1, 0)
		if s.Repeated() != 3 {
			t.Fatalf("Repeated: got %d, want 3", s.Repeated())
		}
	}
	wantNumbers(t, "a part", numbers(t, s, 1), 2)
	resume(t, s, 2, 0)
	wantNumbers(t, "another part", numbers(t, s, 1), 3)
	resume(t, s, 2, 0)
	wantNumbers(t, "all", numbers(t, s, 1<<20), 3, 4)
	resume(t, s, 4, 0)
	if s.Repeating() || s.Unacked() {
		t.Errorf("after the peer has all: Repeating %t, Unacked %t", s.Repeating(), s.Unacked())
	}
}

// While frames are written again the peer acknowledges what it has, and that
// need not be written.
func TestAcksInTheMiddleOfRepeating(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		acks []uint64
		want []uint64
	}{
		{"none", nil, []uint64{4, 5, 6}},
		{"of what was written again", []uint64{1, 2}, []uint64{4, 5, 6}},
		{"up to the next", []uint64{3}, []uint64{4, 5, 6}},
		{"of the next", []uint64{4}, []uint64{5, 6}},
		{"beyond the next", []uint64{2, 5}, []uint64{6}},
		{"of all", []uint64{6}, nil},
	}
	for _, tt := range tests {
		s := New(1<<20, 1<<20, 1<<20)
		for i := range 6 {
			s.Put(Bulk, data(64+i)) // so that each begins where no other does
		}
		s.AppendFrames(nil, 1<<20)
		resume(t, s, 0, 0)
		wantNumbers(t, tt.name+": before", numbers(t, s, 3*64), 1, 2, 3)
		for _, seen := range tt.acks {
			if _, err := s.Acked(seen, 0); err != nil {
				t.Fatal(err)
			}
		}
		s.Put(Bulk, data(64))
		got := written(t, s, 1<<20)
		var n []uint64
		for _, f := range got {
			n = append(n, f.N)
			if f.N < 7 && f.Size != int(63+f.N) {
				t.Errorf("%s: frame %d has %d bytes, want %d", tt.name, f.N, f.Size, 63+f.N)
			}
		}
		wantNumbers(t, tt.name, n, append(tt.want, 7)...)
	}
}

// The peer of a resumed line was told what this end had; it begins after that,
// or after what this end has acknowledged since.
func TestFirstFrameOfAResumedLine(t *testing.T) {
	t.Parallel()
	tests := []struct {
		n     uint64
		fresh bool
		fault string
	}{
		{0, false, "want 4 to 7, got 0"},
		{3, false, "want 4 to 7, got 3"},
		{4, false, ""},
		{6, false, ""},
		{7, true, ""},
		{8, false, "want 4 to 7, got 8"},
		{math.MaxUint64, false, "want 4 to 7"},
	}
	for _, tt := range tests {
		s := took(t, 6)
		resume(t, s, 0, 3)
		fresh, err := s.Received(tt.n, 64, true, false)
		if tt.fault != "" {
			wantCode(t, "first frame", err, bus.CodeProtocolError, tt.fault)
		} else if err != nil || fresh != tt.fresh {
			t.Errorf("first frame %d: got %t, %v; want %t", tt.n, fresh, err, tt.fresh)
		}
	}
}

func TestDuplicatesAreTakenOnce(t *testing.T) {
	t.Parallel()
	s := New(256, 1<<20, 1<<20)
	for n := uint64(1); n <= 4; n++ { // all the credit there is
		if err := received(s, n, 64, true, false); err != nil {
			t.Fatal(err)
		}
	}
	resume(t, s, 0, 0)
	take := func(n uint64, want bool) {
		t.Helper()
		fresh, err := s.Received(n, 64, n != 5, true)
		if err != nil || fresh != want {
			t.Errorf("frame %d: got %t, %v; want %t", n, fresh, err, want)
		}
	}
	s.AppendAck(nil)
	take(1, false)
	take(3, false) // 2 was acknowledged meanwhile
	_, err := s.Received(2, 64, true, false)
	wantCode(t, "back in time", err, bus.CodeProtocolError, "want 4 to 5, got 2")
	take(4, false)
	if s.AckDue() || s.Unreported() || s.Seen() != 4 {
		t.Errorf("duplicates changed what is to be acknowledged: AckDue %t, Unreported %t, Seen %d", s.AckDue(), s.Unreported(), s.Seen())
	}
	take(5, true) // an answer: there is no credit left for another
	_, err = s.Received(7, 64, true, false)
	wantCode(t, "a hole", err, bus.CodeProtocolError, "want 6, got 7")
	_, err = s.Received(5, 64, true, false)
	wantCode(t, "twice on one line", err, bus.CodeProtocolError, "want 6, got 5")
}

// What earlier acks said may be lost with their line.
func TestAckIsDueAfterAResume(t *testing.T) {
	t.Parallel()
	s := took(t, 3)
	s.Release(64)
	s.AppendAck(nil)
	if s.AckDue() || s.Unreported() {
		t.Fatal("an ack is due right after one")
	}
	resume(t, s, 0, 3)
	if !s.AckDue() || !s.Unreported() {
		t.Errorf("after a resume: AckDue %t, Unreported %t; want true, true", s.AckDue(), s.Unreported())
	}
	if f, err := (wire.Decoder{}).Next(s.AppendAck(nil)); err != nil || f.Seen != 3 || f.Released != 64 {
		t.Errorf("got %+v, %v; want all of it again", f, err)
	}
	if s.AckDue() || s.Unreported() {
		t.Error("an ack is due right after one")
	}
}

func TestAskedAckIsAskedForAgain(t *testing.T) {
	t.Parallel()
	s := sent(2)
	asks := func() bool {
		t.Helper()
		f, err := wire.Decoder{}.Next(s.AppendAck(nil))
		if err != nil {
			t.Fatal(err)
		}
		return f.AckAtOnce()
	}
	s.AskAck()
	if !s.AckDue() || !asks() {
		t.Fatal("the ack does not ask")
	}
	if s.AskAck(); s.AckDue() {
		t.Error("it asks again while one is on its way")
	}
	resume(t, s, 0, 0)
	asks() // what is due after a resume
	s.AskAck()
	if s.AckDue() || asks() {
		t.Error("it asks before it has written again what the ack is to cover")
	}
	wantNumbers(t, "again", numbers(t, s, 1<<20), 1, 2)
	if !s.AckDue() || !asks() {
		t.Error("the line was cut, and it does not ask again")
	}
}
