package demo

import (
	"context"
	"net"
	"sync/atomic"
)

// A line is a TCP connection that can be cut in the middle of what comes on it.
type line struct {
	net.Conn
	left atomic.Int64 // bytes until it is cut; 0: it is not to be
	cut  func()       // told of it, before
}

// Read reads, and cuts the line when its time has come: as it is, and nobody says
// goodbye. What has come last is lost, as what is on its way is.
func (l *line) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if left := l.left.Load(); left == 0 || l.left.Add(-int64(n)) > 0 {
		return n, err
	}
	l.left.Store(0)
	l.cut()
	if tcp, ok := l.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // the other end is not told in good order
	}
	_ = l.Close() // that is the point
	return 0, net.ErrClosed
}

// dial opens a line that can be cut.
func (a *agent) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l := &line{Conn: conn, cut: func() {
		a.wasCut.Store(true)
		a.say("%s: its TCP line is cut now, in the middle of %d messages and their answers", a.name, burstSize)
	}}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.line = l
	return l, nil
}

// cutWithin has the newest line cut when so many bytes more have come.
func (a *agent) cutWithin(bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.line.left.Store(bytes)
}
