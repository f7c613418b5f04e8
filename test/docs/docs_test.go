package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"busd/examples/tour"
	"busd/schema/schemafile"
)

const root = "../.."

// documents returns the project's Markdown files.
func documents(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	if len(all) < 8 {
		t.Fatalf("only %d documents found below %s", len(all), root)
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var quote = regexp.MustCompile("(?s)(?:<!-- ([^ ]+) -->\n)?```go\n(.*?)```")

// TestQuotedCode: each piece of Go in a document names the file that it is
// from, and stands there.
func TestQuotedCode(t *testing.T) {
	t.Parallel()
	quotes := 0
	for _, path := range documents(t) {
		for _, m := range quote.FindAllStringSubmatch(read(t, path), -1) {
			file, code := m[1], m[2]
			if file == "" {
				t.Errorf("%s: Go without the file it is from:\n%s", path, code)
				continue
			}
			if !strings.Contains(read(t, filepath.Join(root, file)), code) {
				t.Errorf("%s quotes %s, where this does not stand:\n%s", path, file, code)
			}
			quotes++
		}
	}
	if quotes < 8 {
		t.Errorf("only %d quotes found", quotes)
	}
}

// TestContractInYAML: the contract of docs/writing-a-service.md in YAML is the
// one in Go.
func TestContractInYAML(t *testing.T) {
	t.Parallel()
	_, rest, _ := strings.Cut(read(t, filepath.Join(root, "docs/writing-a-service.md")), "```yaml\n")
	text, _, _ := strings.Cut(rest, "```")
	s, err := schemafile.Parse("tour.yaml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.Fingerprint(), tour.Schema.Fingerprint(); got != want {
		t.Errorf("fingerprint: got %s\n%s\nwant %s\n%s", got, s.JSON(), want, tour.Schema.JSON())
	}
}

var fence = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")

var link = regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)

// TestLinks: relative links lead somewhere.
func TestLinks(t *testing.T) {
	t.Parallel()
	for _, path := range documents(t) {
		prose := fence.ReplaceAllString(read(t, path), "")
		for _, m := range link.FindAllStringSubmatch(prose, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", path, m[1])
			}
		}
	}
}

// TestMakefile: every task is listed with what it does.
func TestMakefile(t *testing.T) {
	t.Parallel()
	text := read(t, filepath.Join(root, "Makefile"))
	phony := regexp.MustCompile(`(?m)^\.PHONY: (.*)$`).FindStringSubmatch(text)
	if phony == nil {
		t.Fatal("no .PHONY line")
	}
	for _, task := range strings.Fields(phony[1]) {
		if !regexp.MustCompile(`(?m)^` + task + `:.*## `).MatchString(text) {
			t.Errorf("task %s has no line of help", task)
		}
	}
}
