package session

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"busd/internal/wire"
	"busd/schema"
)

// keys is how many keys the model has for frames of class latest.
const keys = 3

// A letter is a frame that the model has put.
type letter struct {
	id      uint64 // in the order of putting, among all of its end
	lane    Lane
	frame   []byte // without its number
	waits   uint8
	tag     uint64
	key     int    // of class latest; 0: every one counts
	n       uint64 // its number; 0: unsent
	back    bool   // withdrawn
	settled bool   // answered or acked
}

// A parcel is a frame that was taken and is not handled.
type parcel struct {
	n    uint64
	size int
	asks bool
}

// A player is one end: its session, and what the model knows that it must be
// like. What the model knows it has from what was put and from what it saw on
// the line, never from the session.
type player struct {
	name   string
	end    int
	s      *Session
	peer   *player
	doors  *doors
	grant  int
	buffer int

	line    *line // that carries its session; nil: none does
	cancels []uint64
	held    bool

	// What it put.
	letters  []*letter    // of this session
	waiting  [2][]*letter // unsent, the oldest first
	byTag    []*letter    // of all sessions; the first has tag 1
	byNumber []*letter    // those written; the first has number base+1
	latest   [keys + 1]*letter
	newest   [keys + 1]uint64 // the last version put
	ids      uint64
	base     uint64 // the last number before this history began
	numbered uint64
	acked    uint64
	unacked  [2]int // bytes, by lane
	spent    uint64
	back     uint64 // credit that came back
	asking   int    // requests without an answer
	grown    bool   // frames of class latest grew beyond the bound

	// What it took.
	arrived  uint64
	versions [keys + 1]uint64
	waits    []parcel
	inUse    uint64 // credit of what waits
	released uint64
	canceled map[uint64]bool
}

// begin gives the player a session that is as if base frames had been written and
// come was how many had arrived, all of them acknowledged.
func (p *player) begin(base, come uint64) {
	p.s = New(p.grant, p.peer.grant, p.buffer)
	p.s.written, p.s.acked = base, base
	p.s.arrived, p.s.seen, p.s.toldSeen, p.s.next = come, come, come, come+1
	p.base, p.numbered, p.acked, p.arrived = base, base, base, come
	p.letters, p.waiting, p.byNumber = nil, [2][]*letter{}, nil
	p.latest = [keys + 1]*letter{}
	p.unacked, p.spent, p.back, p.asking, p.grown, p.held = [2]int{}, 0, 0, 0, false, false
	p.waits, p.inUse, p.released, p.canceled, p.cancels = nil, 0, 0, nil, nil
}

func (p *player) credit() uint64 { return uint64(p.peer.grant) + p.back }

func (p *player) numberedAs(n uint64) *letter { return p.byNumber[n-p.base-1] }

// frame makes a data or request frame that holds id and so many bytes more.
func frame(kind wire.Kind, id uint64, padding int) []byte {
	b := append(make([]byte, 0, 19+padding), 0x94, byte(kind), 0xa1, 'M', 0x81, 0xa1, 'p', 0xc5, 0, 0)
	binary.BigEndian.PutUint16(b[8:], uint16(8+padding))
	b = binary.BigEndian.AppendUint64(b, id)
	return b[:len(b)+padding]
}

// Where the attributes of such a frame have what it holds.
const (
	idAt      = 6
	keyAt     = idAt + 8
	versionAt = keyAt + 1
)

// lettered is the contract of such frames.
var lettered = wire.Decoder{Contract: wire.Compile(schema.MustNew("Test/Letters",
	schema.Definition{Name: "M", Attrs: []schema.Attribute{{Name: "p", Type: schema.Type{Kind: schema.Bytes}}}}))}

// put puts a letter, if there is room. waits says what for; key, if it is not 0,
// of which class latest it is.
func (p *player) put(waits uint8, key, padding int) error {
	kind := wire.Data
	if waits == waitAnswer {
		kind = wire.Request
	}
	p.ids++
	l := &letter{id: p.ids, lane: Bulk, waits: waits, key: key}
	if key > 0 {
		if old := p.latest[key]; old != nil {
			l.id = old.id // whose place it takes
		}
	}
	l.frame = frame(kind, l.id, 9+padding)
	if key > 0 {
		l.frame[4+keyAt] = byte(key)
		binary.BigEndian.PutUint64(l.frame[4+versionAt:], p.newest[key]+1)
		return p.putLatest(l)
	}
	if waits == waitAck {
		l.frame[0]++ // flags follow, which ask for an ack at once
		l.frame = append(l.frame, 1)
	}
	if !p.s.Room(Bulk, len(l.frame)) {
		return nil
	}
	if waits != waitNothing {
		p.byTag = append(p.byTag, l)
		l.tag = uint64(len(p.byTag))
	}
	p.queue(l)
	return nil
}

