package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	playRole(os.Args) // servers and clients are this program too
	os.Exit(m.Run())
}

// smokeWorks stand for all: those of one kind differ in sizes only.
var smokeWorks = []string{
	"ping-pong", "echo-16-1", "echo-4K-16", "one-way-256-1", "fan-out-40", "idle", "handshakes-full", "handshakes-resumed", "storm", "calls",
}

// TestEachContenderDoesEachWork, with numbers that are too small to mean
// anything.
func TestEachContenderDoesEachWork(t *testing.T) {
	t.Parallel()
	b, remove, err := newBench(tinyScale, testWriter{t})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(remove)
	b.only = regexp.MustCompile("^(" + strings.Join(smokeWorks, "|") + ")/")
	r := b.run(t.Context())
	for _, s := range r.failed() {
		t.Errorf("%s, %s: %s", s.Work, s.Contender, s.Error)
	}
	for _, w := range works() {
		for _, c := range contenders {
			if b.wants(w, c) {
				checkSample(t, r, w, c)
			}
		}
	}
}

// checkSample checks that a contender has a figure for each column of a work,
// and a good one for the first.
func checkSample(t *testing.T, r *results, w *work, c *contender) {
	t.Helper()
	for i, col := range w.columns {
		s, ok := r.summary(w.name, c.name, col.metric)
		if !ok || i == 0 && s.Median <= 0 && w.name != "idle" { // so few connections may cost nothing
			t.Errorf("%s, %s: %s is %v, %t", w.name, c.name, col.metric, s.Median, ok)
		}
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}
