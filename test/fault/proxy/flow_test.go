package proxy

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// carry lets a flow decide about n bytes in one piece, by a clock of its own,
// and returns the sizes of what it sends and when.
func carry(seed uint64, line Line, n int) (sizes []int, times []time.Duration) {
	f := newFlow(Up, line, false, rand.New(rand.NewPCG(seed, 1)))
	begin := time.Unix(0, 0)
	now := begin
	f.push(make([]byte, n), now)
	f.sourceIs(ended, now)
	for {
		switch s := f.next(now); s.verb {
		case wait:
			now = now.Add(s.wait)
		case write:
			sizes = append(sizes, len(s.data))
			times = append(times, now.Sub(begin))
		default:
			return sizes, times
		}
	}
}

// TestSeed: the seed decides, and nothing else.
func TestSeed(t *testing.T) {
	t.Parallel()
	line := Line{Latency: time.Second, Jitter: 900 * time.Millisecond, Slice: 100}
	sizes, times := carry(7, line, 10_000)
	again, timesAgain := carry(7, line, 10_000)
	if !slices.Equal(sizes, again) || !slices.Equal(times, timesAgain) {
		t.Errorf("the same seed: got sizes %v, then %v; times %v, then %v", sizes, again, times, timesAgain)
	}
	if other, _ := carry(8, line, 10_000); slices.Equal(sizes, other) {
		t.Errorf("another seed: got the same %d sizes", len(sizes))
	}
}

// TestPace: the clock of a line, exactly.
func TestPace(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, test := range map[string]struct {
		line  Line
		bytes int
		sizes []int
		times []time.Duration
	}{
		"at once":   {Line{}, 500, []int{500}, []time.Duration{0}},
		"latency":   {Line{Latency: 30 * ms}, 500, []int{500}, []time.Duration{30 * ms}},
		"drip":      {Line{Slice: 1, Pause: 10 * ms}, 4, []int{1, 1, 1, 1}, []time.Duration{0, 10 * ms, 20 * ms, 30 * ms}},
		"bandwidth": {Line{Bandwidth: 1000}, 50, []int{20, 20, 10}, []time.Duration{0, 20 * ms, 40 * ms}},
		"thin":      {Line{Bandwidth: 10}, 3, []int{1, 1, 1}, []time.Duration{0, 100 * ms, 200 * ms}},
		"all":       {Line{Latency: 5 * ms, Slice: 1, Pause: 10 * ms, Bandwidth: 100}, 2, []int{1, 1}, []time.Duration{5 * ms, 25 * ms}},
	} {
		if sizes, times := carry(1, test.line, test.bytes); !slices.Equal(sizes, test.sizes) || !slices.Equal(times, test.times) {
			t.Errorf("%s: got %v at %v, want %v at %v", name, sizes, times, test.sizes, test.times)
		}
	}
}

// TestJitter: as much less as more, and never out of order.
func TestJitter(t *testing.T) {
	t.Parallel()
	f := newFlow(Down, Line{Latency: time.Second, Jitter: time.Second / 2}, false, rand.New(rand.NewPCG(1, 1)))
	now := time.Unix(0, 0)
	var early, late int
	last := now
	for range 1000 {
		now = now.Add(10 * time.Second) // far apart, so that order costs nothing
		f.push([]byte{0}, now)
		due := f.queue[len(f.queue)-1].due
		switch delay := due.Sub(now); {
		case delay < time.Second/2 || delay > 3*time.Second/2:
			t.Fatalf("delay: got %v, want 0.5 s to 1.5 s", delay)
		case delay < time.Second:
			early++
		default:
			late++
		}
		for range 5 { // at once, so that order binds
			f.push([]byte{0}, now)
			next := f.queue[len(f.queue)-1].due
			if next.Before(due) || due.Before(last) {
				t.Fatalf("order: %v is due before %v", next, due)
			}
			due = next
		}
		last = due
	}
	if early < 400 || late < 400 {
		t.Errorf("of 1000 delays %d were shorter and %d longer than the latency", early, late)
	}
}

// TestPlan: faults at offsets, however they were planned, and a piece that ends
// wherever one begins.
func TestPlan(t *testing.T) {
	t.Parallel()
	f := newFlow(Up, Line{}, false, rand.New(rand.NewPCG(1, 1)))
	f.schedule(30, RST) // never: a cut comes before
	f.schedule(20, FIN)
	f.schedule(20, 0) // never: the cut comes before the byte
	f.schedule(3, 0)
	f.schedule(3, 0) // once is enough
	f.schedule(12, 0)
	now := time.Unix(0, 0)
	f.push(make([]byte, 5), now)
	f.push(make([]byte, 25), now)
	var got []byte
	var struck []int64
	for {
		s := f.next(now)
		for _, e := range s.events {
			struck = append(struck, e.Offset)
		}
		if s.verb == cut {
			if s.end != FIN {
				t.Errorf("cut by %v, want FIN", s.end)
			}
			break
		}
		if s.verb != write {
			t.Fatalf("after %d bytes: got %+v", len(got), s)
		}
		got = append(got, s.data...)
	}
	if len(got) != 20 {
		t.Errorf("got %d bytes before the cut, want 20", len(got))
	}
	var changed []int64
	for i, b := range got {
		if b != 0 {
			changed = append(changed, int64(i))
		}
	}
	if want := []int64{3, 12}; !slices.Equal(changed, want) || !slices.Equal(struck, want) {
		t.Errorf("corrupted: got %v, events %v, want %v", changed, struck, want)
	}
}
