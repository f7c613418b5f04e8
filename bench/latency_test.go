package main

import (
	"testing"
	"time"
)

func TestLatencies(t *testing.T) {
	t.Parallel()
	var l latencies
	l.add(time.Hour) // before it is to be recorded
	l.start()
	for i := 100; i > 0; i-- {
		l.add(time.Duration(i) * time.Millisecond)
	}
	m := metrics{}
	l.into(m)
	for name, want := range map[string]float64{"p50": 51_000, "p99": 100_000, "max": 100_000} {
		if m[name] != want {
			t.Errorf("%s: got %v µs, want %v", name, m[name], want)
		}
	}
}

func TestLatenciesOfNothing(t *testing.T) {
	t.Parallel()
	m := metrics{}
	new(latencies).into(m)
	if m["p99"] != 0 {
		t.Errorf("got %v", m)
	}
}
