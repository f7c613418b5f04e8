// Package nearest finds what somebody meant who mistyped a word.
package nearest

import (
	"fmt"
	"strings"
)

// maxWord bounds what is looked at, in bytes; a longer word is like none.
const maxWord = 200

// Word returns which of known is most like word, upper and lower case being
// one: at most one edit for each three letters apart. Empty: none is.
func Word(word string, known []string) string {
	if len(word) > maxWord {
		return ""
	}
	best, least := "", max(1, len(word)/3)+1
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// DidYouMean returns ` (did you mean "id"?)`, to be put behind a complaint, or
// nothing if no known word is near.
func DidYouMean(word string, known []string) string {
	if n := Word(word, known); n != "" {
		return fmt.Sprintf(" (did you mean %q?)", n)
	}
	return ""
}

// distance counts the edits between a and b, two letters swapped being one.
func distance(a, b string) int {
	// Three rows of the table: two back, the last, and the one being filled.
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			edits := last[j]
			if a[i] != b[j] {
				edits = 1 + min(edits, last[j+1], row[j])
			}
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				edits = min(edits, before[j-1]+1)
			}
			row[j+1] = edits
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
