//go:build linux

package fault_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The tests that the package's documentation names are there.
func TestTable(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`([\w./]+) (Test\w+)`).FindAllStringSubmatch(string(doc), -1)
	if len(named) < 40 {
		t.Fatalf("%d tests are named, want a table", len(named))
	}
	for _, n := range named {
		dir := filepath.Join("../..", n[1])
		if n[1] == "." {
			dir = "."
		}
		if !has(t, dir, "func "+n[2]+"(t *testing.T) {") {
			t.Errorf("there is no %s in %s", n[2], dir)
		}
	}
}

// has looks for a text in the tests of a package.
func has(t *testing.T, dir, text string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), text) {
			return true
		}
	}
	return false
}
