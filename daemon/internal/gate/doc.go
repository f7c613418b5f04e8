// Package gate is the listener that stands before everything: it accepts TCP
// connections, bounds what nobody has vouched for yet, and hands out
// connections whose TLS handshake is done.
//
// It knows addresses, numbers and time. It knows no HTTP (but for one line to
// a client that speaks it in the clear), no services and no names of peers.
//
// A connection passes, in this order: the deny list, the bound of the process,
// the two bounds of its address (rate, and how many are not authenticated),
// then the handshake. Only what is computing holds one of the few turns of the
// handshakes; who is silent, or drips, waits in nobody's way and costs a
// goroutine and a socket until its time is over.
package gate
