//go:build linux

package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"sync"
)

// outputLimit is how much of a program's output is kept at least, in bytes: the
// end of it.
const outputLimit = 8 << 20

// An output is what a program has written.
type output struct {
	pipe *os.File // the reading end; owned by read

	mu sync.Mutex
	// Guarded by mu.
	text []byte
	from int           // where in text the next await begins
	over bool          // nothing will come any more
	more chan struct{} // closed, and made anew, when anything here changes
	hold chan struct{} // nil: it is read; else closed when it shall be again
}

// read collects until the program has closed its end.
func (o *output) read() {
	defer o.pipe.Close()
	buffer := make([]byte, 32<<10)
	for {
		o.mu.Lock()
		hold := o.hold
		o.mu.Unlock()
		if hold != nil {
			<-hold
			continue
		}
		n, err := o.pipe.Read(buffer)
		o.change(func() {
			o.text = append(o.text, buffer[:n]...)
			if drop := len(o.text) - outputLimit; drop > outputLimit { // seldom
				o.text = bytes.Clone(o.text[drop:])
				o.from = max(0, o.from-drop)
			}
			o.over = err != nil // the end; or the deadline after it
		})
		if err != nil {
			return
		}
	}
}

func (o *output) change(how func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	how()
	close(o.more)
	o.more = make(chan struct{})
}

// setHold stops or resumes reading.
func (o *output) setHold(hold bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case hold && o.hold == nil:
		o.hold = make(chan struct{})
	case !hold && o.hold != nil:
		close(o.hold)
		o.hold = nil
	}
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

// tail is the last of it, for messages.
func (o *output) tail() string {
	const most = 4000
	text := o.String()
	return text[max(0, len(text)-most):]
}

// await waits for a line that matches, after the last that did.
func (o *output) await(ctx context.Context, pattern *regexp.Regexp) ([]string, error) {
	for {
		match, more, over := o.match(pattern)
		switch {
		case match != nil:
			return match, nil
		case over:
			return nil, fmt.Errorf("no line %q came, and the output is over: %w", pattern, io.EOF)
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, fmt.Errorf("no line %q came: %w; the last were:\n%s", pattern, context.Cause(ctx), o.tail())
		}
	}
}

// match looks for it in the lines that are whole, and goes on behind them.
func (o *output) match(pattern *regexp.Regexp) (match []string, more <-chan struct{}, over bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.from < len(o.text) {
		line, _, whole := bytes.Cut(o.text[o.from:], []byte("\n"))
		if !whole && !o.over {
			break
		}
		o.from = min(len(o.text), o.from+len(line)+1)
		if found := pattern.FindSubmatch(line); found != nil {
			for _, group := range found {
				match = append(match, string(group))
			}
			return match, nil, false
		}
	}
	return nil, o.more, o.over
}

// newOutput returns what will be read, and the end to write to.
func newOutput() (*output, *os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	return &output{pipe: r, more: make(chan struct{})}, w, nil
}

// errEnded is why nothing can be done to a program.
var errEnded = errors.New("the program has ended")
