// Package demo plays busd's main job in one process: a certificate authority
// made on the spot, a server with the ping-pong service on loopback, and agents
// that send it requests over TLS sockets as fast as they can. After a third of the
// time one agent's line is cut in the middle of many messages, and its session
// goes on; after two thirds the server is drained while a second one takes its
// address, and the agents move there. Every message is counted at both ends: none
// may be lost or doubled.
//
// It knows nothing of the command line; it writes where it is told.
package demo
