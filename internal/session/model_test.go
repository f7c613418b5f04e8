package session

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"busd/internal/wire"
)

var (
	replaySeed = flag.Uint64("seed", 0, "replay one history of TestModel; 0: all")
	histories  = flag.Int("histories", 20_000, "how many histories TestModel plays")
)

// TestModel plays random histories between two sessions that are joined by two
// queues of bytes, and looks after each step whether both ends still keep what
// they promise.
func TestModel(t *testing.T) {
	t.Parallel()
	if *replaySeed != 0 {
		playHistory(t, *replaySeed)
		return
	}
	n := uint64(*histories)
	if testing.Short() {
		n = min(n, 2000)
	}
	for seed := uint64(1); seed <= n; seed++ {
		playHistory(t, seed)
		if t.Failed() {
			t.Fatalf("replay with: go test ./internal/session -run TestModel -seed=%d", seed)
		}
	}
}

func playHistory(t *testing.T, seed uint64) {
	t.Helper()
	h := newHistory(seed)
	defer func() {
		if v := recover(); v != nil {
			t.Errorf("seed %d: panic: %v", seed, v)
		}
	}()
	if err := h.play(); err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
}

// A letter is a frame that the model has put.
type letter struct {
	id      uint64
	lane    Lane
	size    int // without its number
	tag     uint64
	request bool
	unsent  bool
	back    bool // withdrawn
	settled bool // answered or acked
}

// A player is one end: its session, and what the model knows that it must be
// like.
type player struct {
	name     string
	s        *Session
	grant    int
	buffer   int
	wire     []byte // written, not read by the other end
	letters  []*letter
	byTag    map[uint64]*letter
	byNumber map[uint64]*letter
	numbered uint64
	arrived  uint64
	waits    []wire.Frame // read, not handled
	inUse    uint64       // credit of what waits
}

type history struct {
	rng  *rand.Rand
	ends [2]*player
	tags uint64
}

func newHistory(seed uint64) *history {
	h := &history{rng: rand.New(rand.NewPCG(seed, 0))}
	grants := [2]int{1 << (8 + h.rng.IntN(5)), 1 << (8 + h.rng.IntN(5))}
	for i := range h.ends {
		buffer := 1 << (8 + h.rng.IntN(5))
		h.ends[i] = &player{
			name: string(rune('A' + i)), s: New(grants[i], grants[1-i], buffer),
			grant: grants[i], buffer: buffer,
			byTag: map[uint64]*letter{}, byNumber: map[uint64]*letter{},
		}
	}
	return h
}

func (h *history) play() error {
	for range 20 + h.rng.IntN(80) {
		i := h.rng.IntN(2)
		if err := h.step(h.ends[i], h.ends[1-i]); err != nil {
			return err
		}
	}
	return h.settle()
}

func (h *history) step(p, peer *player) error {
	var err error
	switch h.rng.IntN(8) {
	case 0, 1:
		h.put(p)
	case 2:
		h.withdraw(p)
	case 3, 4:
		err = h.write(p, 1+h.rng.IntN(600), h.rng.IntN(3) == 0)
	case 5, 6:
		err = h.read(p, peer, 1+h.rng.IntN(4))
	case 7:
		h.handle(p, 1+h.rng.IntN(3))
	}
	if err == nil {
		err = p.check()
	}
	return err
}

// frame makes a data or request frame that holds id.
func frame(kind wire.Kind, id uint64, padding int) []byte {
	b := []byte{0x94, byte(kind), 0xa1, 'M', 0x81, 0xa1, 'p', 0xc5, 0, 0}
	binary.BigEndian.PutUint16(b[8:], uint16(8+padding))
	b = binary.BigEndian.AppendUint64(b, id)
	return append(b, make([]byte, padding)...)
}

func idOf(f *wire.Frame) uint64 { return binary.BigEndian.Uint64(f.Body[6:]) }

func (h *history) put(p *player) {
	kind := wire.Data
	waits := h.rng.IntN(4)
	if waits == 0 {
		kind = wire.Request
	}
	l := &letter{id: uint64(len(p.letters)), lane: Bulk, unsent: true}
	// At most a quarter of the credit, as the bus has it.
	room := min(h.ends[0].grant, h.ends[1].grant) / 4
	b := frame(kind, l.id, h.rng.IntN(max(1, room-32)))
	l.size = len(b)
	if !p.s.Room(Bulk, len(b)) {
		return
	}
	if waits < 2 {
		h.tags++
		l.tag = h.tags
		p.byTag[l.tag] = l
	}
	switch waits {
	case 0:
		l.request = true
		p.s.PutRequest(b, l.tag)
	case 1:
		p.s.PutAcked(b, l.tag)
	default:
		p.s.Put(Bulk, b)
	}
	p.letters = append(p.letters, l)
}

