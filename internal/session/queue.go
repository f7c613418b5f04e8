package session

import "encoding/binary"

// A queue is a first-in first-out list of frames: first those that are written,
// until their ack comes, then those that are not. A frame stays where it was put,
// and is copied only when it is written. An empty queue holds nothing, so that an
// idle session costs nothing.
type queue struct {
	head   place // the oldest frame
	unsent place // the oldest that is not written
	again  place // the next to be written again after a resume
	tail   *chunk

	written int // bytes of frames that are written
	waiting int // bytes of frames that are not
	chunked int // bytes of the chunks
	loose   int // bytes of frames in slots
	slots   int
	holes   int // frames that were taken back
}

// empty tells whether nothing waits to be written.
func (q *queue) empty() bool { return q.unsent.end() }

// bytes returns how many bytes of frames it holds.
func (q *queue) bytes() int { return q.written + q.waiting }

// memory returns how many bytes it takes, those it does not use yet included.
func (q *queue) memory() int { return q.chunked + q.loose + q.slots*slotSize }

// push adds a frame.
func (q *queue) push(r record, frame []byte) {
	r.size = uint32(len(frame)) // far less than 4 GiB: the peer's limit is
	q.room(recordSize+len(frame)).append(r, frame)
	q.waiting += len(frame)
}

// pushSlot adds a frame that is in a slot.
func (q *queue) pushSlot(r record, put *slot) {
	c := q.room(recordSize)
	r.where, r.size = slotted, uint32(len(c.slots))
	c.append(r, nil)
	c.slots = append(c.slots, put)
	q.slots++
	q.resized(len(put.frame))
}

// resized is for an unsent frame in a slot that became larger by so many bytes.
func (q *queue) resized(more int) {
	q.loose += more
	q.waiting += more
}

// room returns the last chunk, which has room for so many bytes.
func (q *queue) room(size int) *chunk {
	if q.tail != nil && q.tail.room() >= size {
		return q.tail
	}
	c := newChunk(q.tail, size)
	q.chunked += cap(c.buf)
	if q.tail == nil {
		q.head.chunk, q.unsent.chunk, q.again.chunk = c, c, c
	} else {
		q.tail.next = c
		q.unsent.settle()
		q.again.settle()
	}
	q.tail = c
	return c
}

// first returns the oldest frame that is not written; there must be one. Its bytes
// are good until it is dropped, or replaced in its slot.
func (q *queue) first() (record, []byte) {
	r := q.unsent.record()
	return r, q.unsent.frame(r)
}

// number notes that the first is written: r, of size bytes, with number n.
func (q *queue) number(r record, size int, n uint64) {
	q.unsent.number(n)
	q.unsent.step(r)
	q.waiting -= size
	q.written += size
}

// passUnsent notes that the frames before a place in the chunk of the first are
// written, of so many bytes together, and have their numbers.
func (q *queue) passUnsent(at, bytes int) {
	q.unsent.at = at
	q.unsent.settle()
	q.waiting -= bytes
	q.written += bytes
}

// revoke takes the first away, which is in no slot.
func (q *queue) revoke(r record) {
	q.unsent.revoke()
	q.unsent.step(r)
	q.waiting -= int(r.size)
	q.holes++
	q.trim()
}

// forget takes the written frames up to number seen away, and appends to tags those
// that waited for their ack.
func (q *queue) forget(seen uint64, tags []uint64) []uint64 {
	for q.head != q.unsent && q.head.order() <= seen {
		if q.holes == 0 {
			q.forgetPlain(seen)
		}
		if r := q.head.record(); r.order <= seen {
			if r.kind == waitAck {
				tags = append(tags, r.tag)
			}
			q.drop(r)
		}
	}
	return tags
}

// forgetPlain is forget for what nearly all frames are: there is nobody to tell, the
// frame is in no slot, and what follows is in the same chunk, and is written.
func (q *queue) forgetPlain(seen uint64) {
	c, at, bytes := q.head.chunk, q.head.at, 0
	end := len(c.buf)
	if q.unsent.chunk == c {
		end = q.unsent.at
	}
	for {
		b := c.buf[at : at+recordSize]
		size := int(binary.LittleEndian.Uint32(b[16:]))
		next := at + recordSize + size
		if binary.LittleEndian.Uint64(b) > seen || b[20] == waitAck || b[21] != behind || next >= end {
			break
		}
		at = next
		bytes += size
	}
	q.written -= bytes
	q.head.at = at
	if q.again.chunk == c && q.again.at < at {
		q.again.at = at
	}
}

// drop takes the oldest away, which is written.
func (q *queue) drop(r record) {
	size := int(r.size)
	if r.where == slotted {
		slot := &q.head.slots[r.size]
		size = len((*slot).frame)
		*slot = nil
		q.slots--
		q.loose -= size
	}
	q.written -= size
	q.pass(r)
	q.trim()
}

// trim drops what was taken back, up to the oldest that was not.
func (q *queue) trim() {
	for q.holes > 0 && q.head != q.unsent {
		r := q.head.record()
		if r.where != revoked {
			return
		}
		q.holes--
		q.pass(r)
	}
}

// pass moves the head on, and frees what is behind it.
func (q *queue) pass(r record) {
	c := q.head.chunk
	if q.again == q.head {
		q.again.step(r)
	}
	q.head.step(r)
	switch {
	case q.head.end():
		*q = queue{}
	case q.head.chunk != c:
		q.chunked -= cap(c.buf)
	default:
		return
	}
	c.free()
}

// repeat returns the written frame of number n, if it is here, for frames that
// are asked for in order from [queue.rewind] on.
func (q *queue) repeat(n uint64) ([]byte, bool) {
	for q.again != q.unsent {
		r := q.again.record()
		if r.where != revoked && r.order >= n {
			return q.again.frame(r), r.order == n
		}
		q.again.step(r)
	}
	return nil, false
}

// rewind makes the oldest the next to be written again.
func (q *queue) rewind() { q.again = q.head }

// eachWritten calls f with each frame that is written, the oldest first.
func (q *queue) eachWritten(f func(r record, frame []byte)) { q.each(q.head, q.unsent, f) }

// eachUnsent calls f with each frame that is not written, the oldest first.
func (q *queue) eachUnsent(f func(r record, frame []byte)) {
	if q.tail != nil {
		q.each(q.unsent, place{q.tail, len(q.tail.buf)}, f)
	}
}

func (q *queue) each(from, to place, f func(r record, frame []byte)) {
	for from != to {
		r := from.record()
		if r.where != revoked {
			f(r, from.frame(r))
		}
		from.step(r)
	}
}
