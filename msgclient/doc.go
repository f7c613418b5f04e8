// Package msgclient is the calling end of busd: a [Client] is one identity
// that holds one connection to a service, and opens it again when it breaks.
//
// Either side sends at any time. What the service may send, and what the
// client may, is in the service's contract, which comes with the welcome:
// every message is checked against it at both ends. A client with Go types
// registers them with [On]; one without builds records from [Client.Contract].
//
// Methods of the service are called with [Client.Call].
//
// # Reconnecting
//
// [Client.Run] keeps the client connected. It waits between attempts for a
// random time (full jitter) below a bound that doubles from half a second to
// half a minute and is reset by a welcome; but connections that are dropped
// within half a minute of their welcome, one after the other, double it too, so
// that a message that always fails makes no storm. What the service said of when
// to come back goes before that. Of several URLs another is tried after each
// failure and each end of a connection, and one that refuses with Retry-After
// does not keep the client from the others. Certificates, keys and CAs are read
// anew for each attempt. It ends only when its context does, when the client is closed,
// or when the service refuses for good: another client took the identity, the
// certificate was revoked, or the refusal said never.
//
// # Sessions
//
// A cut is not noticed where it can be: the client comes back with its session,
// both ends send again what the other has not seen, and handlers see each message
// once and in order. Requests and acks that are waited for are waited for on; a
// handler that runs goes on. If the session cannot go on, [Client.Resumption] says
// why, and how much of what was sent is not known to have arrived. The client moves
// to another connection, make before break, when the service asks it to, when its
// certificate files change, and with [Client.Reconnect].
//
// # Handlers
//
// Handlers of one client run one at a time, in the order of sending, after
// OnConnect has returned. A handler may wait for a request that it makes on
// the same client. What fails follows the rule of package msgbus: a request
// gets the error as its answer; a one-way message that fails ends the
// connection, after an error frame.
//
// The package contains no server.
package msgclient