func (h *history) withdraw(p *player) {
	for _, l := range p.letters {
		if !l.request || l.back || l.settled || h.rng.IntN(3) > 0 {
			continue
		}
		l.back = true
		_, written := p.s.Withdraw(l.tag)
		if written == l.unsent {
			panic(fmt.Sprintf("%s: Withdraw(%d): written %t, but unsent %t", p.name, l.tag, written, l.unsent))
		}
		return
	}
}

func (h *history) write(p *player, limit int, ack bool) error {
	if p.s.AckDue() || ack {
		p.wire = p.s.AppendAck(p.wire)
		if p.s.Unreported() {
			return fmt.Errorf("%s: something is unreported right after an ack", p.name)
		}
	}
	writable := p.s.Writable()
	b := p.s.AppendFrames(nil, limit)
	if writable != (len(b) > 0) {
		return fmt.Errorf("%s: Writable %t, but %d bytes were written", p.name, writable, len(b))
	}
	for rest := b; len(rest) > 0; {
		f, err := wire.Decoder{}.Next(rest)
		if err != nil {
			return fmt.Errorf("%s wrote what is no frame: %w", p.name, err)
		}
		rest = rest[f.Size:]
		if err := p.wrote(&f); err != nil {
			return err
		}
	}
	p.wire = append(p.wire, b...)
	return nil
}

// wrote follows what the session chose to write.
func (p *player) wrote(f *wire.Frame) error {
	if p.numbered++; f.N != p.numbered {
		return fmt.Errorf("%s: frame number: got %d, want %d", p.name, f.N, p.numbered)
	}
	var l *letter
	for _, c := range p.letters { // the oldest of its lane that is not taken back
		if c.unsent && (!c.back || !c.request) && (c.lane == Bulk) == f.Kind.Consumes() {
			l = c
			break
		}
	}
	if l == nil {
		return fmt.Errorf("%s wrote a frame %s that was never put, or was taken back", p.name, f.Kind)
	}
	if f.Kind.Consumes() {
		if got := idOf(f); got != l.id {
			return fmt.Errorf("%s: order: got letter %d, want %d", p.name, got, l.id)
		}
		for _, c := range p.letters[:l.id] {
			if c.unsent && c.lane == Urgent {
				return fmt.Errorf("%s: letter %d passed the urgent letter %d", p.name, l.id, c.id)
			}
		}
	}
	l.unsent = false
	p.byNumber[f.N] = l
	return nil
}

func (h *history) read(p, peer *player, frames int) error {
	for ; frames > 0 && len(peer.wire) > 0; frames-- {
		f, err := wire.Decoder{}.Next(peer.wire)
		if err != nil {
			return fmt.Errorf("%s reads what is no frame: %w", p.name, err)
		}
		b := append([]byte(nil), f.Body...)
		f.Body, peer.wire = b, peer.wire[f.Size:]
		if err := p.take(&f); err != nil {
			return fmt.Errorf("%s reads frame %s %d: %w", p.name, f.Kind, f.N, err)
		}
	}
	return nil
}

func (p *player) take(f *wire.Frame) error {
	if f.Kind == wire.Ack {
		return p.acked(f)
	}
	if err := p.s.Received(f.N, f.Size, f.Kind.Consumes(), f.AckAtOnce()); err != nil {
		return err
	}
	if p.arrived++; f.N != p.arrived {
		return fmt.Errorf("lost: got number %d, want %d", f.N, p.arrived)
	}
	if f.Kind.Consumes() {
		if p.inUse += Cost(f.Size); p.inUse > uint64(p.grant) {
			return fmt.Errorf("credit exceeded: %d bytes wait, %d were granted", p.inUse, p.grant)
		}
		p.waits = append(p.waits, *f)
		return nil
	}
	tag, err := p.s.Answered(f.Re)
	if err != nil {
		return err
	}
	l := p.byNumber[f.Re]
	switch {
	case tag == 0 || l.tag != tag:
		return fmt.Errorf("answer to frame %d: got tag %d, want %d", f.Re, tag, l.tag)
	case l.settled:
		return fmt.Errorf("tag %d answered twice", tag)
	}
	l.settled = true
	return nil
}

