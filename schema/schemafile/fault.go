package schemafile

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// A Fault is one thing that is wrong in a file.
type Fault struct {
	File string
	// Line and Column begin at 1; 0 if the fault has no place.
	Line, Column int
	// Reason says what is wrong.
	Reason string
	// Source is the line, without its end.
	Source string
}

// Error returns "file:line:column: reason", and below it the line with a mark
// under the place.
func (f *Fault) Error() string {
	if f.Line == 0 {
		return f.File + ": " + f.Reason
	}
	s := fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Reason)
	if f.Source == "" {
		return s
	}
	return s + "\n\t" + f.Source + "\n\t" + strings.Repeat(" ", max(0, f.Column-1)) + "^"
}

// position is a place in a file, counted from 1; the zero value is none.
type position struct{ line, column int }

// file is a file being read, and what is wrong with it.
type file struct {
	name   string
	data   []byte
	faults []*Fault
}

// Bounds of what is reported.
const (
	maxFaults = 50
	maxSource = 160
)

func (f *file) add(at position, format string, a ...any) {
	switch {
	case len(f.faults) > maxFaults:
		return
	case len(f.faults) == maxFaults:
		f.faults = append(f.faults, &Fault{File: f.name, Reason: "there are more faults than these"})
		return
	}
	fault := &Fault{File: f.name, Line: at.line, Column: at.column, Reason: fmt.Sprintf(format, a...)}
	fault.Source = f.source(at)
	f.faults = append(f.faults, fault)
}

// err returns the faults in the order of the file, or nil.
func (f *file) err() error {
	slices.SortStableFunc(f.faults, func(a, b *Fault) int {
		return cmp.Or(cmp.Compare(a.order(), b.order()), cmp.Compare(a.Column, b.Column))
	})
	joined := make([]error, len(f.faults))
	for i, fault := range f.faults {
		joined[i] = fault
	}
	return errors.Join(joined...)
}

// order puts what has no place last.
func (f *Fault) order() int {
	if f.Line == 0 {
		return math.MaxInt
	}
	return f.Line
}

// source returns a line as it can be shown above a mark: tabs as spaces, so
// that the mark stands where it should, and nothing if the place is too far to
// the right.
func (f *file) source(at position) string {
	if at.line < 1 || at.column < 1 || at.column > maxSource {
		return ""
	}
	rest := string(f.data)
	for range at.line - 1 {
		_, after, found := strings.Cut(rest, "\n")
		if !found {
			return ""
		}
		rest = after
	}
	line, _, _ := strings.Cut(rest, "\n")
	runes := []rune(strings.TrimRight(line, "\r \t"))
	if len(runes) > maxSource {
		runes = append(runes[:maxSource], '…')
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, string(runes))
}
