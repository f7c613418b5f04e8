// Package bus is the vocabulary that both ends of a connection share: who is
// connected ([TRID], [Identity], [Peer]), and why something failed ([Code],
// [Error], [Retry]).
//
// It knows no messages, no sockets and no logs, and imports nothing of busd.
package bus
