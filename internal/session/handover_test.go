package session

import (
	"slices"
	"testing"
)

func TestHoldBeginsNothing(t *testing.T) {
	t.Parallel()
	s := sent(2)
	s.Put(Bulk, data(64))
	s.PutRequest(request(64), 7)
	s.PutLatest("k", data(64))
	s.Put(Urgent, answer(1))
	s.Hold()
	wantNumbers(t, "answers go on", numbers(t, s, 1<<20), 3)
	if s.Writable() || !s.Unsent() {
		t.Errorf("Writable %t, Unsent %t; want false, true", s.Writable(), s.Unsent())
	}
	resume(t, s, 1, 0)
	wantNumbers(t, "a resume begins again", numbers(t, s, 1<<20), 2, 3, 4, 5, 6)
}

func TestHoldWritesAgain(t *testing.T) {
	t.Parallel()
	s := sent(2)
	s.Put(Bulk, data(64))
	resume(t, s, 0, 0)
	s.Hold()
	wantNumbers(t, "what was begun is finished", numbers(t, s, 1<<20), 1, 2)
}

func TestEachUnsent(t *testing.T) {
	t.Parallel()
	s := New(1024, 64, 1<<20)
	s.PutRequest(request(64), 1) // written: credit is spent
	s.AppendFrames(nil, 1<<20)
	s.PutAcked(data(65), 2)
	s.PutRequest(request(66), 3)
	s.PutLatest("k", data(67))
	s.Put(Urgent, answer(1))
	s.PutRequest(request(68), 4)
	s.Put(Bulk, data(69))
	s.PutLatest("k", data(100))
	s.Withdraw(1)
	s.Withdraw(3)
	type unsent struct {
		tag  uint64
		size int
	}
	var got []unsent
	s.EachUnsent(func(frame []byte, tag uint64) { got = append(got, unsent{tag, len(frame) + 1}) })
	if want := []unsent{{2, 65}, {0, 100}, {4, 68}, {0, 69}}; !slices.Equal(got, want) {
		t.Errorf("got tags and sizes %v, want %v", got, want)
	}
	New(1, 1, 1).EachUnsent(func([]byte, uint64) { t.Error("an empty session has an unsent frame") })
}

// Only data frames that nobody waits for are lost without anybody hearing of it.
func TestUnacknowledged(t *testing.T) {
	t.Parallel()
	s := New(1<<20, 1<<20, 1<<20)
	if got := s.Unacknowledged(); got != 0 {
		t.Errorf("at the beginning: got %d", got)
	}
	s.Put(Bulk, data(64))
	s.PutLatest("k", data(64))
	s.PutAcked(data(64), 1)
	s.PutRequest(request(64), 2)
	s.Put(Urgent, answer(1))
	s.Put(Bulk, data(64))
	s.AppendFrames(nil, 1<<20)
	s.Put(Bulk, data(64)) // unsent: the peer surely lacks it
	for _, tt := range []struct {
		acked uint64
		want  int
	}{{0, 3}, {1, 2}, {5, 1}, {6, 0}} {
		if _, err := s.Acked(tt.acked, 0); err != nil {
			t.Fatal(err)
		}
		if got := s.Unacknowledged(); got != tt.want {
			t.Errorf("after an ack of %d: got %d, want %d", tt.acked, got, tt.want)
		}
	}
}

// A cancel has no number, so after a cut it is said again, until the request has
// its answer.
func TestRevoked(t *testing.T) {
	t.Parallel()
	s := New(1<<20, 1<<20, 1<<20)
	for tag := range uint64(4) {
		s.PutRequest(request(64), tag+1)
	}
	s.AppendFrames(nil, 1<<20)
	s.PutRequest(request(64), 5)
	for _, tag := range []uint64{4, 2, 1, 5} {
		s.Withdraw(tag)
	}
	wantNumbers(t, "taken back", s.Revoked(), 1, 2, 4)
	if _, err := s.Answered(2); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Answered(3); err != nil {
		t.Fatal(err)
	}
	resume(t, s, 1, 0)
	wantNumbers(t, "after one was answered", s.Revoked(), 1, 4)
	wantNumbers(t, "once more", s.Revoked(), 1, 4)
	for _, re := range []uint64{4, 1} {
		if _, err := s.Answered(re); err != nil {
			t.Fatal(err)
		}
	}
	wantNumbers(t, "after all were", s.Revoked())
}

func TestMemory(t *testing.T) {
	t.Parallel()
	s := New(1<<20, 1<<20, 1<<20)
	want := func(what string, least, most int) {
		t.Helper()
		if got := s.Memory(); got < least || got > most {
			t.Errorf("%s: got %d bytes, want %d to %d", what, got, least, most)
		}
	}
	const most = maxChunk // of what is not used yet
	want("at the beginning", 0, 0)
	for tag := range uint64(1000) {
		s.PutRequest(request(300), tag+1)
	}
	want("unsent", 300_000+1000*recordSize, 300_000+1000*recordSize+most)
	for s.Writable() {
		s.AppendFrames(nil, 1<<20)
	}
	want("unacknowledged", 300_000+1000*(recordSize+requestSize), 300_000+1000*(recordSize+requestSize)+most)
	if _, err := s.Acked(1000, 0); err != nil {
		t.Fatal(err)
	}
	want("waiting for answers", 1000*requestSize, 1000*requestSize)
	for re := range uint64(1000) {
		if _, err := s.Answered(re + 1); err != nil {
			t.Fatal(err)
		}
	}
	want("at rest", 0, 0)
	s.Put(Urgent, answer(1))
	s.PutLatest("k", data(5000))
	want("one answer, one frame in a slot", 5000+slotSize+2*recordSize, 5000+slotSize+2*minChunk)
}
