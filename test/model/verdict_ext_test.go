package model_test

import (
	"errors"
	"time"

	"busd/bus"
	"busd/internal/link"
	"busd/msgbus"
)

// verdict looks, at rest, whether the ledger adds up.
func (h *history) verdict() {
	b := h.ledger
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range h.all {
		for _, st := range e.srv.Stats() {
			e.dropped = int(st.Volatile)
		}
	}
	for _, l := range b.letters {
		if (l.kind == note && !l.isToMany() && l.err == nil && len(l.runs) == 1 && !h.excusedLocked(l) && b.pretendsLocked(lostInSilence)) ||
			(l.kind == ask && l.err == nil && b.pretendsLocked(answeredOnly)) {
			l.runs = nil
		}
		switch {
		case !l.returned:
			b.breachLocked("%v: the call has not returned", l)
		case l.isToMany():
			h.judgeBroadcastLocked(l)
		default:
			h.judgeLocked(l)
		}
	}
	for _, a := range h.agents {
		h.judgeEpochsLocked(a)
	}
	h.judgeRestLocked()
}

func (l *letter) isToMany() bool { return l.house != nil && l.to == "" }

// judgeLocked looks what became of a letter to one.
func (h *history) judgeLocked(l *letter) {
	b := h.ledger
	n, waits := len(l.runs), l.kind == ask || l.acked
	switch {
	case n > 1:
		b.breachLocked("%v was handled %d times", l, n)
	case l.err != nil && n > 0 && !(waits && mayBeHandled(l.err)):
		b.breachLocked("%v was handled, and the call says %v", l, l.err)
	case l.err != nil && n == 0 && bus.AsError(l.err).Remote && !errors.Is(l.err, bus.ErrDropped) && bus.CodeOf(l.err) != bus.CodeDeadlineExceeded:
		b.breachLocked("%v was not handled, and the answer is %v", l, l.err)
	case l.err == nil && n == 0 && l.kind == ask:
		b.breachLocked("%v was not handled, and is answered", l)
	case l.err == nil && n == 0 && !h.excusedLocked(l):
		b.breachLocked("%v is lost, and nobody was told", l)
	case l.err != nil && h.calm && !l.mayFail():
		b.breachLocked("%v fails, though nothing went wrong: %v", l, l.err)
	}
	if n == 1 && l.deed == fails && l.kind != ask && l.agent != nil {
		h.judgeFailureLocked(l)
	}
}

// mayBeHandled tells whether an error leaves it open whether a letter that
// somebody waits for was handled, or says that its handler failed.
func mayBeHandled(err error) bool {
	e := bus.AsError(err)
	if e.Remote && !errors.Is(err, bus.ErrDropped) {
		return true
	}
	switch e.Code {
	case bus.CodeSessionLost, bus.CodeDeadlineExceeded, bus.CodeCanceled:
		return true
	}
	return false
}

// mayFail tells whether a letter's call may fail though nothing goes wrong: it was
// meant to, or a service sends it to who has gone elsewhere.
func (l *letter) mayFail() bool {
	return l.house != nil || (l.kind == ask && (l.deed == fails || l.deed == panics || l.deed == exits))
}

// judgeFailureLocked: who sent what failed must have been told, once.
func (h *history) judgeFailureLocked(l *letter) {
	s, _ := l.runs[0].at.(*session)
	switch {
	case l.told > 1:
		h.ledger.breachLocked("%v failed, and its sender was told %d times", l, l.told)
	case l.told == 0 && s != nil && s.gone == 0 && !s.house.killed && !l.agent.isOver:
		h.ledger.breachLocked("%v failed, and its sender was not told", l)
	}
}

// excusedLocked tells whether it was reported that a letter may be lost, or whether
// its class allows it.
func (h *history) excusedLocked(l *letter) bool {
	switch {
	case l.kind == state && h.supersededLocked(l):
		return true
	case l.agent != nil && h.excusedOfAgentLocked(l, l.agent):
		return true
	case l.agent != nil:
		return l.kind == blink && h.big // there may have been no room, which a client does not count
	case l.house.excusedLocked(l, h.calm):
		return true
	case l.kind == blink && l.house.dropped > 0:
		l.house.dropped--
		return true
	}
	return false
}

func (e *house) excusedLocked(l *letter, calm bool) bool {
	if l.in != nil {
		return !l.in.accepted || excusedIn(l.in, l, calm)
	}
	for _, s := range e.rolls[l.to].sessions {
		if excusedIn(s, l, calm) && (s.gone == 0 || !s.goneAt.Before(l.begun)) {
			return true
		}
	}
	return false
}

// excusedIn: the end of a session is what tells its service of a loss.
func excusedIn(s *session, l *letter, calm bool) bool {
	return s.house.killed || (s.gone > 0 && !(calm && l.ended.Before(s.goneAt.Add(-time.Minute))))
}

