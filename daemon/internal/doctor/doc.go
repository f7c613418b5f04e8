// Package doctor finds out why a connection to a service fails, or will fail,
// and says it in plain words: step by step, as a client goes, from the name to
// the first ping.
//
// It is a client, and knows nothing of how a server is built. It does no harm:
// it shows its certificate only to a server that proved who it is, says hello
// with an instance of its own, keeps no session, and does not say hello at all
// where that would end somebody's connection.
package doctor
