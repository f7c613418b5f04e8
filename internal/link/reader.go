package link

import (
	"bytes"
	"errors"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

// read reads until the link has ended and the peer has said goodbye, or the
// socket is gone. It is the reader; nothing else reads.
func (l *Link) read(head []byte) {
	err := l.frames(head)
	for err == nil {
		var b []byte
		if b, err = l.cfg.Socket.Read(); err == nil {
			err = l.frames(b)
		}
	}
	if err != errEnded { //nolint:errorlint // ours, and never wrapped
		l.fail(err)
	}
	l.cfg.Socket.Drain()
}

// errEnded stops the reader of a link that has ended.
var errEnded = errors.New("the link has ended")

// frames takes the frames of one WebSocket message.
func (l *Link) frames(b []byte) error {
	for numbered := 0; len(b) > 0; {
		f, err := l.cfg.Decoder.Next(b)
		if err != nil {
			return AsFault(err)
		}
		b = b[f.Size:]
		if f.Kind.Numbered() {
			numbered++
		}
		if err := l.frame(&f, numbered > 1); err != nil {
			return err
		}
		if l.cfg.Heard != nil {
			l.cfg.Heard()
			l.cfg.Heard = nil // the reader's alone
		}
	}
	return nil
}

// frame takes one frame: what somebody waits for goes straight to him, what
// must be handled to the deliverer or the workers. crowd says that it is not the
// first numbered one of its message.
func (l *Link) frame(f *wire.Frame, crowd bool) error {
	if f.Kind == wire.Goaway {
		return l.goneAway(f)
	}
	s := l.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.ending != nil {
		return errEnded
	}
	l.crowd = crowd
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
	if err := l.takeLocked(f); err != nil {
		return err
	}
	l.ackLocked()
	return nil
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
			s.callLocked()
		}
	case wire.Data, wire.Request:
		s.inbox.push(f)
		s.deliverLocked()
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
	s.ackedTagsLocked(tags)
	if f.AckAtOnce() && s.session.Unreported() { // else what it asks for is on its way
		s.session.AckNow()
	}
	s.roomLocked()
	s.flushedLocked()
	l.wakeLocked() // credit may have come
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
