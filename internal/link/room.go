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

// handlerKey marks the contexts of a link's handlers.
type handlerKey struct{}

// A waiter waits for room for its frame.
type waiter struct {
	size   int
	queue  func() // puts the frame; with the link's mu held
	queued chan struct{}
}

// put queues a frame, once there is room. Those who wait in a lane get room in
// the order in which they came, so that a large frame is not passed by small
// ones for ever.
func (l *Link) put(ctx context.Context, lane session.Lane, frame []byte, queue func()) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ending != nil {
		return l.ending.cause
	}
	if len(l.waiters[lane]) == 0 && l.session.Room(lane, len(frame)) {
		queue()
		l.wakeLocked()
		return nil
	}
	w := &waiter{size: len(frame), queue: queue, queued: make(chan struct{})}
	l.waiters[lane] = append(l.waiters[lane], w)
	l.mu.Unlock()
	late := l.waitForRoom(ctx, w)
	l.mu.Lock()
	at := slices.Index(l.waiters[lane], w)
	if at < 0 {
		return nil
	}
	l.waiters[lane] = slices.Delete(l.waiters[lane], at, at+1)
	l.roomLocked() // it may have been in the way of a smaller one
	l.wakeLocked()
	switch {
	case l.ending != nil:
		return l.ending.cause
	case late:
		l.slowLocked("a handler waits for room, and for " + roomLimit.String() + " nothing was given back")
		return l.ending.cause
	}
	return ended(ctx, "no room for the message in time: the peer reads too slowly")
}

// waitForRoom waits until the frame is queued, ctx or the link ends, or, in a
// handler, it is late.
func (l *Link) waitForRoom(ctx context.Context, w *waiter) (late bool) {
	var limit <-chan time.Time
	left := roomLimit
	for {
		if ctx.Value(handlerKey{}) == l {
			timer := time.NewTimer(left)
			defer timer.Stop() // the loop goes round once in minutes
			limit = timer.C
		}
		select {
		case <-w.queued:
			return false
		case <-ctx.Done():
			return false
		case <-l.conn.Done():
			return false
		case <-limit:
		}
		if left = l.roomLeft(); left <= 0 {
			return true
		}
	}
}

// roomLeft is how long who waits may wait on if nothing is given back.
func (l *Link) roomLeft() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return roomLimit - time.Since(l.gaveBack)
}

// roomLocked queues the frames of those who waited for room that has come.
func (l *Link) roomLocked() {
	for lane := range l.waiters {
		for len(l.waiters[lane]) > 0 && l.ending == nil {
			w := l.waiters[lane][0]
			if !l.session.Room(session.Lane(lane), w.size) {
				break
			}
			w.queue()
			close(w.queued)
			l.waiters[lane] = l.waiters[lane][1:]
		}
		if len(l.waiters[lane]) == 0 {
			l.waiters[lane] = nil
		}
	}
}

// slowLocked ends a link whose peer does not keep up.
func (l *Link) slowLocked(reason string) {
	slow := bus.Errorf(bus.CodeSlowConsumer, "%s", reason)
	l.endLocked(ending{cause: slow.Dropped(), say: slow, close: slow.Code.CloseCode()})
}

// flushedLocked wakes who waits until everything is out; he looks again.
func (l *Link) flushedLocked() {
	if l.flushing != nil {
		close(l.flushing)
		l.flushing = nil
	}
}
