package link

import (
	"context"
	"sync"
	"time"

	"busd/bus"
	"busd/internal/session"
	"busd/internal/wire"
)

// FinishLimit is how long the handlers of a session that its peer closed in
// good order may go on with what had already arrived.
const FinishLimit = 5 * time.Second

// StreamConfig is what a stream needs to know.
type StreamConfig struct {
	// Grant is the credit that this end grants the peer, Credit what the peer
	// grants this end, Buffer the bound on what is kept for the peer; in bytes.
	Grant, Credit, Buffer int
	// Ends tells whether the end of a connection is the end of the session too;
	// nil: each is. It is called with locks held, and must only look.
	Ends func(why *bus.Error) bool
	// Over is called once the session has ended, by a goroutine of its own; nil:
	// nobody wants to know. It is what context.AfterFunc would do with the stream's
	// context, for a tenth of the memory.
	Over func()
	// Grew is told, while nothing carries the stream, how many bytes more (or
	// less) it keeps; nil: nobody wants to know. It must not call the stream.
	Grew func(bytes int)
}

// EndsSession is the [StreamConfig.Ends] of sessions that outlive their
// connections: there is nothing to go on with, or nobody who may.
func EndsSession(why *bus.Error) bool {
	return endsSession(why.Code) || why.Retry.When == bus.RetryNever
}

// endsSession tells whether a code is of those that end a session with its
// connection.
func endsSession(c bus.Code) bool {
	switch c { //nolint:exhaustive // every other code leaves it
	case bus.CodeSlowConsumer, bus.CodeSuperseded, bus.CodeProtocolError, bus.CodeCertificateRevoked, bus.CodeGoingAway:
		return true
	}
	return false
}

// A Stream is a session at work: what is kept for the peer, who waits for an
// answer, and what the peer has sent, on its way to the handlers. It outlives
// the links that carry it, one at a time. Its methods may be called
// concurrently, also after its end.
type Stream struct {
	cfg StreamConfig

	// life is done when the session ends, handling when its handlers must.
	life        context.Context
	endLife     context.CancelCauseFunc
	handling    context.Context
	endHandling context.CancelCauseFunc

	mu sync.Mutex
	// Guarded by mu, as is what changes of its links.
	session  *session.Session
	link     *Link         // that carries it; nil: none does
	carrier  *Link         // the last that did: it handles what arrived
	held     bool          // what arrived waits for the next link
	over     *bus.Error    // why the session ended; nil: it lives
	closing  *bus.Error    // why nothing more is taken, while it finishes
	hole     bool          // something was not taken meanwhile that nobody was told of
	waiters  [2][]*waiter  // for room, by lane
	flushing chan struct{} // closed when there may be nothing left to write or to ack
	gaveBack time.Time     // when the peer last acknowledged anything
	tags     uint64
	waiting  map[uint64]chan Answer // by tag
	most     int                    // how many ever waited at once
	inbox    inbox
	inline   inline
	run      run
	calls    calls
	beside   map[*wire.Message]int // handlers that run beside the deliverer, by type
	requests map[uint64]*Incoming  // the peer's, calls too, while they are handled
	quiet    *sync.Cond            // a handler has returned, or what waits was thrown away
	kept     int                   // bytes that Grew was told of
	counts   Counts
}

// Counts are what a stream has counted since it began.
type Counts struct {
	// Dropped are messages of class volatile that found no room, Replaced those
	// of class latest whose place a newer one took.
	Dropped, Replaced uint64
	// Repeated are frames that were written again after a resume.
	Repeated uint64
}

// Add adds what another stream has counted.
func (c *Counts) Add(other Counts) {
	c.Dropped += other.Dropped
	c.Replaced += other.Replaced
	c.Repeated += other.Repeated
}

// NewStream makes a stream that nothing carries yet. Frames may be put at once.
func NewStream(cfg StreamConfig) *Stream {
	s := &Stream{cfg: cfg, session: session.New(cfg.Grant, cfg.Credit, cfg.Buffer)}
	s.quiet = sync.NewCond(&s.mu)
	s.life, s.endLife = context.WithCancelCause(context.Background())
	s.handling, s.endHandling = context.WithCancelCause(context.WithValue(context.Background(), handlerKey{}, s))
	return s
}

// Context is done when the session has ended; its cause says why and matches
// [bus.ErrDropped].
func (s *Stream) Context() context.Context { return s.life }

// Cause says why the session ended, or nil while it lives.
func (s *Stream) Cause() error { return context.Cause(s.life) }

// Seen returns the number of the last frame from the peer that was taken.
func (s *Stream) Seen() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session.Seen()
}

// Resumes tells whether the session can go on with a peer that says it has seen
// our frames up to seen.
func (s *Stream) Resumes(seen uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over == nil && s.session.Resumes(seen)
}

