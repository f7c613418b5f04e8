//go:build !linux

package proxy

// unsent is not known here: a cut by RST may destroy the last bytes before it.
func unsent(socket) int { return 0 }
