// Package model holds the model-based tests of the whole stack: clients and
// services that know only each other's public face, over TLS and WebSockets in
// memory, in virtual time, while everything that can go wrong does.
//
// A ledger that stands outside of the system under test has a line for each
// message, each run of a handler, each callback. In the end all faults are
// turned off, everything must come to rest, and the ledger must add up.
package model
