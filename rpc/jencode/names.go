package jencode

import (
	"bytes"
	"slices"
	"sync"
)

// fewNames is how many names of an object are compared each with each.
const fewNames = 16

// A span is where the inside of a text stands.
type span struct{ start, end int }

// names finds duplicates: it holds the names of all open objects.
type names struct {
	all []span
	// marks are where in all those of each open object begin.
	marks []int
}

// spareNames holds those that are not in use: their memory is half of what it
// costs to check a small text.
var spareNames = sync.Pool{New: func() any { return new(names) }}

func borrowNames() *names { return spareNames.Get().(*names) } //nolint:forcetypeassert // nothing else is in it

// giveBack ends the use of n; one that has grown large goes.
func (n *names) giveBack() {
	const large = 1024
	if n.all, n.marks = n.all[:0], n.marks[:0]; cap(n.all) <= large {
		spareNames.Put(n)
	}
}

func (n *names) open() { n.marks = append(n.marks, len(n.all)) }

func (n *names) add(start, end int) { n.all = append(n.all, span{start, end}) }

// close ends the innermost object; its names must differ.
func (n *names) close(data []byte) *ValueError {
	last := len(n.marks) - 1
	own := n.all[n.marks[last]:]
	n.all, n.marks = n.all[:n.marks[last]], n.marks[:last]
	if slices.ContainsFunc(own, func(a span) bool { return bytes.IndexByte(data[a.start:a.end], '\\') >= 0 }) {
		return distinctMeanings(data, own)
	}
	if len(own) > fewNames {
		slices.SortFunc(own, func(a, b span) int { return bytes.Compare(data[a.start:a.end], data[b.start:b.end]) })
		for i := 1; i < len(own); i++ {
			if a, b := own[i-1], own[i]; bytes.Equal(data[a.start:a.end], data[b.start:b.end]) {
				return twice(string(data[a.start:a.end]), max(a.start, b.start))
			}
		}
		return nil
	}
	for i, a := range own {
		for _, b := range own[:i] {
			if bytes.Equal(data[a.start:a.end], data[b.start:b.end]) {
				return twice(string(data[a.start:a.end]), a.start)
			}
		}
	}
	return nil
}

// distinctMeanings compares names as what they mean: "a" and "\u0061" are one.
func distinctMeanings(data []byte, spans []span) *ValueError {
	seen := make(map[string]bool, len(spans))
	for _, a := range spans {
		name := string(unquote(data[a.start:a.end]))
		if seen[name] {
			return twice(name, a.start)
		}
		seen[name] = true
	}
	return nil
}

func twice(name string, start int) *ValueError {
	return &ValueError{Path: byteAt(start - 1), Want: "each name of an object once", Got: place(name) + " twice"}
}
