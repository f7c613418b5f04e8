package wire_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"busd/schema"
)

// random makes contracts, values for them, and encodings of these.
type random struct{ *rand.Rand }

func newRandom(seed uint64) random { return random{rand.New(rand.NewPCG(seed, 1))} }

func (r random) chance(percent int) bool { return r.IntN(100) < percent }

func (r random) definition() schema.Definition {
	return schema.Definition{Name: "R", Attrs: r.attrs(3)}
}

func (r random) attrs(depth int) []schema.Attribute {
	attrs := make([]schema.Attribute, r.IntN(6))
	for i := range attrs {
		name := string(rune('a'+i)) + strings.Repeat("n", r.IntN(12))
		attrs[i] = schema.Attribute{Name: name, Type: r.typ(depth), Optional: r.chance(40)}
	}
	return attrs
}

func (r random) typ(depth int) schema.Type {
	t := schema.Type{Kind: schema.Kind(r.IntN(int(schema.Struct) + 1))}
	if depth == 0 && t.Kind >= schema.List {
		t.Kind = schema.Int
	}
	if r.chance(30) {
		switch t.Kind {
		case schema.Int:
			t.MinInt, t.MaxInt = ptr(int64(-r.IntN(300))), ptr(int64(r.IntN(300)))
		case schema.Float:
			t.MinFloat, t.MaxFloat, t.NonFinite = ptr(-r.Float64()), ptr(r.Float64()), r.chance(50)
		case schema.String:
			t.Pattern = "^[a-m]*$"
			t.MaxLen = ptr(r.IntN(5))
		case schema.Bytes, schema.List, schema.Map:
			t.MinLen, t.MaxLen = ptr(r.IntN(2)), ptr(1+r.IntN(3))
		case schema.Any, schema.Bool, schema.Time, schema.Enum, schema.Struct:
		}
	}
	switch t.Kind {
	case schema.Enum:
		t.Values = []string{"new", "done", "é"}[:1+r.IntN(3)]
	case schema.List, schema.Map:
		t.Elem = ptr(r.typ(depth - 1))
	case schema.Struct:
		t.Attrs = r.attrs(depth - 1)
	case schema.Any, schema.Bool, schema.Int, schema.Float, schema.String, schema.Bytes, schema.Time:
	}
	return t
}

// value makes a value that mostly fits t.
func (r random) value(t schema.Type, depth int) any {
	k := t.Kind
	if r.chance(3) {
		k = schema.Kind(r.IntN(int(schema.Struct)))
	}
	switch k {
	case schema.Bool:
		return r.chance(50)
	case schema.Int:
		return r.Int64() >> r.IntN(64) * int64(1-2*r.IntN(2))
	case schema.Float:
		return []float64{0, 0.5, -0.5, 1e300, math.NaN(), math.Inf(1), math.Inf(-1), r.NormFloat64()}[r.IntN(8)]
	case schema.String:
		return strings.Repeat(string([]rune("amzé")[r.IntN(4)]), r.IntN(6))
	case schema.Enum:
		return []string{"new", "done", "é", "old"}[r.IntN(4)]
	case schema.Bytes:
		return make([]byte, r.IntN(5))
	case schema.Time:
		return time.Unix(r.Int64()>>r.IntN(64), r.Int64N(1e9)).UTC()
	case schema.List:
		list := make([]any, r.IntN(4))
		for i := range list {
			list[i] = r.value(elemOf(t), depth-1)
		}
		return list
	case schema.Map:
		m := map[string]any{}
		for range r.IntN(4) {
			m[fmt.Sprintf("k%d", r.IntN(50))] = r.value(elemOf(t), depth-1)
		}
		return m
	case schema.Struct:
		return r.values(t.Attrs, depth-1)
	case schema.Any:
	}
	if depth <= 0 || r.chance(20) {
		return nil
	}
	return r.value(schema.Type{Kind: schema.Kind(1 + r.IntN(int(schema.Map)))}, depth-1)
}

func elemOf(t schema.Type) schema.Type {
	if t.Elem == nil {
		return schema.Type{}
	}
	return *t.Elem
}

func (r random) values(attrs []schema.Attribute, depth int) map[string]any {
	m := map[string]any{}
	for _, a := range attrs {
		if r.chance(97) && (!a.Optional || r.chance(50)) {
			m[a.Name] = r.value(a.Type, depth)
		}
	}
	if r.chance(2) {
		m["zz"] = int64(1)
	}
	return m
}

// encode appends v, keys in random order, in any of the encodings that a peer
// may choose.
func (r random) encode(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, 0xc0)
	case bool:
		if v {
			return append(b, 0xc3)
		}
		return append(b, 0xc2)
	case int64:
		return r.encodeInt(b, v)
	case float64:
		if f := float32(v); float64(f) == v && r.chance(50) {
			return binary.BigEndian.AppendUint32(append(b, 0xca), math.Float32bits(f))
		}
		return binary.BigEndian.AppendUint64(append(b, 0xcb), math.Float64bits(v))
	case string:
		b = r.encodeHead(b, len(v), 0xa0, 32, 0xd9)
		return append(b, v...)
	case []byte:
		b = r.encodeHead(b, len(v), 0, 0, 0xc4)
		return append(b, v...)
	case time.Time:
		p, err := msgpack.Marshal(v)
		if err != nil {
			panic(err)
		}
		return append(b, p...)
	case []any:
		b = r.encodeHead(b, len(v), 0x90, 16, 0xdb)
		for _, e := range v {
			b = r.encode(b, e)
		}
		return b
	case map[string]any:
		b = r.encodeHead(b, len(v), 0x80, 16, 0xdd)
		keys := slices.Sorted(maps.Keys(v))
		r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		for _, k := range keys {
			b = r.encode(r.encode(b, k), v[k])
		}
		return b
	}
	panic(fmt.Sprintf("a %T", v))
}

// encodeHead chooses among a fixed form for n below short, and the forms of 1,
// 2 and 4 bytes of length that begin at first; lists and maps have no form of
// 1 byte, so their first is one less.
//

func (r random) encodeHead(b []byte, n int, fixed byte, short int, first byte) []byte {
	for {
		switch r.IntN(6) {
		case 1:
			if first != 0xdb && first != 0xdd && n <= math.MaxUint8 {
				return append(b, first, byte(n))
			}
		case 2:
			if n <= math.MaxUint16 {
				return append(b, first+1, byte(n>>8), byte(n))
			}
		case 3:
			return binary.BigEndian.AppendUint32(append(b, first+2), uint32(n))
		default:
			if n < short {
				return append(b, fixed|byte(n))
			}
		}
	}
}

func (r random) encodeInt(b []byte, v int64) []byte {
	for {
		switch c := r.IntN(10); {
		case c == 0 && v >= 0 && v <= math.MaxUint8:
			return append(b, 0xcc, byte(v))
		case c == 1 && v >= 0 && v <= math.MaxUint16:
			return append(b, 0xcd, byte(v>>8), byte(v))
		case c == 2 && v >= 0 && v <= math.MaxUint32:
			return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(v))
		case c == 3 && v >= 0:
			return binary.BigEndian.AppendUint64(append(b, 0xcf), uint64(v))
		case c == 4 && v == int64(int8(v)):
			return append(b, 0xd0, byte(v))
		case c == 5 && v == int64(int16(v)):
			return append(b, 0xd1, byte(v>>8), byte(v))
		case c == 6 && v == int64(int32(v)):
			return binary.BigEndian.AppendUint32(append(b, 0xd2), uint32(v))
		case c == 7:
			return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(v))
		case v >= -32 && v <= 127:
			return append(b, byte(v))
		}
	}
}
