// Package link is one connection: it reads, queues, writes, keeps alive and
// ends, once. Server and client share it.
//
// It knows no WebSocket (a [Socket] is given to it), no services, and not what
// a handler does with a message.
//
// These goroutines serve a link, and an idle one has only the first:
//
//	reader     is the caller of Run; alone reads; never waits for a handler
//	writer     runs while something waits to be written; alone writes
//	deliverer  runs while something waits to be handled; calls the handler in order
//	workers    run while calls do; each handles one after the other
//
// Beside them a reporter runs while the program is told of messages of ours that
// failed at the peer.
package link
