package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// filesReserved are the open files of a process that are no connections.
const filesReserved = 300

// fitting reduces the numbers of connections to what a process may have open,
// and says so.
func (s scale) fitting() (scale, string) {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil { // Go has raised it as far as it can
		return s, ""
	}
	most := int(min(limit.Cur, 1<<30)) - filesReserved
	fits, said := s, ""
	for _, n := range []*int{&fits.FanOut, &fits.Idle, &fits.Handshakes, &fits.Storm} {
		if *n > most {
			*n = most
			said = fmt.Sprintf("a process may have %d files open: no more than %d connections", limit.Cur, most)
		}
	}
	return fits, said
}