// putLatest puts a letter of class latest, or changes the one whose place it
// takes.
func (p *player) putLatest(l *letter) error {
	old := p.latest[l.key]
	if replaced := p.doors.replace(p.s, keyOf(l), l.frame); replaced {
		if old == nil {
			return fmt.Errorf("%s: letter %d took the place of none", p.name, l.id)
		}
		p.grown = p.grown || len(l.frame) > len(old.frame)
		old.frame = l.frame
		p.newest[l.key]++
		return nil
	}
	if !p.s.Room(Bulk, len(l.frame)) {
		return nil
	}
	p.newest[l.key]++
	if old == nil {
		p.queue(l)
		return nil
	}
	old.frame = l.frame // it was too large to take the place without room
	p.s.PutLatest(keyOf(l), l.frame)
	return nil
}

func keyOf(l *letter) string { return string(rune('a' + l.key)) }

// queue gives a letter to the session.
func (p *player) queue(l *letter) {
	switch {
	case l.key > 0:
		p.s.PutLatest(keyOf(l), l.frame)
		p.latest[l.key] = l
	case l.waits == waitAnswer:
		p.s.PutRequest(l.frame, l.tag)
	case l.waits == waitAck:
		p.s.PutAcked(l.frame, l.tag)
	default:
		p.s.Put(l.lane, l.frame)
	}
	p.letters = append(p.letters, l)
	p.waiting[l.lane] = append(p.waiting[l.lane], l)
}

// answer says what came of a frame of the peer's.
func (p *player) answer(n uint64) bool {
	b, _ := wire.AppendAnswer(nil, n, nil, nil)
	if !p.s.Room(Urgent, len(b)) {
		return false
	}
	p.ids++
	p.queue(&letter{id: p.ids, lane: Urgent, frame: b})
	return true
}

// withdraw takes a request back that was not answered.
func (p *player) withdraw(l *letter) error {
	l.back = true
	n, written := p.s.Withdraw(l.tag)
	if written != (l.n != 0) || n != l.n {
		return fmt.Errorf("%s: Withdraw(%d): got number %d, %t; it was written as %d", p.name, l.tag, n, written, l.n)
	}
	if written && p.line != nil {
		p.cancels = append(p.cancels, n)
	}
	return nil
}

// first returns the oldest unsent letter of a lane that was not taken back.
func (p *player) first(lane Lane) *letter {
	for len(p.waiting[lane]) > 0 && p.waiting[lane][0].back {
		p.waiting[lane] = p.waiting[lane][1:]
	}
	if len(p.waiting[lane]) == 0 {
		return nil
	}
	return p.waiting[lane][0]
}

// wrote follows what the session chose to write.
func (p *player) wrote(f *wire.Frame, raw []byte) error {
	if f.N <= p.numbered {
		if f.N <= p.acked {
			return fmt.Errorf("%s wrote frame %d again: %d are acknowledged", p.name, f.N, p.acked)
		}
		return p.same(p.numberedAs(f.N), f, raw)
	}
	if f.N != p.numbered+1 {
		return fmt.Errorf("%s: frame number: got %d, want %d", p.name, f.N, p.numbered+1)
	}
	bulk, urgent := p.first(Bulk), p.first(Urgent)
	l, other := urgent, bulk
	if f.Kind.Consumes() {
		l, other = bulk, urgent
	}
	switch {
	case l == nil:
		return fmt.Errorf("%s wrote a frame %s that was never put, or was taken back", p.name, f.Kind)
	case l == bulk && p.held:
		return fmt.Errorf("%s began letter %d: it begins nothing any more", p.name, l.id)
	case other != nil && other.id < l.id && (l == bulk || p.affordable(other)):
		return fmt.Errorf("%s: letter %d passed letter %d", p.name, l.id, other.id)
	}
	p.numbered++
	p.byNumber = append(p.byNumber, l)
	p.waiting[l.lane] = p.waiting[l.lane][1:]
	l.n = f.N
	p.unacked[l.lane] += len(l.frame)
	if l.lane == Bulk {
		p.spent += Cost(f.Size)
	}
	if l.waits == waitAnswer {
		p.asking++
	}
	p.latest[l.key] = nil
	return p.same(l, f, raw)
}

