//go:build !unix

package mtls

// noWait is for systems with named pipes among their files.
const noWait = 0
