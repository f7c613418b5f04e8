package proxy

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// unsent is how many of the bytes that were written to a socket its receiver's
// kernel has not acknowledged; 0 if it is closed.
func unsent(s socket) (n int) {
	raw, err := s.(syscall.Conn).SyscallConn() // every socket of package net
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { // fails if it is closed
		n, err = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ)
	})
	if err != nil {
		return 0
	}
	return n
}
