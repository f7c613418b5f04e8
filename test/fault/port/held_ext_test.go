//go:build linux

package port_test

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"busd/test/fault/port"
)

// ipLocalPortRange is the socket option that says from which ports the kernel
// takes when any will do: the upper 16 bits are the last one, the lower the
// first.
const ipLocalPortRange = 51

// TestHeld: nobody is given the port who asks for any, here for any between the
// port and itself.
func TestHeld(t *testing.T) {
	t.Parallel()
	p, err := port.Hold()
	if err != nil {
		t.Fatal(err)
	}
	addr, err := net.ResolveTCPAddr("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if err := listenWithin(t, addr.Port, addr.Port); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("any port from %[1]d to %[1]d while it is held: got %[2]v, want in use", addr.Port, err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := listenWithin(t, addr.Port, addr.Port); err != nil {
		t.Errorf("any port from %[1]d to %[1]d, given back: %[2]v", addr.Port, err)
	}
}

// listenWithin listens, for a moment, on any port of a range.
func listenWithin(t *testing.T, first, last int) error {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var unset error
		err := raw.Control(func(fd uintptr) {
			unset = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, ipLocalPortRange, last<<16|first)
		})
		return errors.Join(err, unset)
	}}
	l, err := config.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if errors.Is(err, syscall.ENOPROTOOPT) {
		t.Skipf("this kernel has no option IP_LOCAL_PORT_RANGE: %v", err)
	}
	if err != nil {
		return err
	}
	return l.Close()
}
