package link

import (
	"context"
	"errors"
	"sync"
	"time"

	"busd/bus"
	"busd/internal/session"
	"busd/internal/wire"
)

// Limits of a link's end.
const (
	// FinishLimit is how long the handlers of a connection that its peer
	// closed in good order may go on with what had already arrived.
	FinishLimit = 5 * time.Second
	// closeLimit is how long the last frames, the drop and the goodbye may
	// take before the socket is torn down.
	closeLimit = 5 * time.Second
	// ackDelay is how long an ack may wait for company.
	ackDelay = time.Second
)

// A Handler gives a link's messages their meaning.
type Handler interface {
	// Handle handles one message. The deliverer calls it, one message at a
	// time and in order, but for those that AtOnce lets run together. What in
	// holds is good until it returns.
	Handle(ctx context.Context, in *Incoming) error
	// AtOnce tells how many messages of this type may be handled at a time.
	AtOnce(m *wire.Message) int
	// Keeps tells whether the link goes on after a one-way message failed.
	Keeps(in *Incoming, err *bus.Error) bool
	// Failed reports a message that the peer could not take (err.Remote), or
	// whose handler failed or panicked here.
	Failed(message string, err *bus.Error)
}

// Config is what a link needs to know. All fields are required but where zero
// is said to mean something.
type Config struct {
	Socket  Socket
	Session *session.Session
	Decoder wire.Decoder
	Handler Handler
	// MessageLimit bounds a WebSocket message, which may hold several frames.
	MessageLimit int
	// Silence ends the link when nothing came for so long; 0: no such limit.
	Silence time.Duration
	// PingEvery is the pause between pings; 0: this end sends none.
	PingEvery time.Duration
	// PongWithin is how long a ping may stay unanswered.
	PongWithin time.Duration
}

// A Link is one connection. Its methods may be called concurrently, also
// after its end.
type Link struct {
	cfg Config

	// conn is done when the link ends; handling when its handlers must.
	conn        context.Context
	endConn     context.CancelCauseFunc
	handling    context.Context
	endHandling context.CancelCauseFunc
	work        sync.WaitGroup // writer, deliverer, concurrent handlers

	// Owned by the deliverer. It outlives each of them, as handlers do that run
	// beside one.
	lanes lanes

	mu sync.Mutex
	// Guarded by mu.
	session   *session.Session
	opened    bool
	writing   bool
	pings     []string // to write
	pongs     []string
	cancels   []uint64
	ending    *ending
	finishing *bus.Error    // end with this once what has arrived is handled
	waiters   [2][]*waiter  // for room, by lane
	flushing  chan struct{} // closed when there may be nothing left to write or to ack
	gaveBack  time.Time     // when the peer last acknowledged anything
	tags      uint64
	waiting   map[uint64]chan Answer // by tag
	most      int                    // how many ever waited at once
	inbox     inbox
	requests  map[uint64]*request // the peer's, while they are handled
	ackTimer  *time.Timer
	abort     *time.Timer
	alive     keepalive
}

// ending is how a link ends; it is set once.
type ending struct {
	cause  *bus.Error // what is reported
	say    *bus.Error // what the peer is told; nil: nothing
	close  int        // WebSocket close code
	said   bool
	remote bool // the peer ended it, in good order
}

// New makes a link over a socket that has been greeted. It starts nothing and
// does no I/O: frames may be put at once, and are written once Run opens it.
func New(cfg Config) *Link {
	l := &Link{cfg: cfg, session: cfg.Session}
	l.conn, l.endConn = context.WithCancelCause(context.Background())
	l.handling, l.endHandling = context.WithCancelCause(context.WithValue(context.Background(), handlerKey{}, l))
	cfg.Socket.Handle(l.onPing, l.onPong)
	return l
}

// Run opens the link, reads until it ends, and returns why, once all of it has
// ended: the writer has written the last frame, the last handler has
// returned. first is written before anything else (a welcome), head is what
// has been read already; both may be nil. The error matches [bus.ErrDropped].
func (l *Link) Run(first, head []byte) error {
	l.open(first)
	l.cfg.Socket.Limit(l.cfg.MessageLimit, l.cfg.Silence, time.Time{})
	l.read(head)
	l.endHandlersLater()
	l.work.Wait()
	l.cfg.Socket.Abort()
	l.stopTimers()
	l.endHandling(l.Cause())
	return l.Cause()
}

// open lets the writer run.
func (l *Link) open(first []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opened = true
	if l.ending != nil {
		l.abortLaterLocked()
	}
	l.startKeepalive()
	l.wake(first)
}

// abortLaterLocked bounds how long the end may take.
func (l *Link) abortLaterLocked() { l.abort = time.AfterFunc(closeLimit, l.cfg.Socket.Abort) }

// Context is done when the link has ended; its cause says why.
func (l *Link) Context() context.Context { return l.conn }

// Cause says why the link ended, or nil while it lives.
func (l *Link) Cause() error { return context.Cause(l.conn) }

// Drop ends the link and tells the peer why, after what is queued and has
// credit. Handlers' contexts end; what was not handled is thrown away. It
// returns at once. Only the first end counts.
func (l *Link) Drop(why *bus.Error) { l.drop(why, why.Code.CloseCode()) }

func (l *Link) drop(why *bus.Error, closeCode int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endLocked(ending{cause: why.Dropped(), say: why, close: closeCode})
}

// Finish ends the link like Drop, but lets what has already arrived be handled
// first. Nothing that arrives later is taken.
func (l *Link) Finish(why *bus.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.finishing == nil {
		l.finishing = why
	}
	l.finishIfIdleLocked()
}

func (l *Link) finishIfIdleLocked() {
	if l.finishing != nil && l.inbox.idle() {
		l.endLocked(ending{cause: l.finishing.Dropped(), say: l.finishing, close: l.finishing.Code.CloseCode()})
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
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endLocked(end)
}

// endLocked is the one place where a link ends. What changes with it changes
// here: waiters fail, room is no longer waited for, the goodbye is written.
func (l *Link) endLocked(e ending) {
	if l.ending != nil {
		return
	}
	l.ending = &e
	lost := bus.Wrap(bus.CodeSessionLost, e.cause, "the connection ended before the peer answered").Dropped()
	for tag, ch := range l.waiting {
		delete(l.waiting, tag)
		ch <- Answer{Err: lost}
	}
	l.endConn(e.cause)
	if !e.remote {
		l.inbox.clear()
		l.endHandling(e.cause)
	}
	if l.opened { // else Run will find the end
		l.abortLaterLocked()
		l.wakeLocked()
	}
}

// endHandlersLater gives the handlers of a link that its peer closed in good
// order a while for what had arrived.
func (l *Link) endHandlersLater() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inbox.idle() {
		return
	}
	cause := l.ending.cause
	l.inbox.limit = time.AfterFunc(FinishLimit, func() {
		l.mu.Lock()
		l.inbox.clear()
		l.mu.Unlock()
		l.endHandling(cause)
	})
}

func (l *Link) stopTimers() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range []*time.Timer{l.ackTimer, l.abort, l.inbox.limit, l.alive.timer} {
		if t != nil {
			t.Stop()
		}
	}
}
