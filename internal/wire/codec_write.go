package wire

import (
	"encoding/binary"
	"math"
	"slices"
	"time"

	"busd/schema"
)

// What follows packs and checks in one go. It returns nil for whatever it does not
// know, or would not pass: then [Packer.Append] packs and has the bytes checked, and
// says what is wrong. What it writes are the bytes that this way gives, and the check
// accepts them (TestWriteIsPackAndCheck).

// writeAll appends the struct at m, which is a message, or returns nil.
func (p *plan) writeAll(dst []byte, m place) []byte {
	start := len(dst)
	if dst = p.write(dst, m, 0); len(dst)-start > schema.MaxValues {
		return nil // nobody has counted its values; in fewer bytes there are no more
	}
	return dst
}

// slotRoom is for a key in one word and the head of a value, or a value of fixed size.
const slotRoom = 8 + 16

// write appends the struct at m, inside depth containers.
func (p *plan) write(dst []byte, m place, depth int) []byte {
	if depth >= schema.MaxDepth {
		return nil
	}
	count := len(p.slots)
	if !p.fixed {
		count = p.present(m)
	}
	dst = appendMapHead(dst, count)
	for i := range p.slots {
		s := &p.slots[i]
		at := m.field(s.offset)
		if s.optional && at.isNil() {
			continue
		}
		n := len(dst)
		if cap(dst)-n < slotRoom {
			dst = slices.Grow(dst, slotRoom)
		}
		if len(s.key) <= 8 {
			binary.LittleEndian.PutUint64(dst[n:n+8], s.word)
			dst = dst[:n+len(s.key)]
		} else {
			dst = append(dst, s.key...)
		}
		if dst = s.write(dst, at, depth+1); dst == nil {
			return nil
		}
	}
	return dst
}

// present counts the fields that are not absent.
func (p *plan) present(m place) int {
	n := len(p.slots)
	for i := range p.slots {
		if s := &p.slots[i]; s.optional && m.field(s.offset).isNil() {
			n--
		}
	}
	return n
}

// write appends the value at m, inside depth containers.
func (s *slot) write(dst []byte, m place, depth int) []byte {
	if s.pointer {
		if m.isNil() {
			return nil
		}
		m = m.target()
	}
	n := s.node
	switch s.op {
	case opInt64:
		return n.writeInt(dst, *as[int64](m))
	case opInt8, opInt16, opInt32, opUint8, opUint16, opUint32:
		return n.writeInt(dst, s.loadInt(m))
	case opBool:
		return appendBool(dst, *as[bool](m))
	case opFloat64:
		return n.writeFloat(dst, *as[float64](m))
	case opFloat32:
		return n.writeFloat(dst, float64(*as[float32](m)))
	case opString:
		return n.writeString(dst, *as[string](m))
	case opBytes:
		if p := *as[[]byte](m); n.holdsLen(len(p)) && uint64(len(p)) <= math.MaxUint32 {
			return appendBytes(dst, p)
		}
	case opTime:
		return appendTime(dst, *as[time.Time](m))
	case opList:
		return s.writeList(dst, m, depth)
	case opMap:
		return s.writeMap(dst, m, depth)
	case opStruct:
		return s.plan.write(dst, m, depth)
	case opAny:
		at := len(dst)
		if dst, err := appendAny(dst, *as[any](m), schema.MaxDepth); err == nil && n.quick(dst, at, depth) == len(dst) {
			return dst
		}
	}
	return nil
}

func (n *node) writeInt(dst []byte, v int64) []byte {
	if !n.holdsInt(v) {
		return nil
	}
	if uint64(v) <= math.MaxInt8 {
		return append(dst, byte(v))
	}
	return appendInt(dst, v)
}

func (n *node) writeFloat(dst []byte, v float64) []byte {
	if !n.holdsFloat(v) {
		return nil
	}
	return appendFloat(dst, v)
}

func (n *node) writeString(dst []byte, s string) []byte {
	if n.kind == schema.Enum {
		if !n.allows(s) {
			return nil
		}
	} else if b := bytesOf(s); uint64(len(s)) > math.MaxUint32 || !isText(b) || !n.holdsText(b) {
		return nil
	}
	if len(s) <= 31 {
		dst = append(dst, 0xa0|byte(len(s)))
		return append(dst, s...)
	}
	return appendString(dst, s)
}

func (s *slot) writeList(dst []byte, m place, depth int) []byte {
	first, count := m.list()
	if !s.node.holdsLen(count) || depth >= schema.MaxDepth || count > schema.MaxValues {
		return nil
	}
	dst = appendListHead(dst, count)
	size := s.elem.stride()
	for i := range count {
		if dst = s.elem.write(dst, first.field(uintptr(i)*size), depth+1); dst == nil {
			return nil
		}
	}
	return dst
}

// fewPairs is how many pairs of a map are put in order one by one.
const fewPairs = 8

// writeMap appends a map as [slot.packMap] does.
func (s *slot) writeMap(dst []byte, m place, depth int) []byte {
	if s.elem.op == opString && !s.elem.pointer {
		if few := *as[map[string]string](m); len(few) <= fewPairs {
			return s.writeStrings(dst, few, depth)
		}
	}
	at := len(dst)
	dst, bad := s.packMap(dst, m)
	if bad != nil || s.node.quickMap(dst, at, depth) != len(dst) {
		return nil
	}
	return dst
}

func (s *slot) writeStrings(dst []byte, m map[string]string, depth int) []byte {
	if !s.node.holdsLen(len(m)) || depth >= schema.MaxDepth {
		return nil
	}
	type pair struct{ key, value string }
	var few [fewPairs]pair
	n := 0
	for k, v := range m {
		at := n
		for ; at > 0 && few[at-1].key > k; at-- {
			few[at] = few[at-1]
		}
		few[at] = pair{k, v}
		n++
	}
	dst = appendMapHead(dst, n)
	for _, p := range few[:n] {
		if len(p.key) == 0 || len(p.key) > schema.MaxName || !isText(bytesOf(p.key)) {
			return nil
		}
		if dst = s.elem.node.writeString(appendString(dst, p.key), p.value); dst == nil {
			return nil
		}
	}
	return dst
}
