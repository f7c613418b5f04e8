package msgbus

import (
	"context"
	"fmt"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

// moveTime is how long a client may take, once it has begun, to move to another
// server: to connect there, to finish what it had begun here, and to go.
const moveTime = 10 * time.Second

// finishTime is kept of a drain's time for those that did not move.
const finishTime = 5 * time.Second

// moveCost is what a move costs, in welcomes: what was begun is finished beside
// it, and it must not take the whole of either server. Measured with 2,000 busy
// clients: at the full rate they all came to their end together.
const moveCost = 2

// Shutdown is [Server.Drain] that leaves it to the clients where to go.
func (s *Server) Shutdown(ctx context.Context) error { return s.Drain(ctx, "") }

// Drain stops gracefully: new connections get 503; those that have not said hello
// are cut; clients are asked to move to target, a URL, or if it is empty to where
// they like, and to begin with it spread over a time that grows with their number.
// What they had begun is finished: handled, answered, acknowledged. Those that do
// not know how to move handle what has arrived, and are dropped with
// [bus.CodeGoingAway], as are those that take too long; then the sessions of
// clients that are away end, too. It returns once every OnDrop and OnGone has. When
// ctx ends first, what is left is dropped at once, the contexts of handlers and of
// OnConnect end, and the error says how many connections that were; it does not
// wait for handlers that ignore their context.
func (s *Server) Drain(ctx context.Context, target string) error {
	s.gate.close()
	f := s.farewell(ctx, target)
	s.leaving.Store(f) // before those are listed who are here: who comes later finds it
	for _, c := range s.registry.all() {
		f.tell(c)
	}
	late := time.AfterFunc(time.Until(f.end), func() {
		for _, c := range s.registry.all() {
			c.link.Finish(f.bye)
		}
		for _, each := range s.registry.away() {
			each.stream.End(f.bye)
		}
	})
	defer late.Stop()
	if s.empty(ctx, f.bye) {
		return nil
	}
	left := s.gate.inside()
	s.halt() // ends what is being accepted, and what is accepted all the same
	for _, c := range s.registry.all() {
		c.link.Drop(f.bye)
	}
	for _, each := range s.registry.allSessions() {
		each.stream.End(f.bye)
	}
	if left == 0 {
		return bus.Wrap(bus.CodeDeadlineExceeded, context.Cause(ctx), "OnGone had not returned everywhere")
	}
	return bus.Wrap(bus.CodeDeadlineExceeded, context.Cause(ctx), fmt.Sprintf("%d connections had not finished", left))
}

// A farewell is what a server that stops tells its clients.
type farewell struct {
	bye    *bus.Error    // to those that do not move, or not in time
	end    time.Time     // of the time to move
	spread time.Duration // over which they begin to
	target string
}

func (s *Server) farewell(ctx context.Context, target string) *farewell {
	spread := s.gate.pace.spread(moveCost * s.gate.inside())
	bye := bus.Errorf(bus.CodeGoingAway, "the server is shutting down").
		WithRetry(bus.Retry{When: bus.RetryAfter, Spread: spread})
	patience := spread + moveTime
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		patience = max(0, min(patience, left-min(left/3, finishTime)))
		spread = min(spread, patience/2)
	}
	return &farewell{bye: bye, end: time.Now().Add(patience), spread: spread, target: target}
}

// tell asks a client to move, or takes leave of one that cannot.
func (f *farewell) tell(c *Conn) {
	left := time.Until(f.end).Milliseconds()
	if !c.moves || left <= 0 {
		c.link.Finish(f.bye)
		return
	}
	c.link.Goaway(&wire.GoawayFrame{DeadlineMS: left, SpreadMS: min(left, f.spread.Milliseconds()), Target: f.target})
}

// greetLate tells a client that is welcomed while the server stops: who told the
// others may have missed it.
func (s *Server) greetLate(c *Conn) {
	switch f := s.leaving.Load(); {
	case f == nil:
	case s.patience.Err() != nil:
		c.link.Drop(f.bye)
	default:
		f.tell(c)
	}
}

// empty waits until nobody is connected, ends the sessions of those who are away,
// and waits for their end. It returns false if ctx ends first.
func (s *Server) empty(ctx context.Context, bye *bus.Error) bool {
	select {
	case <-s.gate.empty:
	case <-ctx.Done():
		return false
	}
	for _, each := range s.registry.allSessions() {
		each.stream.End(bye)
	}
	over := make(chan struct{})
	go func() { // ends with the last OnGone
		s.registry.alive.Wait()
		close(over)
	}()
	select {
	case <-over:
		return true
	case <-ctx.Done():
		return false
	}
}
