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
	breach *schema.ValueError
}

// object sets the struct at m.
func (r *unpacker) object(p *plan, pos int, m place) int {
	for i := range p.nils {
		p.nils[i].setNil(m.field(p.nils[i].offset))
	}
	_, n, pos := readHead(r.b, pos)
	expected := 0
	for range n {
		i, at := p.object.expect(r.b, pos, expected)
		if i < 0 {
			_, length, start := readHead(r.b, pos)
			i, at = p.object.index[string(r.b[start:start+length])], start+length
		}
		expected = i + 1
		s := p.byAttr[i]
		if s == nil {
			pos = passValue(r.b, at)
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
		to := newValue(s.typ)
		m.setTarget(to)
		m = to
	}
	switch s.op {
	case opInt64, opInt8, opInt16, opInt32, opUint8, opUint16, opUint32:
		v, _ := readInt(r.b, pos)
		s.storeInt(m, v)
		return pos + 1 + leads[r.b[pos]].n()
	case opBool:
		*as[bool](m) = r.b[pos] == 0xc3
		return pos + 1
	case opFloat64:
		*as[float64](m) = readFloat(r.b, pos)
		return pos + 1 + leads[r.b[pos]].n()
	case opFloat32:
		v := readFloat(r.b, pos)
		*as[float32](m) = float32(v)
		if isFinite(v) && math.Abs(v) > math.MaxFloat32 {
			r.breach = &schema.ValueError{Want: "float that a float32 holds", Got: formatFloat(v)}
		}
		return pos + 1 + leads[r.b[pos]].n()
	case opString:
		_, n, at := readHead(r.b, pos)
		*as[string](m) = string(r.b[at : at+n])
		return at + n
	case opBytes:
		_, n, at := readHead(r.b, pos)
		p := make([]byte, n)
		copy(p, r.b[at:])
		*as[[]byte](m) = p
		return at + n
	case opTime:
		*as[time.Time](m) = readTime(r.b, pos)
		_, n, at := readHead(r.b, pos)
		return at + n
	case opAny:
		var v any
		v, pos = readAny(r.b, pos)
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
		return r.stringList(n, pos, m)
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
func (r *unpacker) stringList(n, pos int, m place) int {
	all := make([]string, n)
	for i := range all {
		_, length, at := readHead(r.b, pos)
		all[i] = string(r.b[at : at+length])
		pos = at + length
	}
	*as[[]string](m) = all
	return pos
}

func (r *unpacker) dict(s *slot, pos int, m place) int {
	_, n, pos := readHead(r.b, pos)
	if s.elem.op == opString && !s.elem.pointer {
		return r.stringMap(n, pos, m)
	}
	t := s.typ
	all := reflect.MakeMapWithSize(t, n)
	key := reflect.New(t.Key()).Elem()
	for range n {
		elem := reflect.New(t.Elem())
		_, length, at := readHead(r.b, pos)
		k := string(r.b[at : at+length])
		key.SetString(k)
		pos = r.value(s.elem, at+length, pointerIn(elem.Interface()))
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
func (r *unpacker) stringMap(n, pos int, m place) int {
	all := make(map[string]string, n)
	for range n {
		_, length, at := readHead(r.b, pos)
		k := string(r.b[at : at+length])
		pos = at + length
		_, length, at = readHead(r.b, pos)
		all[k] = string(r.b[at : at+length])
		pos = at + length
	}
	*as[map[string]string](m) = all
	return pos
}
