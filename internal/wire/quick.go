package wire

import (
	"bytes"
	"encoding/binary"
	"math"

	"busd/schema"
)

// What follows checks messages as nearly all of them come: attributes in contract
// order, each value in the encoding that our encoders choose, map keys in order. It
// keeps no account of what is wrong, and returns 0 for whatever it does not know: then
// [Message.Check] asks the checker, which has the last word. What it accepts the
// checker accepts too, and ends at the same place (TestQuickIsSound, FuzzCheck).

// quick reads the frame at the start of b into f, which is zero, if it carries a
// message; false: what [Decoder.Next] says of it is not known.
func (d *Decoder) quick(b []byte, f *Frame) bool {
	if len(b) < 2 || d.Contract == nil {
		return false
	}
	elements := int(b[0]) - 0x90
	f.Kind = Kind(b[1])
	pos, usual := 2, 4 // the elements that it has at least
	if f.N, pos = quickUint(b, pos); pos == 0 {
		return false
	}
	switch f.Kind {
	case Data, Request:
	case Answer:
		if f.Re, pos = quickUint(b, pos); pos == 0 {
			return false
		}
		usual = 5
	default:
		return false
	}
	if pos >= len(b) || b[pos]&0xe0 != 0xa0 {
		return false
	}
	begin := pos + 1 + int(b[pos]&0x1f)
	if begin > len(b) {
		return false
	}
	f.Name = b[pos+1 : begin]
	m := d.Contract.names.find(textOf(f.Name))
	if m == nil || !allows(m.from, d.From) {
		return false
	}
	if pos = m.quick(b, begin); pos == 0 {
		return false
	}
	f.Message, f.Body = m, b[begin:pos]
	if elements != usual {
		if pos = f.quickRest(b, pos, elements); pos == 0 {
			return false
		}
	}
	f.Size = pos
	return d.Limit <= 0 || pos <= d.Limit
}

// quickRest reads what follows the attributes of a data frame or a request of so many
// elements, and returns where the frame ends, or 0.
func (f *Frame) quickRest(b []byte, pos, elements int) int {
	v, pos := quickUint(b, pos)
	switch {
	case pos == 0:
	case f.Kind == Request && elements == 5:
		f.Timeout = milliseconds(v)
		return pos
	case f.Kind == Data && elements == 5:
		f.flags = v
		return pos
	case f.Kind == Data && elements == 6:
		f.flags = v
		f.Re, pos = quickUint(b, pos)
		return pos
	}
	return 0
}

// quickUint reads a number of a frame, and returns where it ends, or 0.
func quickUint(b []byte, pos int) (uint64, int) {
	if pos >= len(b) {
		return 0, 0
	}
	lead := b[pos]
	if lead <= math.MaxInt8 {
		return uint64(lead), pos + 1
	}
	size := leads[lead].n()
	if leads[lead].class() != classInt || size >= len(b)-pos {
		return 0, 0
	}
	v, big := readInt(b, pos)
	if big || v < 0 {
		return 0, 0
	}
	return uint64(v), pos + 1 + size
}

// quick checks the message at pos and returns where it ends, or 0.
func (m *Message) quick(b []byte, pos int) int {
	end := m.root.object.quick(b, pos, 0)
	if end-pos > schema.MaxValues {
		return 0 // nobody has counted its values; in fewer bytes there are no more
	}
	return end
}

// quick checks the struct at pos, inside depth containers.
func (o *object) quick(b []byte, pos, depth int) int {
	if uint(pos) >= uint(len(b)) || depth >= schema.MaxDepth {
		return 0
	}
	size := int(b[pos] & 0x0f)
	if b[pos]&0xf0 == 0x80 {
		pos++
	} else {
		var c class
		if c, size, pos = readHead(b, pos); c != classMap {
			return 0
		}
	}
	i := 0
	for ; size > 0; size-- {
		at := 0
		for ; ; i++ {
			if i == len(o.keys) {
				return 0
			}
			if at = o.keys[i].at(b, pos); at > 0 {
				break
			}
			if !o.keys[i].optional {
				return 0
			}
		}
		n := &o.attrs[i].node
		if pos = usual(n, b, at); pos == 0 {
			if pos = n.quick(b, at, depth+1); pos == 0 {
				return 0
			}
		}
		i++
	}
	if i < o.needs {
		return 0
	}
	return pos
}

// at tells whether the key is the one at pos, and returns where its value begins;
// or 0.
func (k *keyWord) at(b []byte, pos int) int {
	if pos <= len(b)-8 {
		if (binary.LittleEndian.Uint64(b[pos:])^k.first)&k.mask != 0 {
			return 0
		}
		if k.size <= 8 {
			return pos + k.size
		}
	}
	end := pos + k.size
	if end > len(b) || string(b[pos:end]) != k.text {
		return 0
	}
	return end
}

