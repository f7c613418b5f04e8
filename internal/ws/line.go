package ws

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// The pace that a peer must keep, once it has begun to send or we to write.
const (
	paceBytes = 16 << 10
	paceTime  = 10 * time.Second
)

// A line is a connection under a WebSocket that gives each read and write its
// time. Deadlines are set by the socket's reader and writer only, but for an
// interrupt's.
type line struct {
	net.Conn

	// Owned by the reader.
	silence  time.Duration // how long the next message may not begin; 0: for ever
	until    time.Time     // never past this; zero: no such limit
	begun    bool          // a message has begun
	progress int           // bytes of the message since the deadline was last moved
	due      time.Time     // when the bytes of a begun message must have come; zero: not known yet
	deadline time.Time     // what is set on the connection

	// writeDue is what is set on the connection, as time since started; 0: nothing. It
	// is the writer's, but for the goodbye that the library says by itself.
	writeDue atomic.Int64

	peek atomic.Pointer[peek] // nil: there was no need yet

	interrupted atomic.Bool // nothing more is to be waited for
}

// Read reads within the time that the peer has. Moving a deadline costs a lock
// in the runtime, so while nothing is begun it moves only when it is off by
// more than a sixteenth.
func (l *line) Read(p []byte) (int, error) {
	now := time.Now()
	switch {
	case l.begun:
		if l.due.IsZero() {
			l.due = now.Add(paceTime)
		}
		l.setRead(l.due)
	case l.silence > 0:
		if want := now.Add(l.silence); want.Sub(l.deadline) > l.silence/16 || l.deadline.After(want) {
			l.setRead(want)
		}
	default:
		l.setRead(time.Time{})
	}
	if l.interrupted.Load() { // and perhaps the deadline that said so is gone
		return 0, os.ErrDeadlineExceeded
	}
	n, err := l.Conn.Read(p)
	if n == 0 {
		return n, err
	}
	if !l.begun {
		l.begin()
	}
	return n, err
}

// setRead sets a read deadline, but never one past until.
func (l *line) setRead(t time.Time) {
	if !l.until.IsZero() && (t.IsZero() || t.After(l.until)) {
		t = l.until
	}
	if t.Equal(l.deadline) {
		return
	}
	l.deadline = t
	_ = l.Conn.SetReadDeadline(t) // fails only on a closed connection, and then so will the read
}

// interrupt ends a Read, and those to come; by anyone.
func (l *line) interrupt() {
	l.interrupted.Store(true)
	_ = l.Conn.SetReadDeadline(time.Unix(1, 0)) // as above
}

// resume takes an interrupt back; by the reader, once interrupt has returned.
func (l *line) resume() {
	l.interrupted.Store(false)
	l.deadline = time.Time{}
}

// begin starts the clock of a message. It runs from the next read on: most have come
// whole with the first.
func (l *line) begin() { l.begun, l.progress, l.due = true, 0, time.Time{} }

// advance takes note of n bytes of a message. What is around them does not
// count: fragments of nothing are no progress.
func (l *line) advance(n int) {
	if l.progress += n; l.progress >= paceBytes {
		l.progress, l.due = 0, time.Time{}
	}
}

// rest stops it: the message is whole.
func (l *line) rest() { l.begun = false }

// Write writes in pieces, each in its own time, so that a peer that takes
// nothing is found out after one piece however much there is to write. Deadlines
// move as those of reads do.
func (l *line) Write(p []byte) (n int, err error) {
	for n < len(p) {
		now := time.Now()
		want, set := now.Sub(started)+paceTime, time.Duration(l.writeDue.Load())
		if set == 0 || want-set > paceTime/16 {
			l.writeDue.Store(int64(want))
			_ = l.Conn.SetWriteDeadline(now.Add(paceTime)) // as above
		}
		piece, err := l.Conn.Write(p[n:min(n+paceBytes, len(p))])
		n += piece
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// started is a moment to count from.
var started = time.Now()

// SetReadDeadline and its like keep the library from moving what the line
// sets: it sets a deadline for each frame, which costs a tenth of the time.
func (l *line) SetReadDeadline(time.Time) error  { return nil }
func (l *line) SetWriteDeadline(time.Time) error { return nil }
func (l *line) SetDeadline(time.Time) error      { return nil }

// hijacker puts a line under the WebSocket that the library makes of a
// request.
type hijacker struct {
	http.ResponseWriter
	line *line
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.line = &line{Conn: conn}
	return h.line, rw, nil
}

// isTimeout tells whether a read or write ran out of its time. The library
// replaces what a read returns, so that errors.Is finds nothing.
func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
