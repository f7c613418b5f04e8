package gate

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

var errTooBig = errors.New("the client sent too much in its handshake")

// conn is a raw connection beneath TLS. It knows what is counted for it, and
// takes its turn among the handshakes.
type conn struct {
	net.Conn
	gate   *Gate
	remote netip.AddrPort

	// Owned by the handshake, which is over before anybody else reads.
	shaking bool
	hasTurn bool
	grown   bool // the stack
	left    int  // bytes that the client may still send
	expired <-chan time.Time

	closing sync.Once

	mu sync.Mutex
	// Guarded by mu. row is nil if no address counts the connection: not yet,
	// or no more.
	row    *address
	closed bool
}

var _ interface{ NetConn() net.Conn } = (*conn)(nil) // internal/ws asks for it

// NetConn returns the connection beneath: who reads looks there whether more has come.
func (c *conn) NetConn() net.Conn { return c.Conn }

// Read reads. In the handshake it waits for the client without a turn, and for
// a turn with what the client sent.
func (c *conn) Read(p []byte) (int, error) {
	if !c.shaking {
		return c.Conn.Read(p)
	}
	if c.left == 0 {
		return 0, errTooBig
	}
	c.giveTurn()
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	if err != nil {
		return n, err
	}
	if err := c.takeTurn(); err != nil {
		return n, err
	}
	if !c.grown {
		c.grown = true
		growStack()
	}
	return n, nil
}

// stackSize is less than the stack of a goroutine that computes a handshake, and
// more than half of it.
const stackSize = 10 << 10

// growStack makes the goroutine's stack as large as a handshake needs it, at once:
// growing it by and by copies what is on it each time. Measured: 30 µs of a handshake's
// 620. It is for who has a turn, so that a client that only connects has little.
//
//go:noinline
func growStack() {
	var frame [stackSize]byte
	touch(&frame)
}

//go:noinline
func touch(*[stackSize]byte) {}

func (c *conn) takeTurn() error {
	select {
	case c.gate.turns <- struct{}{}:
		c.hasTurn = true
		return nil
	case <-c.expired:
		return os.ErrDeadlineExceeded
	case <-c.gate.done:
		return net.ErrClosed
	}
}

func (c *conn) giveTurn() {
	if c.hasTurn {
		c.hasTurn = false
		<-c.gate.turns
	}
}

// Close closes the connection; from then on nothing counts it.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.closing.Do(func() {
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		c.vouched()
		c.gate.forget(c)
		c.gate.count.open.Add(-1)
		c.gate.total.Add(-1)
	})
	return err
}

// counted notes the address's row whose slot the connection holds. It reports
// false if the connection was closed meanwhile.
func (c *conn) counted(row *address) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.row = row
	c.gate.count.unauthenticated.Add(1)
	return true
}

// vouched takes the connection off its address: it is authenticated, or over.
func (c *conn) vouched() {
	c.mu.Lock()
	row := c.row
	c.row = nil
	c.mu.Unlock()
	if row != nil {
		c.gate.addresses.leave(row, true)
		c.gate.count.unauthenticated.Add(-1)
	}
}
