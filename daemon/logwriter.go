package daemon

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxUnwritten bounds the lines that wait to be written, in bytes.
	maxUnwritten = 1 << 20
	// flushTime is how long the last lines may take.
	flushTime = time.Second
)

// lineWriter takes lines without waiting, and writes them from a goroutine of
// its own: a log that nobody reads must not stop the bus. What finds no room is
// dropped and counted.
type lineWriter struct {
	// Fixed at creation.
	to    io.Writer
	wake  chan struct{} // holds one
	ended chan struct{} // closed by the goroutine

	dropped atomic.Uint64

	mu sync.Mutex
	// Guarded by mu.
	waiting, spare []byte
	closed         bool
}

func newLineWriter(to io.Writer) *lineWriter {
	w := &lineWriter{to: to, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go w.run() // ends after close, once what is left is written
	return w
}

// Write takes one line. It never fails.
func (w *lineWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	if w.closed || len(w.waiting)+len(line) > maxUnwritten {
		w.mu.Unlock()
		w.dropped.Add(1)
		return len(line), nil
	}
	w.waiting = append(w.waiting, line...)
	w.mu.Unlock()
	w.signal()
	return len(line), nil
}

// Sync does nothing: lines are on their way.
func (w *lineWriter) Sync() error { return nil }

func (w *lineWriter) signal() {
	select {
	case w.wake <- struct{}{}:
	default: // it will look anyway
	}
}

func (w *lineWriter) run() {
	defer close(w.ended)
	var told uint64
	for range w.wake {
		lines, closed := w.take()
		_, _ = w.to.Write(lines) // there is no other place to say that it failed
		if n := w.dropped.Load(); n > told {
			_, _ = fmt.Fprintf(w.to, "busd: %d log lines dropped: they were not read in time\n", n-told)
			told = n
		}
		if closed {
			return
		}
	}
}

// take empties what waits; the two buffers change places.
func (w *lineWriter) take() (lines []byte, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	lines = w.waiting
	w.waiting, w.spare = w.spare[:0], lines
	return lines, w.closed
}

// close takes no more lines, and waits until what is left is written, at most
// so long.
func (w *lineWriter) close(limit time.Duration) {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.signal()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-w.ended:
	case <-timer.C:
	}
}
