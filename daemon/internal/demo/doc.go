// Package demo plays busd's main job in one process: a certificate authority
// made on the spot, a server with the ping-pong service on loopback, and agents
// that send it requests over TLS sockets as fast as they can. Half-way one
// agent's line is cut, so that its reconnect is seen.
//
// It knows nothing of the command line; it writes where it is told.
package demo
