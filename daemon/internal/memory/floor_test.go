package memory

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// A small heap may grow to the floor, a large one doubles, as everywhere.
func TestPercentFor(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		live uint64
		want int
	}{
		{0, maxPercent},
		{1 << 20, maxPercent},
		{Floor / 8, 700},
		{Floor / 4, 300},
		{Floor / 2, 100},
		{Floor, 100},
		{1 << 40, 100},
	} {
		if got := percentFor(tt.live); got != tt.want {
			t.Errorf("%d bytes in use: got %d %%, want %d", tt.live, got, tt.want)
		}
	}
}

// The percentage follows what is in use, collection after collection.
//
//nolint:paralleltest // the percentage is the process's
func TestKeepFloor(t *testing.T) {
	percent := func() int {
		p := debug.SetGCPercent(defaultPercent)
		debug.SetGCPercent(p)
		return p
	}
	before := percent()
	defer debug.SetGCPercent(before)
	stop := KeepFloor("")
	if got := percent(); got <= defaultPercent {
		t.Errorf("an empty heap: got %d %%, want more than %d", got, defaultPercent)
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !ok(); {
			if time.Now().After(end) {
				t.Fatalf("%s: got %d %%", what, percent())
			}
			runtime.GC() // the finalizer runs some time after it
		}
	}
	large := make([]byte, Floor)
	until("a large heap", func() bool { return percent() == defaultPercent })
	runtime.KeepAlive(large)
	until("a small one again", func() bool { return percent() > defaultPercent })
	stop()
	stop()
	if got := percent(); got != defaultPercent {
		t.Errorf("stopped: got %d %%, want %d", got, defaultPercent)
	}

	debug.SetGCPercent(250)
	KeepFloor("250")()
	if got := percent(); got != 250 {
		t.Errorf("where GOGC says 250: got %d", got)
	}
}
