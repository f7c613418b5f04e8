package link

import (
	"bytes"
	"errors"
	"sync"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

// Serve reads until the link ends, and calls ended with why, once all of it has
// ended: the writer has written the last frame, the last handler of what it carried
// has returned, or [Link.Pass] was called. It returns then, or earlier, if its
// goroutine is held up in a handler: another reads on, which calls ended. head is
// what has been read already; it may be nil. The error matches [bus.ErrDropped].
func (l *Link) Serve(head []byte, ended func(why error)) {
	l.cfg.Socket.Limit(l.cfg.MessageLimit, l.cfg.Silence, time.Time{})
	l.ended = ended
	l.read(head, nil)
}

// read is the reader: it reads until the link has ended and the peer has said
// goodbye, or the socket is gone. b and err are what was read last. Nothing else
// reads.
func (l *Link) read(b []byte, err error) {
	for err == nil {
		if len(b) == 0 {
			l.giveWay()
			if b, err = l.cfg.Socket.Read(); err != nil {
				break
			}
		}
		b, err = l.take(b)
		if !l.handle(b, err) {
			return
		}
	}
	if err != errEnded { //nolint:errorlint // ours, and never wrapped
		l.fail(err)
	}
	l.cfg.Socket.Drain()
	l.work.Wait()
	l.cfg.Socket.Abort()
	l.gone()
	ended := l.ended
	l.ended = nil // the session may keep this link for long
	ended(l.Cause())
}

// errEnded stops the reader of a link that has ended.
var errEnded = errors.New("the link has ended")

// A group is some frames of one WebSocket message that are taken together.
type group [groupFrames]wire.Frame

// groupFrames is how many there are at most: they share one lock, and what they bring
// about goes together.
const groupFrames = 32

var groups = sync.Pool{New: func() any { return new(group) }}

// take takes the first frames of b, and returns what is behind them. Those before
// one that is at fault are taken too.
func (l *Link) take(b []byte) (rest []byte, err error) {
	g := groups.Get().(*group) // the pool holds nothing else
	n := 0
	for n < groupFrames && len(b) > 0 {
		f := &g[n]
		if *f, err = l.cfg.Decoder.Next(b); err != nil {
			err = AsFault(err)
			break
		}
		if f.Kind == wire.Goaway && n > 0 {
			break // it comes first next time
		}
		b = b[f.Size:]
		n++
		if f.Kind == wire.Goaway {
			break
		}
	}
	if l.cfg.Heard != nil && n > 0 {
		l.cfg.Heard()     // before anything of it is acknowledged
		l.cfg.Heard = nil // the reader's alone
	}
	if n > 0 && g[0].Kind == wire.Goaway {
		err = l.goneAway(&g[0])
	} else if failed := l.frames(g[:n]); failed != nil {
		err = failed
	}
	clear(g[:n])
	groups.Put(g)
	return b, err
}

// frames takes frames: what somebody waits for goes straight to him, what must be
// handled waits for that.
func (l *Link) frames(frames []wire.Frame) error {
	s := l.stream
	s.mu.Lock()
	defer func() {
		s.callLocked() // now: who comes for them wants the lock
		s.mu.Unlock()
	}()
	l.beginLocked()
	numbered := 0
	for i := range frames {
		f := &frames[i]
		if f.Kind.Numbered() {
			numbered++
		}
		l.crowd = numbered > 1
		if err := l.frameLocked(f); err != nil {
			return err
		}
	}
	if l.ending == nil && s.link == l {
		l.ackLocked()
	}
	return nil
}

func (l *Link) frameLocked(f *wire.Frame) error {
	s := l.stream
	if l.ending != nil {
		return errEnded
	}
	if s.link != l {
		return l.takeLeftLocked(f)
	}
	if f.Kind.Consumes() && l.finishing != nil {
		return errOrNil(s.session.Skip(f.N))
	}
	if f.Kind.Numbered() {
		fresh, err := s.session.Received(f.N, f.Size, f.Kind.Consumes(), f.AckAtOnce())
		if err != nil {
			return err
		}
		if !fresh {
			return nil
		}
	}
	return l.takeLocked(f)
}

// takeLeftLocked takes a frame on a link that carries nothing any more: what is
// numbered comes again on the one that does.
func (l *Link) takeLeftLocked(f *wire.Frame) error {
	if f.Kind == wire.Drop {
		return l.takeLocked(f)
	}
	return nil
}

// goneAway takes a goaway. The handler may use the link, so that no lock is held.
func (l *Link) goneAway(f *wire.Frame) error {
	g, err := wire.DecodeGoaway(f.Body)
	if err != nil {
		return AsFault(err)
	}
	l.stream.mu.Lock()
	ended, carries := l.ending != nil, l.stream.link == l
	l.stream.mu.Unlock()
	switch {
	case ended:
		return errEnded
	case carries:
		l.cfg.Handler.Goaway(g)
	}
	return nil
}

func (l *Link) takeLocked(f *wire.Frame) error {
	s := l.stream
	switch f.Kind {
	case wire.Call:
		if !s.inbox.closed {
			s.calls.push(f)
		}
	case wire.Data, wire.Request:
		s.inbox.push(f)
	case wire.Answer, wire.Error:
		return s.answeredLocked(f)
	case wire.Ack:
		return l.ackedLocked(f)
	case wire.Cancel:
		s.canceledLocked(f.Re)
	case wire.Drop:
		why, err := wire.DecodeDrop(f.Body)
		if err != nil {
			return AsFault(err)
		}
		// In good order, unless it is for a fault of this end's.
		end := ending{cause: why.Dropped(), close: bus.CloseNormal}
		end.remote = why.Code == bus.CodeGoingAway || !endsSession(why.Code)
		l.endLocked(end)
	case wire.Goaway: // has gone its own way
	case wire.Hello, wire.Welcome, wire.Part:
		return bus.Errorf(bus.CodeProtocolError, "frame %s at this point", f.Kind)
	}
	return nil
}

func (s *Stream) answeredLocked(f *wire.Frame) error {
	tag, err := s.session.Answered(f.Re)
	if err != nil {
		return err
	}
	if f.Kind == wire.Error {
		e, err := wire.DecodeError(f.Body)
		if err != nil {
			return AsFault(err)
		}
		f.Fault = e
	}
	ch, awaited := s.waiterLocked(tag)
	s.link.way.roused = s.link.way.roused || awaited
	switch {
	case awaited && f.Fault != nil:
		ch <- Answer{Err: f.Fault}
	case awaited:
		ch <- Answer{Message: f.Message, Body: bytes.Clone(f.Body)}
	case f.Kind == wire.Error && tag == 0:
		s.inbox.fail(f.Fault) // a one-way message of ours failed
		s.reportLocked()
	}
	s.link.finishIfIdleLocked()
	return nil
}

func (l *Link) ackedLocked(f *wire.Frame) error {
	s := l.stream
	tags, err := s.session.Acked(f.Seen, f.Released)
	if err != nil {
		return err
	}
	s.gaveBack = time.Now()
	l.way.roused = l.way.roused || len(tags) > 0
	s.ackedTagsLocked(tags)
	if f.AckAtOnce() && s.session.Unreported() { // else what it asks for is on its way
		s.session.AckNow()
	}
	s.roomLocked()
	s.flushedLocked()
	if s.session.Writable() && !s.corkLocked() { // credit may have come
		l.wakeLocked()
	}
	l.finishIfIdleLocked()
	return nil
}

// ackedTagsLocked tells who waited for an ack.
func (s *Stream) ackedTagsLocked(tags []uint64) {
	for _, tag := range tags {
		if ch, ok := s.waiterLocked(tag); ok {
			ch <- Answer{}
		}
	}
}

// canceledLocked ends the context of a request or a call of the peer's; if it
// still waits, it will run with a context that has ended.
func (s *Stream) canceledLocked(n uint64) {
	in, handled := s.requests[n]
	switch {
	case handled && in.withdraw != nil:
		in.withdraw(errCanceled)
	case handled:
		in.canceled = true // its context is being made
	default:
		s.inbox.cancel(n)
		s.calls.cancel(n)
	}
}

// grantBackLocked releases a frame's credit once it has been handled.
func (s *Stream) grantBackLocked(size int) {
	s.session.Release(size)
	if s.link != nil {
		s.link.ackLocked()
	}
}

// errOrNil keeps a nil *bus.Error from becoming an error that is not nil.
func errOrNil(err *bus.Error) error {
	if err == nil {
		return nil
	}
	return err
}
