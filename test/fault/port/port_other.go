//go:build !linux

package port

import (
	"fmt"
	"net"
)

// A Port is a port of 127.0.0.1 that was free when it was asked for; only on
// Linux it is held.
type Port struct{ addr string }

// Hold finds a free port.
func Hold() (*Port, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a port: %w", err)
	}
	return &Port{addr: l.Addr().String()}, l.Close()
}

// Addr is 127.0.0.1 and the port.
func (p *Port) Addr() string { return p.addr }

// Close does nothing.
func (p *Port) Close() error { return nil }
