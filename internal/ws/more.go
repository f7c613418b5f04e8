package ws

import (
	"net"
	"sync/atomic"
	"syscall"
)

// More implements [link.Socket]. It asks the system what TLS has not taken yet; where
// there is no connection of the system's it says no.
func (s *Socket) More() bool {
	p := s.line.peek.Load()
	if p == nil {
		p = newPeek(s.line.Conn)
		s.line.peek.Store(p)
	}
	return p.more()
}

// A peek looks at whether a connection has received anything.
type peek struct {
	raw  syscall.RawConn // nil: it cannot be known
	look func(fd uintptr)
	came atomic.Bool // who looks at the same time sees the same
}

// newPeek makes one for the connection of the system's that is at the bottom of conn.
func newPeek(conn net.Conn) *peek {
	p := &peek{}
	for conn != nil {
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
