// Package session keeps what two ends of busd must agree on about the frames
// between them: their numbers, what is not yet acknowledged, what was seen,
// and the credit each grants the other.
//
// A [Session] is pure: events in, effects out. It has no clock, no lock and no
// goroutine, and knows no sockets and no services.
package session
