package wire_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"busd/bus"
	"busd/internal/wire"
	"busd/schema"
)

func TestPlans(t *testing.T) {
	t.Parallel()
	intType := schema.Type{Kind: schema.Int}
	byteRange := schema.Type{Kind: schema.Int, MinInt: ptr(int64(0)), MaxInt: ptr(int64(200))}
	attr := func(name string, t schema.Type, optional bool) schema.Attribute {
		return schema.Attribute{Name: name, Type: t, Optional: optional}
	}
	type a64 struct {
		A int64 `bus:"a"`
	}
	type a8 struct {
		A uint8 `bus:"a"`
	}
	type aPointer struct {
		A *int64 `bus:"a"`
	}
	type aString struct {
		A string `bus:"a"`
	}
	type ab struct {
		A int64 `bus:"a"`
		B int64 `bus:"b"`
	}
	type abPointer struct {
		A int64  `bus:"a"`
		B *int64 `bus:"b"`
	}
	type nested struct {
		A []ab `bus:"a"`
	}
	type twice struct {
		A int64 `bus:"a"`
		B int64 `bus:"a"`
	}
	structs := schema.Type{Kind: schema.List, Elem: &schema.Type{Kind: schema.Struct, Attrs: []schema.Attribute{attr("a", intType, false)}}}
	for name, c := range map[string]struct {
		attrs        []schema.Attribute
		v            any
		pack, unpack string // what the error holds; "" for none
	}{
		"the same":                        {[]schema.Attribute{attr("a", intType, false)}, a64{}, "", ""},
		"shorter int, contract unbounded": {[]schema.Attribute{attr("a", intType, false)}, a8{}, "", "M.a: the contract allows int, and a Go uint8 holds 0 to 255 only"},
		"shorter int, contract bounded":   {[]schema.Attribute{attr("a", byteRange, false)}, a8{}, "", ""},
		"contract optional, Go required":  {[]schema.Attribute{attr("a", intType, true)}, a64{}, "", "M.a: it is optional in the contract"},
		"contract required, Go optional":  {[]schema.Attribute{attr("a", intType, false)}, aPointer{}, "", ""},
		"another kind":                    {[]schema.Attribute{attr("a", intType, false)}, aString{}, "M.a: want int, and the Go type string", "M.a: want int, and the Go type string"},
		"contract lacks a required field": {[]schema.Attribute{attr("a", intType, false)}, ab{}, "M.b: the contract lacks it", "M.b: the contract lacks it"},
		"contract lacks an optional one":  {[]schema.Attribute{attr("a", intType, false)}, abPointer{}, "", ""},
		"Go lacks a required attribute":   {[]schema.Attribute{attr("a", intType, false), attr("b", intType, false)}, a64{}, "M.b: the contract requires it", ""},
		"Go lacks an optional attribute":  {[]schema.Attribute{attr("a", intType, false), attr("b", intType, true)}, a64{}, "", ""},
		"in a list's struct":              {[]schema.Attribute{attr("a", structs, false)}, nested{}, "M.a[].b: the contract lacks it", "M.a[].b: the contract lacks it"},
		"not a struct":                    {nil, 5, "want a struct", "want a struct"},
		"nil":                             {nil, nil, "want a struct", "want a struct"},
		"a field twice":                   {[]schema.Attribute{attr("a", intType, false)}, twice{}, "twice", "twice"},
	} {
		m := wire.NewMessage(schema.Definition{Name: "M", Attrs: c.attrs})
		for range 2 { // the second answer is remembered
			_, packErr := m.Packer(reflect.TypeOf(c.v))
			_, unpackErr := m.Unpacker(reflect.TypeOf(c.v))
			for _, d := range []struct {
				what, want string
				err        error
			}{{"Packer", c.pack, packErr}, {"Unpacker", c.unpack, unpackErr}} {
				if d.want == "" && d.err == nil {
					continue
				}
				if d.want == "" || d.err == nil || bus.CodeOf(d.err) != bus.CodeSchemaMismatch || !strings.Contains(d.err.Error(), d.want) {
					t.Errorf("%s, %s: got %v, want %q", name, d.what, d.err, d.want)
				}
			}
		}
	}
}

