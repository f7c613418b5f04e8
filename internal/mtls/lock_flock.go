//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package mtls

import (
	"errors"
	"os"
	"syscall"
)

// tryLock locks a file unless somebody else has; it does not wait.
func tryLock(f *os.File) (locked bool, err error) {
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		default:
			return err == nil, err
		}
	}
}
