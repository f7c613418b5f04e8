//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package mtls

import "os"

// tryLock locks nothing: there is no flock(2).
func tryLock(*os.File) (locked bool, err error) { return true, nil }