// A newer client's optional field is left out for an older service, and what
// comes from a newer service is skipped.
func TestEvolution(t *testing.T) {
	t.Parallel()
	type v1 struct {
		A int64   `bus:"a"`
		C *string `bus:"c"`
	}
	type v2 struct {
		A int64             `bus:"a"`
		B map[string]string `bus:"b,optional"`
		C *string           `bus:"c"`
	}
	str := schema.Type{Kind: schema.String}
	a := schema.Attribute{Name: "a", Type: schema.Type{Kind: schema.Int}}
	b := schema.Attribute{Name: "b", Type: schema.Type{Kind: schema.Map, Elem: &str}, Optional: true}
	c := schema.Attribute{Name: "c", Type: str, Optional: true}
	m1 := wire.NewMessage(schema.Definition{Name: "M", Attrs: []schema.Attribute{a, c}})
	m2 := wire.NewMessage(schema.Definition{Name: "M", Attrs: []schema.Attribute{a, b, c}})

	p, err := m1.Packer(reflect.TypeFor[v2]())
	if err != nil {
		t.Fatal(err)
	}
	old, err := p.Append(nil, &v2{1, map[string]string{"k": "v"}, ptr("x")})
	if want := "\x82\xa1a\x01\xa1c\xa1x"; err != nil || string(old) != want {
		t.Errorf("to the older contract: got %q, %v; want %q", old, err, want)
	}
	got := v2{B: map[string]string{"stale": ""}}
	unpack(t, m1, old, &got)
	if want := (v2{A: 1, C: ptr("x")}); !reflect.DeepEqual(got, want) {
		t.Errorf("from the older contract: got %+v, want %+v", got, want)
	}
	var older v1
	unpack(t, m2, unhex(t, "83 a1 (a) 01 a1 (b) 81 a1 (k) a1 (v) a1 (c) a1 (x)"), &older)
	if want := (v1{1, ptr("x")}); !reflect.DeepEqual(older, want) {
		t.Errorf("from the newer contract: got %+v, want %+v", older, want)
	}
	record := schema.NewRecord(m2.Definition())
	for name, v := range map[string]any{"a": 1, "b": map[string]string{"k": "v"}} {
		if err := record.Set(name, v); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := m1.AppendRecord(nil, record); err != nil || string(b) != "\x81\xa1a\x01" {
		t.Errorf("a record of the newer contract: got %q, %v; want a alone", b, err)
	}
}

func TestPlansDoNotAllocate(t *testing.T) {
	for _, bm := range benchmarks {
		buf := encoded(t, bm.message, bm.value)
		if got := testing.AllocsPerRun(100, func() { buf, _ = bm.message.Append(buf[:0], bm.value) }); got != 0 {
			t.Errorf("Append %s: %v allocations, want 0", bm.name, got)
		}
	}
	m, v := benchmarks[0].message, new(one)
	b := encoded(t, m, &one{ID: 300})
	u, err := m.Unpacker(reflect.TypeOf(v))
	if err != nil {
		t.Fatal(err)
	}
	if got := testing.AllocsPerRun(100, func() { _ = u.Unpack(b, v) }); got != 0 || v.ID != 300 {
		t.Errorf("Unpack: %v allocations and %+v, want 0 and 300", got, v)
	}
}

func TestPlansConcurrently(t *testing.T) {
	t.Parallel()
	m := wire.NewMessage(schema.Of[every](schema.FromBoth))
	done := make(chan error)
	for range 8 {
		go func() {
			b, err := m.Append(nil, full())
			if err == nil {
				var u *wire.Unpacker
				var into every
				if u, err = m.Unpacker(reflect.TypeOf(into)); err == nil {
					err = u.Unpack(b, &into)
				}
				if err == nil && !reflect.DeepEqual(&into, full()) {
					err = fmt.Errorf("got %+v", into)
				}
			}
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
