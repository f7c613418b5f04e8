//go:build unix

package daemon

import (
	"syscall"
	"testing"
)

// mayOpen is how many files this process may open.
func mayOpen() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1000
	}
	return int(min(limit.Cur, 1<<20))
}

// The Go runtime raises the limit of open files as the program starts; the
// bound on connections relies on it.
func TestOpenFilesAreRaised(t *testing.T) {
	t.Parallel()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Skip(err)
	}
	if limit.Cur+1 < limit.Max {
		t.Errorf("soft limit %d, hard limit %d", limit.Cur, limit.Max)
	}
}
