package wire

import (
	"math"
	"reflect"
	"time"

	"busd/schema"
)

// An unpacker is one run of Unpack over bytes that have been checked. Its
// methods take the offset where a value begins and return the one where it
// ends.
type unpacker struct {
	b      []byte
	texts  texts
	breach *schema.ValueError
}

// object sets the struct at m.
func (r *unpacker) object(p *plan, pos int, m place) int {
	for i := range p.nils {
		p.nils[i].setNil(m.field(p.nils[i].offset))
	}
	b, keys := r.b, p.object.keys
	n := int(b[pos] & 0x0f)
	if b[pos]&0xf0 == 0x80 {
		pos++
	} else {
		_, n, pos = readHead(b, pos)
	}
	expected := 0
	for range n {
		i, at := expected, 0
		if i < len(keys) {
			at = keys[i].at(b, pos)
		}
		if at == 0 {
			i, at = p.object.locate(b, pos, expected)
		}
		expected = i + 1
		s := p.byAttr[i]
		if s == nil {
			pos = passValue(b, at)
			continue
		}
		if pos = s.small(b, at, m.field(s.offset)); pos > 0 {
			continue
		}
		pos = r.value(s, at, m.field(s.offset))
		if r.breach != nil {
			r.breach = insideAttr(r.breach, s.name)
			return pos
		}
	}
	return pos
}

// small sets the value at m if it takes one byte; or it returns 0.
func (s *slot) small(b []byte, pos int, m place) int {
	switch v := int64(int8(b[pos])); {
	case s.op == opInt64 && v >= -32 && !s.pointer:
		*as[int64](m) = v
	case s.op == opBool && !s.pointer:
		*as[bool](m) = v&1 != 0
	default:
		return 0
	}
	return pos + 1
}

// locate finds the attribute whose key is at pos, and where its value begins.
func (o *object) locate(b []byte, pos, expected int) (i, at int) {
	if i, at = o.expect(b, pos, expected); i >= 0 {
		return i, at
	}
	_, n, start := readHead(b, pos)
	return o.index[string(b[start:start+n])], start + n
}

// setNil makes the field at m nil.
func (s *slot) setNil(m place) {
	switch s.typ.Kind() {
	case reflect.Slice:
		*as[[]byte](m) = nil
	case reflect.Interface:
		*as[any](m) = nil
	default:
		m.setTarget(place{})
	}
}

// value sets the value at m.
func (r *unpacker) value(s *slot, pos int, m place) int {
	if s.pointer {
		to := s.newValue()
		m.setTarget(to)
		m = to
	}
	b := r.b
	switch s.op {
	case opInt64:
		v, end := readVarInt(b, pos)
		*as[int64](m) = v
		return end
	case opInt8, opInt16, opInt32, opUint8, opUint16, opUint32:
		v, end := readVarInt(b, pos)
		s.storeInt(m, v)
		return end
	case opBool:
		*as[bool](m) = b[pos] == 0xc3
		return pos + 1
	case opFloat64:
		*as[float64](m) = readFloat(b, pos)
		return pos + 1 + leads[b[pos]].n()
	case opFloat32:
		v := readFloat(b, pos)
		*as[float32](m) = float32(v)
		if isFinite(v) && math.Abs(v) > math.MaxFloat32 {
			r.breach = &schema.ValueError{Want: "float that a float32 holds", Got: formatFloat(v)}
		}
		return pos + 1 + leads[b[pos]].n()
	case opString:
		text, end := r.text(s.node, pos)
		*as[string](m) = text
		return end
	case opBytes:
		_, n, at := readHead(b, pos)
		from := b[at : at+n]
		own := make([]byte, len(from)) // in this form it is not cleared first
		copy(own, from)
		*as[[]byte](m) = own
		return at + n
	case opTime:
		*as[time.Time](m) = readTime(b, pos)
		_, n, at := readHead(b, pos)
		return at + n
	case opAny:
		var v any
		v, pos = readAny(b, pos)
		*as[any](m) = v
		return pos
	case opList:
		return r.list(s, pos, m)
	case opMap:
		return r.dict(s, pos, m)
	case opStruct:
		return r.object(s.plan, pos, m)
	}
	panic("wire: a slot without an op")
}

// readVarInt is [readInt] of what an int64 holds, and says where it ends.
func readVarInt(b []byte, pos int) (v int64, end int) {
	if v = int64(int8(b[pos])); v >= -32 {
		return v, pos + 1
	}
	v, _ = readInt(b, pos)
	return v, pos + 1 + leads[b[pos]].n()
}

// text reads a string. One of a few values of an enum is the contract's own.
func (r *unpacker) text(n *node, pos int) (string, int) {
	b := r.b
	at, size := pos+1, int(b[pos]&0x1f)
	if b[pos]&0xe0 != 0xa0 {
		_, size, at = readHead(b, pos)
	}
	text := b[at : at+size]
	for _, v := range n.few {
		if v == textOf(text) {
			return v, at + size
		}
	}
	return r.texts.copy(text), at + size
}

func (s *slot) storeInt(m place, v int64) {
	switch s.op {
	case opInt64:
		*as[int64](m) = v
	case opInt8:
		*as[int8](m) = int8(v)
	case opInt16:
		*as[int16](m) = int16(v)
	case opInt32:
		*as[int32](m) = int32(v)
	case opUint8:
		*as[uint8](m) = uint8(v)
	case opUint16:
		*as[uint16](m) = uint16(v)
	default:
		*as[uint32](m) = uint32(v)
	}
}

func (r *unpacker) list(s *slot, pos int, m place) int {
	_, n, pos := readHead(r.b, pos)
	if s.elem.op == opString && !s.elem.pointer {
		return r.stringList(s.elem.node, n, pos, m)
	}
	size := s.elem.stride()
	first := m.newList(s.typ, n)
	for i := range n {
		pos = r.value(s.elem, pos, first.field(uintptr(i)*size))
		if r.breach != nil {
			r.breach = insideElem(r.breach, i)
			return pos
		}
	}
	return pos
}

// stringList is list for strings, without the detour by reflection.
func (r *unpacker) stringList(elem *node, n, pos int, m place) int {
	all := make([]string, n)
	for i := range all {
		all[i], pos = r.text(elem, pos)
	}
	*as[[]string](m) = all
	return pos
}

func (r *unpacker) dict(s *slot, pos int, m place) int {
	_, n, pos := readHead(r.b, pos)
	if s.elem.op == opString && !s.elem.pointer {
		return r.stringMap(s.elem.node, n, pos, m)
	}
	t := s.typ
	all := reflect.MakeMapWithSize(t, n)
	key := reflect.New(t.Key()).Elem()
	for range n {
		elem := reflect.New(t.Elem())
		var k string
		k, pos = r.text(&keyNode, pos)
		key.SetString(k)
		pos = r.value(s.elem, pos, pointerIn(elem.Interface()))
		if r.breach != nil {
			r.breach = insideKey(r.breach, k)
			return pos
		}
		all.SetMapIndex(key, elem.Elem())
	}
	m.reflected(t).Set(all)
	return pos
}

// stringMap is dict for strings, likewise.
func (r *unpacker) stringMap(elem *node, n, pos int, m place) int {
	all := make(map[string]string, n)
	for range n {
		var k string
		k, pos = r.text(&keyNode, pos)
		all[k], pos = r.text(elem, pos)
	}
	*as[map[string]string](m) = all
	return pos
}
