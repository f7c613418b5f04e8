//go:build unix

package daemon

import (
	"os"
	"syscall"

	"go.uber.org/zap"
)

// noCore keeps messages, keys and tokens out of core dumps, which others may read. Who
// wants one to find a fault says so to Go's runtime, with GOTRACEBACK=crash.
func noCore(l *zap.Logger) {
	if os.Getenv("GOTRACEBACK") == "crash" {
		return
	}
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_CORE, &limit)
	if err == nil {
		limit.Cur = 0
		err = syscall.Setrlimit(syscall.RLIMIT_CORE, &limit)
	}
	if err != nil {
		l.Warn("core dumps cannot be turned off", zap.NamedError("reason", err))
	}
}
