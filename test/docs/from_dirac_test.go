package docs

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	diracRow = regexp.MustCompile(`(?m)^\| ([A-Z]\d+) \| (.+) \| (.+) \| (.+) \|$`)
	testName = regexp.MustCompile("`([a-z0-9/]+)\\.(Test\\w+)`")
	untested = regexp.MustCompile(`not yet: |out of scope, because `)
)

// TestFromDIRAC: docs/from-dirac.md has every row of both tables, in order, and
// each test that it names exists; a row without one says why.
func TestFromDIRAC(t *testing.T) {
	t.Parallel()
	var want []string
	for _, table := range []struct {
		letter string
		rows   int
	}{{"A", 89}, {"B", 86}} {
		for i := range table.rows {
			want = append(want, fmt.Sprint(table.letter, i+1))
		}
	}
	sources := map[string]string{}
	all := diracRow.FindAllStringSubmatch(read(t, filepath.Join(root, "docs/from-dirac.md")), -1)
	if len(all) != len(want) {
		t.Errorf("got %d rows, want %d", len(all), len(want))
	}
	for i, row := range all {
		number, where, shown := row[1], row[3], row[4]
		if i < len(want) && number != want[i] {
			t.Fatalf("row %d is %s, want %s", i+1, number, want[i])
		}
		tests := testName.FindAllStringSubmatch(shown, -1)
		if len(tests) == 0 && !untested.MatchString(where) {
			t.Errorf("%s names no test and does not say why", number)
		}
		if left := testName.ReplaceAllString(shown, ""); strings.ContainsAny(left, "`.") {
			t.Errorf("%s: want tests as `folder.TestName`, got %s", number, shown)
		}
		for _, test := range tests {
			if !strings.Contains(testsOf(t, sources, test[1]), "\nfunc "+test[2]+"(t *testing.T)") {
				t.Errorf("%s: there is no %s in %s", number, test[2], test[1])
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
