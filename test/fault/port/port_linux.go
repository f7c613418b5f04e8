package port

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
)

// A Port is a port of 127.0.0.1 that belongs to this process until Close. Its
// methods may be called from any goroutine.
type Port struct {
	addr string
	hold *os.File
}

// Hold takes a free port.
//
// The port is bound by a socket that never listens. Linux lets a listener have
// the same port if both sockets say SO_REUSEADDR, which Go's listeners do; it
// gives the port to nobody who asks for any.
func Hold() (*Port, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("hold a port: %w", os.NewSyscallError("socket", err))
	}
	hold := os.NewFile(uintptr(fd), "held port")
	n, err := bind(fd)
	if err != nil {
		_ = hold.Close() // it holds nothing
		return nil, fmt.Errorf("hold a port: %w", err)
	}
	return &Port{addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(n)), hold: hold}, nil
}

// bind returns the port that it got.
func bind(fd int) (int, error) {
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, os.NewSyscallError("setsockopt", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	return name.(*syscall.SockaddrInet4).Port, nil // as it was bound
}

// Addr is 127.0.0.1 and the port.
func (p *Port) Addr() string { return p.addr }

// Close gives the port back. Who listens there goes on.
func (p *Port) Close() error { return p.hold.Close() }
