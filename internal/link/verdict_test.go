package link

import (
	"errors"
	"testing/synctest"

	"busd/bus"
	"busd/internal/wire"
)

// look looks at what must hold at any moment.
func (h *history) look() {
	settled := h.rng.IntN(4) == 0
	if settled {
		synctest.Wait()
	}
	for _, p := range h.parties {
		p.lookWhileCut(settled)
		p.e.mu.Lock()
		want := int64(0)
		if p.e.Stream.link == nil && p.e.over == nil && p.e.held {
			want = int64(p.e.memoryLocked())
		}
		told, cause := p.told.Load(), p.e.over
		p.e.mu.Unlock()
		if told != want {
			p.breach("told that %d bytes are kept, want %d", told, want)
		}
		if cause != nil && cause.Code != bus.CodeSlowConsumer {
			p.breach("the session ended: %v", cause)
		}
	}
}

// lookWhileCut wants no handler to begin while nothing carries the session.
func (p *party) lookWhileCut(settled bool) {
	p.mu.Lock()
	begun := p.begun
	p.mu.Unlock()
	p.e.mu.Lock()
	cut := p.e.over == nil && (p.e.Stream.link == nil || p.e.Stream.link.ending != nil)
	p.e.mu.Unlock()
	switch {
	case !cut:
		p.cutLink = nil
	case p.cutLink == p.e.link && p.cutAt != begun:
		p.breach("%d handlers began while nothing carried the session", begun-p.cutAt)
	case settled:
		p.cutLink, p.cutAt = p.e.link, begun
	}
}

// breaches says what went wrong, once all has ended.
func (h *history) breaches() (found []string) {
	for _, p := range h.parties {
		h.judge(p)
	}
	for _, p := range h.parties {
		found = append(found, p.breaches...)
	}
	return found
}

// judge looks at what became of a party's letters.
func (h *history) judge(p *party) {
	rested := h.finale == rest && bus.CodeOf(p.e.Stream.Cause()) == bus.CodeGoingAway && bus.CodeOf(p.other.e.Stream.Cause()) == bus.CodeGoingAway
	unsent, unknown := p.noteUnsent()
	p.mu.Lock()
	defer p.mu.Unlock()
	var states [stateKeys]*letter
	for _, l := range p.letters {
		switch {
		case l.handled > 1 || !l.returned: // told already
		case l.kind == latest:
			if l.err == nil {
				states[l.key] = l
			}
		case rested:
			p.judgeRested(l)
		case h.finale == handOver:
			p.judgeHandedOver(l, p.unsent[l.id], h.finished)
		}
		if l.handled > 0 && (p.unsent[l.id] || surelyUnsent(l.err)) {
			p.breachLocked("letter %d is handled, and is said to be unsent: %v", l.id, l.err)
		}
		if errors.Is(l.err, bus.ErrDropped) && !codeOfAnEnd(l.err) {
			p.breachLocked("letter %d: %v", l.id, l.err)
		}
	}
	if !rested {
		return
	}
	blinks := uint64(0)
	for _, l := range p.letters {
		if l.kind == volatile && l.err == nil && l.handled == 0 {
			blinks++
		}
	}
	if n := p.e.Counts().Dropped; n != blinks {
		p.breachLocked("%d volatile letters were not handled, it counted %d", blinks, n)
	}
	for key, l := range states {
		if l != nil && l.handled == 0 {
			p.breachLocked("state %d: the newest, letter %d, was not handled", key, l.id)
		}
	}
	if unsent+unknown > 0 || p.e.memoryLocked() > 0 {
		p.breachLocked("at rest %d letters are unsent, of %d it is not known whether they arrived, %d bytes are kept", unsent, unknown, p.e.memoryLocked())
	}
	if told := len(p.e.h.failures()); told < p.other.failed {
		p.breachLocked("%d letters failed, it was told %d times", p.other.failed, told)
	}
}

// noteUnsent takes note of the letters that are said to be unsent, and returns
// how many these are, and of how many it is not known.
func (p *party) noteUnsent() (unsent, unknown int) {
	frames, unknown := p.e.Unsent()
	ids := map[int64]bool{}
	for _, frame := range frames {
		m := msg(string(wire.NameIn(frame)))
		id, err := idOf(m, m.BodyOf(frame))
		if err != nil {
			p.breach("an unsent frame: %v", err)
		}
		ids[id] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.unsent {
		if !ids[id] {
			p.breachLocked("letter %d is unsent no more, in a session that has ended", id)
		}
	}
	p.unsent = ids
	return len(frames), unknown
}

// surelyUnsent tells whether a call says that its letter can be sent again: the
// session ended before it was written.
func surelyUnsent(err error) bool {
	return errors.Is(err, bus.ErrDropped) && bus.CodeOf(err) != bus.CodeSessionLost
}

// codeOfAnEnd tells whether a call may say so of a session that ended.
func codeOfAnEnd(err error) bool {
	switch bus.CodeOf(err) {
	case bus.CodeGoingAway, bus.CodeSlowConsumer, bus.CodeSessionLost, bus.CodeCanceled, bus.CodeDeadlineExceeded:
		return true
	}
	return false
}

// judgeRested: all that was taken was handled once, all that was not was not.
func (p *party) judgeRested(l *letter) {
	switch {
	case l.err == nil && l.handled == 0 && l.kind != volatile:
		p.breachLocked("letter %d (kind %d, deed %d, desk %d) is lost", l.id, l.kind, l.deed, l.desk)
	case l.err != nil && l.handled > 0 && l.kind != acked && !l.awaits():
		p.breachLocked("letter %d is handled, though it was not taken: %v", l.id, l.err)
	case errors.Is(l.err, bus.ErrDropped):
		p.breachLocked("letter %d: %v, though the session lives", l.id, l.err)
	}
}

// judgeHandedOver: what was begun was handled, the rest is unsent.
// At the client there is an end to it, so that some that arrived may be thrown
// away.
func (p *party) judgeHandedOver(l *letter, unsent, finished bool) {
	switch {
	case p.name == "server" && !finished:
	case bus.CodeOf(p.e.Stream.Cause()) == bus.CodeSlowConsumer || bus.CodeOf(p.other.e.Stream.Cause()) == bus.CodeSlowConsumer:
	case l.err == nil && l.handled == 0 && !unsent && l.kind != volatile:
		p.breachLocked("letter %d (kind %d, deed %d, desk %d) is lost in the hand-over", l.id, l.kind, l.deed, l.desk)
	case bus.CodeOf(l.err) == bus.CodeSessionLost:
		p.breachLocked("letter %d was begun, and lost: %v", l.id, l.err)
	}
}
