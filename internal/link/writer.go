package link

import (
	"sync"
	"time"

	"busd/internal/wire"
)

// batchBytes is after how much a WebSocket message is written. Measured: with
// everything that waits in one message of up to 16 KiB (a TLS record), a small
// message costs a quarter of what it costs with a WebSocket message of its own.
const batchBytes = 16 << 10

// buffers hold a batch while it is written.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 1<<10); return &b }}

// wakeLocked sees to it that a writer runs if there is anything to write.
func (l *Link) wakeLocked() { l.wake(nil) }

// wake is wakeLocked with bytes that go before everything else.
func (l *Link) wake(first []byte) {
	if !l.opened || l.writing || (first == nil && !l.writableLocked()) {
		return
	}
	l.writing = true
	l.work.Add(1)
	go l.write(first)
}

func (l *Link) writableLocked() bool {
	if l.ending != nil {
		return !l.ending.said
	}
	return l.session.Writable() || l.session.AckDue() || len(l.pings)+len(l.pongs)+len(l.cancels) > 0
}

// write is the writer: it writes what waits until nothing does.
func (l *Link) write(first []byte) {
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
	}
}

// nextBatch collects what is to be written now. With goodbye set it is the
// last. ok is false when there is nothing, and then the writer has ended.
func (l *Link) nextBatch(b []byte) (_ []byte, goodbye *ending, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.controlLocked() {
		l.writing = false
		return b, nil, false
	}
	if l.session.AckDue() || (l.session.Unreported() && l.session.Writable()) {
		b = l.session.AppendAck(b)
	}
	for len(l.cancels) > 0 && len(b) < batchBytes {
		b = wire.AppendCancel(b, l.cancels[0])
		l.cancels = l.cancels[1:]
	}
	b = l.session.AppendFrames(b, batchBytes)
	if !l.session.Unsent() {
		l.flushedLocked()
	}
	if len(b) > 0 {
		return b, nil, true
	}
	if l.ending != nil && !l.ending.said {
		l.ending.said = true
		if l.ending.say != nil {
			b = wire.AppendDrop(b, l.ending.say)
		}
		return b, l.ending, true
	}
	l.writing = false
	return b, nil, false
}

// controlLocked writes pings and pongs, which never wait behind frames. It
// returns false when the link is broken. The socket's control writes are small
// and bounded in time, but they must not hold the lock.
func (l *Link) controlLocked() bool {
	for len(l.pings)+len(l.pongs) > 0 && l.ending == nil {
		pings, pongs := l.pings, l.pongs
		l.pings, l.pongs = nil, nil
		l.mu.Unlock()
		err := l.writeControl(pings, pongs)
		l.mu.Lock()
		if err != nil {
			l.mu.Unlock()
			l.writeFailed(err)
			l.mu.Lock()
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
	l.mu.Lock()
	l.writing = false
	if l.ending != nil {
		l.ending.said = true
	}
	l.mu.Unlock()
	l.fail(err)
}

// ackLocked sends an ack now if one is due, else within ackDelay.
func (l *Link) ackLocked() {
	if l.ending != nil || !l.session.Unreported() {
		return
	}
	if l.session.AckDue() {
		l.wakeLocked()
		return
	}
	if l.ackTimer == nil {
		l.ackTimer = time.AfterFunc(ackDelay, l.ackLate)
	}
}

// ackLate sends the ack that has waited long enough.
func (l *Link) ackLate() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ackTimer = nil
	if l.ending == nil && l.session.Unreported() {
		l.session.AckNow()
		l.wakeLocked()
	}
}
