//go:build !race

package session

import "testing"

// modelHistories is how many histories TestModel plays: some ten seconds on one
// core.
const modelHistories = 100_000

// The race detector makes a sync.Pool forget at random.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	a, b := New(1<<20, 1<<20, 1<<20), New(1<<20, 1<<20, 1<<20)
	msg, buf := data(64), make([]byte, 0, 1<<10)
	a.Put(Bulk, data(64)) // one that stays, as between two ends there always is
	a.AppendFrames(nil, 1<<20)
	if err := received(b, 1, 64, true, false); err != nil {
		t.Fatal(err)
	}
	b.Release(64)
	if got := testing.AllocsPerRun(1000, func() { buf = exchange(a, b, msg, buf) }); got != 0 {
		t.Errorf("a message and its ack: got %v allocations, want 0", got)
	}
}
