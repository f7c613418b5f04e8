package session

import (
	"bytes"
	"fmt"
	"slices"
)

// check looks at what must hold at any moment.
func (p *player) check() error {
	s := p.s
	if s.spent != p.spent || s.credit != p.credit() || s.spent > s.credit {
		return fmt.Errorf("%s: %d bytes of %d of credit spent, want %d of %d", p.name, s.spent, s.credit, p.spent, p.credit())
	}
	bulk, urgent := s.lanes[Bulk].waiting+p.unacked[Bulk], s.lanes[Urgent].waiting+p.unacked[Urgent]
	p.grown = p.grown && bulk > p.buffer
	bound := p.buffer
	if p.grown {
		bound *= latestBound
	}
	if bulk > bound || urgent > p.buffer || s.Queued() != bulk+urgent {
		return fmt.Errorf("%s: %d and %d bytes are kept, want at most %d and %d, and %d together", p.name, bulk, urgent, bound, p.buffer, s.Queued())
	}
	if got, want := s.unacknowledged(), int(p.numbered-p.acked); got != want || s.Unacked() != (want > 0) {
		return fmt.Errorf("%s: %d frames kept, but %d are not acknowledged", p.name, got, want)
	}
	if len(s.asked) != p.asking || len(s.numbers) != p.asking || s.Asking() != (p.asking > 0) {
		return fmt.Errorf("%s: %d, %d requests wait for an answer, want %d", p.name, len(s.asked), len(s.numbers), p.asking)
	}
	if s.Seen() != p.arrived {
		return fmt.Errorf("%s has seen %d frames, want %d", p.name, s.Seen(), p.arrived)
	}
	if s.Memory() < s.Queued() {
		return fmt.Errorf("%s keeps %d bytes in a memory of %d", p.name, s.Queued(), s.Memory())
	}
	return nil
}

// settle connects the two, lets them finish, and looks whether all came to its
// end. With hold the client begins nothing more, and maybe the server neither:
// what is unsent is for another session.
func (h *history) settle(hold bool) error {
	if err := h.reconnect(!hold); err != nil {
		return err
	}
	for _, p := range h.ends {
		if hold && (p.end == client || h.rng.IntN(2) == 0) {
			p.s.Hold()
			p.held = true
		}
	}
	if err := h.askAll(); err != nil {
		return err
	}
	for range 10_000 {
		if h.resting() {
			return h.over()
		}
		for _, p := range h.ends {
			if _, err := h.exchange(p, true); err != nil {
				return err
			}
			h.handle(p.peer, 1<<20)
		}
	}
	return fmt.Errorf("the two never come to rest: %+v and %+v", h.ends[0].s, h.ends[1].s)
}

// reconnect gives both ends a line that carries the session, if they have none:
// a resume begins again what was held, so with anew they get another one if
// either holds.
func (h *history) reconnect(anew bool) error {
	c, s := h.ends[client], h.ends[server]
	if c.line != nil && c.line == s.line && !c.line.cut && (!anew || !c.held && !s.held) {
		h.hellos, h.dialed = nil, nil
		return nil
	}
	h.cut(c.line)
	h.cut(s.line)
	h.hellos = nil
	h.dial()
	if err := h.connect(); err != nil {
		return err
	}
	return h.connect()
}

// exchange lets one end write all that it may, and the other read it. It tells
// whether anything was written.
func (h *history) exchange(p *player, ack bool) (wrote bool, err error) {
	if err := h.write(p, 1<<20, ack); err != nil {
		return false, err
	}
	wrote = len(h.buf) > 0
	if err := h.read(p.peer, 1<<20); err != nil {
		return wrote, err
	}
	if err := p.check(); err != nil {
		return wrote, err
	}
	return wrote, p.peer.check()
}

// askAll looks whether an ack that is asked for comes, without anything being
// handled and without company, and whether each cancel came.
func (h *history) askAll() error {
	for more := true; more; {
		more = false
		for _, p := range h.ends {
			if p.s.Unacked() {
				p.s.AskAck()
			}
			wrote, err := h.exchange(p, false)
			if err != nil {
				return err
			}
			more = more || wrote || p.peer.s.AckDue()
		}
	}
	for _, p := range h.ends {
		if p.s.Unacked() {
			return fmt.Errorf("%s asked for an ack of %d frames, and got one of %d", p.name, p.numbered, p.acked)
		}
		for _, l := range p.letters {
			if l.back && l.n != 0 && !l.settled && !p.peer.canceled[l.n] {
				return fmt.Errorf("%s took request %d back, and the %s never heard of it", p.name, l.n, p.peer.name)
			}
		}
	}
	return nil
}

