package nearest_test

import (
	"strings"
	"testing"

	"busd/internal/nearest"
)

func TestWord(t *testing.T) {
	t.Parallel()
	known := []string{"id", "tags", "priority", "connections", "Framework/PingPong"}
	for word, want := range map[string]string{
		"id": "id", "di": "id", "ID": "id", "tag": "tags", "prioritiy": "priority", "conections": "connections", "Connectoins": "connections",
		"Framework/Pingpon": "Framework/PingPong", "x": "", "": "", "deadline": "", "pr": "", strings.Repeat("i", 300): "",
	} {
		if got := nearest.Word(word, known); got != want {
			t.Errorf("Word(%.20q): got %q, want %q", word, got, want)
		}
	}
	if got := nearest.Word("a", nil); got != "" {
		t.Errorf("among no words: got %q", got)
	}
}

func TestDidYouMean(t *testing.T) {
	t.Parallel()
	if got, want := nearest.DidYouMean("tgas", []string{"id", "tags"}), ` (did you mean "tags"?)`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := nearest.DidYouMean("deadline", []string{"id"}); got != "" {
		t.Errorf("got %q, want nothing", got)
	}
}
