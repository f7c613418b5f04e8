package link

import (
	"runtime"
	"sync"
	"time"

	"busd/internal/wire"
)

// batchBytes is how large a WebSocket message is made: with what is around it, it
// fills a TLS record, which is written at once. Measured: with everything that waits
// in one message a small one costs a quarter of what it costs with a message of its
// own.
const batchBytes = 16<<10 - 64

// ackDelay is how long an ack may wait for company.
const ackDelay = time.Second

// buffers hold a batch while it is written.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 1<<10); return &b }}

// wakeLocked sees to it that a writer runs if there is anything to write.
func (l *Link) wakeLocked() { l.wake(nil) }

// wake is wakeLocked with bytes that go before everything else.
func (l *Link) wake(first []byte) {
	if l.writing || (first == nil && !l.writableLocked()) || !l.takeWritingLocked() {
		return
	}
	late := l.crowd && first == nil && l.ending == nil && len(l.pings)+len(l.pongs) == 0
	if first != nil || !l.callPenLocked(late) {
		l.work.Add(1)
		go l.writeOn(first, late)
	}
}

// writeOn writes, and again when it is called while it rests. If it is late, those who
// can run have their turn first: they may have something to write too. Measured: so 32
// callers whose answers come together call together again, at half to two thirds of the
// cost for each. A lone message would only come later.
func (l *Link) writeOn(first []byte, late bool) {
	defer l.work.Done() // it rests, too
	for goesOn := true; goesOn; late, goesOn = l.restPen() {
		if late {
			runtime.Gosched()
		}
		l.write(first, 0)
		first = nil
	}
}

// takeWritingLocked makes who calls it the writer, unless there is one.
func (l *Link) takeWritingLocked() bool {
	if !l.opened || l.writing {
		return false
	}
	l.writing = true
	l.work.Add(1)
	return true
}

func (l *Link) writableLocked() bool {
	if l.ending != nil {
		return !l.ending.said
	}
	if len(l.pings)+len(l.pongs)+len(l.goaway) > 0 {
		return true
	}
	s := l.stream
	return s.link == l && (s.session.Writable() || s.session.AckDue() || len(l.cancels) > 0)
}

// write is the writer: it writes what waits until nothing does, or, after so many
// batches, if that is not 0, until another goroutine goes on.
func (l *Link) write(first []byte, batches int) {
	defer l.work.Done()
	buf := buffers.Get().(*[]byte)
	defer func() {
		if cap(*buf) <= 4*batchBytes {
			buffers.Put(buf)
		}
	}()
	*buf = append((*buf)[:0], first...)
	for {
		b, goodbye, ok := l.nextBatch((*buf)[:len(first)])
		*buf, first = b, nil
		if !ok {
			return
		}
		if len(b) > 0 {
			if err := l.cfg.Socket.Write(b); err != nil {
				l.writeFailed(err)
				return
			}
		}
		if goodbye != nil {
			_ = l.cfg.Socket.Close(goodbye.close, goodbye.cause.Text()) // the line may be gone already
			return
		}
		if batches--; batches == 0 {
			l.work.Add(2) // the goroutine, and that it writes
			go l.writeOn(nil, false)
			return
		}
	}
}

// nextBatch collects what is to be written now. With goodbye set it is the
// last. ok is false when there is nothing, and then the writer has ended.
func (l *Link) nextBatch(b []byte) (_ []byte, goodbye *ending, ok bool) {
	l.stream.mu.Lock()
	defer l.stream.mu.Unlock()
	if !l.controlLocked() {
		l.writing = false
		return b, nil, false
	}
	if l.stream.link != l || !l.stream.session.Repeating() { // else what comes again goes first
		b = append(b, l.goaway...)
		l.goaway = nil
	}
	if l.stream.link == l {
		b = l.carryLocked(b)
	}
	if len(b) > 0 {
		return b, nil, true
	}
	if l.ending != nil && !l.ending.said {
		l.ending.said = true
		l.stream.releaseLocked(l)
		if l.ending.say != nil {
			b = wire.AppendDrop(b, l.ending.say)
		}
		return b, l.ending, true
	}
	l.writing = false
	return b, nil, false
}

