//go:build unix

package gate

import (
	"math"
	"syscall"
)

// openFiles returns how many files the process may open; 0 is not known.
func openFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(uint64(limit.Cur), math.MaxInt32)) // signed on some systems, and bounded here
}