func (p *player) acked(f *wire.Frame) error {
	tags, err := p.s.Acked(f.Seen, f.Released)
	if err != nil {
		return err
	}
	for _, tag := range tags {
		l := p.byTag[tag]
		if l == nil || l.request || l.unsent || l.settled {
			return fmt.Errorf("ack of tag %d: not one that waits for it", tag)
		}
		l.settled = true
	}
	return nil
}

// handle releases the oldest messages, and answers those that are requests.
func (h *history) handle(p *player, n int) {
	for ; n > 0 && len(p.waits) > 0; n-- {
		f := p.waits[0]
		if f.Kind == wire.Request {
			answer, _ := wire.AppendAnswer(nil, f.N, nil, nil)
			if !p.s.Room(Urgent, len(answer)) {
				return
			}
			p.letters = append(p.letters, &letter{id: uint64(len(p.letters)), lane: Urgent, size: len(answer), unsent: true})
			p.s.Put(Urgent, answer)
		}
		p.waits = p.waits[1:]
		p.inUse -= Cost(f.Size)
		p.s.Release(f.Size)
	}
}

// check looks at what must hold at any moment.
func (p *player) check() error {
	s := p.s
	if s.spent > s.credit {
		return fmt.Errorf("%s: %d bytes of credit spent, %d granted", p.name, s.spent, s.credit)
	}
	if got := s.lanes[Bulk].bytes() + s.unacked[Bulk]; got > p.buffer {
		return fmt.Errorf("%s: %d bytes of bulk kept, want at most %d", p.name, got, p.buffer)
	}
	if got := s.lanes[Urgent].bytes() + s.unacked[Urgent]; got > p.buffer {
		return fmt.Errorf("%s: %d urgent bytes kept, want at most %d", p.name, got, p.buffer)
	}
	if got := int(s.written - s.acked); got != s.sent.len() {
		return fmt.Errorf("%s: %d frames kept, but %d are not acknowledged", p.name, s.sent.len(), got)
	}
	if len(s.asked) != len(s.numbers) {
		return fmt.Errorf("%s: asked and numbers differ: %d, %d", p.name, len(s.asked), len(s.numbers))
	}
	return nil
}

// settle lets both ends finish, and looks whether all came to its end.
func (h *history) settle() error {
	for range 10_000 {
		for i, p := range h.ends {
			if err := h.write(p, 1<<20, p.s.Unreported()); err != nil {
				return err
			}
			if err := h.read(h.ends[1-i], p, 1<<20); err != nil {
				return err
			}
			h.handle(h.ends[1-i], 1<<20)
			if err := p.check(); err != nil {
				return err
			}
		}
		if h.quiet() {
			return h.over()
		}
	}
	return fmt.Errorf("the two never come to rest: %+v and %+v", h.ends[0].s, h.ends[1].s)
}

func (h *history) quiet() bool {
	for _, p := range h.ends {
		if len(p.wire)+len(p.waits) > 0 || p.s.Unsent() || p.s.Unacked() || p.s.Unreported() {
			return false
		}
	}
	return true
}

// over looks at what must hold when nothing is under way.
func (h *history) over() error {
	for i, p := range h.ends {
		s, peer := p.s, h.ends[1-i]
		for _, l := range p.letters {
			switch {
			case l.unsent && !l.back:
				return fmt.Errorf("%s: letter %d was lost", p.name, l.id)
			case l.tag != 0 && !l.unsent && !l.settled:
				return fmt.Errorf("%s: tag %d never heard of its end", p.name, l.tag)
			}
		}
		if peer.arrived != p.numbered {
			return fmt.Errorf("%s wrote %d frames, %d arrived", p.name, p.numbered, peer.arrived)
		}
		if s.credit-s.spent != s.granted {
			return fmt.Errorf("%s: credit left: got %d, want all %d back", p.name, s.credit-s.spent, s.granted)
		}
		if s.Queued() != 0 || len(s.asked)+len(s.numbers)+len(s.given) != 0 || s.unacked != [2]int{} {
			return fmt.Errorf("%s holds on to something at rest: %+v", p.name, s)
		}
		for lane := range s.lanes {
			if s.lanes[lane].storage != nil || s.sent.storage != nil {
				return fmt.Errorf("%s: an empty queue holds its storage", p.name)
			}
		}
	}
	return nil
}
