package wire

import (
	"bytes"
	"hash/maphash"
	"sync"

	"busd/schema"
)

// A keyRef is where a map's key stands: its offset and, in the low 8 bits, its
// length.
type keyRef uint64

func newKeyRef(at, n int) keyRef { return keyRef(at)<<8 | keyRef(n) }

func (k keyRef) in(b []byte) []byte {
	at := int(k >> 8)
	return b[at : at+int(k&0xff)]
}

// fewKeys is how many keys are compared each with each. Above, they are
// hashed: 496 comparisons of at most 64 bytes cost what 32 hashes do, and a
// thousand keys would cost half a million.
const fewKeys = 32

// A keyScratch is memory for the keys of the maps that are open at one time.
// Its size is fixed, so that pooling it retains nothing a peer chose.
type keyScratch struct {
	keys  [schema.MaxDepth * schema.MaxKeys]keyRef
	slots [2 * schema.MaxKeys]uint16
}

var keyScratches = sync.Pool{New: func() any { return new(keyScratch) }}

// keySeed is secret to the process, so that nobody can make keys that collide.
var keySeed = maphash.MakeSeed()

// ascend tells whether the last of keys is greater than the one before. Keys
// that ascend all along are distinct, and our encoders write them so.
func ascend(b []byte, keys []keyRef) bool {
	n := len(keys)
	return n < 2 || bytes.Compare(keys[n-2].in(b), keys[n-1].in(b)) < 0
}

// duplicateKey finds a key that a map has twice: its pairs, which have been checked,
// begin at pos.
func duplicateKey(b []byte, pos, pairs int) ([]byte, bool) {
	var few [fewKeys]keyRef
	keys := few[:0]
	if pairs > len(few) {
		s := keyScratches.Get().(*keyScratch)
		defer keyScratches.Put(s)
		keys = s.keys[:0]
	}
	for range pairs {
		_, n, at := readHead(b, pos)
		keys = append(keys, newKeyRef(at, n))
		pos = passValue(b, at+n)
	}
	if i := findDuplicate(b, keys); i >= 0 {
		return keys[i].in(b), true
	}
	return nil, false
}

// findDuplicate returns the index of the first key that was there before, or
// -1. Its time is linear in their number.
func findDuplicate(b []byte, keys []keyRef) int {
	if len(keys) > fewKeys {
		s := keyScratches.Get().(*keyScratch)
		defer keyScratches.Put(s)
		return findHashed(b, keys, &s.slots)
	}
	for i := range keys {
		k := keys[i].in(b)
		for j := range i {
			if bytes.Equal(k, keys[j].in(b)) {
				return i
			}
		}
	}
	return -1
}

// findHashed is findDuplicate for many keys: a table of open addressing, at
// most half full. A slot holds an index + 1.
func findHashed(b []byte, keys []keyRef, slots *[2 * schema.MaxKeys]uint16) int {
	clear(slots[:])
	for i := range keys {
		k := keys[i].in(b)
		at := maphash.Bytes(keySeed, k) % uint64(len(slots))
		for slots[at] != 0 {
			if bytes.Equal(k, keys[slots[at]-1].in(b)) {
				return i
			}
			at = (at + 1) % uint64(len(slots))
		}
		slots[at] = uint16(i + 1)
	}
	return -1
}
