package link

import (
	"busd/bus"
	"busd/internal/wire"
)

// Goaway asks the peer to move to another link. It returns at once, and does
// nothing on a link that has ended.
func (l *Link) Goaway(g *wire.GoawayFrame) {
	l.stream.mu.Lock()
	defer l.stream.mu.Unlock()
	if l.ending == nil && l.opened {
		l.goaway = wire.AppendGoaway(nil, g)
		l.wakeLocked()
	}
}

// Hold makes the stream begin nothing more, but for answers: what is put waits
// for another session. The peer is told, and ends the link once all that was
// begun is finished. It does nothing if l does not carry its stream.
func (l *Link) Hold() {
	s := l.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.ending != nil || s.link != l {
		return
	}
	s.session.Hold()
	l.goaway = wire.AppendGoaway(nil, &wire.GoawayFrame{})
	l.wakeLocked()
}

// Leave ends the link once all that was begun on it is finished, at both ends:
// what has arrived is handled, what was put is written and acknowledged, what
// was asked is answered. The peer must have said that it begins nothing more.
func (l *Link) Leave(why *bus.Error) {
	s := l.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.leaving == nil {
		l.leaving = why
	}
	l.finishIfIdleLocked()
}

// leaveIfDoneLocked ends a link on which nothing is handled any more, and takes
// nothing more to send meanwhile.
func (l *Link) leaveIfDoneLocked() {
	s := l.stream
	s.closing = l.leaving.Dropped()
	switch {
	case s.session.Unsent() || s.session.Asking():
	case s.session.Unacked():
		s.session.AskAck()
		l.wakeLocked()
	default:
		l.dropLocked(l.leaving)
	}
}

// Abort ends the line at once: nobody is left to hear a goodbye.
func (l *Link) Abort() {
	l.stream.mu.Lock()
	defer l.stream.mu.Unlock()
	l.cfg.Socket.Abort()
}
