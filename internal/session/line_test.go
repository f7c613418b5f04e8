package session

import (
	"encoding/binary"
	"fmt"
	"slices"

	"busd/internal/wire"
)

const (
	client = 0
	server = 1
)

// greeting is how many bytes the model's hello and welcome take: each says only
// what its end has seen.
const greeting = 8

// A line is a connection of the model: what each end has written on it and the
// other has not read.
type line struct {
	order   int
	bytes   [2][]byte // by who wrote them
	cut     bool      // it carries no more
	offered uint64    // what its hello says
	greeted bool      // the welcome was written
}

// write puts bytes on the line; on one that is cut they are lost.
func (l *line) write(end int, b []byte) {
	if !l.cut {
		l.bytes[end] = append(l.bytes[end], b...)
	}
}

// cut ends a line: of what is under way either way, some arrives, up to any byte.
func (h *history) cut(l *line) {
	if l == nil || l.cut {
		return
	}
	l.cut = true
	for end := range l.bytes {
		l.bytes[end] = l.bytes[end][:h.rng.IntN(len(l.bytes[end])+1)]
	}
}

// dial opens another line, with a hello on it. If one carries the session it is a
// move. The client waits for one welcome at a time; a hello that it gave up may
// arrive all the same.
func (h *history) dial() {
	h.order++
	c := h.ends[client]
	h.dialed = &line{order: h.order, offered: c.s.Seen()}
	h.dialed.write(client, binary.BigEndian.AppendUint64(nil, h.dialed.offered))
	h.hellos = append(h.hellos, h.dialed)
}

// connect lets one of the lines that were opened come a step further.
func (h *history) connect() error {
	if l := h.dialed; l != nil {
		switch {
		case l.greeted && len(l.bytes[server]) >= greeting:
			return h.greet(l)
		case l.cut && (l.greeted || !slices.Contains(h.hellos, l)):
			h.dialed = nil // the hello or the welcome was lost
			return nil
		}
	}
	if len(h.hellos) == 0 {
		return nil
	}
	at := h.rng.IntN(len(h.hellos))
	l := h.hellos[at]
	h.hellos = slices.Delete(h.hellos, at, at+1)
	if len(l.bytes[client]) < greeting || l.order < h.heard {
		l.cut = true // a token is spent once the client was heard on a newer line
		return nil
	}
	return h.accept(l)
}

// accept is the server's part of a resume. What stands on the line that it
// leaves is never read.
func (h *history) accept(l *line) error {
	s := h.ends[server]
	offered := binary.BigEndian.Uint64(l.bytes[client])
	l.bytes[client] = l.bytes[client][greeting:]
	l.greeted = true
	s.line = l
	seen := s.s.Seen()
	l.write(server, binary.BigEndian.AppendUint64(nil, seen))
	return s.resume(offered, seen)
}

// greet is the client's part.
func (h *history) greet(l *line) error {
	c := h.ends[client]
	seen := binary.BigEndian.Uint64(l.bytes[server])
	l.bytes[server] = l.bytes[server][greeting:]
	h.dialed = nil
	c.line = l
	return c.resume(seen, l.offered)
}

// resume goes on over a line that was greeted.
func (p *player) resume(seen, offered uint64) error {
	tags, err := p.doors.resume(p.s, seen, offered)
	if err != nil {
		return fmt.Errorf("%s resumes: %w", p.name, err)
	}
	if err := p.acknowledged(seen, tags); err != nil {
		return fmt.Errorf("%s resumes: %w", p.name, err)
	}
	if got, want := p.s.Repeated(), int(p.numbered-p.acked); got != want {
		return fmt.Errorf("%s writes %d frames again, want %d", p.name, got, want)
	}
	p.held = false
	p.cancels = p.doors.revoked(p.s)
	return nil
}

// gone tells whether nothing more will come to an end on the line that carries
// its session: it was cut, or the other end has left it.
func (h *history) gone(p *player) bool {
	l := p.line
	return l.cut || (l != p.peer.line && l != h.dialed)
}

// write writes what the session has to write, and an ack if one is due or ack
// says so.
func (h *history) write(p *player, limit int, ack bool) error {
	if p.line == nil {
		return nil
	}
	h.buf = h.buf[:0]
	if p.s.AckDue() || (ack && p.s.Unreported()) {
		if err := h.writeAck(p); err != nil {
			return err
		}
	}
	for !p.s.Repeating() && len(p.cancels) > 0 { // after what they are about
		h.buf = wire.AppendCancel(h.buf, p.cancels[0])
		p.cancels = p.cancels[1:]
	}
	writable, start := p.s.Writable(), len(h.buf)
	h.buf = p.s.AppendFrames(h.buf, start+limit)
	if writable != (len(h.buf) > start) {
		return fmt.Errorf("%s: Writable %t, but %d bytes were written", p.name, writable, len(h.buf)-start)
	}
	for rest := h.buf[start:]; len(rest) > 0; {
		f, err := lettered.Next(rest)
		if err != nil {
			return fmt.Errorf("%s wrote what is no frame: %w", p.name, err)
		}
		if err := p.wrote(&f, rest[:f.Size]); err != nil {
			return err
		}
		rest = rest[f.Size:]
	}
	p.line.write(p.end, h.buf)
	return nil
}

func (h *history) writeAck(p *player) error {
	h.buf = p.s.AppendAck(h.buf)
	f, err := lettered.Next(h.buf)
	switch {
	case err != nil:
		return fmt.Errorf("%s wrote what is no ack: %w", p.name, err)
	case f.Seen != p.arrived || f.Released != p.released:
		return fmt.Errorf("%s acknowledges %d and gives back %d, want %d and %d", p.name, f.Seen, f.Released, p.arrived, p.released)
	case p.s.Unreported() || p.s.AckDue():
		return fmt.Errorf("%s: something is unreported right after an ack", p.name)
	}
	return nil
}

// read reads so many frames from the line that carries the session of p, or
// finds that nothing more comes.
func (h *history) read(p *player, frames int) error {
	for ; frames > 0 && p.line != nil; frames-- {
		l, from := p.line, p.peer.end
		f, err := lettered.Next(l.bytes[from])
		if err != nil { // a part of a frame, or nothing
			switch {
			case h.gone(p):
				p.line = nil
			case len(l.bytes[from]) > 0:
				return fmt.Errorf("%s reads what is no frame: %w", p.name, err)
			}
			return nil
		}
		l.bytes[from] = l.bytes[from][f.Size:]
		if p.end == server {
			h.heard = max(h.heard, l.order)
		}
		if err := p.take(&f); err != nil {
			return fmt.Errorf("%s reads frame %s %d: %w", p.name, f.Kind, f.N, err)
		}
	}
	return nil
}
