package wire_test

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"busd/internal/wire"
	"busd/schema"
)

type color uint8

type label string

type part struct {
	X    int64   `bus:"x"`
	Note *string `bus:"note"`
	Deep []inner `bus:"deep,optional"`
}

type inner struct {
	T time.Time         `bus:"t"`
	M map[string][]byte `bus:"m"`
}

type common struct {
	ID   int64  `bus:"id"`
	Kind string `bus:"kind,enum=a|b"`
}

// every has a field of each Go type that can be sent.
type every struct {
	common
	hidden   int                 //nolint:unused // that it is not sent is the test
	Skipped  chan int            `bus:"-"`
	B        bool                `bus:"b"`
	I        int                 `bus:"i"`
	I8       int8                `bus:"i8"`
	I16      int16               `bus:"i16"`
	I32      int32               `bus:"i32"`
	I64      int64               `bus:"i64"`
	U8       uint8               `bus:"u8"`
	U16      uint16              `bus:"u16"`
	U32      uint32              `bus:"u32"`
	F32      float32             `bus:"f32,nonfinite"`
	F64      float64             `bus:"f64,nonfinite"`
	S        string              `bus:"s"`
	Label    label               `bus:"label"`
	Bytes    []byte              `bus:"bytes"`
	Colors   []color             `bus:"colors"`
	Time     time.Time           `bus:"time"`
	Any      any                 `bus:"any"`
	Ints     []int16             `bus:"ints"`
	Strings  []string            `bus:"strings"`
	Lists    [][]string          `bus:"lists"`
	Labels   map[string]string   `bus:"labels"`
	Named    map[label]label     `bus:"named"`
	Counts   map[label]int32     `bus:"counts"`
	Parts    map[string]part     `bus:"parts"`
	Part     part                `bus:"part"`
	List     []part              `bus:"list"`
	Anys     []any               `bus:"anys"`
	Empty    struct{}            `bus:"empty"`
	OptB     *bool               `bus:"opt_b"`
	OptI     *int32              `bus:"opt_i"`
	OptS     *string             `bus:"opt_s"`
	OptTime  *time.Time          `bus:"opt_time"`
	OptPart  *part               `bus:"opt_part"`
	OptPList *[]int64            `bus:"opt_plist"`
	OptList  []int64             `bus:"opt_list,optional"`
	OptBytes []byte              `bus:"opt_bytes,optional"`
	OptMap   map[string][]string `bus:"opt_map,optional"`
	OptAny   any                 `bus:"opt_any,optional"`
}

func (every) MessageName() string { return "Every" }

var everyMessage = wire.NewMessage(schema.Of[every](schema.FromBoth))

func full() *every {
	at := time.Date(2026, 11, 22, 2, 36, 34, 123456789, time.UTC)
	p := part{X: -1, Note: ptr("é"), Deep: []inner{{T: at, M: map[string][]byte{"b": {1}, "a": {}}}, {T: time.Time{}.UTC(), M: map[string][]byte{}}}}
	return &every{
		common: common{ID: math.MinInt64, Kind: "b"},
		B:      true, I: -33, I8: -128, I16: -129, I32: math.MinInt32, I64: math.MaxInt64, U8: 255, U16: 65535, U32: math.MaxUint32,
		F32: float32(math.Inf(-1)), F64: 1e300, S: strings.Repeat("x", 300), Label: "l", Bytes: []byte(strings.Repeat("y", 70_000)), Colors: []color{1, 2},
		Time: at, Any: map[string]any{"z": []any{nil, int64(1)}, "a": "x"}, Ints: []int16{1, -1, 300}, Strings: []string{"", "a"},
		Lists: [][]string{{}, {"x"}}, Labels: map[string]string{"b": "2", "a": "1"}, Named: map[label]label{"n": "m"},
		Counts: map[label]int32{"y": -1, "x": 70000}, Parts: map[string]part{"p": p, "q": {X: 2}}, Part: p, List: []part{p, {X: 3}},
		Anys: []any{true, int64(-1), 0.5, "s", []byte{1}, nil}, OptB: ptr(false), OptI: ptr(int32(7)), OptS: ptr(""), OptTime: &at,
		OptPart: &p, OptPList: &[]int64{1}, OptList: []int64{}, OptBytes: []byte{}, OptMap: map[string][]string{"k": {"v"}}, OptAny: int64(1),
	}
}

