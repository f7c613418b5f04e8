package gate

import (
	"crypto/tls"
	"net/netip"
	"runtime"
	"time"
)

// Config are the bounds of a [Gate]. Zero means the default of each field;
// nothing can be unlimited.
type Config struct {
	// MaxConnections bounds the open connections, of all gates that share their
	// bounds together: 50,000, and never more than the limit of open files less 256. What comes beyond is
	// closed before TLS.
	MaxConnections int
	// PerAddress bounds the connections of one address (of one /64 for IPv6)
	// that are not authenticated: 64. A connection is authenticated when its
	// handshake ends with a verified client certificate; without one it counts
	// until it is closed. What comes beyond waits.
	PerAddress int
	// PerAddressRate bounds the new connections of one address in a second,
	// and how many may come at once: 200. What comes beyond waits.
	PerAddressRate int
	// PerAddressWaiting bounds how many connections of one address may wait:
	// 2,000, as many as PerAddressRate lets in within MaxWait, so that a crowd
	// behind one address that comes back together after a restart gets in. What
	// comes beyond is closed.
	PerAddressWaiting int
	// MaxWait is how long a connection waits for the bounds of its address, in
	// all, before it is closed: 10 s.
	MaxWait time.Duration
	// MaxHandshakes bounds the handshakes that compute at the same time: four
	// for each core. What comes beyond waits, within HandshakeTimeout.
	MaxHandshakes int
	// HandshakeTimeout bounds a TLS handshake: 10 s.
	HandshakeTimeout time.Duration
	// HandshakeBytes bounds what a client may send in its handshake, and so
	// the memory that it takes before anybody vouches for it: 48 KiB.
	HandshakeBytes int
	// Linger is how long a refused client may take to read why, before its
	// connection is closed: 1 s.
	Linger time.Duration
	// Share is a gate whose bounds of connections, of addresses and of handshakes
	// hold for this one too: what has come through either counts. The fields above
	// that say them are not looked at then. nil: the gate has bounds of its own.
	Share *Gate
	// Deny lists networks whose connections are closed when accepted.
	Deny []netip.Prefix
	// Vouched tells of a finished handshake whether a client certificate was
	// verified in it; nil: whether crypto/tls has done that.
	Vouched func(tls.ConnectionState) bool
	// Report, if not nil, is told of each connection refused and each
	// handshake failed, from many goroutines. It must return at once.
	Report func(Event)
}

// filesReserved are the open files left for everything but connections.
const filesReserved = 256

func (c Config) withDefaults() Config {
	if with := c.Share; with != nil {
		c.MaxConnections, c.MaxHandshakes = with.config.MaxConnections, with.config.MaxHandshakes
		c.PerAddress, c.PerAddressRate, c.PerAddressWaiting = with.config.PerAddress, with.config.PerAddressRate, with.config.PerAddressWaiting
		c.MaxWait = with.config.MaxWait
	}
	setDefault(&c.MaxConnections, 50_000)
	if files := openFiles(); files > 0 {
		c.MaxConnections = min(c.MaxConnections, max(files-filesReserved, files/2))
	}
	setDefault(&c.PerAddress, 64)
	setDefault(&c.PerAddressRate, 200)
	setDefault(&c.PerAddressWaiting, 2000)
	setDefault(&c.MaxWait, 10*time.Second)
	setDefault(&c.MaxHandshakes, 4*runtime.GOMAXPROCS(0))
	setDefault(&c.HandshakeTimeout, 10*time.Second)
	setDefault(&c.HandshakeBytes, 48<<10)
	setDefault(&c.Linger, time.Second)
	if c.Vouched == nil {
		c.Vouched = func(s tls.ConnectionState) bool { return len(s.VerifiedChains) > 0 }
	}
	return c
}

func setDefault[T int | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}