// Counts returns what was counted.
func (s *Stream) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// Memory returns about how many bytes are kept for the peer and for the
// handlers.
func (s *Stream) Memory() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.memoryLocked()
}

func (s *Stream) memoryLocked() int {
	return s.session.Memory() + s.inbox.memory() + s.calls.memory()
}

// grewLocked tells what a stream that nothing carries keeps.
func (s *Stream) grewLocked() {
	if s.cfg.Grew == nil {
		return
	}
	now := 0
	if s.link == nil && s.over == nil && s.held {
		now = s.memoryLocked()
	}
	if more := now - s.kept; more != 0 {
		s.kept = now
		s.cfg.Grew(more)
	}
}

// End ends the session, and the link that carries it: the peer is told why.
// Handlers' contexts end; what was not handled is thrown away. It returns at
// once. Only the first end counts.
func (s *Stream) End(why *bus.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(why.Dropped(), false)
	if s.link != nil {
		s.link.endLocked(ending{cause: why.Dropped(), say: why, close: why.Code.CloseCode()})
	}
}

// endLocked is the one place where a session ends. With grace, what has arrived
// is still handled for a while.
func (s *Stream) endLocked(why *bus.Error, grace bool) {
	if s.over != nil {
		return
	}
	s.over = why
	s.endLife(why)
	if s.cfg.Over != nil {
		go s.cfg.Over()
	}
	s.failWaitingLocked(why)
	if grace && !s.idleLocked() {
		s.held = false
		s.inbox.limit = time.AfterFunc(FinishLimit, func() { s.stopHandling(why) })
		s.deliverLocked()
		s.callLocked()
	} else {
		s.clearLocked()
		s.endHandling(why)
	}
	s.grewLocked()
	s.quiet.Broadcast()
}

// failWaitingLocked tells everybody who waits for an answer or an ack. What was
// not written is surely not known to the peer, and can be sent again: it must not
// go with what is still written before the goodbye.
func (s *Stream) failWaitingLocked(why *bus.Error) {
	unsent := map[uint64]bool{}
	if len(s.waiting) > 0 {
		s.session.EachUnsent(func(_ []byte, tag uint64) { unsent[tag] = true })
	}
	lost := bus.Wrap(bus.CodeSessionLost, why, "the session ended before the peer answered").Dropped()
	for tag, ch := range s.waiting {
		delete(s.waiting, tag)
		if unsent[tag] {
			s.session.Withdraw(tag)
			ch <- Answer{Err: why}
		} else {
			ch <- Answer{Err: lost}
		}
	}
}

// Quiet returns once the session has ended and the last of its handlers has
// returned, whichever link it began on.
func (s *Stream) Quiet() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.over == nil || s.handlesLocked() {
		s.quiet.Wait()
	}
}

// handlesLocked tells whether a handler runs.
func (s *Stream) handlesLocked() bool {
	return s.inbox.delivering || s.inbox.running > 0 || s.calls.workers > 0
}

// idleLocked tells whether nothing waits and nothing is handled.
func (s *Stream) idleLocked() bool { return s.inbox.idle() && s.calls.idle() }

// clearLocked throws away what waits, now and later.
func (s *Stream) clearLocked() {
	s.run.halted.Store(true)
	s.inbox.clear()
	s.calls.clear()
}

// stopHandling ends the handlers of a session that has ended.
func (s *Stream) stopHandling(why error) {
	s.mu.Lock()
	s.clearLocked()
	s.quiet.Broadcast()
	s.mu.Unlock()
	s.endHandling(why)
}

// Unsent returns copies of the data frames that were never written and that
// nobody waits for, in order, encoded without their numbers, and how many of
// those that were written the peer may or may not have. It is for a stream that
// has ended: another session may carry them, and this one writes none of them any
// more.
func (s *Stream) Unsent() (frames [][]byte, unknown int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session.Hold()
	unknown = s.session.Unacknowledged()
	s.session.EachUnsent(func(frame []byte, tag uint64) {
		switch {
		case tag != 0:
		case wire.Refers(frame): // to a frame of this session
			unknown++
		default:
			frames = append(frames, append([]byte(nil), frame...))
		}
	})
	return frames, unknown
}

// Pending tells whether anything was put that the peer has not acknowledged.
func (s *Stream) Pending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session.Unsent() || s.session.Unacked()
}

// Queued returns how much is kept for the peer, unsent or unacknowledged, in
// bytes.
func (s *Stream) Queued() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session.Queued()
}

// Carry puts data frames that an earlier stream of the same contract did not
// write, before anything else is put. They had room there.
func (s *Stream) Carry(frames [][]byte, c *wire.Contract) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, frame := range frames {
		m, ok := c.MessageBytes(wire.NameIn(frame))
		if !ok {
			continue // not of the same contract
		}
		if d := wire.DeliveryOf(m, frame); d.Key != "" {
			s.session.PutLatest(d.Key, frame)
		} else {
			s.session.Put(bulk, frame)
		}
	}
}
