// Package port holds TCP ports on loopback for tests that stop a listener and
// start another one at the same address: between the two nobody else gets the
// port, and who dials it is refused, as by a machine whose program is down.
//
// It knows nothing of what listens.
package port
