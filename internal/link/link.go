package link

import (
	"context"
	"errors"
	"sync"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

// closeLimit is how long the last frames, the drop and the goodbye may take
// before the socket is torn down.
const closeLimit = 5 * time.Second

// A Handler gives a link's messages their meaning.
type Handler interface {
	// Handle handles one message. The reader or the deliverer calls it, one message at a
	// time and in order, but for those that AtOnce lets run together. What in
	// holds is good until it returns. Calls it handles too, [CallsAtOnce] at a
	// time, beside messages and in no order.
	Handle(ctx context.Context, in *Incoming) error
	// AtOnce tells how many messages of this type may be handled at a time. It is
	// called with locks held, and must only look.
	AtOnce(m *wire.Message) int
	// Keeps tells whether the link goes on after a one-way message failed.
	Keeps(in *Incoming, err *bus.Error) bool
	// Failed reports a message or a call whose handler failed or panicked here,
	// or, where in is nil, a message that the peer could not take (err.Remote).
	Failed(in *Incoming, err *bus.Error)
	// Goaway is told that the peer asks this end to move to another link, or that
	// it begins nothing more on this one. It is called by the reader, and must not
	// wait.
	Goaway(g *wire.GoawayFrame)
}

// Config is what a link needs to know. All fields are required but where zero
// is said to mean something.
type Config struct {
	Socket  Socket
	Decoder wire.Decoder
	Handler Handler
	// Heard is called by the reader after the first frame; nil: by nobody.
	Heard func()
	// Over is called once the link has ended, as [StreamConfig.Over] is.
	Over func()
	// MessageLimit bounds a WebSocket message, which may hold several frames.
	MessageLimit int
	// Silence ends the link when nothing came for so long; 0: no such limit.
	Silence time.Duration
	// PingEvery is the pause between pings; 0: this end sends none.
	PingEvery time.Duration
	// PongWithin is how long a ping may stay unanswered.
	PongWithin time.Duration
}

// A Link is one connection, which may carry a stream. Its methods may be called
// concurrently, also after its end.
type Link struct {
	cfg    Config
	stream *Stream

	// conn is done when the link ends.
	conn    context.Context
	endConn context.CancelCauseFunc
	work    sync.WaitGroup // who writes
	ended   func(why error)

	way    way  // the reader's
	askers luck // of those who give way: theirs is asking

	// Guarded by the stream's mu.
	opened    bool
	writing   bool
	batch     int      // bytes of the next message; 0: as many as there may be
	crowd     bool     // several frames have come together, and what they bring about may go together
	pings     []string // to write
	pongs     []string
	cancels   []uint64
	goaway    []byte // to write: the frame
	ending    *ending
	finishing *bus.Error    // end with this once what has arrived is handled
	leaving   *bus.Error    // end with this once all that was begun is finished
	running   int           // handlers of what it carried
	passed    bool          // nobody waits for them any more
	woken     time.Duration // when a writer was last woken
	pen       *crew         // the writer, while it rests now and then; nil: it does not
	penLate   bool          // it is called to write late
	penOut    bool          // it was called, or is new, and may rest once it has written
	ackTimer  *time.Timer
	abort     *time.Timer
	alive     keepalive
	turn      int    // how often its reading was handed over
	rest      []byte // with what it goes on then
	failed    error
}

// ending is how a link ends; it is set once.
type ending struct {
	cause  *bus.Error // what is reported
	say    *bus.Error // what the peer is told; nil: nothing
	close  int        // WebSocket close code
	left   int        // bytes of what is queued that go before the goodbye
	said   bool
	remote bool // the peer ended it, in good order
}

// New makes a link over a socket that has been greeted. It starts nothing, does
// no I/O and carries nothing before [Link.Open].
func New(cfg Config, s *Stream) *Link {
	l := &Link{cfg: cfg, stream: s}
	l.conn, l.endConn = context.WithCancelCause(context.Background())
	cfg.Socket.Handle(l.onPing, l.onPong)
	return l
}

// A Start says how a link begins to carry its stream.
type Start struct {
	// Resume goes on with a session that another link carried.
	Resume bool
	// Seen is the last of our frames that the peer says it has, Offered the last
	// of its frames that it was told we have; of a resume only.
	Seen, Offered uint64
	// First makes what is written before everything else, a welcome, from the
	// number of the last frame that this end has seen; nil: nothing is.
	First func(seen uint64) []byte
}

// Open makes the link carry its stream, instead of the one that did. It fails,
// and nothing changes, if the session or the link has ended, or cannot be
// resumed from there.
func (l *Link) Open(start Start) *bus.Error {
	s := l.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case l.ending != nil:
		return l.ending.cause
	case s.over != nil:
		return s.over
	}
	if start.Resume {
		tags, err := s.session.Resume(start.Seen, start.Offered)
		if err != nil {
			return err
		}
		s.ackedTagsLocked(tags)
		l.cancels = s.session.Revoked()
		l.batch = firstBatch
		s.counts.Repeated += uint64(s.session.Repeated())
	}
	old := s.link
	s.link, s.carrier, s.held, s.closing = l, l, false, nil
	s.run.halted.Store(true) // what comes next is handled on this one
	if old != nil {
		old.cancels, old.goaway = nil, nil // these are the new one's to say
	}
	var first []byte
	if start.First != nil {
		first = start.First(s.session.Seen())
	}
	l.opened = true
	s.gaveBack = time.Now() // who waits for room has a peer again
	s.grewLocked()
	l.startKeepalive()
	l.wake(first)
	s.roomLocked()
	s.flushedLocked()
	s.deliverLocked()
	s.callLocked()
	return nil
}

