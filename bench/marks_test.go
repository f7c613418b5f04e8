package main

import (
	"slices"
	"testing"
)

// TestMarksAreOfWhatIsMeasured: every mark reads a metric that its work tells, of
// contenders that take part.
func TestMarksAreOfWhatIsMeasured(t *testing.T) {
	t.Parallel()
	for _, m := range marks {
		title, figure := m.about() // panics if there is no such column
		at := slices.IndexFunc(works(), func(w *work) bool { return w.name == m.work })
		for _, name := range []string{m.contender, m.peer} {
			if name == "" {
				continue
			}
			if c, err := contenderNamed(name); err != nil || !works()[at].takes(c) {
				t.Errorf("%s, %s: %s does not take part: %v", title, figure, name, err)
			}
		}
		if m.ambition != 0 && m.most == (m.ambition > m.limit) {
			t.Errorf("%s, %s: the ambition %v is less than the mark %v", title, figure, m.ambition, m.limit)
		}
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	r := sampleResults()
	for _, tt := range []struct {
		name string
		mark mark
		want string
	}{
		{"reached", ratioMark("echo-16-1", "rate", "grpc", 6, 9), "reached"},
		{"reached, just", ratioMark("echo-16-1", "rate", "grpc", 8, 0), "reached"},
		{"ambition", ratioMark("echo-16-1", "rate", "grpc", 6, 8), "reached, and the ambition"},
		{"too little", ratioMark("echo-16-1", "rate", "grpc", 8.1, 0), "NOT REACHED"},
		{"at most", atMost(ratioMark("echo-16-1", "cpu", "grpc", 1.0/7, 0)), "reached"},
		{"too much", atMost(ratioMark("echo-16-1", "cpu", "grpc", 1.0/9, 0)), "NOT REACHED"},
		{"not measured", ratioMark("echo-16-1", "rate", "gws", 1, 0), "not measured"},
		{"a figure", atMost(figureMark("storm", "p99", 1e6, 0)), "NOT REACHED"},
	} {
		if figure, got := tt.mark.verdict(r); got != tt.want {
			t.Errorf("%s: got %q (%s), want %q", tt.name, got, figure, tt.want)
		}
	}
}

// TestStormToHandshakes: 5,000 clients in 6 s, where raw TLS resumes 1,000 in a
// second.
func TestStormToHandshakes(t *testing.T) {
	t.Parallel()
	if s, ok := stormToHandshakes(sampleResults()); !ok || s.Median != 1.2 {
		t.Errorf("got %+v, %t, want 1.2", s, ok)
	}
}

func TestSmallRunsSayNothingOfMarksForTheFullOne(t *testing.T) {
	t.Parallel()
	r := sampleResults()
	r.Scale = quickScale
	if figure, got := atFullScale(atMost(figureMark("storm", "p99", 1e9, 0))).verdict(r); got != "wants the full run" || figure == "" {
		t.Errorf("got %q, %q", figure, got)
	}
}