// resting tells whether neither end will do anything more.
func (h *history) resting() bool {
	for _, p := range h.ends {
		if len(p.line.bytes[p.end])+len(p.waits) > 0 || p.s.Unacked() || p.s.Unreported() || p.s.Asking() ||
			p.first(Urgent) != nil || (p.first(Bulk) != nil && !p.held) {
			return false
		}
	}
	return true
}

// over looks at what must hold when nothing is under way.
func (h *history) over() error {
	for _, p := range h.ends {
		for _, l := range p.letters {
			switch {
			case l.n == 0 && !l.back && (!p.held || l.lane == Urgent):
				return fmt.Errorf("%s: letter %d was lost", p.name, l.id)
			case l.tag != 0 && l.n != 0 && !l.settled:
				return fmt.Errorf("%s: tag %d never heard of its end", p.name, l.tag)
			}
		}
		if p.peer.arrived != p.numbered {
			return fmt.Errorf("%s wrote %d frames, %d arrived", p.name, p.numbered, p.peer.arrived)
		}
		for key, newest := range p.newest {
			if l := p.latest[key]; l == nil && p.peer.versions[key] != newest {
				return fmt.Errorf("%s: version %d of key %d came, and never %d", p.name, p.peer.versions[key], key, newest)
			}
		}
		if got := p.s.credit - p.s.spent; got != p.s.granted {
			return fmt.Errorf("%s: credit left: got %d, want all %d back", p.name, got, p.s.granted)
		}
		if err := p.empty(); err != nil {
			return err
		}
	}
	return nil
}

// empty looks whether a session at rest holds nothing, but for what is unsent
// where it begins nothing any more.
func (p *player) empty() error {
	s, unsent := p.s, 0
	if p.first(Bulk) != nil {
		unsent = s.lanes[Bulk].waiting
	} else if s.Memory() != 0 || len(s.latest)+len(s.given) != 0 || s.Unsent() {
		return fmt.Errorf("%s holds on to something at rest: %+v", p.name, s)
	}
	if s.Queued() != unsent || len(s.asked)+len(s.numbers)+len(s.revoked) != 0 ||
		s.Repeating() || s.Unacked() || s.lanes[Bulk].written != 0 || s.lanes[Urgent] != (queue{}) {
		return fmt.Errorf("%s holds on to something at rest: %+v", p.name, s)
	}
	return nil
}

// lose ends a session while anything may be under way. What the peer may or may
// not have is reported, what was never written goes to the next session.
func (h *history) lose() error {
	for _, p := range h.ends {
		unknown := 0
		for _, l := range p.byNumber {
			if l.n > p.acked && l.lane == Bulk && l.tag == 0 {
				unknown++
			}
		}
		if got := p.s.Unacknowledged(); got != unknown {
			return fmt.Errorf("%s reports that %d letters may be lost, want %d", p.name, got, unknown)
		}
		if p.acked > p.peer.arrived {
			return fmt.Errorf("%s takes %d frames for seen, only %d arrived", p.name, p.acked, p.peer.arrived)
		}
	}
	for _, p := range h.ends {
		for key := range p.newest { // lost, and reported
			if p.latest[key] == nil {
				p.newest[key] = p.peer.versions[key]
			}
		}
	}
	return h.handOver()
}

// handOver puts what is unsent into a new session.
func (h *history) handOver() error {
	var unsent [2][]*letter
	for i, p := range h.ends {
		letters := slices.DeleteFunc(slices.Clone(p.waiting[Bulk]), func(l *letter) bool { return l.back })
		unsent[i] = letters
		var err error
		p.doors.unsent(p.s, func(frame []byte, tag uint64) {
			if len(letters) == 0 || letters[0].tag != tag || !bytes.Equal(letters[0].frame, frame) {
				err = fmt.Errorf("%s: unsent: got a frame of tag %d and %d bytes, which is not the next letter", p.name, tag, len(frame))
				return
			}
			letters = letters[1:]
		})
		if err != nil {
			return err
		}
		if len(letters) > 0 {
			return fmt.Errorf("%s: unsent: %d letters are left out", p.name, len(letters))
		}
	}
	h.begin()
	for i, p := range h.ends {
		for _, l := range unsent[i] {
			p.queue(l) // it may not wait for room
			p.grown = p.grown || p.s.kept(Bulk) > p.buffer
		}
	}
	return nil
}
