package ws

import (
	"net"
	"sync/atomic"
	"syscall"
)

// More implements [link.Socket]. It asks the system. What TLS has taken already it does
// not know of: a record mostly, where the peer writes each message by itself. Where there
// is no connection of the system's, and elsewhere than on Linux, it says no.
func (s *Socket) More() bool { return s.line.peeks().more() }

// Buffers implements [link.Socket]: a socket of the system's does.
func (s *Socket) Buffers() bool { return s.line.peeks().raw != nil }

func (l *line) peeks() *peek {
	p := l.peek.Load()
	if p == nil {
		p = newPeek(l.Conn)
		l.peek.Store(p) // another one made meanwhile is as good
	}
	return p
}

// A peek looks at whether a connection has received anything.
type peek struct {
	raw  syscall.RawConn // nil: it cannot be known
	look func(fd uintptr)
	came atomic.Bool // who looks at the same time sees the same
}

// maxWraps is how many connections may be around the system's.
const maxWraps = 8

// newPeek makes one for the connection of the system's that is at the bottom of conn.
func newPeek(conn net.Conn) *peek {
	p := &peek{}
	for range maxWraps {
		if c, ok := conn.(syscall.Conn); ok {
			p.raw, _ = c.SyscallConn() // nil if it is closed
			break
		}
		c, ok := conn.(interface{ NetConn() net.Conn }) // as crypto/tls has it
		if !ok {
			break
		}
		conn = c.NetConn()
	}
	p.look = func(fd uintptr) { p.came.Store(readable(fd)) }
	return p
}

func (p *peek) more() bool {
	return p.raw != nil && p.raw.Control(p.look) == nil && p.came.Load()
}
