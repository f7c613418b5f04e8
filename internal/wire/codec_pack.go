package wire

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"busd/schema"
)

// pack appends the struct at m.
func (p *plan) pack(dst []byte, m place) ([]byte, *schema.ValueError) {
	dst = appendMapHead(dst, p.present(m))
	for i := range p.slots {
		s := &p.slots[i]
		at := m.field(s.offset)
		if s.optional && at.isNil() {
			continue
		}
		dst = append(dst, s.key...)
		var bad *schema.ValueError
		if dst, bad = s.pack(dst, at); bad != nil {
			return nil, insideAttr(bad, s.name)
		}
	}
	return dst, nil
}

// pack appends the value at m.
func (s *slot) pack(dst []byte, m place) ([]byte, *schema.ValueError) {
	if s.pointer {
		if m.isNil() {
			return nil, &schema.ValueError{Want: describe(s.node), Got: "nil"}
		}
		m = m.target()
	}
	switch s.op {
	case opBool:
		return appendBool(dst, *as[bool](m)), nil
	case opInt64:
		return appendInt(dst, *as[int64](m)), nil
	case opInt8, opInt16, opInt32, opUint8, opUint16, opUint32:
		return appendInt(dst, s.loadInt(m)), nil
	case opFloat32:
		return appendFloat(dst, float64(*as[float32](m))), nil
	case opFloat64:
		return appendFloat(dst, *as[float64](m)), nil
	case opString:
		return appendString(dst, *as[string](m)), nil
	case opBytes:
		return appendBytes(dst, *as[[]byte](m)), nil
	case opTime:
		return appendTime(dst, *as[time.Time](m)), nil
	case opAny:
		dst, err := appendAny(dst, *as[any](m), schema.MaxDepth)
		if err != nil {
			return nil, &schema.ValueError{Want: describe(s.node), Got: err.Error()}
		}
		return dst, nil
	case opList:
		return s.packList(dst, m)
	case opMap:
		return s.packMap(dst, m)
	case opStruct:
		return s.plan.pack(dst, m)
	}
	panic("wire: a slot without an op")
}

func (s *slot) loadInt(m place) int64 {
	switch s.op {
	case opInt8:
		return int64(*as[int8](m))
	case opInt16:
		return int64(*as[int16](m))
	case opInt32:
		return int64(*as[int32](m))
	case opUint8:
		return int64(*as[uint8](m))
	case opUint16:
		return int64(*as[uint16](m))
	default:
		return int64(*as[uint32](m))
	}
}

func (s *slot) packList(dst []byte, m place) ([]byte, *schema.ValueError) {
	first, n := m.list()
	dst = appendListHead(dst, n)
	size := s.elem.stride()
	for i := range n {
		var bad *schema.ValueError
		if dst, bad = s.elem.pack(dst, first.field(uintptr(i)*size)); bad != nil {
			return nil, insideElem(bad, i)
		}
	}
	return dst, nil
}

// packMap appends a map with its keys in order: then the check need not
// compare each with each, and the same map is always the same bytes.
func (s *slot) packMap(dst []byte, m place) ([]byte, *schema.ValueError) {
	if s.elem.op == opString && !s.elem.pointer {
		return packStrings(dst, *as[map[string]string](m)), nil
	}
	v := m.reflected(s.typ)
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	dst = appendMapHead(dst, len(keys))
	elem := reflect.New(s.typ.Elem()).Elem()
	for _, k := range keys {
		dst = appendString(dst, k.String())
		elem.Set(v.MapIndex(k))
		var bad *schema.ValueError
		if dst, bad = s.elem.pack(dst, pointerIn(elem.Addr().Interface())); bad != nil {
			return nil, insideKey(bad, k.String())
		}
	}
	return dst, nil
}

func packStrings(dst []byte, m map[string]string) []byte {
	var few [fewKeys]string
	keys := few[:0]
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	dst = appendMapHead(dst, len(keys))
	for _, k := range keys {
		dst = appendString(appendString(dst, k), m[k])
	}
	return dst
}
