package memory

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// Floor is how large the heap may always grow before it is collected, in bytes. The
// runtime begins at 4 MiB, which a server that decodes messages fills dozens of times
// a second: a fifth to a third of what a message costs was collecting heaps in which
// there was next to nothing to keep. From half of it in use on, the runtime's own
// rule holds.
const Floor = 48 << 20

const (
	// defaultPercent is the runtime's own GOGC.
	defaultPercent = 100
	// maxPercent bounds what is set for a heap in which there is nothing.
	maxPercent = 1000
	// step is how much the percentage must differ to be set anew, which stops the
	// world for a moment.
	step = 20
)

// KeepFloor sees to [Floor] until stop is called, which returns at once, and may be called again. gogc is the
// environment's GOGC: if it says anything, that holds, and nothing is done. The limit
// that [SetLimit] sets goes before the floor. One at a time may be kept.
func KeepFloor(gogc string) (stop func()) {
	if gogc != "" {
		return func() {}
	}
	f := &floor{percent: defaultPercent, live: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}}
	f.adjust()
	f.watch()
	return f.stop
}

// floor sets the percentage after each collection.
type floor struct {
	mu      sync.Mutex
	percent int
	live    []metrics.Sample
	stopped bool
}

func (f *floor) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.stopped {
		f.stopped = true
		debug.SetGCPercent(defaultPercent)
	}
}

// watch calls adjust after the next collection, and so on: a finalizer of what nobody
// has runs after each.
func (f *floor) watch() {
	runtime.SetFinalizer(&mark{f}, func(m *mark) {
		if m.floor.adjust() {
			m.floor.watch()
		}
	})
}

// A mark is what nobody has.
type mark struct{ floor *floor }

// adjust sets the percentage that lets the heap grow to the floor, or returns false
// once it was stopped.
func (f *floor) adjust() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return false
	}
	metrics.Read(f.live)
	want := percentFor(f.live[0].Value.Uint64())
	if change := max(want-f.percent, f.percent-want); change >= step || (change > 0 && want == defaultPercent) {
		f.percent = want
		debug.SetGCPercent(want)
	}
	return true
}

// percentFor returns how much a heap with so many bytes in use may grow, in percent.
func percentFor(live uint64) int {
	percent := (float64(Floor)/math.Max(float64(live), 1) - 1) * 100
	return int(min(max(percent, defaultPercent), maxPercent))
}
