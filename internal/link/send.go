package link

import (
	"context"

	"busd/bus"
	"busd/internal/bounded"
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
// queued, and waits for room until ctx ends. One of class latest takes the place
// of an unsent one of its key, one of class volatile is dropped where there is
// no room.
func (s *Stream) Send(ctx context.Context, frame []byte, d wire.Delivery) error {
	var queue func()
	switch {
	case d.Volatile:
		return s.SendNow(frame, d)
	case d.Key != "":
		s.mu.Lock()
		replaced := s.replaceLocked(frame, d)
		s.mu.Unlock()
		if replaced {
			return nil
		}
		queue = func() { s.session.PutLatest(d.Key, frame) }
	}
	return s.putKeyed(ctx, bulk, frame, d.Key, queue)
}

// SendNow is Send that never waits: a message for which there is no room, and
// which may not be dropped, ends the session with slow_consumer. One of class
// latest may take as much again as the bound of what is kept.
func (s *Stream) SendNow(frame []byte, d wire.Delivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	room := s.session.Room(bulk, len(frame))
	switch {
	case s.refusesLocked() != nil:
		s.hole = s.hole || !d.Volatile
		return s.refusesLocked()
	case s.replaceLocked(frame, d):
		return nil
	case d.Volatile && (!room || len(s.waiters[bulk]) > 0): // it passes nobody who waits
		s.counts.Dropped++
		return nil
	case d.Key != "" && s.session.LatestRoom(len(frame)):
		s.session.PutLatest(d.Key, frame)
		s.outdateLocked(d.Key)
	case !room:
		s.slowLocked("no room for a message that may not wait")
		return s.over
	default:
		s.session.Put(bulk, frame)
	}
	s.wakeLocked()
	return nil
}

// replaceLocked puts a message of class latest in the place of an unsent one.
func (s *Stream) replaceLocked(frame []byte, d wire.Delivery) bool {
	if d.Key == "" || s.refusesLocked() != nil || !s.session.Replace(d.Key, frame) {
		return false
	}
	s.counts.Replaced++
	s.outdateLocked(d.Key)
	s.grewLocked()
	return true
}

// outdateLocked is for a message of class latest that was put: what waits for
// room with the same key is older.
func (s *Stream) outdateLocked(key string) {
	for _, w := range s.waiters[bulk] {
		w.outdated = w.outdated || w.key == key
	}
	s.roomLocked()
}

// refusesLocked says why nothing more is taken, or nil.
func (s *Stream) refusesLocked() error {
	switch {
	case s.over != nil:
		return s.over
	case s.closing != nil:
		return s.closing
	}
	return nil
}

// wakeLocked sees to it that what was put is written, or accounted for.
func (s *Stream) wakeLocked() {
	if s.link != nil {
		s.link.wakeLocked()
	} else {
		s.grewLocked()
	}
}

// SendAcked queues a data frame that asks for an ack at once, and returns when
// the peer has read, checked and queued it.
func (s *Stream) SendAcked(ctx context.Context, frame []byte) error {
	return s.await(ctx, frame, (*session.Session).PutAcked, false).Err
}

// Request queues a request or a call frame and waits for its answer. If ctx ends first
// the peer is told to cancel it.
func (s *Stream) Request(ctx context.Context, frame []byte) (Answer, error) {
	a := s.await(ctx, frame, (*session.Session).PutRequest, true)
	return a, a.Err
}

// Reply answers the peer's request or call n with a frame made by
// [wire.AppendAnswer] or [wire.AppendResult]. It fails if the request has its answer, as it does once
// its handler has returned.
func (s *Stream) Reply(ctx context.Context, n uint64, frame []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.claimAnswerLocked(n) {
		return bus.Errorf(bus.CodeFailedPrecondition, "the request has been answered already")
	}
	err := s.putLocked(ctx, urgent, frame, "", nil)
	if err != nil {
		s.unclaimAnswerLocked(n) // the handler's return answers it
	}
	return err
}

// putAnswer is for answers that the stream itself gives; there is nobody to tell
// if it has ended meanwhile.
func (s *Stream) putAnswer(ctx context.Context, frame []byte) {
	_ = s.putKeyed(ctx, urgent, frame, "", nil)
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
func (s *Stream) await(ctx context.Context, frame []byte, put func(s *session.Session, frame []byte, tag uint64), request bool) Answer {
	ch := make(chan Answer, 1)
	tag, err := s.putAwaited(ctx, frame, put, ch)
	if err != nil {
		return Answer{Err: err}
	}
	over, canceled := bounded.Dones(ctx)
	select {
	case a := <-ch:
		return a
	case <-over:
	case <-canceled:
	}
	if !s.giveUp(tag, request) { // it came in this moment
		return <-ch
	}
	return Answer{Err: ended(ctx, "the peer did not answer in time")}
}

// putAwaited puts a frame for which ch waits, under a tag of its own.
func (s *Stream) putAwaited(ctx context.Context, frame []byte, put func(s *session.Session, frame []byte, tag uint64), ch chan Answer) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if why := s.refusesLocked(); why != nil {
		return 0, why
	}
	s.tags++
	tag := s.tags
	if s.waiting == nil {
		s.waiting = map[uint64]chan Answer{}
	}
	s.waiting[tag] = ch
	s.most = max(s.most, len(s.waiting))
	if s.asksAloneLocked(len(frame)) {
		put(s.session, frame, tag)
		s.askLocked(ch)
		return tag, nil
	}
	err := s.putLocked(ctx, bulk, frame, "", func() { put(s.session, frame, tag) })
	if err != nil {
		s.waiterLocked(tag)
	}
	s.waitsLocked(ctx)
	return tag, err
}

// giveUp stops waiting for a tag, and withdraws its request. It returns false
// if its answer has come.
func (s *Stream) giveUp(tag uint64, withdraw bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, waits := s.waiterLocked(tag)
	if waits && withdraw {
		s.withdrawLocked(tag)
	}
	return waits
}

// waiterLocked returns who waits for a tag; he gets one thing, and waits no
// more.
func (s *Stream) waiterLocked(tag uint64) (chan Answer, bool) {
	ch, ok := s.waiting[tag]
	delete(s.waiting, tag)
	if len(s.waiting) == 0 && s.most > keptWaiters { // a map never shrinks
		s.waiting, s.most = nil, 0
	}
	return ch, ok
}

// keptWaiters is for how many of those who wait an idle stream keeps its memory.
const keptWaiters = 64

// withdrawLocked takes a request back that nobody waits for any more.
func (s *Stream) withdrawLocked(tag uint64) {
	n, written := s.session.Withdraw(tag)
	if written && s.link != nil { // else the resume says it
		s.link.cancels = append(s.link.cancels, n)
	} else if !written {
		s.roomLocked()
		s.flushedLocked()
	}
	s.wakeLocked()
	if s.link != nil {
		s.link.finishIfIdleLocked() // it may have waited for this one alone
	}
}

// Flush waits until the peer has read, checked and queued everything that was
// put before.
func (s *Stream) Flush(ctx context.Context) error {
	for {
		s.mu.Lock()
		if s.over != nil {
			defer s.mu.Unlock()
			return s.over
		}
		if !s.session.Unsent() {
			if !s.session.Unacked() {
				s.mu.Unlock()
				return nil
			}
			s.session.AskAck() // else it would wait for company
			s.wakeLocked()
		}
		s.waitsLocked(ctx)
		if s.flushing == nil {
			s.flushing = make(chan struct{})
		}
		flushing := s.flushing
		s.mu.Unlock()
		select {
		case <-flushing:
		case <-s.life.Done():
		case <-ctx.Done():
			return ended(ctx, "the peer did not take everything in time")
		}
	}
}