// least has only what is required; what must not be nil is empty.
func least() *every {
	return &every{
		common: common{Kind: "a"}, Bytes: []byte{}, Colors: []color{}, Time: time.Unix(0, 0).UTC(), Any: false, Ints: []int16{}, Strings: []string{},
		Lists: [][]string{}, Labels: map[string]string{}, Named: map[label]label{}, Counts: map[label]int32{}, Parts: map[string]part{},
		List: []part{}, Anys: []any{},
	}
}

func unpack(tb testing.TB, m *wire.Message, b []byte, into any) {
	tb.Helper()
	if n, err := m.Check(b); err != nil || n != len(b) {
		tb.Fatalf("Check(% .200x): got %d, %v; want %d, nil", b, n, err, len(b))
	}
	u, err := m.Unpacker(reflect.TypeOf(into))
	if err != nil {
		tb.Fatalf("Unpacker(%T): %v", into, err)
	}
	if err := u.Unpack(b, into); err != nil {
		tb.Fatalf("Unpack(% .200x): %v", b, err)
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, want := range []*every{full(), least()} {
		for _, v := range []schema.Message{want, *want} {
			b := encoded(t, everyMessage, v)
			// Whatever the struct held is gone, the optional fields too.
			got := full()
			p := got.OptPart
			unpack(t, everyMessage, b, got)
			clear(b) // nothing may refer to it
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			if got.OptPart != nil && got.OptPart == p {
				t.Error("the old value behind a pointer was written to")
			}
		}
	}
}

func TestNilContainersAreEmpty(t *testing.T) {
	t.Parallel()
	got, want := new(every), least()
	v := &every{common: common{Kind: "a"}, Time: want.Time, Any: false}
	unpack(t, everyMessage, encoded(t, everyMessage, v), got)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestAppendIsCanonical(t *testing.T) {
	t.Parallel()
	first := encoded(t, everyMessage, full())
	for range 10 {
		if again := encoded(t, everyMessage, full()); string(again) != string(first) {
			t.Fatal("the same value has two encodings")
		}
	}
	m := wire.NewMessage(schema.Of[one](schema.FromBoth))
	got, err := m.Append([]byte("before"), one{ID: 300})
	if want := "before\x81\xa2id\xcd\x01\x2c"; err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	record, err := everyMessage.Record(first)
	if err != nil {
		t.Fatal(err)
	}
	if again := encoded(t, everyMessage, record); string(again) != string(first) {
		t.Errorf("a record's encoding differs from the struct's")
	}
}

func TestUnpackAnyOrder(t *testing.T) {
	t.Parallel()
	b := encoded(t, everyMessage, full())
	record, err := everyMessage.Record(b)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	for name, v := range record.Attrs() {
		values[name] = v
	}
	for seed := range uint64(200) {
		var got every
		unpack(t, everyMessage, newRandom(seed).encode(nil, values), &got)
		if !reflect.DeepEqual(&got, full()) {
			t.Fatalf("seed %d: got %+v\nwant %+v", seed, &got, full())
		}
	}
}

// pointerShaped structs are kept by an interface in another way than others.
type pointerShaped struct {
	P *int64 `bus:"p"`
}

func (pointerShaped) MessageName() string { return "PointerShaped" }

type mapShaped struct {
	M map[string]string `bus:"m"`
}

func (mapShaped) MessageName() string { return "MapShaped" }

type nothing struct{}

func (nothing) MessageName() string { return "Nothing" }

func TestPointerShapedStructs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		d    schema.Definition
		v    schema.Message
		want string
	}{
		{schema.Of[pointerShaped](0), pointerShaped{ptr(int64(5))}, "\x81\xa1p\x05"},
		{schema.Of[pointerShaped](0), &pointerShaped{ptr(int64(5))}, "\x81\xa1p\x05"},
		{schema.Of[pointerShaped](0), pointerShaped{}, "\x80"},
		{schema.Of[mapShaped](0), mapShaped{map[string]string{"a": "b"}}, "\x81\xa1m\x81\xa1a\xa1b"},
		{schema.Of[mapShaped](0), mapShaped{}, "\x81\xa1m\x80"},
		{schema.Of[nothing](0), nothing{}, "\x80"},
		{schema.Of[nothing](0), &nothing{}, "\x80"},
	} {
		if got := encoded(t, wire.NewMessage(c.d), c.v); string(got) != c.want {
			t.Errorf("%T: got %q, want %q", c.v, got, c.want)
		}
	}
}

