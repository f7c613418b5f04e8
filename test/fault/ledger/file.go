package ledger

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"busd/bus"
)

// A Kind is what was written down.
type Kind string

// The kinds.
const (
	Handled   Kind = "up"      // an Up
	Asked     Kind = "ask"     // an Ask
	Connected Kind = "connect" // OnConnect; 1 if the session was resumed, else 0
	Dropped   Kind = "drop"    // OnDrop; its code
	Gone      Kind = "gone"    // OnGone; its code
)

// A Line is one thing that was written down.
type Line struct {
	Kind     Kind
	Identity bus.Identity
	N        int64
}

// A file is where a service writes.
type file struct{ *os.File }

func open(path string) (*file, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600) //nolint:gosec // a test says which
	if err != nil {
		return nil, err
	}
	return &file{f}, nil
}

// write panics if there is no writing: a ledger with a hole proves nothing.
func (f *file) write(l Line) {
	if _, err := fmt.Fprintf(f, "%s %s %d\n", l.Kind, l.Identity, l.N); err != nil {
		panic(err)
	}
}

// Read returns all lines of a file in order; of none yet, nothing.
func Read(path string) (lines []Line, err error) {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		var l Line
		if _, err := fmt.Fscanf(strings.NewReader(s.Text()), "%s %s %d", &l.Kind, &l.Identity, &l.N); err != nil {
			return nil, fmt.Errorf("%s: line %q: %w", path, s.Text(), err)
		}
		lines = append(lines, l)
	}
	return lines, s.Err()
}
