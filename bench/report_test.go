package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReportIsPutInPlace(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, document, want string }{
		{"a new document", "", "B\nnew\nE\n"},
		{"at the end", "# Title\n\ntext\n", "# Title\n\ntext\n\nB\nnew\nE\n"},
		{"in place of the last one", "# Title\n\nB\nold\nE\n\n## After\n", "# Title\n\nB\nnew\nE\n\n## After\n"},
		{"a beginning without an end", "B\ntext\n", "B\ntext\n\nB\nnew\nE\n"},
	} {
		marked := strings.NewReplacer("B\n", reportBegin+"\n", "E\n", reportEnd+"\n")
		if got, want := placed(marked.Replace(tt.document), "new\n"), marked.Replace(tt.want); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", tt.name, got, want)
		}
	}
}

func TestWriteReport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "docs", "performance.md")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second one replaces the first
		err := writeReport(sampleResults(), file, map[string]string{"echo-16-1": filepath.Join(dir, "docs", "plots", "echo-16-1.svg")})
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"![Echo, 16 B, 1 connection](plots/echo-16-1.svg)",
		"| Echo, 16 B, 1 connection | messages/s, busd ÷ grpc | 8.00 × (8.00 × – 8.00 ×) | ≥ 6.00 × | ≥ 8.00 × | reached, and the ambition |",
		"- echo-16-1, grpc, round 2: the connection has ended\n",
		"| grpc-go, bidirectional stream (grpc) | a stream for each connection",
		" cores of ",
	} {
		if n := strings.Count(string(text), want); n != 1 {
			t.Errorf("%q: there %d times in\n%s", want, n, text)
		}
	}
}
