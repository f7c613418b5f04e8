package main

import "testing"

func TestUnits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		unit unit
		v    float64
		want string
	}{
		{perSecond, 2_840_000, "2.84 M"},
		{perSecond, 899_123, "899 k"},
		{perSecond, 10_450, "10.4 k"},
		{perSecond, 9_876.4, "9,876"},
		{perSecond, 42, "42"},
		{latency, 36.04, "36.0 µs"},
		{latency, 12_345, "12.3 ms"},
		{latency, 2_400_000, "2.40 s"},
		{kibi, 24 << 10, "24.0 KiB"},
		{percent, 0.5, "0.50 %"},
		{percent, 0.024, "0.024 %"},
		{times, 1.0 / 7, "0.14 ×"},
		{nanos, 1234.5, "1,234 ns"},
		{plainNumber, 0, "0.00"},
		{plainNumber, -1234567, "-1,234,567"},
	} {
		if got := tt.unit(tt.v); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.v, got, tt.want)
		}
	}
}

func TestSpread(t *testing.T) {
	t.Parallel()
	if got, want := spread(summary{Median: 2, Min: 1, Max: 3, Count: 5}, times), "2.00 × (1.00 × – 3.00 ×)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := spread(summary{Median: 2, Min: 2, Max: 2, Count: 1}, times), "2.00 ×"; got != want {
		t.Errorf("of one round: got %q, want %q", got, want)
	}
}
