//go:build unix

package mtls

import "syscall"

// noWait lets a named pipe be opened without somebody at its other end.
const noWait = syscall.O_NONBLOCK
