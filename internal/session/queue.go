package session

import "sync"

// A record is one frame in a queue, its bytes standing in the queue's buffer.
type record struct {
	size  int    // of the frame's bytes, its number left out
	order uint64 // when it was put, among all lanes
	tag   uint64 // whose frame it is; 0: nobody waits
	kind  uint8  // what its tag waits for
	lane  Lane
}

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
}

func (q *queue) empty() bool { return q.storage == nil }

// bytes returns how many bytes of frames it holds.
func (q *queue) bytes() int {
	if q.storage == nil {
		return 0
	}
	return len(q.buf) - q.firstByte
}

// len returns how many frames it holds.
func (q *queue) len() int {
	if q.storage == nil {
		return 0
	}
	return len(q.recs) - q.firstRec
}

func (q *queue) push(r record, frame []byte) {
	if q.storage == nil {
		q.storage = storages.Get().(*storage)
	}
	if q.firstByte > len(q.buf)/2 && len(q.buf)+len(frame) > cap(q.buf) {
		q.compact()
	}
	r.size = len(frame)
	q.buf = append(q.buf, frame...)
	q.recs = append(q.recs, r)
}

// compact moves what is left to the front. It runs only when more than half
// is free, so each byte is moved at most once on average.
func (q *queue) compact() {
	q.buf = q.buf[:copy(q.buf, q.buf[q.firstByte:])]
	q.recs = q.recs[:copy(q.recs, q.recs[q.firstRec:])]
	q.firstByte, q.firstRec = 0, 0
}

// first returns the oldest frame; the queue must not be empty. The bytes are
// good until the next push or pop.
func (q *queue) first() (record, []byte) {
	r := q.recs[q.firstRec]
	return r, q.buf[q.firstByte : q.firstByte+r.size]
}

// pop takes the oldest frame away.
func (q *queue) pop() {
	q.firstByte += q.recs[q.firstRec].size
	q.firstRec++
	if q.firstRec < len(q.recs) {
		return
	}
	s := q.storage
	*q = queue{}
	if cap(s.buf) <= maxPooled && cap(s.recs) <= maxPooledFrames {
		s.buf, s.recs = s.buf[:0], s.recs[:0]
		storages.Put(s)
	}
}
