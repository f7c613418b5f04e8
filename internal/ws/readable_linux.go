package ws

import "golang.org/x/sys/unix"

// readable tells whether a socket has received anything that nobody has taken. To
// receive with MSG_PEEK would take an error of the line away from who reads.
func readable(fd uintptr) bool {
	n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
	return err == nil && n > 0
}
