package msgclient

import (
	"math"
	"testing"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

// What a drop says of when to come back is an hour at most, and no sum
// overflows.
func TestHintsAreBounded(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		hint bus.Retry
		most time.Duration
	}{
		"after":  {bus.Retry{After: math.MaxInt64}, time.Hour + DefaultMinWait},
		"spread": {bus.Retry{Spread: math.MaxInt64}, time.Hour},
		"both":   {bus.Retry{After: math.MaxInt64, Spread: math.MaxInt64}, 2 * time.Hour},
	} {
		f, err := wire.Decoder{}.Next(wire.AppendDrop(nil, bus.Errorf(bus.CodeGoingAway, "x").WithRetry(tt.hint)))
		if err != nil {
			t.Fatal(err)
		}
		why, err := wire.DecodeDrop(f.Body)
		if err != nil {
			t.Fatal(err)
		}
		b := backoff{min: DefaultMinWait, max: DefaultMaxWait}
		for range 100 {
			if wait := b.next(why); wait < min(tt.hint.After, time.Hour) || wait > tt.most {
				t.Fatalf("%s: got a pause of %s, want at most %s", name, wait, tt.most)
			}
		}
	}
}

// A welcome is taken within reason.
func TestWelcomeIsBounded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		ms   int64
		want time.Duration
	}{
		{0, 0},
		{1, time.Second},
		{30_000, 30 * time.Second},
		{math.MaxInt64, 24 * time.Hour},
	} {
		if got := pingEvery(&wire.WelcomeFrame{KeepAliveMS: tt.ms}); got != tt.want {
			t.Errorf("keep_alive_ms %d: got %s, want %s", tt.ms, got, tt.want)
		}
	}
	for _, tt := range []struct {
		message, credit int64
		want            int
	}{
		{0, 64 << 10, 16 << 10},
		{1 << 10, 64 << 10, 1 << 10},
		{math.MaxInt64, 64 << 10, 512 << 10},
		{0, math.MaxInt64, 512 << 10},
	} {
		conn := &connection{welcome: &wire.WelcomeFrame{Credit: tt.credit, Limits: wire.Limits{Message: tt.message}}}
		if got := messageLimit(conn.welcome); got != tt.want {
			t.Errorf("limit %d, credit %d: got %d, want %d", tt.message, tt.credit, got, tt.want)
		}
	}
}
