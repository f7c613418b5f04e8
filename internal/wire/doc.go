// Package wire is what travels: the frames of the protocol msgbus.v1, their
// msgpack encoding, and the check of a message's bytes against its contract.
// docs/protocol.md describes all of it for those who write it in another
// language.
//
// It knows no sockets, no time and no goroutines. No decoder of a library sees
// bytes that have not passed [Scan] or [Message.Check].
package wire
