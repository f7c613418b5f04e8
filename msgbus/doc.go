// Package msgbus is the serving end of busd: a [Server] is an http.Handler
// that holds the stable connections of its services.
//
// A [Service] declares its contract, what happens when a client connects and
// when it is dropped, and a handler for each message that clients send. From
// welcome to drop each client is a [Conn]; any code of the service may send to
// it at any time.
//
// # Order
//
// OnConnect returns before the first message of its connection is handled.
// Messages of one connection are handled one at a time, in the order of
// sending, unless their handler says [Handler.AtOnce]; connections run
// concurrently. OnDrop comes once, after the last handler has returned.
//
// # Methods
//
// A service may answer calls too: its [Methods] get those that come over
// connections, and what is POSTed to its path. Calls run beside each other, at
// most [CallsAtOnce] of a connection, and beside messages; they have no order. To
// the caller a call is what a request is: it is answered once, also over a cut.
//
// # Access
//
// Who may connect, and who may send which message and call which method, is said by
// the rules of the service and of [Config.Access]. Each connection is decided anew,
// a resume too, and so is each message and call: a policy that is swapped counts at
// once. permission_denied ends no connection, but for those that
// [Server.AccessChanged] finds may not be any more.
//
// # Sessions
//
// A client that loses its line comes back within the service's window and goes on
// with its session: what either side has sent is delivered once and in order, a
// handler that runs keeps its context, requests are waited for on. [Conn.Resumed]
// tells; state and groups are the session's. When it ends for good, OnGone runs
// once, after the last OnDrop.
//
// # Errors
//
// What answers a request is an answer, and the connection lives. What fails in
// a one-way message has nobody to tell: the client gets an error frame with
// code, reason and path, and is then dropped, to come back after a pause and go on
// with its session, unless the handler says [Handler.KeepOnError] or the service does.
//
// msgbus does not listen, and does not know how a method is called (it asks
// [Methods]), tasks, other nodes (it asks a [Relay]) or the client.
package msgbus
