package hostile

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A gauge measures what a flood costs, the hostile clients' share included.
type gauge struct {
	t          *testing.T
	heap       uint64
	goroutines int
	peak       atomic.Uint64 // of the heap, garbage included
	rss        atomic.Uint64
	rssBefore  uint64
	done       chan struct{}
	watching   sync.WaitGroup
}

func measure(t *testing.T) *gauge {
	t.Helper()
	g := &gauge{t: t, done: make(chan struct{})}
	g.heap, g.goroutines = live(), runtime.NumGoroutine()
	g.rssBefore = rss()
	g.watching.Go(func() {
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-tick.C:
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				g.peak.Store(max(g.peak.Load(), m.HeapAlloc))
				g.rss.Store(max(g.rss.Load(), rss()))
			case <-g.done:
				tick.Stop()
				return
			}
		}
	})
	return g
}

// live is the heap that is in use.
func live() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools keep goes at the second
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// rss is the process's resident memory; 0 where the system does not say.
func rss() uint64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, _ := strconv.ParseUint(strings.Fields(string(b))[1], 10, 64)
	return pages * uint64(os.Getpagesize())
}

// holds says that what is live now is at most ceiling bytes more than before.
func (g *gauge) holds(ceiling uint64) {
	g.t.Helper()
	if now := live(); now > g.heap+ceiling {
		g.t.Errorf("heap while it lasts: %s, %s before: want at most %s more", mib(now), mib(g.heap), mib(ceiling))
	} else {
		g.t.Logf("heap while it lasts: %s, %s before", mib(now), mib(g.heap))
	}
}

// returns says that, once the flood is over, heap and goroutines are what they
// were, and that meanwhile neither the heap, garbage included, nor the
// resident memory grew by more than ceiling bytes.
func (g *gauge) returns(ceiling uint64) {
	g.t.Helper()
	close(g.done)
	g.watching.Wait()
	const left = 4 << 20
	var now uint64
	var goroutines int
	back := eventually(10*time.Second, func() bool {
		now, goroutines = live(), runtime.NumGoroutine()
		return now <= g.heap+left && goroutines <= g.goroutines
	})
	if !back {
		g.t.Errorf("afterwards: heap %s, %d goroutines; before: %s, %d", mib(now), goroutines, mib(g.heap), g.goroutines)
	}
	peak, resident := g.peak.Load()-min(g.heap, g.peak.Load()), g.rss.Load()-min(g.rssBefore, g.rss.Load())
	if peak > ceiling || resident > ceiling {
		g.t.Errorf("growth: heap %s, resident %s: want at most %s", mib(peak), mib(resident), mib(ceiling))
	}
	g.t.Logf("growth: heap %s, resident %s; afterwards heap %s (%s before)", mib(peak), mib(resident), mib(now), mib(g.heap))
}

func mib(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// eventually polls until it is true.
func eventually(limit time.Duration, is func() bool) bool {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if is() {
			return true
		}
	}
	return is()
}
