package main

import "encoding/binary"

// A payload is what a message carries for its application, the same bytes for
// every contender: a kind, a sequence number, and what fills it up.
//
//	kind (1)  unused (3)  count (4)  sequence (8)  fill …
type payload []byte

// minPayload is the size of what stands before the fill.
const minPayload = 16

// The kinds of messages.
const (
	oneWay    byte = iota + 1 // wants nothing back
	echo                      // wants itself back
	fanOut                    // wants count messages to be sent to all connections
	delivered                 // is one of these
)

// newPayload makes a message of size bytes.
func newPayload(kind byte, size int) payload {
	p := make(payload, max(size, minPayload))
	p[0] = kind
	for i := minPayload; i < len(p); i++ {
		p[i] = byte(i)
	}
	return p
}

func (p payload) kind() byte         { return p[0] }
func (p payload) count() uint32      { return binary.BigEndian.Uint32(p[4:]) }
func (p payload) setCount(n uint32)  { binary.BigEndian.PutUint32(p[4:], n) }
func (p payload) number() uint64     { return binary.BigEndian.Uint64(p[8:]) }
func (p payload) setNumber(n uint64) { binary.BigEndian.PutUint64(p[8:], n) }
