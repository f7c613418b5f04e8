// Package keys has the names of log fields, so that one thing has one key
// everywhere.
package keys

import (
	"time"

	"go.uber.org/zap"

	"busd/bus"
)

// Service is a service's name.
func Service(name string) zap.Field { return zap.String("service", name) }

// TRID names a connection.
func TRID(t bus.TRID) zap.Field { return zap.String("trid", string(t)) }

// Identity names a client across its connections.
func Identity(i bus.Identity) zap.Field { return zap.String("identity", string(i)) }

// Peer is what a certificate proves.
func Peer(p bus.Peer) zap.Field { return zap.String("peer", p.Name) }

// Certificate is what a certificate is known by: its serial number and issuer, the
// beginning of its public key's SHA-256, and when it, or the first of its chain,
// expires. Of nobody it is nothing.
func Certificate(p bus.Peer) zap.Field {
	if p.Serial == "" {
		return zap.Skip()
	}
	return zap.Dict("certificate", zap.String("serial", p.Serial), zap.String("issuer", p.Issuer[:min(len(p.Issuer), maxIssuer)]),
		zap.String("key", p.KeyHash[:min(len(p.KeyHash), keyDigits)]), zap.String("not_after", p.NotAfter.UTC().Format(time.RFC3339)))
}

const (
	// keyDigits is how much is said of a public key's hash.
	keyDigits = 16
	// maxIssuer bounds what is said of an issuer, in bytes.
	maxIssuer = 256
)

// Remote is the other end's network address.
func Remote(address string) zap.Field { return zap.String("remote", address) }

// Message is a message's name.
func Message(name string) zap.Field { return zap.String("message", name) }

// Code is the code that err carries.
func Code(err error) zap.Field { return zap.Stringer("code", bus.CodeOf(err)) }

// Reason is err's text.
func Reason(err error) zap.Field { return zap.NamedError("reason", err) }

// Attempt counts from 1.
func Attempt(n int) zap.Field { return zap.Int("attempt", n) }

// Duration is how long something took or lasted.
func Duration(d time.Duration) zap.Field { return zap.Duration("duration", d) }

// Wait is how long until something happens.
func Wait(d time.Duration) zap.Field { return zap.Duration("wait", d) }

// In counts messages from the peer.
func In(n uint64) zap.Field { return zap.Uint64("in", n) }

// Out counts messages to the peer.
func Out(n uint64) zap.Field { return zap.Uint64("out", n) }

// Stack is where a handler panicked.
func Stack(stack []byte) zap.Field { return zap.ByteString("stack", stack) }