// gone waits for the handlers.
func (l *Link) gone() {
	s := l.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range []*time.Timer{l.ackTimer, l.abort, l.alive.timer} {
		if t != nil {
			t.Stop()
		}
	}
	s.releaseLocked(l)
	l.cfg.Socket, l.abort = noSocket{}, nil // the session may keep this link for long, and the socket is large
	for !l.passed && (s.busyLocked(l) || (s.carrier == l && s.inbox.reports())) {
		s.quiet.Wait()
	}
	if s.over != nil && s.carrier == l {
		if s.inbox.limit != nil {
			s.inbox.limit.Stop()
		}
		s.endHandling(s.over)
	}
}

// busyLocked tells whether handlers run that began on the link, or, on the last
// link, on one before it; or whether those of a session that ended in good order
// go on with what it has brought.
func (s *Stream) busyLocked(l *Link) bool {
	if s.carrier != l {
		return l.running > 0
	}
	return s.handlesLocked() || (s.over != nil && !s.inbox.closed && !s.idleLocked())
}

// Pass makes [Link.Serve] not wait for handlers: what they handle is another link's
// business now.
func (l *Link) Pass() {
	l.stream.mu.Lock()
	defer l.stream.mu.Unlock()
	l.passed = true
	l.stream.quiet.Broadcast()
}

// abortLaterLocked bounds how long the end may take.
func (l *Link) abortLaterLocked() { l.abort = time.AfterFunc(closeLimit, l.cfg.Socket.Abort) }

// Context is done when the link has ended; its cause says why.
func (l *Link) Context() context.Context { return l.conn }

// Cause says why the link ended, or nil while it lives.
func (l *Link) Cause() error { return context.Cause(l.conn) }

// Drop ends the link and tells the peer why, after what is queued and has
// credit. It returns at once. Only the first end counts. Whether the session
// ends too is for [StreamConfig.Ends] to say; if it does, handlers' contexts
// end, and what was not handled is thrown away.
func (l *Link) Drop(why *bus.Error) {
	l.stream.mu.Lock()
	defer l.stream.mu.Unlock()
	l.dropLocked(why)
}

func (l *Link) dropLocked(why *bus.Error) {
	l.endLocked(ending{cause: why.Dropped(), say: why, close: why.Code.CloseCode()})
}

// Finish ends the link like Drop, but lets what has already arrived be handled
// first. Nothing that arrives later is taken.
func (l *Link) Finish(why *bus.Error) {
	l.stream.mu.Lock()
	defer l.stream.mu.Unlock()
	if l.finishing == nil {
		l.finishing = why
	}
	l.finishIfIdleLocked()
}

// finishIfIdleLocked ends a link that waited for its handlers, or for all that
// was begun on it.
func (l *Link) finishIfIdleLocked() {
	s := l.stream
	if l.ending != nil || !s.idleLocked() {
		return
	}
	if l.finishing != nil {
		l.dropLocked(l.finishing)
	} else if l.leaving != nil && s.link == l {
		l.leaveIfDoneLocked()
	}
}

// fail ends the link because of an error of reading or writing.
func (l *Link) fail(err error) {
	var e *bus.Error
	if !errors.As(err, &e) {
		e = bus.Wrap(bus.CodeUnavailable, err, "the connection broke")
	}
	end := ending{cause: e.Dropped(), close: closeCode(err)}
	switch {
	case e.Remote: // the peer said goodbye below the frames, and is told the same
		end.close = bus.CloseNormal
		end.remote = e.Code == bus.CodeGoingAway
	case e.Code == bus.CodeUnavailable:
		end.said = true
		l.cfg.Socket.Abort()
	default:
		end.say = e
	}
	l.stream.mu.Lock()
	defer l.stream.mu.Unlock()
	l.endLocked(end)
}

// endLocked is the one place where a link ends. What changes with it changes
// here: what it carried waits for the next link, or ends with it, and the
// goodbye is written.
func (l *Link) endLocked(e ending) {
	if l.ending != nil {
		return
	}
	s := l.stream
	l.ending = &e
	l.endConn(e.cause)
	if l.pen != nil {
		l.pen.end()
	}
	if l.cfg.Over != nil {
		go l.cfg.Over()
	}
	if s.link == l {
		s.wakeCorkedLocked()
		e.left = 2 * s.session.Queued() // their numbers come to them
		if s.hole || s.cfg.Ends == nil || s.cfg.Ends(e.cause) {
			s.endLocked(e.cause, e.remote)
		} else {
			s.held = true
			s.run.halted.Store(true)
			s.quiet.Broadcast()
		}
		if e.said {
			s.releaseLocked(l)
		}
	} else if !l.opened && s.carrier == nil { // refused before it carried anything
		s.endLocked(e.cause, false)
	}
	if l.opened {
		l.abortLaterLocked()
		l.wakeLocked()
	}
}

// releaseLocked lets go of the stream.
func (s *Stream) releaseLocked(l *Link) {
	if s.link == l {
		s.link = nil
		s.grewLocked()
	}
}
