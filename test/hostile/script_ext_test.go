//go:build linux

package hostile_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A script is one case: what is tried, and how it must end.
type script struct {
	file   string // and line
	attack string // the row of the list of attacks
	name   string
	steps  []step
	lets   scope // of its file
	crowd  int   // how many play it at once
	alone  bool  // it is played when the others are over
}

// A step is one line of it.
type step struct {
	line  int
	verb  string
	words []string // of at
	count int      // of drip, record and as
	times int      // of record
	time  time.Duration
	bytes expression
	want  []string // of expect: either of these
}

// defaultWithin is the time of an end that says none: twice what the server waits
// for, and a goodbye.
const defaultWithin = 8 * time.Second

// readScripts reads all files of testdata.
func readScripts(dir string) ([]*script, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.script"))
	if err != nil {
		return nil, err
	}
	var all []*script
	for _, path := range files {
		some, err := readScript(path)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

func readScript(path string) ([]*script, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	file := &file{name: filepath.Base(path), lets: scope{}}
	lines := bufio.NewScanner(strings.NewReader(string(text)))
	for n := 1; lines.Scan(); n++ {
		line, begin := strings.TrimSpace(lines.Text()), n
		for strings.HasSuffix(line, `\`) && lines.Scan() {
			n++
			line = strings.TrimSuffix(line, `\`) + strings.TrimSpace(lines.Text())
		}
		if line == "" || line[0] == '#' {
			continue
		}
		if err := file.line(begin, line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file.name, begin, err)
		}
	}
	return file.scripts, nil
}

// A file is one that is being read.
type file struct {
	name    string
	lets    scope
	scripts []*script
}

func (f *file) line(n int, line string) error {
	verb, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	switch verb {
	case "let":
		name, text, found := strings.Cut(rest, "=")
		if !found {
			return fmt.Errorf("want a name, = and bytes: %q", rest)
		}
		e, err := parseExpression(text)
		f.lets[strings.TrimSpace(name)] = e
		return err
	case "case":
		attack, name, found := strings.Cut(rest, " ")
		if !found || attack[0] != 'T' {
			return fmt.Errorf("want the number of an attack and a name: %q", rest)
		}
		f.scripts = append(f.scripts, &script{file: fmt.Sprintf("%s:%d", f.name, n), attack: attack, name: strings.TrimSpace(name), lets: f.lets, crowd: 1})
		return nil
	}
	if len(f.scripts) == 0 {
		return fmt.Errorf("%q before the first case", verb)
	}
	now := f.scripts[len(f.scripts)-1]
	switch verb {
	case "crowd":
		var err error
		now.crowd, err = strconv.Atoi(rest)
		return err
	case "alone":
		now.alone = true
		return nil
	}
	s, err := parseStep(n, verb, rest)
	now.steps = append(now.steps, s)
	return err
}

func parseStep(n int, verb, rest string) (s step, err error) {
	s = step{line: n, verb: verb}
	first, other, _ := strings.Cut(rest, " ")
	switch verb {
	case "at":
		s.words = strings.Fields(rest)
		if len(s.words) == 0 || !slices.Contains(points, s.words[0]) {
			err = fmt.Errorf("there is no point %q", rest)
		}
	case "send", "raw":
		s.bytes, err = parseExpression(rest)
	case "record":
		s.times = 1
		if times, isTimes := strings.CutSuffix(first, "x"); isTimes {
			if s.times, err = strconv.Atoi(times); err != nil {
				return s, err
			}
			first, other, _ = strings.Cut(other, " ")
		}
		if s.count, err = strconv.Atoi(first); err == nil {
			s.bytes, err = parseExpression(other)
		}
	case "as":
		s.count, err = strconv.Atoi(rest)
	case "drip":
		pause, text, _ := strings.Cut(other, " ")
		if s.count, err = strconv.Atoi(first); err != nil {
			return s, err
		}
		if s.time, err = time.ParseDuration(pause); err == nil {
			s.bytes, err = parseExpression(text)
		}
	case "flood":
		if d, notOne := time.ParseDuration(first); notOne == nil {
			s.time, rest = d, other
		}
		s.bytes, err = parseExpression(rest)
	case "wait":
		s.time, err = time.ParseDuration(rest)
	case "half", "cut", "reset":
	case "expect":
		s.time = defaultWithin
		ends, within, found := strings.Cut(rest, " within ")
		if found {
			s.time, err = time.ParseDuration(within)
		}
		for end := range strings.SplitSeq(ends, "|") {
			s.want = append(s.want, strings.TrimSpace(end))
		}
	default:
		err = fmt.Errorf("there is no step %q", verb)
	}
	return s, err
}
