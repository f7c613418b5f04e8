package link

import (
	"context"
	"slices"
	"sort"
	"sync/atomic"
	"time"

	"busd/bus"
	"busd/internal/bounded"
	"busd/internal/wire"
)

// CallsAtOnce bounds the calls of one stream that are handled at a time. Those
// beyond it wait in the order in which they came.
const CallsAtOnce = 64

// An incomingCall is a call on its way to the handler, and the context that it is
// handled with: it ends with the session's handlers, with the call's time, and when the
// caller takes it back.
type incomingCall struct {
	Incoming
	bounded.Context

	link *Link // that it is handled for; nil: it waits
	// fate is one of those below; who changes it settles the call.
	fate atomic.Int32
}

// The fates of a call.
const (
	undecided int32 = iota
	returned        // its handler has
	left            // its handler has not, and nobody waits for it any more
)

// calls are the peer's, beside its messages: neither waits for the other. Their
// bytes are bounded by the credit that this end granted. They are guarded by the
// stream's mu.
type calls struct {
	waiting []*incomingCall // from at on, in the order of their numbers
	at      int
	bytes   int // of their bodies
	running int
	// workers are the goroutines that handle them. One of them at most has not
	// taken its first call yet: so calls that do not wait for anything share few
	// goroutines, and one that waits holds up nobody.
	workers int
	coming  bool
	crew    crew
	bound   bool // to the end of the session's handlers
}

// maxKeptCalls is for how many of those who wait an idle stream keeps its memory.
const maxKeptCalls = 64

// empty tells whether none waits.
func (q *calls) empty() bool { return q.at == len(q.waiting) }

// idle tells whether none waits and none is handled.
func (q *calls) idle() bool { return q.empty() && q.workers == 0 }

// callSize is what a call that waits takes beside its body, in bytes.
const callSize = incomingSize + 144

// memory returns how many bytes those that wait take.
func (q *calls) memory() int { return (len(q.waiting)-q.at)*(callSize+8) + q.bytes }

// push copies a frame: its bytes belong to the reader. Each call has bytes of its
// own, as it may run for long beside others.
func (q *calls) push(f *wire.Frame) {
	if len(q.waiting) == cap(q.waiting) && q.at > len(q.waiting)/2 {
		q.waiting = slices.Delete(q.waiting, 0, q.at)
		q.at = 0
	}
	c := &incomingCall{Incoming: Incoming{
		Kind: f.Kind, N: f.N, Name: string(f.Name),
		Size: f.Size, Timeout: f.Timeout, Fault: f.Fault, Arrived: time.Now(), // its time runs while it waits
	}}
	if c.Fault == nil {
		c.Body = slices.Clone(f.Body)
	}
	q.crew.came(c.Arrived)
	q.waiting = append(q.waiting, c)
	q.bytes += len(c.Body)
}

// pop takes the oldest that waits.
func (q *calls) pop() *incomingCall {
	c := q.waiting[q.at]
	q.waiting[q.at] = nil
	q.bytes -= len(c.Body)
	if q.at++; q.empty() {
		q.waiting, q.at = q.waiting[:0], 0
		if cap(q.waiting) > maxKeptCalls {
			q.waiting = nil
		}
	}
	return c
}

// cancel marks a call that still waits.
func (q *calls) cancel(n uint64) {
	waiting := q.waiting[q.at:]
	i := sort.Search(len(waiting), func(i int) bool { return waiting[i].N >= n })
	if i < len(waiting) && waiting[i].N == n {
		waiting[i].canceled = true
	}
}

// clear throws away those that wait.
func (q *calls) clear() { q.waiting, q.at, q.bytes = nil, 0, 0 }

// callLocked sees to it that somebody comes for the calls that wait.
func (s *Stream) callLocked() {
	q := &s.calls
	if q.coming || !s.callableLocked() {
		return
	}
	q.coming = true
	q.workers++
	if !q.crew.call() {
		s.endCallsLocked()
		go s.work() // waited for as the deliverer is
	}
}

