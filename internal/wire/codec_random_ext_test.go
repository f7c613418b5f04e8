package wire_test

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"busd/internal/wire"
	"busd/schema"
)

// goType makes a Go type for a contract's.
func goType(t schema.Type) reflect.Type {
	switch t.Kind {
	case schema.Bool:
		return reflect.TypeFor[bool]()
	case schema.Int:
		return reflect.TypeFor[int64]()
	case schema.Float:
		return reflect.TypeFor[float64]()
	case schema.String, schema.Enum:
		return reflect.TypeFor[string]()
	case schema.Bytes:
		return reflect.TypeFor[[]byte]()
	case schema.Time:
		return reflect.TypeFor[time.Time]()
	case schema.List:
		return reflect.SliceOf(goType(*t.Elem))
	case schema.Map:
		return reflect.MapOf(reflect.TypeFor[string](), goType(*t.Elem))
	case schema.Struct:
		return goStruct(t.Attrs)
	case schema.Any:
	}
	return reflect.TypeFor[any]()
}

func goStruct(attrs []schema.Attribute) reflect.Type {
	fields := make([]reflect.StructField, len(attrs))
	for i, a := range attrs {
		f := reflect.StructField{Name: strings.ToUpper(a.Name[:1]) + a.Name[1:], Type: goType(a.Type)}
		tag := a.Name
		if a.Optional {
			switch f.Type.Kind() {
			case reflect.Slice, reflect.Map, reflect.Interface:
				tag += ",optional"
			default:
				f.Type = reflect.PointerTo(f.Type)
			}
		}
		f.Tag = reflect.StructTag(fmt.Sprintf(`bus:%q`, tag))
		fields[i] = f
	}
	return reflect.StructOf(fields)
}

// TestUnpackIsRecord: of any contract, what a struct made of its bytes packs is what a
// record made of them does, which reads them another way.
func TestUnpackIsRecord(t *testing.T) {
	t.Parallel()
	good := 0
	for seed := range uint64(400) {
		r := newRandom(seed)
		d := r.definition()
		m := wire.NewMessage(d)
		typ := goStruct(d.Attrs)
		u, err := m.Unpacker(typ)
		if err != nil {
			t.Fatalf("seed %d: Unpacker(%v): %v", seed, typ, err)
		}
		p, err := m.Packer(typ)
		if err != nil {
			t.Fatalf("seed %d: Packer(%v): %v", seed, typ, err)
		}
		for range 4 {
			b := r.encode(nil, r.values(d.Attrs, 4))
			if _, err := m.Check(b); err != nil {
				continue
			}
			good++
			record, err := m.Record(b)
			if err != nil {
				t.Fatal(err)
			}
			want := encoded(t, m, record)
			v := reflect.New(typ).Interface()
			if err := u.Unpack(b, v); err != nil {
				t.Fatalf("seed %d: % x: %v", seed, b, err)
			}
			clear(b) // nothing may refer to it
			got, err := p.Append(nil, v)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("seed %d: %+v packs to\n% x, %v\nwant % x", seed, v, got, err, want)
			}
		}
	}
	if good < 200 {
		t.Errorf("%d random messages were good: the test proves little", good)
	}
}

// TestTextsAreApart: strings share memory, and nothing else.
func TestTextsAreApart(t *testing.T) {
	t.Parallel()
	type message struct {
		A string   `bus:"a"`
		B []byte   `bus:"b"`
		C []string `bus:"c"`
	}
	text := schema.Type{Kind: schema.String}
	m := wire.NewMessage(schema.Definition{Name: "M", Attrs: []schema.Attribute{
		{Name: "a", Type: text}, {Name: "b", Type: schema.Type{Kind: schema.Bytes}}, {Name: "c", Type: schema.Type{Kind: schema.List, Elem: &text}},
	}})
	var want message
	want.A, want.B = "short", []byte("bytes")
	for i := range 100 { // longer than what is shared, and than what may be
		want.C = append(want.C, strings.Repeat(string(rune('a'+i%26)), i))
	}
	b, err := mustPacker(t, m, &want).Append(nil, &want)
	if err != nil {
		t.Fatal(err)
	}
	var got message
	unpack(t, m, b, &got)
	clear(b)
	got.B = append(got.B, strings.Repeat("!", 100)...)
	clear(got.B[:5])
	if got.A != want.A || !reflect.DeepEqual(got.C, want.C) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func mustPacker(t *testing.T, m *wire.Message, v any) *wire.Packer {
	t.Helper()
	p, err := m.Packer(reflect.TypeOf(v))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestUnpackerForDoesNotAllocate: a message that is given to its handler by value need
// not be on the heap.
func TestUnpackerForDoesNotAllocate(t *testing.T) {
	m := benchmarks[0].message
	b := encoded(t, m, &one{ID: 300})
	unpack, err := wire.UnpackerFor[one](m)
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	if got := testing.AllocsPerRun(100, func() {
		v, err := unpack(b)
		if err != nil {
			t.Error(err)
		}
		sum += v.ID
	}); got != 0 || sum != 101*300 {
		t.Errorf("%v allocations, and the sum %d; want 0 and %d", got, sum, 101*300)
	}
}
