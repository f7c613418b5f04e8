package wire

import (
	"encoding/binary"
	"math/bits"
)

// A nameTable finds a contract's messages by name, once or twice for each that
// travels. A map would do, at some three times the cost (BenchmarkLookup): it must
// reckon with names that somebody chose to collide, and these are fixed.
//
// Its zero value finds nothing.
type nameTable struct {
	slots []*Message // of open addressing, at least half of them nil; a power of two
	shift uint8
}

// maxProbes bounds how far a name may stand from its slot. A contract with names
// that are further apart keeps them in its map alone.
const maxProbes = 4

func newNameTable(messages map[string]*Message) nameTable {
	if len(messages) == 0 {
		return nameTable{}
	}
	size := bits.Len(uint(2*len(messages) - 1))
	t := nameTable{slots: make([]*Message, 1<<size), shift: uint8(64 - size)}
	for name, m := range messages {
		at, probes := t.slot(name), 0
		for ; t.slots[at] != nil; at = (at + 1) & (len(t.slots) - 1) {
			if probes++; probes == maxProbes {
				return nameTable{}
			}
		}
		t.slots[at] = m
	}
	return t
}

// slot is where a name would stand: by its length, its first eight bytes and its
// last.
func (t *nameTable) slot(name string) int {
	var word uint64
	if n := len(name); n >= 8 {
		b := bytesOf(name)
		word = binary.LittleEndian.Uint64(b) ^ bits.RotateLeft64(binary.LittleEndian.Uint64(b[n-8:]), 29)
	} else {
		word = shortWord(bytesOf(name))
	}
	const odd = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio: its products' high bits are spread
	return int((word + uint64(len(name))) * odd >> t.shift)
}

// find returns the message of that name, or nil: there is none, or the contract's
// map must tell.
func (t *nameTable) find(name string) *Message {
	if len(t.slots) == 0 {
		return nil
	}
	for at := t.slot(name); ; at = (at + 1) & (len(t.slots) - 1) {
		m := t.slots[at&(len(t.slots)-1)]
		if m == nil || m.definition.Name == name {
			return m
		}
	}
}
