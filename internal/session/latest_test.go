package session

import (
	"fmt"
	"slices"
	"testing"
)

// sizes returns the sizes of what s writes now.
func sizes(t *testing.T, s *Session, limit int) (all []int) {
	t.Helper()
	for _, f := range written(t, s, limit) {
		all = append(all, f.Size)
	}
	return all
}

func TestLatestKeepsItsPlace(t *testing.T) {
	t.Parallel()
	s := New(1<<20, 1<<20, 1<<20)
	s.PutLatest("a", data(100))
	s.Put(Bulk, data(101))
	s.Put(Urgent, answer(1))
	s.PutLatest("b", data(102))
	s.PutLatest("a", data(103))
	if !s.Replace("b", data(104)) || s.Replace("c", data(105)) {
		t.Error("Replace: want one of b in its place, and none of c")
	}
	s.Put(Bulk, data(106))
	if got, want := sizes(t, s, 314), []int{103, 101, 6, 104}; !slices.Equal(got, want) {
		t.Errorf("sizes: got %v, want %v", got, want)
	}
	if s.Replace("a", data(107)) || s.Replace("b", data(107)) {
		t.Error("a frame that was written was replaced")
	}
	s.PutLatest("a", data(108)) // behind what was put before it
	if got, want := sizes(t, s, 1<<20), []int{106, 108}; !slices.Equal(got, want) {
		t.Errorf("sizes: got %v, want %v", got, want)
	}
	resume(t, s, 0, 0) // each as it was written
	if got, want := sizes(t, s, 1<<20), []int{103, 101, 6, 104, 106, 108}; !slices.Equal(got, want) {
		t.Errorf("sizes again: got %v, want %v", got, want)
	}
}

// A key that changes all the time passes nobody, and nobody passes it.
func TestNoKeyStarves(t *testing.T) {
	t.Parallel()
	s := New(1<<20, 64, 1<<20) // credit for one
	s.PutLatest("slow", data(60))
	var released uint64
	for n := uint64(1); n < 100; n++ {
		for i := range 5 {
			s.PutLatest("busy", data(20+i))
		}
		if n%2 == 0 {
			s.PutLatest("slow", data(60))
		}
		f := written(t, s, 1<<20)
		if want := []int{60, 24}[(n+1)%2]; len(f) != 1 || f[0].Size != want {
			t.Fatalf("frame %d: got %+v, want one of %d bytes: the two take turns", n, f, want)
		}
		released += Cost(f[0].Size)
		if _, err := s.Acked(n, released); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLatestIsAccountedFor(t *testing.T) {
	t.Parallel()
	s := New(1<<20, 1<<20, 1000)
	want := func(what string, queued, unacked int) {
		t.Helper()
		if got := s.Queued(); got != queued+unacked || s.kept(Bulk) != queued+unacked || s.lanes[Bulk].written != unacked {
			t.Errorf("%s: %d bytes queued, %d of bulk kept, %d unacknowledged; want %d, %d, %d",
				what, got, s.kept(Bulk), s.lanes[Bulk].written, queued+unacked, queued+unacked, unacked)
		}
		if room := 1000 - queued - unacked; room >= 0 && !s.Room(Bulk, room) || s.Room(Bulk, max(room, 0)+1) {
			t.Errorf("%s: there is not room for %d bytes and no more", what, room)
		}
	}
	s.PutLatest("a", data(101))
	s.Put(Bulk, data(201))
	s.PutLatest("b", data(301))
	want("put", 600, 0)
	s.PutLatest("a", data(151))
	want("grown", 650, 0)
	s.Replace("b", data(101))
	want("shrunk", 450, 0)
	s.AppendFrames(nil, 1)
	want("one written", 300, 150)
	s.AppendFrames(nil, 1<<20)
	want("all written", 0, 450)
	if _, err := s.Acked(2, 0); err != nil {
		t.Fatal(err)
	}
	want("some acknowledged", 0, 100)
	if _, err := s.Acked(3, 0); err != nil {
		t.Fatal(err)
	}
	want("all acknowledged", 0, 0)
	if s.Memory() != 0 || s.lanes != [2]queue{} {
		t.Errorf("something is left: %+v", s)
	}
}

// Frames that take the place of smaller ones want no room, but there is an end to
// that.
func TestLatestGrowsToABound(t *testing.T) {
	t.Parallel()
	s := New(1<<20, 1<<20, 1000)
	for i := range 10 {
		s.PutLatest(fmt.Sprint(i), data(101))
	}
	if s.Room(Bulk, 1) {
		t.Fatal("there is room in a full buffer")
	}
	if !s.Replace("0", data(1101)) {
		t.Error("a frame may grow up to twice the bound, and was not replaced")
	}
	if s.Replace("1", data(102)) {
		t.Error("frames grew beyond twice the bound")
	}
	if !s.Replace("1", data(101)) || !s.Replace("1", data(51)) || !s.Replace("0", data(1151)) {
		t.Error("a frame that needs no more than there is was not replaced")
	}
	if got := s.Queued(); got != 2000 {
		t.Errorf("Queued: got %d, want 2000", got)
	}
	s.AppendFrames(nil, 1) // what is unacknowledged counts too
	if s.Replace("1", data(52)) {
		t.Error("frames grew beyond twice the bound with what is unacknowledged")
	}
	s.PutLatest("1", data(100)) // the caller may not wait
	if got := sizes(t, s, 1); !slices.Equal(got, []int{100}) {
		t.Errorf("PutLatest: got %v, want its frame in the place of the older", got)
	}
	s.PutLatest("2", data(1500))
	if !s.Replace("2", data(1500)) {
		t.Error("a frame that grew beyond every bound cannot be replaced by one of its size")
	}
}

// A frame that was large keeps none of its memory as it becomes small: it is
// accounted for by what it has.
func TestReplacedFramesGiveMemoryBack(t *testing.T) {
	t.Parallel()
	s := New(1<<20, 1<<20, 1<<20)
	for i := range 100 {
		key := fmt.Sprint(i)
		s.PutLatest(key, data(100_000))
		s.PutLatest(key, data(100))
	}
	held := 0
	for _, slot := range s.latest {
		held += cap(slot.frame)
	}
	if held > 100*256 {
		t.Errorf("100 frames of 100 bytes hold %d bytes", held)
	}
}

// An idle session holds nothing of the many keys that it had.
func TestIdleSessionHasNoKeys(t *testing.T) {
	t.Parallel()
	s := New(1<<20, 1<<30, 1<<30)
	for i := range 5000 {
		s.PutLatest(fmt.Sprint(i), data(64))
	}
	s.AppendFrames(nil, 1<<20)
	if s.latest != nil {
		t.Error("the keys are still there")
	}
	s.PutLatest("k", data(64))
	s.AppendFrames(nil, 1<<20)
	if s.latest == nil {
		t.Error("few keys: the map is made anew each time")
	}
}