// carryLocked appends what the stream has to write. Once the link is ending and
// the session is not, that is about what was queued then: what comes now is for
// the next one.
func (l *Link) carryLocked(b []byte) []byte {
	s := l.stream.session
	if s.AckDue() || (s.Unreported() && (l.ending != nil || s.Writable())) {
		b = s.AppendAck(b)
	}
	limit := l.batchLocked()
	if l.ending != nil && l.stream.over == nil {
		if limit = min(limit, len(b)+l.ending.left); limit <= len(b) {
			return b
		}
	}
	for len(l.cancels) > 0 && len(b) < batchBytes && !s.Repeating() { // after what they are about
		b = wire.AppendCancel(b, l.cancels[0])
		l.cancels = l.cancels[1:]
	}
	before := len(b)
	b = s.AppendFrames(b, limit)
	if l.ending != nil {
		l.ending.left -= len(b) - before
	}
	if !s.Unsent() {
		l.stream.flushedLocked()
		l.finishIfIdleLocked()
	}
	return b
}

// batchLocked is how large the next WebSocket message is made. After a
// resume it begins small and doubles: a message counts once all of it has arrived,
// and a line that breaks again and again must bring something each time.
func (l *Link) batchLocked() int {
	if l.batch == 0 {
		return batchBytes
	}
	limit := l.batch
	if l.batch *= 2; l.batch >= batchBytes {
		l.batch = 0
	}
	return limit
}

// firstBatch is how much the first message after a resume holds.
const firstBatch = 1 << 10

// controlLocked writes pings and pongs, which never wait behind frames. It
// returns false when the link is broken. The socket's control writes are small
// and bounded in time, but they must not hold the lock.
func (l *Link) controlLocked() bool {
	for len(l.pings)+len(l.pongs) > 0 && l.ending == nil {
		pings, pongs := l.pings, l.pongs
		l.pings, l.pongs = nil, nil
		l.stream.mu.Unlock()
		err := l.writeControl(pings, pongs)
		l.stream.mu.Lock()
		if err != nil {
			l.stream.mu.Unlock()
			l.writeFailed(err)
			l.stream.mu.Lock()
			return false
		}
	}
	return true
}

func (l *Link) writeControl(pings, pongs []string) error {
	for _, p := range pongs {
		if err := l.cfg.Socket.Pong(p); err != nil {
			return err
		}
	}
	for _, p := range pings {
		if err := l.cfg.Socket.Ping(p); err != nil {
			return err
		}
	}
	return nil
}

// writeFailed ends the link when its line takes nothing more.
func (l *Link) writeFailed(err error) {
	l.cfg.Socket.Abort()
	l.stream.mu.Lock()
	l.writing = false
	if l.ending != nil {
		l.ending.said = true
		l.stream.releaseLocked(l)
	}
	l.stream.mu.Unlock()
	l.fail(err)
}

// ackLocked sends an ack now if one is due, else within ackDelay. While messages follow
// each other closely one that is due for their number alone waits for what is written
// next, or for the watch: half of what a server wrote that only takes messages were
// acks that went alone.
func (l *Link) ackLocked() {
	s := l.stream.session
	if l.ending != nil || !s.Unreported() {
		return
	}
	if s.AckDue() {
		if l.stream.inline.active && s.AckWaits() {
			return
		}
		if !l.stream.corkLocked() {
			l.wakeLocked()
		}
		return
	}
	if l.ackTimer == nil {
		l.ackTimer = time.AfterFunc(ackDelay, l.ackLate)
	}
}

// ackLate sends the ack that has waited long enough.
func (l *Link) ackLate() {
	l.stream.mu.Lock()
	defer l.stream.mu.Unlock()
	l.ackTimer = nil
	if s := l.stream; l.ending == nil && s.link == l && s.session.Unreported() {
		s.session.AckNow()
		l.wakeLocked()
	}
}
