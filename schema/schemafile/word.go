package schemafile

import (
	"fmt"
	"strings"

	"busd/schema"
)

// The words of a file, in the order in which they are offered.
var (
	kinds   = wordsUpTo(schema.Struct)
	senders = wordsUpTo(schema.FromService)
	classes = wordsUpTo(schema.Volatile)
)

func wordsUpTo[T interface {
	~uint8
	fmt.Stringer
}](last T) []string {
	var words []string
	for w := T(0); w <= last; w++ {
		words = append(words, w.String())
	}
	return words
}

// word reads a key whose value is one of a few words; a missing key is the
// zero value.
func word[T any](r *reader, n *node, name string, parse func(string) (T, bool), known []string) T {
	if v := n.get(name); v != nil && r.is(v, "string") {
		return wordOf(r, v, parse, known)
	}
	var zero T
	return zero
}

func wordOf[T any](r *reader, n *node, parse func(string) (T, bool), known []string) T {
	w, ok := parse(n.text)
	if !ok {
		r.add(n.position, "want one of %s, got %.64q%s", strings.Join(known, ", "), n.text, didYouMean(n.text, known))
	}
	return w
}

// didYouMean returns ` (did you mean "attrs"?)` with the known word that is at
// most one edit for each three letters away, or "".
func didYouMean(word string, known []string) string {
	if len(word) > schema.MaxName {
		return ""
	}
	best, least := "", max(1, len(word)/3)+1
	for _, k := range known {
		if d := distance(word, k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// distance counts the edits between a and b, two letters swapped being one. Package schema has
// the same in private: thirty lines are cheaper than a door between the two.
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
