//go:build unix && !aix

package ws

import "syscall"

// readable tells whether a socket has received anything that nobody has taken.
func readable(fd uintptr) bool {
	var one [1]byte
	n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err == nil && n > 0
}
