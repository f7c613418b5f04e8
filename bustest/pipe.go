package bustest

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// pipeBuffer is how much one direction of a pipe holds, like a small kernel
// buffer. A pipe without one, like net.Pipe, makes a TLS close wait for a
// reader that has gone.
const pipeBuffer = 64 << 10

// pipe makes two ends of a connection in memory.
func pipe(a, b net.Addr) (net.Conn, net.Conn) {
	ab, ba := newHalf(), newHalf()
	return &end{in: ba, out: ab, local: a, remote: b}, &end{in: ab, out: ba, local: b, remote: a}
}

// half is one direction.
type half struct {
	mu sync.Mutex
	// Guarded by mu.
	buf      []byte
	closed   bool // by the writer: the reader gets what is left
	broken   bool // by either: nothing more comes through
	changed  chan struct{}
	deadline [2]deadline // of the reader and of the writer
}

const (
	reading = 0
	writing = 1
)

type deadline struct {
	timer  *time.Timer
	passed bool
}

func newHalf() *half { return &half{changed: make(chan struct{})} }

func (h *half) wakeLocked() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// wait runs try under the lock until it is done.
func (h *half) wait(side int, try func() (done bool, err error)) error {
	for {
		h.mu.Lock()
		if h.deadline[side].passed {
			h.mu.Unlock()
			return os.ErrDeadlineExceeded
		}
		done, err := try()
		changed := h.changed
		h.mu.Unlock()
		if done {
			return err
		}
		<-changed
	}
}

func (h *half) read(p []byte) (n int, err error) {
	err = h.wait(reading, func() (bool, error) {
		switch {
		case h.broken:
			return true, net.ErrClosed
		case len(h.buf) > 0:
			n = copy(p, h.buf)
			h.buf = h.buf[:copy(h.buf, h.buf[n:])]
			h.wakeLocked()
			return true, nil
		case h.closed:
			return true, io.EOF
		}
		return len(p) == 0, nil
	})
	return n, err
}

func (h *half) write(p []byte) (n int, err error) {
	err = h.wait(writing, func() (bool, error) {
		if h.broken || h.closed {
			return true, io.ErrClosedPipe
		}
		if room := min(pipeBuffer-len(h.buf), len(p)-n); room > 0 {
			h.buf = append(h.buf, p[n:n+room]...)
			n += room
			h.wakeLocked()
		}
		return n == len(p), nil
	})
	return n, err
}

// end ends a direction: with what is left for its reader, or without.
func (h *half) end(broken bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.broken = h.broken || broken
	for i := range h.deadline {
		if h.deadline[i].timer != nil {
			h.deadline[i].timer.Stop()
		}
	}
	h.wakeLocked()
}

func (h *half) setDeadline(side int, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := &h.deadline[side]
	if d.timer != nil {
		d.timer.Stop()
	}
	*d = deadline{}
	if t.IsZero() || h.closed {
		return
	}
	if left := time.Until(t); left > 0 {
		var timer *time.Timer
		timer = time.AfterFunc(left, func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.deadline[side].timer == timer {
				h.deadline[side].passed = true
				h.wakeLocked()
			}
		})
		d.timer = timer
		return
	}
	d.passed = true
	h.wakeLocked()
}

// end is one end of a pipe.
type end struct {
	in, out       *half
	local, remote net.Addr
}

func (e *end) Read(p []byte) (int, error)  { return e.in.read(p) }
func (e *end) Write(p []byte) (int, error) { return e.out.write(p) }
func (e *end) LocalAddr() net.Addr         { return e.local }
func (e *end) RemoteAddr() net.Addr        { return e.remote }

// Close ends both directions; the other end can still read what was written.
func (e *end) Close() error {
	e.in.end(true)
	e.out.end(false)
	return nil
}

func (e *end) SetReadDeadline(t time.Time) error  { e.in.setDeadline(reading, t); return nil }
func (e *end) SetWriteDeadline(t time.Time) error { e.out.setDeadline(writing, t); return nil }

func (e *end) SetDeadline(t time.Time) error {
	e.in.setDeadline(reading, t)
	e.out.setDeadline(writing, t)
	return nil
}
