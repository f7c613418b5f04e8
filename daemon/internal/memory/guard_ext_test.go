package memory_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"busd/daemon/internal/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestGuard fills the heap of this process: the guard sees it, has some of it
// given up, and goes back when it is gone.
func TestGuard(t *testing.T) { //nolint:paralleltest // others would allocate meanwhile
	const block, blocks = 1 << 20, 100
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var kept [blocks]atomic.Pointer[[block]byte]
	var given atomic.Int64
	g := memory.NewGuard(memory.Config{
		Limit: int64(m.HeapAlloc) + blocks*block, // a hundred blocks, and little else
		Relieve: func(bytes int64) (int, int64) {
			n := 0
			for i := range kept {
				if int64(n*block) < bytes && kept[i].Swap(nil) != nil {
					n++
				}
			}
			given.Add(int64(n))
			return n, int64(n) * block
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: got %v", err)
		}
	}()
	until := func(what string, is func(memory.Stats) bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !is(g.Stats()); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: got %+v", what, g.Stats())
			}
		}
	}
	for i := range kept {
		kept[i].Store(new([block]byte))
	}
	until("full", func(s memory.Stats) bool { return s.Cut > 0 })
	until("relieved", func(s memory.Stats) bool { return s.Level == memory.Shedding })
	if n := given.Load(); n < 5 || n > 40 {
		t.Errorf("%d MiB were given up, want about 15", n)
	}
	for i := range kept {
		kept[i].Store(nil)
	}
	until("empty", func(s memory.Stats) bool { return s.Level == memory.Easy })
	if g.Short() {
		t.Error("want everybody let in again")
	}
}

// Without a limit nobody is kept out.
func TestNoLimit(t *testing.T) {
	t.Parallel()
	g := memory.NewGuard(memory.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Run(ctx); !errors.Is(err, context.Canceled) || g.Short() || g.Stats() != (memory.Stats{}) {
		t.Errorf("got %v, %+v", err, g.Stats())
	}
}