// supersededLocked tells whether a newer letter of the same key was taken.
func (h *history) supersededLocked(l *letter) bool {
	for _, newer := range h.ledger.letters[l.id:] {
		if newer.kind == state && newer.key == l.key && newer.from == l.from && newer.err == nil &&
			(newer.in == l.in || newer.in == nil || l.in == nil) {
			return true
		}
	}
	return false
}

// excusedOfAgentLocked: a new session, or the end of a client, is what tells of a
// loss. What was sent after the end of the last connection before is carried.
func (h *history) excusedOfAgentLocked(l *letter, a *agent) bool {
	for i, e := range a.epochs {
		if i > 0 && !l.begun.After(e.ended) && (e.reason != "" || e.lost > 0 || h.window < 0) {
			return !h.calm
		}
	}
	switch {
	case a.isOver && (!a.isClosed || a.closed != nil):
		return true // Run, or Close, said so
	case !a.isClosed:
		return false
	}
	// All of it arrived, and has a while to be handled, unless the session has ended
	// otherwise.
	for _, e := range h.all {
		if e.killed {
			return true
		}
		for _, s := range e.rollLocked(a.identity).sessions {
			if s.gone > 0 && !s.goneAt.Before(l.begun) &&
				(bus.CodeOf(s.why) != bus.CodeGoingAway || s.goneAt.Before(a.closing) || s.goneAt.Sub(a.closing) >= link.FinishLimit) {
				return true
			}
		}
	}
	return false
}

// judgeBroadcastLocked: everybody gets it once whose session was there before, and
// is there still.
func (h *history) judgeBroadcastLocked(l *letter) {
	b := h.ledger
	if l.err != nil {
		b.breachLocked("%v: the broadcast fails: %v", l, l.err)
	}
	for _, a := range h.agents {
		n := 0
		for _, r := range l.runs {
			if r.at == a {
				n++
			}
		}
		switch s := l.house.sessionOfLocked(a.identity); {
		case n > 1:
			b.breachLocked("%v came %d times to %s", l, n, a.name)
		case n == 0 && s != nil && s.accepted && s.since.Before(l.begun) && s.gone == 0 && !l.house.killed &&
			(l.key == "" || l.key == groupOf(a.identity)) && !h.clonedLocked(a):
			b.breachLocked("%v did not come to %s", l, a.name)
		}
	}
}

// sessionOfLocked returns the last session of an identity, or nil.
func (e *house) sessionOfLocked(id bus.Identity) *session {
	r := e.rolls[id]
	if r == nil || len(r.sessions) == 0 {
		return nil
	}
	return r.sessions[len(r.sessions)-1]
}

// clonedLocked tells whether other clients have the same identity.
func (h *history) clonedLocked(a *agent) bool {
	for _, o := range h.agents {
		if o != a && o.identity == a.identity {
			return true
		}
	}
	return false
}

// judgeEpochsLocked looks what a client was told of its sessions.
func (h *history) judgeEpochsLocked(a *agent) {
	b := h.ledger
	for i, e := range a.epochs {
		switch {
		case i == 0 && (e.reason != "" || e.lost > 0):
			b.breachLocked("%s: its first session is %+v", a.name, e)
		case i == 0:
		case h.window < 0 && e.reason != "":
			b.breachLocked("%s: there are no sessions, and one is %s", a.name, e.reason)
		case h.calm && e.lost > 0:
			b.breachLocked("%s: %d messages are lost, though nothing went wrong", a.name, e.lost)
		case h.isSteady() && e.at.Sub(a.epochs[i-1].dialed) < orDefault(h.window):
			b.breachLocked("%s: a session ends (%s, %d lost) within %s, though nobody has ended it", a.name, e.reason, e.lost, e.at.Sub(a.epochs[i-1].dialed))
		case e.reason == "expired" && h.window > 0 && e.at.Sub(a.epochs[i-1].dialed) < h.window:
			b.breachLocked("%s: a session is expired within %s", a.name, e.at.Sub(a.epochs[i-1].dialed))
		}
	}
}

// isSteady tells whether nothing but time ends a session, whatever becomes of lines
// and of clients that move.
func (h *history) isSteady() bool {
	return h.steady && len(h.nodes) == 1 && h.memory == 0 && !h.big && h.window >= 0
}

// orDefault is what a service takes a window of 0 for.
func orDefault(window time.Duration) time.Duration {
	if window == 0 {
		return msgbus.DefaultWindow
	}
	return window
}

// judgeRestLocked looks whether everything that was used was given back.
func (h *history) judgeRestLocked() {
	b := h.ledger
	live := 0
	for _, a := range h.agents {
		if !a.isOver {
			live++
		}
	}
	conns, sessions := 0, 0
	for _, e := range h.all {
		for _, st := range e.srv.Stats() {
			conns += st.Conns
			sessions += st.Sessions
			if st.Queued > 0 {
				b.breachLocked("%s has %d bytes that nobody takes", e.name, st.Queued)
			}
		}
	}
	if conns != live || sessions != live {
		b.breachLocked("%d connections and %d sessions at rest, want %d", conns, sessions, live)
	}
}
