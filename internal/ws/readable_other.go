//go:build !unix || aix

package ws

// readable tells whether a socket has received anything, where that can be known.
func readable(uintptr) bool { return false }
