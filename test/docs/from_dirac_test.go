package docs

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	diracRow  = regexp.MustCompile(`(?m)^\| A(\d+) \| (.+) \| (.+) \| (.+) \|$`)
	testName  = regexp.MustCompile("`([a-z0-9/]+)\\.(Test\\w+)`")
	noTestYet = regexp.MustCompile(`later: access|out of scope, because`)
)

// TestFromDIRAC: docs/from-dirac.md has every row, in order, and each test that
// it names exists; a row without one says why.
func TestFromDIRAC(t *testing.T) {
	t.Parallel()
	const rows = 89
	sources := map[string]string{}
	all := diracRow.FindAllStringSubmatch(read(t, filepath.Join(root, "docs/from-dirac.md")), -1)
	if len(all) != rows {
		t.Errorf("got %d rows, want %d", len(all), rows)
	}
	for i, row := range all {
		number, where, shown := row[1], row[3], row[4]
		if number != fmt.Sprint(i+1) {
			t.Fatalf("row %d is A%s", i+1, number)
		}
		tests := testName.FindAllStringSubmatch(shown, -1)
		if len(tests) == 0 && !noTestYet.MatchString(where) {
			t.Errorf("A%s names no test and does not say why", number)
		}
		for _, test := range tests {
			if !strings.Contains(testsOf(t, sources, test[1]), "\nfunc "+test[2]+"(t *testing.T)") {
				t.Errorf("A%s: there is no %s in %s", number, test[2], test[1])
			}
		}
	}
}

// testsOf returns the tests of a folder, which it reads once.
func testsOf(t *testing.T, sources map[string]string, folder string) string {
	t.Helper()
	if text, ok := sources[folder]; ok {
		return text
	}
	files, err := filepath.Glob(filepath.Join(root, folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, file := range files {
		text.WriteString(read(t, file))
	}
	sources[folder] = text.String()
	return sources[folder]
}
