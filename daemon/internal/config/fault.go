package config

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// An Error is a configuration that cannot be used: all that is wrong with it.
type Error struct{ Faults []*Fault }

// Error returns the faults in the order of the file, each as its own Error
// says, one below the other.
func (e *Error) Error() string {
	texts := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		texts[i] = f.Error()
	}
	return strings.Join(texts, "\n")
}

// A Fault is one thing that is wrong.
type Fault struct {
	// Where says where it was said: a file, "environment BUSD_…" or a flag;
	// empty if it was said nowhere.
	Where string
	// Line and Column begin at 1; 0 if the fault has no place in a file.
	// Width is how many characters are marked.
	Line, Column, Width int
	// Key is the key's path, such as "limits.connections"; empty for a file
	// that cannot be read.
	Key string
	// Reason says what is wrong.
	Reason string
	// Source is the line, without its end.
	Source string
}

// Error returns "file:line:column: key: reason", and below it the line with a
// mark under the place.
func (f *Fault) Error() string {
	var parts []string
	switch {
	case f.Where != "" && f.Line > 0:
		parts = append(parts, fmt.Sprintf("%s:%d:%d", f.Where, f.Line, f.Column))
	case f.Where != "":
		parts = append(parts, f.Where)
	}
	if f.Key != "" {
		parts = append(parts, f.Key)
	}
	s := strings.Join(append(parts, f.Reason), ": ")
	if f.Source == "" {
		return s
	}
	return s + "\n\t" + f.Source + "\n\t" + strings.Repeat(" ", max(0, f.Column-1)) + strings.Repeat("~", max(1, f.Width))
}

// position is a place in a file, counted from 1; the zero value is none.
type position struct{ line, column, width int }

// origin is where a value was said.
type origin struct {
	where string
	position
	source string
}

func (o origin) fault(key, format string, a ...any) *Fault {
	return &Fault{
		Where: o.where, Line: o.line, Column: o.column, Width: o.width,
		Key: key, Reason: fmt.Sprintf(format, a...), Source: o.source,
	}
}

// Bounds of what is reported.
const (
	maxFaults = 50
	maxSource = 160
)

// faults collects what is wrong.
type faults struct{ list []*Fault }

func (l *faults) add(f *Fault) {
	switch {
	case len(l.list) < maxFaults:
		l.list = append(l.list, f)
	case len(l.list) == maxFaults:
		l.list = append(l.list, &Fault{Reason: "there are more faults than these"})
	}
}

// err returns the faults in the order of the file, those without a place
// last, or nil.
func (l *faults) err() error {
	if len(l.list) == 0 {
		return nil
	}
	order := func(f *Fault) int {
		if f.Line == 0 {
			return math.MaxInt
		}
		return f.Line
	}
	slices.SortStableFunc(l.list, func(a, b *Fault) int {
		return cmp.Or(cmp.Compare(order(a), order(b)), cmp.Compare(a.Column, b.Column))
	})
	return &Error{l.list}
}