// affordable tells whether a letter could have been written.
func (p *player) affordable(l *letter) bool {
	return !p.held && p.spent+Cost(len(l.frame)+wire.NumberSize(p.numbered+1)) <= p.credit()
}

// same tells whether a frame is the letter.
func (p *player) same(l *letter, f *wire.Frame, raw []byte) error {
	head := 2 + wire.NumberSize(l.n)
	if f.N != l.n || !bytes.Equal(raw[:2], l.frame[:2]) || !bytes.Equal(raw[head:], l.frame[2:]) {
		return fmt.Errorf("%s wrote frame %s %d, which is not letter %d as it was put last", p.name, f.Kind, f.N, l.id)
	}
	return nil
}

// take takes one frame from the line.
func (p *player) take(f *wire.Frame) error {
	switch f.Kind {
	case wire.Ack:
		return p.takeAck(f)
	case wire.Cancel:
		if f.Re > p.arrived {
			return fmt.Errorf("cancel of frame %d: only %d arrived", f.Re, p.arrived)
		}
		if p.canceled == nil {
			p.canceled = map[uint64]bool{}
		}
		p.canceled[f.Re] = true
		return nil
	}
	fresh, err := p.doors.received(p.s, f)
	switch {
	case err != nil:
		return err
	case !fresh && f.N <= p.arrived:
		return nil
	case !fresh || f.N != p.arrived+1:
		return fmt.Errorf("frame %d is handed up: %t; %d were before", f.N, fresh, p.arrived)
	}
	p.arrived++
	if f.Kind.Consumes() {
		return p.takeBulk(f)
	}
	return p.takeAnswer(f)
}

func (p *player) takeBulk(f *wire.Frame) error {
	if got, want := binary.BigEndian.Uint64(f.Body[idAt:]), p.peer.numberedAs(f.N).id; got != want {
		return fmt.Errorf("got letter %d, want %d", got, want)
	}
	if key := f.Body[keyAt]; key > 0 {
		version := binary.BigEndian.Uint64(f.Body[versionAt:])
		if version <= p.versions[key] {
			return fmt.Errorf("version %d of key %d comes after %d", version, key, p.versions[key])
		}
		p.versions[key] = version
	}
	if p.inUse += Cost(f.Size); p.inUse > uint64(p.grant) {
		return fmt.Errorf("credit exceeded: %d bytes wait, %d were granted", p.inUse, p.grant)
	}
	p.waits = append(p.waits, parcel{n: f.N, size: f.Size, asks: f.Kind == wire.Request})
	return nil
}

func (p *player) takeAnswer(f *wire.Frame) error {
	tag, err := p.s.Answered(f.Re)
	if err != nil {
		return err
	}
	l := p.numberedAs(f.Re)
	if tag != l.tag && (l.waits == waitAnswer || tag != 0) {
		return fmt.Errorf("answer to frame %d: got tag %d, want %d", f.Re, tag, l.tag)
	}
	if l.waits != waitAnswer {
		return nil
	}
	p.asking--
	return l.settle()
}

func (l *letter) settle() error {
	if l.settled {
		return fmt.Errorf("tag %d has its end twice", l.tag)
	}
	l.settled = true
	return nil
}

func (p *player) takeAck(f *wire.Frame) error {
	tags, err := p.doors.acked(p.s, f.Seen, f.Released)
	if err != nil {
		return err
	}
	p.back = f.Released
	if f.AckAtOnce() && p.s.Unreported() {
		p.s.AckNow()
	}
	return p.acknowledged(f.Seen, tags)
}

// acknowledged looks whether the tags are those that waited for the peer to have
// seen so many.
func (p *player) acknowledged(seen uint64, tags []uint64) error {
	for ; p.acked < seen; p.acked++ {
		l := p.numberedAs(p.acked + 1)
		p.unacked[l.lane] -= len(l.frame)
		if l.waits != waitAck {
			continue
		}
		if len(tags) == 0 || tags[0] != l.tag {
			return fmt.Errorf("ack of frame %d: got tags %v, want %d next", seen, tags, l.tag)
		}
		tags = tags[1:]
		if err := l.settle(); err != nil {
			return err
		}
	}
	if len(tags) > 0 {
		return fmt.Errorf("ack of frame %d: got tags %v that wait for another", seen, tags)
	}
	return nil
}