// quick checks a value that [usual] does not know, inside depth containers.
func (n *node) quick(b []byte, pos, depth int) int {
	switch n.kind {
	case schema.List:
		return n.quickList(b, pos, depth)
	case schema.Map:
		return n.quickMap(b, pos, depth)
	case schema.Struct:
		return n.object.quick(b, pos, depth)
	case schema.Any:
		if end, _, why := scan(b, pos, depth, schema.MaxValues, untyped); why == "" && !(n.present && b[pos] == 0xc0) {
			return end
		}
	case schema.Enum:
		if c, size, at := readHead(b, pos); c == classString && n.allows(textOf(b[at:at+size])) {
			return at + size
		}
	case schema.String:
		if c, size, at := readHead(b, pos); c == classString && isText(b[at:at+size]) && n.holdsText(b[at:at+size]) {
			return at + size
		}
	case schema.Bytes:
		if c, size, at := readHead(b, pos); c == classBytes && n.holdsLen(size) {
			return at + size
		}
	case schema.Time:
		if c, size, at := readHead(b, pos); c == classExt && isTime(b[pos], b[at:at+size]) {
			return at + size
		}
	case schema.Float:
		if c, size, at := readHead(b, pos); c == classFloat && n.holdsFloat(readFloat(b, pos)) {
			return at + size
		}
	case schema.Bool, schema.Int: // others than the usual ones there are none
	}
	return 0
}

func (n *node) quickList(b []byte, pos, depth int) int {
	c, size, pos := readHead(b, pos)
	if c != classList || depth >= schema.MaxDepth || !n.holdsLen(size) {
		return 0
	}
	for range size {
		end := usual(n.elem, b, pos)
		if end == 0 {
			if end = n.elem.quick(b, pos, depth+1); end == 0 {
				return 0
			}
		}
		pos = end
	}
	return pos
}

func (n *node) quickMap(b []byte, pos, depth int) int {
	c, size, pos := readHead(b, pos)
	if c != classMap || depth >= schema.MaxDepth || size > schema.MaxKeys || !n.holdsLen(size) {
		return 0
	}
	var last []byte // every key is greater
	for range size {
		end := usual(&keyNode, b, pos)
		if end == 0 {
			return 0
		}
		key := b[pos+1 : end]
		if bytes.Compare(last, key) >= 0 {
			return 0
		}
		last, pos = key, end
		if end = usual(n.elem, b, pos); end == 0 {
			if end = n.elem.quick(b, pos, depth+1); end == 0 {
				return 0
			}
		}
		pos = end
	}
	return pos
}

// keyNode is the type of most map keys: a string of 1 to 31 bytes.
var keyNode = node{kind: schema.String, free: true}

// usual checks the value at pos if it is a scalar in the encoding that most have,
// and returns where it ends; or 0. It calls nothing.
func usual(n *node, b []byte, pos int) int {
	if uint(pos) >= uint(len(b)) {
		return 0
	}
	lead := b[pos]
	switch n.kind {
	case schema.Int:
		if v := int64(int8(lead)); v >= -32 && n.holdsInt(v) {
			return pos + 1
		}
		if size := leads[lead].n(); size > 0 && size < len(b)-pos && leads[lead].class() == classInt {
			if v, big := readInt(b, pos); !big && n.holdsInt(v) {
				return pos + 1 + size
			}
		}
	case schema.Bool:
		if lead|1 == 0xc3 {
			return pos + 1
		}
	case schema.Float:
		if lead == 0xcb && len(b)-pos >= 9 && n.holdsFloat(math.Float64frombits(binary.BigEndian.Uint64(b[pos+1:]))) {
			return pos + 9
		}
	case schema.String:
		size := int(lead & 0x1f)
		end := pos + 1 + size
		if lead&0xe0 != 0xa0 || end > len(b) || !n.free && (n.pattern != nil || !n.holdsLen(size)) {
			return 0
		}
		var all uint64 // a bit for each byte that is not ASCII
		if from := pos + 1; size >= 8 {
			all = binary.LittleEndian.Uint64(b[end-8:])
			for ; from < end-8; from += 8 {
				all |= binary.LittleEndian.Uint64(b[from:])
			}
		} else if from <= len(b)-8 {
			all = binary.LittleEndian.Uint64(b[from:]) << (8 * (8 - size))
		} else {
			for ; from < end; from++ {
				all |= uint64(b[from])
			}
		}
		if all&0x8080808080808080 == 0 {
			return end
		}
	case schema.Bytes:
		if lead == 0xc4 && len(b)-pos >= 2 {
			if size := int(b[pos+1]); size <= len(b)-pos-2 && n.holdsLen(size) {
				return pos + 2 + size
			}
		}
	case schema.Time:
		if lead == 0xd7 && len(b)-pos >= 10 && b[pos+1] == extTime && binary.BigEndian.Uint64(b[pos+2:])>>34 <= lastNano {
			return pos + 10
		}
	case schema.Any, schema.Enum, schema.List, schema.Map, schema.Struct:
	}
	return 0
}
