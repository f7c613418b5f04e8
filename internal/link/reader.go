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
	for len(b) > 0 {
		f, err := l.cfg.Decoder.Next(b)
		if err != nil {
			return AsFault(err)
		}
		b = b[f.Size:]
		if err := l.frame(&f); err != nil {
			return err
		}
	}
	return nil
}

// frame takes one frame: what somebody waits for goes straight to him, what
// must be handled to the deliverer.
func (l *Link) frame(f *wire.Frame) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ending != nil {
		return errEnded
	}
	if f.Kind.Consumes() && l.finishing != nil {
		return errOrNil(l.session.Skip(f.N))
	}
	if f.Kind.Numbered() {
		if err := l.session.Received(f.N, f.Size, f.Kind.Consumes(), f.AckAtOnce()); err != nil {
			return err
		}
	}
	if err := l.takeLocked(f); err != nil {
		return err
	}
	l.ackLocked()
	return nil
}

func (l *Link) takeLocked(f *wire.Frame) error {
	switch f.Kind {
	case wire.Call:
		f.Fault = bus.Errorf(bus.CodeUnimplemented, "method %s: this service answers no calls on this connection", f.Name)
		fallthrough
	case wire.Data, wire.Request:
		l.inbox.push(f)
		l.deliverLocked()
	case wire.Answer, wire.Error:
		return l.answeredLocked(f)
	case wire.Ack:
		return l.ackedLocked(f)
	case wire.Cancel:
		l.canceledLocked(f.Re)
	case wire.Drop:
		why, err := wire.DecodeDrop(f.Body)
		if err != nil {
			return AsFault(err)
		}
		l.endLocked(ending{cause: why.Dropped(), close: bus.CloseNormal, remote: true})
	case wire.Goaway:
		// Moving to another connection is not spoken by this version: the
		// drop that follows says when to come back.
	case wire.Hello, wire.Welcome, wire.Part:
		return bus.Errorf(bus.CodeProtocolError, "frame %s at this point", f.Kind)
	}
	return nil
}

func (l *Link) answeredLocked(f *wire.Frame) error {
	tag, err := l.session.Answered(f.Re)
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
	ch, awaited := l.waiterLocked(tag)
	switch {
	case awaited && f.Fault != nil:
		ch <- Answer{Err: f.Fault}
	case awaited:
		ch <- Answer{Message: f.Message, Body: bytes.Clone(f.Body)}
	case f.Kind == wire.Error && tag == 0:
		l.inbox.push(f) // a one-way message of ours failed: reported in order
		l.deliverLocked()
	}
	return nil
}

func (l *Link) ackedLocked(f *wire.Frame) error {
	tags, err := l.session.Acked(f.Seen, f.Released)
	if err != nil {
		return err
	}
	l.gaveBack = time.Now()
	for _, tag := range tags {
		if ch, ok := l.waiterLocked(tag); ok {
			ch <- Answer{}
		}
	}
	if f.AckAtOnce() && l.session.Unreported() { // else what it asks for is on its way
		l.session.AckNow()
	}
	l.roomLocked()
	l.flushedLocked()
	l.wakeLocked() // credit may have come
	return nil
}

// canceledLocked ends the context of a request of the peer's; if it still
// waits, it will run with a context that has ended.
func (l *Link) canceledLocked(n uint64) {
	if r, ok := l.requests[n]; ok {
		r.cancel(bus.Errorf(bus.CodeCanceled, "the caller canceled the request"))
		return
	}
	l.inbox.cancel(n)
}

// grantedBack releases a frame's credit once it has been handled.
func (l *Link) grantedBack(size int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session.Release(size)
	l.ackLocked()
}

// errOrNil keeps a nil *bus.Error from becoming an error that is not nil.
func errOrNil(err *bus.Error) error {
	if err == nil {
		return nil
	}
	return err
}
