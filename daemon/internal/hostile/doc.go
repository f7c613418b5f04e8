// Package hostile holds tests only: a client of bytes against a whole server
// on a loopback port, gate, HTTP and bus with real certificates.
//
// Each case says how far an honest client goes first, what is sent then, how
// it must end and within what time. Beside every case an innocent client goes
// on pinging: it must be answered within a second, and never be dropped.
package hostile
