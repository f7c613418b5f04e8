package session

import (
	"encoding/binary"
	"sync"
)

// A chunk is a part of a queue's memory: frames one after the other, each behind
// its record. It never grows, so that nothing is moved when one more is put.
type chunk struct {
	buf   []byte
	slots []*slot // of the records whose frame is in one
	next  *chunk
}

// Sizes of chunks, in bytes: each is four times the one before. A queue begins
// with the smallest, as most hold a frame or two, and grows to the largest. A
// frame that is larger than maxShared has a chunk to itself, which is not used again:
// no more than a quarter of the largest chunks is ever in vain.
const (
	minChunk   = 1 << 10
	maxChunk   = 64 << 10
	maxShared  = maxChunk / 4
	chunkSizes = 4
)

// chunks are shared, so that an idle session holds none.
var chunks [chunkSizes]sync.Pool

// newChunk returns an empty chunk with room for size bytes, to follow another, if
// there is one.
func newChunk(after *chunk, size int) *chunk {
	if size > maxShared {
		return &chunk{buf: make([]byte, 0, size)}
	}
	if after != nil {
		size = max(size, min(4*cap(after.buf), maxChunk))
	}
	class, capacity := chunkClass(size)
	if c, ok := chunks[class].Get().(*chunk); ok {
		return c
	}
	return &chunk{buf: make([]byte, 0, capacity)}
}

// chunkClass returns the first of the sizes that is enough; there must be one for
// what is put into it.
func chunkClass(size int) (class, capacity int) {
	for capacity = minChunk; capacity < size && class < chunkSizes; capacity *= 4 {
		class++
	}
	return class, capacity
}

// free gives back a chunk that nobody reads any more.
func (c *chunk) free() {
	class, capacity := chunkClass(cap(c.buf))
	if class == chunkSizes || capacity != cap(c.buf) { // it was made for one frame
		return
	}
	c.buf, c.slots, c.next = c.buf[:0], nil, nil
	chunks[class].Put(c)
}

// room returns how many bytes more it takes.
func (c *chunk) room() int { return cap(c.buf) - len(c.buf) }

// A record says what a frame is. It stands in a chunk, as recordSize bytes, and
// the frame behind it, unless a slot has that.
type record struct {
	order uint64 // when it was put, among all lanes; once it is written, its number
	tag   uint64 // whose frame it is; 0: nobody waits
	size  uint32 // of the frame in the chunk, or which of the chunk's slots has it
	kind  uint8  // what its tag waits for
	where uint8
}

// recordSize is what a record takes in a chunk, in bytes.
const recordSize = 22

// Where a record's frame is.
const (
	behind  uint8 = iota // it in the chunk
	slotted              // in a slot
	revoked              // behind it, and it was taken back
)

// append adds a record, and the frame that stands behind it. There must be room.
func (c *chunk) append(r record, frame []byte) {
	at := len(c.buf)
	c.buf = c.buf[:at+recordSize+len(frame)]
	b := c.buf[at : at+recordSize]
	binary.LittleEndian.PutUint64(b, r.order)
	binary.LittleEndian.PutUint64(b[8:], r.tag)
	binary.LittleEndian.PutUint32(b[16:], r.size)
	b[20], b[21] = r.kind, r.where
	copy(c.buf[at+recordSize:], frame)
}

// A place is where a record stands, or where the next one will. The zero place is
// that of an empty queue.
type place struct {
	*chunk
	at int
}

// record returns the one that is here.
func (p place) record() record {
	b := p.buf[p.at : p.at+recordSize]
	return record{
		order: binary.LittleEndian.Uint64(b),
		tag:   binary.LittleEndian.Uint64(b[8:]),
		size:  binary.LittleEndian.Uint32(b[16:]),
		kind:  b[20],
		where: b[21],
	}
}

// order returns the order of the record that is here.
func (p place) order() uint64 { return binary.LittleEndian.Uint64(p.buf[p.at:]) }

// size returns the size of the frame whose record is here.
func (p place) size() int {
	b := p.buf[p.at : p.at+recordSize]
	size := int(binary.LittleEndian.Uint32(b[16:]))
	if b[21] == slotted {
		return len(p.slots[size].frame)
	}
	return size
}

// frame returns the frame of the record that is here.
func (p place) frame(r record) []byte {
	if r.where == slotted {
		return p.slots[r.size].frame
	}
	start := p.at + recordSize
	return p.buf[start : start+int(r.size)]
}

// number says that the frame is written: from now on its order is its number.
func (p place) number(n uint64) { binary.LittleEndian.PutUint64(p.buf[p.at:], n) }

// revoke says that the frame is taken back.
func (p place) revoke() { p.buf[p.at+recordSize-1] = revoked }

// step goes on behind the record that is here.
func (p *place) step(r record) {
	p.at += recordSize
	if r.where != slotted {
		p.at += int(r.size)
	}
	p.settle()
}

// settle goes on to the next chunk from the end of one.
func (p *place) settle() {
	if p.chunk != nil && p.at == len(p.buf) && p.next != nil {
		p.chunk, p.at = p.next, 0
	}
}

// end tells whether nothing is here.
func (p place) end() bool { return p.chunk == nil || p.at == len(p.buf) }
