package link

import (
	"context"
	"slices"
	"time"

	"busd/bus"
	"busd/internal/session"
)

// roomLimit is how long a handler may wait for room for what it sends while the
// peer gives nothing back. Two ends whose handlers send to each other, with both
// buffers full, wait for each other: neither gives credit back before it has
// returned. Pings keep such a connection alive, so it needs an end of its own.
const roomLimit = 5 * time.Minute

// handlerKey marks the contexts of a stream's handlers.
type handlerKey struct{}

// inHandler tells whether ctx is that of one of the stream's handlers, or was made of it.
func (s *Stream) inHandler(ctx context.Context) bool {
	return ctx == s.handling || ctx.Value(handlerKey{}) == s // what is nearly always so is asked first: it costs nothing
}

// A waiter waits for room for its frame.
type waiter struct {
	size     int
	queue    func() // puts the frame; with the stream's mu held
	queued   chan struct{}
	key      string // of class latest
	outdated bool   // a newer one of its key was put
}

// putKeyed queues a frame, once there is room, with queue, or as [session.Session.Put]
// does where that is nil. Those who wait in a lane get room in the order in which they
// came, so that a large frame is not passed by small ones for ever. If it has a key it
// is of class latest: a newer one of its key may make it needless while it waits.
func (s *Stream) putKeyed(ctx context.Context, lane session.Lane, frame []byte, key string, queue func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.putLocked(ctx, lane, frame, key, queue)
}

// putLocked is putKeyed; it gives the lock back while it waits.
func (s *Stream) putLocked(ctx context.Context, lane session.Lane, frame []byte, key string, queue func()) error {
	if why := s.refusesLocked(); why != nil {
		return why
	}
	if len(s.waiters[lane]) == 0 && s.session.Room(lane, len(frame)) {
		if queue == nil {
			s.session.Put(lane, frame)
		} else {
			queue()
		}
		s.wakeForLocked(ctx)
		return nil
	}
	if queue == nil {
		queue = func() { s.session.Put(lane, frame) } // made only here: it allocates
	}
	s.waitsLocked(ctx) // else the peer would give nothing back
	w := &waiter{size: len(frame), queue: queue, queued: make(chan struct{}), key: key}
	s.waiters[lane] = append(s.waiters[lane], w)
	s.mu.Unlock()
	late := s.waitForRoom(ctx, w)
	s.mu.Lock()
	at := slices.Index(s.waiters[lane], w)
	if at < 0 {
		return nil
	}
	s.waiters[lane] = slices.Delete(s.waiters[lane], at, at+1)
	s.roomLocked() // it may have been in the way of a smaller one
	s.wakeLocked()
	switch {
	case s.refusesLocked() != nil:
		return s.refusesLocked()
	case late:
		s.slowLocked("a handler waits for room, and for " + roomLimit.String() + " nothing was given back")
		return s.over
	}
	return ended(ctx, "no room for the message in time: the peer reads too slowly")
}

// waitForRoom waits until the frame is queued, ctx or the session ends, or, in a
// handler, it is late.
func (s *Stream) waitForRoom(ctx context.Context, w *waiter) (late bool) {
	var limit <-chan time.Time
	left := roomLimit
	for {
		if s.inHandler(ctx) {
			timer := time.NewTimer(left)
			defer timer.Stop() // the loop goes round once in minutes
			limit = timer.C
		}
		select {
		case <-w.queued:
			return false
		case <-ctx.Done():
			return false
		case <-s.life.Done():
			return false
		case <-limit:
		}
		if left = s.roomLeft(); left <= 0 {
			return true
		}
	}
}

// roomLeft is how long who waits may wait on if nothing is given back.
func (s *Stream) roomLeft() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link == nil { // nobody is there to give anything back
		return roomLimit
	}
	return roomLimit - time.Since(s.gaveBack)
}

// roomLocked queues the frames of those who waited for room that has come.
func (s *Stream) roomLocked() {
	for lane := range s.waiters {
		for len(s.waiters[lane]) > 0 && s.refusesLocked() == nil && s.seatLocked(session.Lane(lane)) {
		}
		if len(s.waiters[lane]) == 0 {
			s.waiters[lane] = nil
		}
	}
	s.callLocked()
}

// seatLocked queues the frame of the first who waits in a lane, if it has room or
// needs none.
func (s *Stream) seatLocked(lane session.Lane) bool {
	w := s.waiters[lane][0]
	switch {
	case w.outdated:
		s.counts.Replaced++
	case s.session.Room(lane, w.size):
		w.queue()
	default:
		return false
	}
	close(w.queued)
	s.waiters[lane] = s.waiters[lane][1:]
	return true
}

// slowLocked ends a session whose peer does not keep up.
func (s *Stream) slowLocked(reason string) {
	slow := bus.Errorf(bus.CodeSlowConsumer, "%s", reason)
	s.endLocked(slow.Dropped(), false)
	if s.link != nil {
		s.link.dropLocked(slow)
	}
}

// flushedLocked wakes who waits until everything is out; he looks again.
func (s *Stream) flushedLocked() {
	if s.flushing != nil {
		close(s.flushing)
		s.flushing = nil
	}
}