// callableLocked tells whether another call may be handled now. Where answers find
// no room none is: what those that run bring is enough to hold.
func (s *Stream) callableLocked() bool {
	return !s.held && !s.inbox.closed && !s.calls.empty() && s.calls.running < CallsAtOnce && len(s.waiters[urgent]) == 0
}

// work handles calls, one after the other, until none waits, and then, where they
// follow each other closely, waits for more.
func (s *Stream) work() {
	var c *incomingCall
	counted := true
	s.mu.Lock()
	defer func() { // a method may end this goroutine: another goes on
		if counted && (c == nil || c.fate.Load() != left) { // else nobody waits for it any more
			s.retireLocked()
		}
		s.mu.Unlock()
	}()
	for {
		s.calls.coming = false
		for s.callableLocked() {
			c = s.calls.pop()
			s.callLocked() // this one may take its time
			s.callOneLocked(c)
			if c.fate.Load() == left {
				return
			}
			c = nil
		}
		if s.held || !s.calls.crew.rests() {
			return
		}
		s.retireLocked()
		if counted = s.calls.crew.rest(&s.mu, s.lookAtCrew); !counted {
			return
		}
	}
}

// retireLocked is for when a worker is none any more.
func (s *Stream) retireLocked() {
	s.calls.workers--
	s.callLocked()
	s.restLocked()
}

// callOneLocked handles one call.
func (s *Stream) callOneLocked(c *incomingCall) {
	c.link = s.carrier
	c.link.running++
	s.calls.running++
	if s.requests == nil {
		s.requests = map[uint64]*Incoming{}
	}
	s.requests[c.N] = &c.Incoming
	deadline := time.Time{}
	if c.Timeout > 0 {
		deadline = c.Arrived.Add(c.Timeout)
	}
	c.Begin(s.handling, deadline, nil)
	c.withdraw = c.Cancel
	if c.canceled {
		c.Cancel(errCanceled)
	}
	s.mu.Unlock()
	err := c.Fault
	defer func() { // also if the method ends its goroutine
		if c.fate.CompareAndSwap(undecided, returned) {
			c.settle(err)
		} else {
			s.mu.Lock()
		}
	}()
	if err == nil {
		c.link.call(c, &c.Incoming, &err)
	}
}

// settle answers a call, if that has not been done yet, and ends its context. It leaves
// the stream locked.
func (c *incomingCall) settle(err *bus.Error) {
	defer c.settleLocking(err) // also if what reports it ends the goroutine
	if err != nil {
		c.link.cfg.Handler.Failed(&c.Incoming, err)
	}
}

func (c *incomingCall) settleLocking(err *bus.Error) {
	l := c.link
	s := l.stream
	c.Cancel(nil)
	s.mu.Lock()
	if s.claimAnswerLocked(c.N) {
		var frame []byte
		if err != nil {
			frame = wire.AppendError(nil, c.N, err)
		} else {
			frame, _ = wire.AppendAnswer(nil, c.N, nil, nil) // the empty answer has nothing to check
		}
		_ = s.putLocked(s.handling, urgent, frame, "", nil) // there is nobody to tell if it has ended meanwhile
	}
	delete(s.requests, c.N)
	s.grantBackLocked(c.Size)
	s.calls.running--
	l.ranLocked()
}

// Leave settles the call whose context ctx is while its handler goes on, as if that had
// returned err. Its place is free then, and nobody waits for it: what the handler
// returns counts for nothing. It does nothing once the handler has returned. It may be
// called from any goroutine.
func Leave(ctx context.Context, err error) {
	c, ok := ctx.(*incomingCall)
	if !ok || !c.fate.CompareAndSwap(undecided, left) {
		return
	}
	defer func() {
		s := c.link.stream
		s.retireLocked()
		s.mu.Unlock()
	}()
	c.settle(bus.AsError(err))
}

// endCallsLocked sees to it that the calls that are handled end with the session's
// handlers, and that nobody rests then.
func (s *Stream) endCallsLocked() {
	if s.calls.bound {
		return
	}
	s.calls.bound = true
	context.AfterFunc(s.handling, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.calls.crew.end()
		for _, in := range s.requests {
			if in.Kind == wire.Call {
				in.withdraw(context.Cause(s.handling))
			}
		}
	})
}
