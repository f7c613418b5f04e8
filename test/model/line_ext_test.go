package model_test

import (
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// A way is one direction of a line.
type way uint8

const (
	up   way = iota // from the client
	down            // to it
)

// A cut is how a line breaks.
type cut uint8

const (
	reset    cut = iota // both ends are told, and what the client has not read is gone
	shut                // the same, and the client reads the end
	halfOpen            // the client is told, the server is not
	mute                // the server is told, the client is not
	hole                // nobody is told
	cuts
)

// A line is the client's end of a connection, with whatever may happen to bytes
// on their way. What reaches the server does so by the connection below.
type line struct {
	net.Conn

	mu sync.Mutex
	// Guarded by mu.
	changed chan struct{} // closed when anything below changes, then replaced
	ways    [2]traffic
	broken  bool
	how     cut
	closed  bool
}

// traffic is what goes one way.
type traffic struct {
	piece    int   // so many bytes at a time; 0: as they come
	passed   int64 // bytes
	left     int64 // the line breaks after so many more; 0: never
	how      cut
	spoil    int64     // the byte that is changed; 0: none
	stalled  time.Time // nothing passes before
	deadline time.Time
}

func newLine(below net.Conn) *line { return &line{Conn: below, changed: make(chan struct{})} }

// cutAfter breaks the line after n more bytes one way.
func (l *line) cutAfter(w way, n int64, how cut) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ways[w].left, l.ways[w].how = n, how
}

// stall lets nothing pass one way for a while. A line on which a byte is spoilt is
// not stalled: TLS wants to say so while it writes, and waits with a mutex, for
// which virtual time does not pass.
func (l *line) stall(w way, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ways[up].spoil == 0 && l.ways[down].spoil == 0 {
		l.ways[w].stalled = time.Now().Add(d)
	}
}

// heal takes away what would still happen.
func (l *line) heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.ways {
		l.ways[w].left, l.ways[w].spoil = 0, 0
	}
}

// cut breaks the line now, unless it is broken.
func (l *line) cut(how cut) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cutLocked(how)
}

func (l *line) cutLocked(how cut) {
	if l.broken || l.closed {
		return
	}
	l.broken, l.how = true, how
	switch how {
	case reset, shut, mute:
		_ = l.Conn.Close()
	case halfOpen:
		_ = l.Conn.SetReadDeadline(time.Now()) // whoever reads looks again
	case hole:
	}
	l.wakeLocked()
}

// isBroken tells whether the line was cut.
func (l *line) isBroken() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken
}

func (l *line) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

func (l *line) wakeLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Close closes the client's end. A server that cannot hear it is not told.
func (l *line) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.wakeLocked()
	if !l.broken || (l.how != halfOpen && l.how != hole) {
		return l.Conn.Close()
	}
	return l.Conn.SetDeadline(time.Now()) // whoever reads or writes looks again
}

// goesLocked waits until a way is free, and returns how many of n bytes may pass
// now; vanish says that they get lost.
func (l *line) goesLocked(w way, n int) (pass int, vanish bool, err error) {
	for {
		t := &l.ways[w]
		wait := time.Until(t.stalled)
		switch {
		case l.closed:
			return 0, false, net.ErrClosed
		case l.broken && (l.how == reset || l.how == halfOpen):
			return 0, false, syscall.ECONNRESET
		case l.broken && l.how == shut && w == down:
			return 0, false, io.EOF
		case l.broken && l.how == shut:
			return 0, false, syscall.EPIPE
		case !t.deadline.IsZero() && !time.Now().Before(t.deadline):
			return 0, false, os.ErrDeadlineExceeded
		case l.broken && w == up:
			return n, true, nil
		case l.broken:
			wait = time.Hour // nothing comes any more
		case wait <= 0:
			if t.piece > 0 {
				n = min(n, t.piece)
			}
			if t.left > 0 {
				n = int(min(int64(n), t.left))
			}
			return n, false, nil
		}
		l.waitLocked(w, wait)
	}
}

// waitLocked waits for a change, at most until d is over or the deadline comes.
func (l *line) waitLocked(w way, d time.Duration) {
	if deadline := l.ways[w].deadline; !deadline.IsZero() {
		d = min(d, time.Until(deadline))
	}
	changed := l.changed
	l.mu.Unlock()
	timer := time.NewTimer(d)
	select {
	case <-changed:
	case <-timer.C:
	}
	timer.Stop()
	l.mu.Lock()
}

// spoilLocked changes one byte, where it is due.
func (l *line) spoilLocked(w way, p []byte) {
	t := &l.ways[w]
	if at := t.spoil - t.passed - 1; t.spoil > 0 && at >= 0 && at < int64(len(p)) {
		p[at] ^= 0x10
	}
}

// countLocked counts bytes, and breaks the line where it is due.
func (l *line) countLocked(w way, n int) {
	t := &l.ways[w]
	t.passed += int64(n)
	if t.left > 0 {
		if t.left -= int64(n); t.left <= 0 {
			t.left = 0
			l.cutLocked(t.how)
		}
	}
}

// Read reads what the server has sent.
func (l *line) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		pass, _, err := l.goesLocked(down, len(p))
		if err != nil {
			return 0, err
		}
		l.mu.Unlock()
		n, err := l.Conn.Read(p[:pass])
		l.mu.Lock()
		if n > 0 { // what came while the line was stalled or cut waits, or is gone
			if _, _, err := l.goesLocked(down, n); err != nil {
				return 0, err
			}
			l.spoilLocked(down, p[:n])
			l.countLocked(down, n)
			return n, nil
		}
		if err != nil && !l.broken && !l.closed {
			return 0, err
		}
	}
}

// Write writes to the server, in pieces.
func (l *line) Write(p []byte) (n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n < len(p) {
		pass, vanish, err := l.goesLocked(up, len(p)-n)
		if err != nil {
			return n, err
		}
		if vanish {
			return len(p), nil
		}
		piece := append([]byte(nil), p[n:n+pass]...)
		l.spoilLocked(up, piece)
		l.mu.Unlock()
		_, err = l.Conn.Write(piece)
		runtime.Gosched() // the server may read this much
		l.mu.Lock()
		if err != nil && !l.broken && !l.closed {
			return n, err
		}
		n += pass
		l.countLocked(up, pass)
	}
	return n, nil
}

// SetReadDeadline and its like are for both the line and what is below.
func (l *line) SetReadDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ways[down].deadline = t
	l.wakeLocked()
	if l.closed || (l.broken && l.how == halfOpen) {
		return nil // who reads has been told to look again
	}
	return l.Conn.SetReadDeadline(t)
}

// SetWriteDeadline is as SetReadDeadline.
func (l *line) SetWriteDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ways[up].deadline = t
	l.wakeLocked()
	if l.closed {
		return nil
	}
	return l.Conn.SetWriteDeadline(t)
}

// SetDeadline is both.
func (l *line) SetDeadline(t time.Time) error {
	_ = l.SetReadDeadline(t) // as SetWriteDeadline
	return l.SetWriteDeadline(t)
}
