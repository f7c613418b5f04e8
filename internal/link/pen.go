package link

import "time"

// While a writer is woken again and again it rests between, as the workers of calls do:
// a goroutine for each batch, whose stack grows anew for TLS, was a tenth of what small
// messages cost who sends them.

// callPenLocked has the writer that rests write; false: none does.
func (l *Link) callPenLocked(late bool) bool {
	last := l.woken
	l.woken = time.Since(began)
	follows := last != 0 && l.woken-last < patience
	if l.pen == nil {
		if follows && l.ending == nil {
			l.pen = &crew{close: true}
		}
		return false
	}
	l.pen.close, l.penLate, l.penOut = follows, late, true
	return l.pen.call()
}

var began = time.Now()

// restPen returns when the writer is called again, or, with false, when it is to end.
func (l *Link) restPen() (late, goesOn bool) {
	s := l.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	l.penOut = false
	switch {
	case l.pen == nil || l.ending != nil:
		return false, false
	case !l.pen.rests():
		if l.pen.resting == 0 { // else another rests
			l.pen = nil
		}
		return false, false
	}
	goesOn = l.pen.rest(&s.mu, l.lookAtPen)
	return l.penLate, goesOn
}

// lookAtPen is the resting writer's watch.
func (l *Link) lookAtPen() {
	l.stream.mu.Lock()
	defer l.stream.mu.Unlock()
	if l.pen == nil {
		return
	}
	if l.pen.look(); !l.pen.watching && !l.penOut {
		l.pen = nil
	}
}
