package link

import (
	"slices"
	"sort"
	"time"

	"busd/internal/wire"
)

// CallsAtOnce bounds the calls of one stream that are handled at a time. Those
// beyond it wait in the order in which they came.
const CallsAtOnce = 64

// calls are the peer's, beside its messages: neither waits for the other. Their
// bytes are bounded by the credit that this end granted. They are guarded by the
// stream's mu.
type calls struct {
	waiting []*Incoming // from at on, in the order of their numbers
	at      int
	bytes   int // of their bodies
	running int
	// workers are the goroutines that handle them. One of them at most has not
	// taken its first call yet: so calls that do not wait for anything share few
	// goroutines, and one that waits holds up nobody.
	workers int
	coming  bool
}

// maxKeptCalls is for how many of those who wait an idle stream keeps its memory.
const maxKeptCalls = 64

// empty tells whether none waits.
func (q *calls) empty() bool { return q.at == len(q.waiting) }

// idle tells whether none waits and none is handled.
func (q *calls) idle() bool { return q.empty() && q.workers == 0 }

// memory returns how many bytes those that wait take.
func (q *calls) memory() int { return (len(q.waiting)-q.at)*(incomingSize+8) + q.bytes }

// push copies a frame: its bytes belong to the reader. Each call has bytes of its
// own, as it may run for long beside others.
func (q *calls) push(f *wire.Frame) {
	if len(q.waiting) == cap(q.waiting) && q.at > len(q.waiting)/2 {
		q.waiting = slices.Delete(q.waiting, 0, q.at)
		q.at = 0
	}
	in := &Incoming{
		Kind: f.Kind, N: f.N, Name: string(f.Name),
		Size: f.Size, Timeout: f.Timeout, Fault: f.Fault, Arrived: time.Now(), // its time runs while it waits
	}
	if in.Fault == nil {
		in.Body = slices.Clone(f.Body)
	}
	q.waiting = append(q.waiting, in)
	q.bytes += len(in.Body)
}

// pop takes the oldest that waits.
func (q *calls) pop() *Incoming {
	in := q.waiting[q.at]
	q.waiting[q.at] = nil
	q.bytes -= len(in.Body)
	if q.at++; q.empty() {
		q.waiting, q.at = q.waiting[:0], 0
		if cap(q.waiting) > maxKeptCalls {
			q.waiting = nil
		}
	}
	return in
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
	if !s.calls.coming && s.callableLocked() {
		s.calls.coming = true
		s.calls.workers++
		go s.work() // waited for as the deliverer is
	}
}

// callableLocked tells whether another call may be handled now. Where answers find
// no room none is: what those that run bring is enough to hold.
func (s *Stream) callableLocked() bool {
	return !s.held && !s.inbox.closed && !s.calls.empty() && s.calls.running < CallsAtOnce && len(s.waiters[urgent]) == 0
}

// work handles calls, one after the other, until none waits.
func (s *Stream) work() {
	s.mu.Lock()
	s.calls.coming = false
	defer func() { // a method may end this goroutine: another goes on
		s.calls.workers--
		s.callLocked()
		s.restLocked()
		s.mu.Unlock()
	}()
	for s.callableLocked() {
		in := s.calls.pop()
		s.callLocked() // this one may take its time
		s.callOneLocked(in)
	}
}

// callOneLocked handles one call.
func (s *Stream) callOneLocked(in *Incoming) {
	l := s.carrier
	l.running++
	s.calls.running++
	defer func() { // also if the method ends its goroutine
		s.calls.running--
		l.ranLocked()
	}()
	l.handleLocked(in)
}
