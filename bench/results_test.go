package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// sampleResults are of two works in three rounds; what was measured in round 1
// of grpc failed.
func sampleResults() *results {
	r := newResults(fullScale)
	rate := func(work, contender string, round int, v float64) {
		r.add(sample{Work: work, Contender: contender, Round: round, Metrics: metrics{"rate": v, "cpu": 1e6 / v}})
	}
	for round, v := range []float64{100_000, 400_000, 90_000} {
		rate("echo-16-1", "busd", round, 8*v)
		rate("echo-16-1", "tls", round, 20*v)
		if round != 1 {
			rate("echo-16-1", "grpc", round, v)
		}
	}
	r.add(sample{Work: "echo-16-1", Contender: "grpc", Round: 1, Error: "the connection has ended\n    its log"})
	rate("handshakes-resumed", "tls", 0, 1000)
	r.add(sample{Work: "storm", Contender: "busd", Round: 0, Metrics: metrics{"all": 6, "p99": 2e6}})
	r.finish()
	return r
}

func TestRatioIsOfPairs(t *testing.T) {
	t.Parallel()
	r := sampleResults()
	s, ok := r.ratio("echo-16-1", "rate", "busd", "grpc")
	if !ok || s.Median != 8 || s.Min != 8 || s.Max != 8 || s.Count != 2 {
		t.Errorf("busd to grpc: got %+v, %t, want 8 in both rounds that both were measured in", s, ok)
	}
	if s, ok := r.ratio("echo-16-1", "rate", "busd", "gws"); ok {
		t.Errorf("to nobody: got %+v", s)
	}
}

func TestMeasured(t *testing.T) {
	t.Parallel()
	r := sampleResults()
	var names []string
	for _, c := range r.measured("echo-16-1") {
		names = append(names, c.name)
	}
	if len(names) != 3 || names[0] != "tls" || names[1] != "grpc" || names[2] != "busd" {
		t.Errorf("got %v, want tls, grpc and busd, in the order of contenders", names)
	}
	if failed := r.failed(); len(failed) != 1 || failed[0].Contender != "grpc" {
		t.Errorf("failed: got %+v", failed)
	}
}

func TestResultsAreWrittenWhole(t *testing.T) {
	t.Parallel()
	r := sampleResults()
	file := filepath.Join(t.TempDir(), "results.json")
	if err := r.write(file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var back results
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Samples) != len(r.Samples) || back.Scale != r.Scale || back.Machine.Kernel != r.Machine.Kernel {
		t.Errorf("got %+v, want %+v", back, r)
	}
}
