package schemafile

import (
	"fmt"
	"strings"

	"busd/internal/nearest"
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
		r.add(n.position, "want one of %s, got %.64q%s", strings.Join(known, ", "), n.text, nearest.DidYouMean(n.text, known))
	}
	return w
}