func TestAppendRefuses(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(e *every){
		`Every.kind: want one of a, b, got another string`:                                func(e *every) { e.Kind = "c" },
		`Every.s: want what the wire takes, got a string that is not UTF-8`:               func(e *every) { e.S = "\xff" },
		`Every.any: want any, got nil`:                                                    func(e *every) { e.Any = nil },
		`Every.any: want any, got [1]: a time: only attributes of kind time can hold one`: func(e *every) { e.Any = []any{1, time.Now()} },
		`Every.any: want any, got ["a"]: a Go chan int, which has no form on the wire`:    func(e *every) { e.Any = map[string]any{"a": make(chan int)} },
		`Every.any: want what the wire takes, got an integer beyond 64 bits with a sign`:  func(e *every) { e.Any = uint64(math.MaxUint64) },
		`Every.any: want any, got a float that is NaN or infinite, where none is allowed`: func(e *every) { e.Any = math.NaN() },
		`Every.parts["p"].deep[1].m: want what the wire takes, got a map key that is not of 1 to 64 bytes`: func(e *every) {
			e.Parts["p"].Deep[1].M[""] = nil
		},
		`Every.ints: want what the wire takes, got more than 20000 values`: func(e *every) { e.Ints = make([]int16, 20_000) },
	} {
		e := full()
		change(e)
		b, err := everyMessage.Append(nil, e)
		var breach *schema.ValueError
		if !errors.As(err, &breach) || b != nil {
			t.Errorf("got %v, want a ValueError: %s", err, want)
			continue
		}
		if got := say(err); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	loop := []any{nil}
	loop[0] = loop
	for name, v := range map[string]schema.Message{"nil": (*every)(nil), "nil record": (*schema.Record)(nil), "another message": one{}, "a loop": &every{Any: loop}, "nobody": nil} {
		if b, err := everyMessage.Append(nil, v); err == nil || b != nil {
			t.Errorf("%s: got % x, %v; want an error", name, b, err)
		}
	}
}

func TestUnpackRefuses(t *testing.T) {
	t.Parallel()
	type message struct {
		F []float32 `bus:"f"`
	}
	m := wire.NewMessage(schema.Definition{Name: "M", Attrs: []schema.Attribute{{Name: "f", Type: schema.Type{Kind: schema.List, Elem: &schema.Type{Kind: schema.Float}}}}})
	u, err := m.Unpacker(reflect.TypeFor[message]())
	if err != nil {
		t.Fatal(err)
	}
	var into message
	err = u.Unpack(unhex(t, "81 a1 (f) 92 cb 7fefffffffffffff ca 00000000"), &into)
	if got, want := say(err), "M.f[0]: want float that a float32 holds, got 1.7976931348623157e+308"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, wrong := range []any{into, (*message)(nil), new(one), nil} {
		if err := u.Unpack([]byte{0x80}, wrong); err == nil {
			t.Errorf("Unpack into %T: want an error", wrong)
		}
	}
}
