package proxy

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Time limits.
const (
	// finGrace is how long the two ends of a connection that was cut by FIN may
	// take to close theirs.
	finGrace = time.Second
	// takeTimeout is how long a cut by RST waits for the receiver to take the
	// bytes before it, since a reset destroys what is on its way.
	takeTimeout = 5 * time.Second
)

// A Conn is a connection from a client to the target. Its methods may be called
// from any goroutine, also after its end, when they do nothing.
type Conn struct {
	// Fixed at creation.
	proxy    *Proxy
	number   int
	random   *rand.Rand
	client   socket
	up, down *flow
	life     context.Context // ends with the first cut or reset
	end      context.CancelFunc
	done     chan struct{}

	mu sync.Mutex
	// Guarded by mu.
	state  state
	target socket // nil until it was dialed
}

// socket is what a *net.TCPConn has.
type socket interface {
	net.Conn
	CloseWrite() error
	SetLinger(sec int) error
}

// state is how far a connection has come to its end.
type state uint8

const (
	joined   state = iota // or about to be
	finished              // cut by FIN: what comes is thrown away
	dead                  // reset, or over
)

// Number counts a proxy's connections from 1, in the order in which they were
// accepted.
func (c *Conn) Number() int { return c.number }

// Rand returns random numbers that depend on the seed and the connection's
// number alone. They are for one goroutine at a time.
func (c *Conn) Rand() *rand.Rand { return c.random }

// Set changes how the connection carries bytes, from now on: what it holds
// already keeps its latency.
func (c *Conn) Set(d Direction, l Line) {
	for _, f := range c.flows(d) {
		f.change(func() { f.line = l })
	}
}

// Stall holds back what is not yet delivered and what comes: bytes, the end of
// the stream, a reset. The sender's kernel sees its bytes taken, up to the
// window of the [Line].
func (c *Conn) Stall(d Direction) {
	for _, f := range c.flows(d) {
		f.change(func() { f.stalled, f.told = true, f.stalled && f.told })
	}
}

// Resume ends a Stall.
func (c *Conn) Resume(d Direction) {
	for _, f := range c.flows(d) {
		f.change(func() { f.stalled, f.told = false, false })
	}
}

// CutAfter plans a [Conn.Cut], once n more bytes have been delivered in that
// direction: its receiver gets exactly these. With n = 0 it comes at once. What
// the other direction holds then is lost.
//
// Planned cuts and corruptions stand side by side; the first cut ends the
// connection.
func (c *Conn) CutAfter(d Direction, n int64, e End) {
	for _, f := range c.flows(d) {
		f.schedule(n, e)
	}
}

// Corrupt plans that a bit is flipped, at random, in the byte that comes after n
// more.
func (c *Conn) Corrupt(d Direction, n int64) {
	for _, f := range c.flows(d) {
		f.schedule(n, 0)
	}
}

// Calm takes back all faults that have not happened: the direction carries
// bytes at once, a stall ends, what was planned will not happen.
func (c *Conn) Calm(d Direction) {
	for _, f := range c.flows(d) {
		f.calm()
	}
}

// Cut cuts the connection; what it holds is lost. When it returns, both ends
// have been told, and it reports whether this call did it.
func (c *Conn) Cut(e End) bool { return c.cut(Event{Direction: Both, End: e}) }

// HalfClose ends the stream of one direction, or of both: its receiver gets a
// FIN behind what was delivered. What is held and what comes later is thrown
// away. The other direction lives on. It reports whether this call did it, for
// any of them.
func (c *Conn) HalfClose(d Direction) (was bool) {
	for _, f := range c.flows(d) {
		if !f.close() {
			continue
		}
		was = true
		c.proxy.record(Event{Conn: c.number, Kind: WasHalfClosed, Direction: f.direction, Offset: f.stats().Delivered})
		if dst := c.receiver(f); dst != nil { // if not, run does it
			_ = dst.CloseWrite() // the receiver may be gone
		}
	}
	return was
}

// Count is what a direction has carried; Both adds them up.
func (c *Conn) Count(d Direction) (sum Count) {
	for _, f := range c.flows(d) {
		sum.add(f.stats())
	}
	return sum
}

// Done is closed when the connection has ended and both its sockets are closed.
func (c *Conn) Done() <-chan struct{} { return c.done }

func (c *Conn) flows(d Direction) []*flow {
	var flows []*flow
	if d&Up != 0 {
		flows = append(flows, c.up)
	}
	if d&Down != 0 {
		flows = append(flows, c.down)
	}
	return flows
}

