package mtls

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"busd/bus"
)

const (
	// lockWait bounds how long LockFile waits for another process.
	lockWait = 10 * time.Second
	// lockTry is how often it tries.
	lockTry = 5 * time.Millisecond
)

// LockFile waits, for at most 10 s, until nobody else has locked a file, and
// locks it until what it returns is closed, or the process ends. The file is
// made if it is not there, with its directories, for their owner alone, and is
// left there: who removes it parts those who wait from those who come later.
//
// The lock is advice: it holds among those who ask for it, be they of one
// process or several on one machine. On systems without flock(2), such as
// Windows, nothing is locked.
func LockFile(path string) (io.Closer, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, broken(plainCause(err), "directory "+filepath.Dir(path))
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|noWait, 0o600)
	if err != nil {
		return nil, bus.Wrap(bus.CodeFailedPrecondition, err, path+": "+plainCause(err).Error())
	}
	for end := time.Now().Add(lockWait); ; time.Sleep(lockTry) {
		locked, err := tryLock(f)
		switch {
		case err != nil:
			return nil, errors.Join(broken(err, path+": it cannot be locked"), f.Close())
		case locked:
			return f, nil
		case time.Now().After(end):
			return nil, errors.Join(broken(nil, fmt.Sprintf("%s: another process has locked it for %s", path, lockWait)), f.Close())
		}
	}
}
