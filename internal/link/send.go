package link

import (
	"context"

	"busd/bus"
	"busd/internal/session"
	"busd/internal/wire"
)

const (
	bulk   = session.Bulk
	urgent = session.Urgent
)

// An Answer is what came back for a request: a message, or nothing but that it
// was handled (Message is nil), or an error.
type Answer struct {
	Message *wire.Message
	Body    []byte
	Err     error
}

// Send queues a data frame, encoded without its number. It returns once it is
// queued, and waits for room until ctx ends.
func (l *Link) Send(ctx context.Context, frame []byte) error {
	return l.put(ctx, bulk, frame, func() { l.session.Put(bulk, frame) })
}

// SendNow queues a data frame if there is room; otherwise it ends the link
// with slow_consumer. It never waits.
func (l *Link) SendNow(frame []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ending != nil {
		return l.ending.cause
	}
	if !l.session.Room(bulk, len(frame)) {
		l.slowLocked("no room for a message that may not wait")
		return l.ending.cause
	}
	l.session.Put(bulk, frame)
	l.wakeLocked()
	return nil
}

// SendAcked queues a data frame that asks for an ack at once, and returns when
// the peer has read, checked and queued it.
func (l *Link) SendAcked(ctx context.Context, frame []byte) error {
	a := l.await(ctx, func(tag uint64) error {
		return l.put(ctx, bulk, frame, func() { l.session.PutAcked(frame, tag) })
	}, false)
	return a.Err
}

// Request queues a request frame and waits for its answer. If ctx ends first
// the peer is told to cancel it.
func (l *Link) Request(ctx context.Context, frame []byte) (Answer, error) {
	a := l.await(ctx, func(tag uint64) error {
		return l.put(ctx, bulk, frame, func() { l.session.PutRequest(frame, tag) })
	}, true)
	return a, a.Err
}

// Reply answers the peer's request n with a frame made by
// [wire.AppendAnswer]. It fails if the request has its answer, as it does once
// its handler has returned.
func (l *Link) Reply(ctx context.Context, n uint64, frame []byte) error {
	if !l.claimAnswer(n) {
		return bus.Errorf(bus.CodeFailedPrecondition, "the request has been answered already")
	}
	err := l.put(ctx, urgent, frame, func() { l.session.Put(urgent, frame) })
	if err != nil {
		l.unclaimAnswer(n) // the handler's return answers it
	}
	return err
}

// putAnswer is for answers that the link itself gives; there is nobody to tell
// if it has ended meanwhile.
func (l *Link) putAnswer(ctx context.Context, frame []byte) {
	_ = l.put(ctx, urgent, frame, func() { l.session.Put(urgent, frame) })
}

// ended says that a context is over; late is the reason where its time was.
func ended(ctx context.Context, late string) *bus.Error {
	code := bus.CodeOf(ctx.Err())
	if code == bus.CodeCanceled {
		late = "the wait was canceled"
	}
	return bus.Wrap(code, context.Cause(ctx), late)
}

// await puts a frame with a tag and waits until something comes back for it;
// a request is withdrawn if nothing does in time.
func (l *Link) await(ctx context.Context, put func(tag uint64) error, request bool) Answer {
	ch := make(chan Answer, 1)
	l.mu.Lock()
	if l.ending != nil {
		defer l.mu.Unlock()
		return Answer{Err: l.ending.cause}
	}
	l.tags++
	tag := l.tags
	if l.waiting == nil {
		l.waiting = map[uint64]chan Answer{}
	}
	l.waiting[tag] = ch
	l.most = max(l.most, len(l.waiting))
	l.mu.Unlock()
	if err := put(tag); err != nil {
		l.giveUp(tag, false)
		return Answer{Err: err}
	}
	select {
	case a := <-ch:
		return a
	case <-ctx.Done():
	}
	if !l.giveUp(tag, request) { // it came in this moment
		return <-ch
	}
	return Answer{Err: ended(ctx, "the peer did not answer in time")}
}

// giveUp stops waiting for a tag, and withdraws its request. It returns false
// if its answer has come.
func (l *Link) giveUp(tag uint64, withdraw bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, waits := l.waiterLocked(tag)
	if waits && withdraw {
		l.withdrawLocked(tag)
	}
	return waits
}

// waiterLocked returns who waits for a tag; he gets one thing, and waits no
// more.
func (l *Link) waiterLocked(tag uint64) (chan Answer, bool) {
	ch, ok := l.waiting[tag]
	delete(l.waiting, tag)
	if len(l.waiting) == 0 && l.most > keptWaiters { // a map never shrinks
		l.waiting, l.most = nil, 0
	}
	return ch, ok
}

// keptWaiters is for how many of those who wait an idle link keeps its memory.
const keptWaiters = 64

// withdrawLocked takes a request back that nobody waits for any more.
func (l *Link) withdrawLocked(tag uint64) {
	n, written := l.session.Withdraw(tag)
	if written {
		l.cancels = append(l.cancels, n)
	} else {
		l.roomLocked()
		l.flushedLocked()
	}
	l.wakeLocked()
}

// Flush waits until the peer has read, checked and queued everything that was
// put before.
func (l *Link) Flush(ctx context.Context) error {
	for {
		l.mu.Lock()
		if l.ending != nil {
			defer l.mu.Unlock()
			return l.ending.cause
		}
		if !l.session.Unsent() {
			if !l.session.Unacked() {
				l.mu.Unlock()
				return nil
			}
			l.session.AskAck() // else it would wait for company
			l.wakeLocked()
		}
		if l.flushing == nil {
			l.flushing = make(chan struct{})
		}
		flushing := l.flushing
		l.mu.Unlock()
		select {
		case <-flushing:
		case <-l.conn.Done():
		case <-ctx.Done():
			return ended(ctx, "the peer did not take everything in time")
		}
	}
}

// Queued returns how much is kept for the peer, unsent or unacknowledged, in
// bytes.
func (l *Link) Queued() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session.Queued()
}