// receiver is nil while the target is not dialed.
func (c *Conn) receiver(f *flow) socket {
	if f == c.down {
		return c.client
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.target
}

// cut ends a connection that has not ended.
func (c *Conn) cut(e Event) bool {
	c.mu.Lock()
	if c.state != joined {
		c.mu.Unlock()
		return false
	}
	c.state = dead
	if e.End == FIN {
		c.state = finished
	}
	now, sockets := c.state, c.socketsLocked()
	c.mu.Unlock()

	e.Conn, e.Kind = c.number, WasCut
	c.proxy.record(e)
	c.up.close()
	c.down.close()
	c.end()
	for _, s := range sockets {
		now.tell(s)
	}
	return true
}

// reset ends the connection whatever its state is, without being a fault.
func (c *Conn) reset() {
	c.mu.Lock()
	sockets := c.socketsLocked()
	c.state = dead
	c.mu.Unlock()
	c.up.close()
	c.down.close()
	c.end()
	for _, s := range sockets {
		dead.tell(s)
	}
}

// collapse passes on a reset that cannot be passed on in order, since one end
// has been told before that the stream is over. A connection that was cut by
// FIN stays that.
func (c *Conn) collapse() {
	if c.isJoined() {
		c.reset()
	}
}

func (c *Conn) isJoined() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == joined
}

// tell tells one end that the connection has come to this state. The socket may
// be gone: then it knows.
func (s state) tell(end socket) {
	switch s {
	case joined:
	case finished:
		_ = end.CloseWrite()
		_ = end.SetReadDeadline(time.Now().Add(finGrace))
	case dead:
		_ = end.SetLinger(0) // makes it a RST
		_ = end.Close()
	}
}

func (c *Conn) socketsLocked() []socket {
	if c.target == nil {
		return []socket{c.client}
	}
	return []socket{c.client, c.target}
}

// run is the connection's life.
func (c *Conn) run() {
	defer close(c.done)
	defer c.proxy.forget(c)
	defer c.end()
	defer func() { _ = c.client.Close() }() // it may be closed already
	target, err := c.proxy.dial(c.life)
	if err != nil {
		c.unreachable(err)
		return
	}
	defer func() { _ = target.Close() }() // the same
	c.join(target)
	var work sync.WaitGroup
	work.Go(func() { c.collect(c.up, c.client) })
	work.Go(func() { c.collect(c.down, target) })
	work.Go(func() { c.deliver(c.up, target, c.down) })
	work.Go(func() { c.deliver(c.down, c.client, c.up) })
	work.Wait()
}

// unreachable ends a connection that has no target. If it was cut meanwhile,
// that is why.
func (c *Conn) unreachable(err error) {
	if c.isJoined() {
		c.proxy.record(Event{Conn: c.number, Kind: WasUnreachable, Direction: Both, Err: err})
		c.reset()
	}
	c.collect(c.up, c.client) // ends soon: the client is closed, or has a deadline
}

// join takes the target, and tells it if the connection was cut meanwhile.
func (c *Conn) join(target socket) {
	c.mu.Lock()
	c.target = target
	was := c.state
	c.mu.Unlock()
	was.tell(target)
}

// collect reads from the sender of f until its end.
func (c *Conn) collect(f *flow, src socket) {
	buffer := make([]byte, readSize)
	for {
		n := min(f.vacancy(), len(buffer))
		if n <= 0 {
			if !c.pause(f.room, -1) {
				return
			}
			continue
		}
		n, err := src.Read(buffer[:n])
		if n > 0 {
			f.push(buffer[:n], time.Now())
		}
		switch {
		case errors.Is(err, io.EOF):
			f.sourceIs(ended, time.Now())
			return
		case err != nil:
			if !f.sourceIs(reset, time.Now()) {
				c.collapse()
			}
			return
		}
	}
}

// deliver does what f decides until its end. back is the other direction.
func (c *Conn) deliver(f *flow, dst socket, back *flow) {
	for {
		s := f.next(time.Now())
		for _, e := range s.events {
			e.Conn, e.Direction = c.number, f.direction
			c.proxy.record(e)
		}
		switch s.verb {
		case wait:
			if !c.pause(f.wake, s.wait) {
				return
			}
		case write:
			if n, err := dst.Write(s.data); err != nil {
				f.unwritten(len(s.data) - n)
				f.close()
				if back.receiverGone() {
					c.collapse()
				}
				return
			}
		case cut:
			e := Event{Direction: f.direction, Offset: f.stats().Delivered, End: s.end}
			if s.end == RST {
				e.Undelivered = c.taken(dst)
			}
			c.cut(e)
			return
		case finish:
			_ = dst.CloseWrite() // the receiver may be gone, which the other direction finds out
			return
		case abort:
			c.reset()
			return
		case done:
			if c.isJoined() { // a HalfClose, which may have come before there was a target
				_ = dst.CloseWrite() // the same
			}
			return
		}
	}
}

// taken waits until the receiver's kernel has taken all that was written, and
// returns how much it has not.
func (c *Conn) taken(dst socket) int {
	// The kernel tells nobody when that is, so it is asked.
	ask := time.NewTicker(time.Millisecond)
	defer ask.Stop()
	for end := time.Now().Add(takeTimeout); ; {
		n := unsent(dst)
		if n == 0 || time.Now().After(end) {
			return n
		}
		select {
		case <-ask.C:
		case <-c.life.Done():
			return n
		}
	}
}

// pause waits for a change, or so long if that is not negative. It reports
// whether the connection lives.
func (c *Conn) pause(change <-chan struct{}, d time.Duration) bool {
	var timeout <-chan time.Time
	if d >= 0 {
		timeout = time.After(d)
	}
	select {
	case <-change:
	case <-timeout:
	case <-c.life.Done():
		return false
	}
	return true
}
