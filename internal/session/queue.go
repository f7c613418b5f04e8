package session

import "sync"

// A record is one frame in a queue, its bytes standing in the queue's buffer or
// in a slot. It has no pointer: there are many, and they are copied all day.
type record struct {
	size    int    // of the frame's bytes in the buffer, its number left out
	order   uint64 // when it was put, among all lanes
	tag     uint64 // whose frame it is; 0: nobody waits
	kind    uint8  // what its tag waits for
	lane    Lane
	slotted bool // the queue's next slot holds the bytes
}

// recordSize is what a record takes, in bytes.
const recordSize = 32

// storage is what a queue needs while it holds something. An empty queue
// holds none, so that an idle session costs nothing.
type storage struct {
	buf  []byte
	recs []record
}

// What is kept of a queue for the next one: a buffer of so many bytes, a list
// of so many frames.
const (
	maxPooled       = 256 << 10
	maxPooledFrames = 4 << 10
)

var storages = sync.Pool{New: func() any { return new(storage) }}

// A queue is a first-in first-out list of frames in one buffer.
type queue struct {
	*storage
	firstByte int
	firstRec  int
	slots     *slot // the first of its slots, in the order of their records
	lastSlot  *slot
	loose     int // bytes in slots
}

func (q *queue) empty() bool { return q.storage == nil }

// bytes returns how many bytes of frames it holds.
func (q *queue) bytes() int {
	if q.storage == nil {
		return 0
	}
	return len(q.buf) - q.firstByte + q.loose
}

// len returns how many frames it holds.
func (q *queue) len() int {
	if q.storage == nil {
		return 0
	}
	return len(q.recs) - q.firstRec
}

// memory returns how many bytes it takes, those it does not use yet included.
func (q *queue) memory() int {
	if q.storage == nil {
		return 0
	}
	return cap(q.buf) + q.loose + cap(q.recs)*recordSize
}

// push adds a frame.
func (q *queue) push(r record, frame []byte) {
	if q.storage == nil {
		q.storage = storages.Get().(*storage)
	}
	if len(q.buf)+len(frame) > cap(q.buf) || len(q.recs) == cap(q.recs) {
		q.compact()
	}
	r.size = len(frame)
	q.buf = append(q.buf, frame...)
	q.recs = append(q.recs, r)
}

// pushSlot adds a frame that is in a slot.
func (q *queue) pushSlot(r record, put *slot) {
	r.slotted = true
	q.push(r, nil)
	if q.slots == nil {
		q.slots = put
	} else {
		q.lastSlot.next = put
	}
	q.lastSlot = put
	q.loose += len(put.frame)
}

// compact moves what is left to the front, of what is more than half free: each
// byte is moved at most once on average.
func (q *queue) compact() {
	if q.firstByte > len(q.buf)/2 {
		q.buf = q.buf[:copy(q.buf, q.buf[q.firstByte:])]
		q.firstByte = 0
	}
	if q.firstRec > len(q.recs)/2 {
		q.recs = q.recs[:copy(q.recs, q.recs[q.firstRec:])]
		q.firstRec = 0
	}
}

// first returns the oldest frame; the queue must not be empty. The bytes are
// good until the next push or pop.
func (q *queue) first() (record, []byte) {
	r := q.recs[q.firstRec]
	if r.slotted {
		return r, q.slots.frame
	}
	return r, q.buf[q.firstByte : q.firstByte+r.size]
}

// firstSize returns the size of the oldest frame.
func (q *queue) firstSize() int {
	if r := &q.recs[q.firstRec]; !r.slotted {
		return r.size
	}
	return len(q.slots.frame)
}

// at returns the frame that has i others before it, whose bytes begin after
// offset others. It is in no slot.
func (q *queue) at(i, offset int) []byte {
	begin := q.firstByte + offset
	return q.buf[begin : begin+q.recs[q.firstRec+i].size]
}

// each calls f with each frame, the oldest first.
func (q *queue) each(f func(r record, frame []byte)) {
	if q.storage == nil {
		return
	}
	at, slot := q.firstByte, q.slots
	for _, r := range q.recs[q.firstRec:] {
		if r.slotted {
			f(r, slot.frame)
			slot = slot.next
			continue
		}
		f(r, q.buf[at:at+r.size])
		at += r.size
	}
}

// pop takes the oldest frame away.
func (q *queue) pop() {
	r := &q.recs[q.firstRec]
	if r.slotted {
		q.loose -= len(q.slots.frame)
		if q.slots = q.slots.next; q.slots == nil {
			q.lastSlot = nil
		}
	}
	q.firstByte += r.size
	q.firstRec++
	if q.firstRec < len(q.recs) {
		return
	}
	s := q.storage
	q.storage, q.firstByte, q.firstRec = nil, 0, 0 // it has no slots any more
	if cap(s.buf) <= maxPooled && cap(s.recs) <= maxPooledFrames {
		s.buf, s.recs = s.buf[:0], s.recs[:0]
		storages.Put(s)
	}
}
