package wire_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"busd/internal/wire"
	"busd/schema"
)

func ptr[T any](v T) *T { return &v }

// kinds is a message with an attribute a of each type under test.
var kinds = map[string]schema.Type{
	"bool":    {Kind: schema.Bool},
	"int":     {Kind: schema.Int},
	"small":   {Kind: schema.Int, MinInt: ptr(int64(-5)), MaxInt: ptr(int64(300))},
	"float":   {Kind: schema.Float},
	"ratio":   {Kind: schema.Float, MinFloat: ptr(0.0), MaxFloat: ptr(1.0)},
	"wild":    {Kind: schema.Float, NonFinite: true, MaxFloat: ptr(1.0)},
	"string":  {Kind: schema.String},
	"word":    {Kind: schema.String, MinLen: ptr(2), MaxLen: ptr(3), Pattern: "^[a-zé]+$"},
	"bytes":   {Kind: schema.Bytes},
	"hash":    {Kind: schema.Bytes, MinLen: ptr(1), MaxLen: ptr(2)},
	"time":    {Kind: schema.Time},
	"enum":    {Kind: schema.Enum, Values: []string{"new", "done"}},
	"list":    {Kind: schema.List, Elem: &schema.Type{Kind: schema.Int}},
	"pair":    {Kind: schema.List, Elem: &schema.Type{Kind: schema.String}, MinLen: ptr(1), MaxLen: ptr(2)},
	"anys":    {Kind: schema.List, Elem: &schema.Type{Kind: schema.Any}},
	"map":     {Kind: schema.Map, Elem: &schema.Type{Kind: schema.Int}},
	"few":     {Kind: schema.Map, Elem: &schema.Type{Kind: schema.Time}, MinLen: ptr(1), MaxLen: ptr(2)},
	"any":     {Kind: schema.Any},
	"struct":  {Kind: schema.Struct, Attrs: []schema.Attribute{{Name: "x", Type: schema.Type{Kind: schema.Int}}, {Name: "y", Type: schema.Type{Kind: schema.Any}, Optional: true}}},
	"structs": {Kind: schema.List, Elem: &schema.Type{Kind: schema.Struct, Attrs: []schema.Attribute{{Name: "tags", Type: schema.Type{Kind: schema.Map, Elem: &schema.Type{Kind: schema.Bool}}}}}},
}

func messageOf(t schema.Type) *wire.Message {
	return wire.NewMessage(schema.Definition{Name: "M", Attrs: []schema.Attribute{{Name: "a", Type: t}}})
}

// checks says, for values of attribute a, "" for good, or what the error is to
// be without the message's name: "a: want …, got …", or "offset …".
var checks = []struct{ kind, bytes, want string }{
	{"bool", "c2", ""},
	{"bool", "c3", ""},
	{"bool", "01", "a: want bool, got int"},
	{"bool", "c0", "a: want bool, got nil"},
	{"bool", "", "offset 3: the bytes end before the value does"},
	{"bool", "c1", "offset 3: 0xc1 is no msgpack"},

	{"int", "00", ""},
	{"int", "7f", ""},
	{"int", "ff", ""},
	{"int", "e0", ""},
	{"int", "cc 00", ""},
	{"int", "cc ff", ""},
	{"int", "cd ffff", ""},
	{"int", "ce ffffffff", ""},
	{"int", "cf 7fffffffffffffff", ""},
	{"int", "cf 8000000000000000", "a: want int, got 9223372036854775808 (max 9223372036854775807)"},
	{"int", "cf ffffffffffffffff", "a: want int, got 18446744073709551615 (max 9223372036854775807)"},
	{"int", "d0 80", ""},
	{"int", "d1 8000", ""},
	{"int", "d2 80000000", ""},
	{"int", "d3 8000000000000000", ""},
	{"int", "cb 3ff0000000000000", "a: want int, got float"},
	{"int", "ca 3f800000", "a: want int, got float"},
	{"int", "a1 (1)", "a: want int, got string"},
	{"int", "c2", "a: want int, got bool"},
	{"int", "c0", "a: want int, got nil"},
	{"int", "90", "a: want int, got list"},
	{"int", "80", "a: want int, got map"},
	{"int", "c4 00", "a: want int, got bytes"},
	{"int", "d6 ff 00000000", "a: want int, got time"},
	{"int", "d6 01 00000000", "offset 3: an extension, where none is allowed"},
	{"int", "cd ff", "offset 3: the bytes end before the value does"},
	{"int", "a1 ff", "offset 3: a string that is not UTF-8"},

	{"small", "fb", ""},
	{"small", "d1 fffb", ""},
	{"small", "cd 012c", ""},
	{"small", "fa", "a: want int, got -6 (min -5)"},
	{"small", "cd 012d", "a: want int, got 301 (max 300)"},
	{"small", "cf 8000000000000000", "a: want int, got 9223372036854775808 (max 300)"},

	{"float", "ca 3f800000", ""},
	{"float", "cb 4341c37937e08000", ""},
	{"float", "cb ffefffffffffffff", ""},
	{"float", "01", "a: want float, got int"},
	{"float", "cb 7ff0000000000000", "a: want finite float, got +Inf"},
	{"float", "ca ff800000", "a: want finite float, got -Inf"},
	{"float", "cb 7ff8000000000000", "a: want finite float, got NaN"},
	{"float", "cb 3ff000", "offset 3: the bytes end before the value does"},
	{"ratio", "cb 0000000000000000", ""},
	{"ratio", "cb 8000000000000000", ""},
	{"ratio", "ca 3f800000", ""},
	{"ratio", "cb 3ff0000000000001", "a: want float, got 1.0000000000000002 (max 1)"},
	{"ratio", "ca bf800000", "a: want float, got -1 (min 0)"},
	{"wild", "cb 7ff8000000000000", ""},
	{"wild", "ca ff800000", ""},
	{"wild", "ca 7f800000", "a: want float, got +Inf (max 1)"},

	{"string", "a0", ""},
	{"string", "a3 (abc)", ""},
	{"string", "d9 03 (abc)", ""},
	{"string", "da 0003 (abc)", ""},
	{"string", "db 00000003 (abc)", ""},
	{"string", "a3 e282ac", ""},
	{"string", "c4 03 (abc)", "a: want string, got bytes"},
	{"string", "c0", "a: want string, got nil"},
	{"string", "01", "a: want string, got int"},
	{"string", "a2 c328", "offset 3: a string that is not UTF-8"},
	{"string", "a8 (abcdefg) ff", "offset 3: a string that is not UTF-8"},
	{"string", "a3 (ab)", "offset 3: the bytes end before the value does"},
	{"word", "a2 (ab)", ""},
	{"word", "a4 (éé)", ""},
	{"word", "a6 (ééé)", ""},
	{"word", "a1 (a)", "a: want string, got 1 code points (min 2)"},
	{"word", "a2 (é)", "a: want string, got 1 code points (min 2)"},
	{"word", "a4 (abcd)", "a: want string, got 4 code points (max 3)"},
	{"word", "a2 (A1)", "a: want string like ^[a-zé]+$, got one that does not match"},

	{"bytes", "c4 00", ""},
	{"bytes", "c4 02 ffc1", ""},
	{"bytes", "c5 0001 00", ""},
	{"bytes", "c6 00000001 00", ""},
	{"bytes", "a1 (x)", "a: want bytes, got string"},
	{"bytes", "91 01", "a: want bytes, got list"},
	{"bytes", "c4 03 0000", "offset 3: the bytes end before the value does"},
	{"hash", "c4 02 0000", ""},
	{"hash", "c4 00", "a: want bytes, got 0 bytes (min 1)"},
	{"hash", "c4 03 000000", "a: want bytes, got 3 bytes (max 2)"},

	{"time", "d6 ff 00000000", ""},
	{"time", "d6 ff ffffffff", ""},
	{"time", "d7 ff 0000000000000000", ""},
	{"time", "d7 ff ee6b27fc00000000", ""},
	{"time", "c7 0c ff 3b9ac9ff 8000000000000000", ""},
	{"time", "d7 ff ee6b280000000000", "offset 3: an extension, where none is allowed"},
	{"time", "c7 0c ff 3b9aca00 0000000000000000", "offset 3: an extension, where none is allowed"},
	{"time", "c7 04 ff 00000000", "offset 3: an extension, where none is allowed"},
	{"time", "c7 08 ff 0000000000000000", "offset 3: an extension, where none is allowed"},
	{"time", "c8 000c ff 00000000 0000000000000000", "offset 3: an extension, where none is allowed"},
	{"time", "d6 01 00000000", "offset 3: an extension, where none is allowed"},
	{"time", "d5 ff 0000", "offset 3: an extension, where none is allowed"},
	{"time", "00", "a: want time, got int"},
	{"time", "a4 (2026)", "a: want time, got string"},
	{"time", "d6 ff 0000", "offset 3: the bytes end before the value does"},

	{"enum", "a3 (new)", ""},
	{"enum", "d9 04 (done)", ""},
	{"enum", "a3 (old)", "a: want one of new, done, got another string"},
	{"enum", "a0", "a: want one of new, done, got another string"},
	{"enum", "00", "a: want one of new, done, got int"},
	{"enum", "a1 ff", "offset 3: a string that is not UTF-8"},

	{"list", "90", ""},
	{"list", "92 01 cd 0100", ""},
	{"list", "dc 0001 01", ""},
	{"list", "dd 00000001 01", ""},
	{"list", "92 01 a1 (x)", "a[1]: want int, got string"},
	{"list", "91 c0", "a[0]: want int, got nil"},
	{"list", "80", "a: want list of int, got map"},
	{"list", "c4 01 01", "a: want list of int, got bytes"},
	{"list", "dd ffffffff", "offset 3: the bytes end before the value does"},
	{"list", "92 01", "offset 3: the bytes end before the value does"},
	{"pair", "91 a0", ""},
	{"pair", "90", "a: want list of string, got 0 elements (min 1)"},
	{"pair", "93 a0 a0 a0", "a: want list of string, got 3 elements (max 2)"},
	{"anys", "94 c0 01 90 80", ""},
	{"anys", "91 d6 ff 00000000", "offset 4: an extension, where none is allowed"},

	{"map", "80", ""},
	{"map", "82 a1 (x) 01 a1 (y) 02", ""},
	{"map", "82 a1 (y) 01 a1 (x) 02", ""},
	{"map", "de 0001 d9 01 (x) 01", ""},
	{"map", "81 " + key64 + " 01", ""},
	{"map", "82 a1 (x) 01 a1 (y) c3", `a["y"]: want int, got bool`},
	{"map", "82 a1 (x) 01 a1 (x) 02", `a["x"]: want distinct keys, got the key a second time`},
	{"map", "83 a1 (y) 01 a1 (x) 02 d9 01 (y) 03", `a["y"]: want distinct keys, got the key a second time`},
	{"map", "81 a1 0a c0", `a["\n"]: want int, got nil`},
	{"map", "90", "a: want map of int, got list"},
	{"map", "81 01 01", "offset 4: a map key that is not a string"},
	{"map", "81 a0 01", "offset 4: a map key that is not of 1 to 64 bytes"},
	{"map", "81 " + key65 + " 01", "offset 4: a map key that is not of 1 to 64 bytes"},
	{"map", "81 a1 ff 01", "offset 4: a string that is not UTF-8"},
	{"map", "81 a1 (x)", "offset 6: the bytes end before the value does"},
	{"map", "df ffffffff", "offset 3: the bytes end before the value does"},
	{"few", "81 a1 (x) d6 ff 00000000", ""},
	{"few", "80", "a: want map of time, got 0 elements (min 1)"},
	{"few", "81 a1 (x) 00", `a["x"]: want time, got int`},

	{"any", "01", ""},
	{"any", "cf 7fffffffffffffff", ""},
	{"any", "93 c0 a1 (x) 81 a1 (k) cb 3ff0000000000000", ""},
	{"any", "c0", "a: want any, got nil"},
	{"any", "cf 8000000000000000", "offset 3: an integer beyond 64 bits with a sign"},
	{"any", "91 cf ffffffffffffffff", "offset 4: an integer beyond 64 bits with a sign"},
	{"any", "d6 ff 00000000", "offset 3: an extension, where none is allowed"},
	{"any", "cb 7ff8000000000000", "offset 3: a float that is NaN or infinite, where none is allowed"},
	{"any", "82 a1 (x) 01 a1 (x) 01", "offset 8: a map key that was there before"},
	{"any", "c1", "offset 3: 0xc1 is no msgpack"},

	{"struct", "81 a1 (x) 01", ""},
	{"struct", "82 a1 (x) 01 a1 (y) 90", ""},
	{"struct", "82 a1 (y) 90 a1 (x) 01", ""},
	{"struct", "82 d9 01 (y) 90 da 0001 (x) 01", ""},
	{"struct", "80", "a.x: want int, got nothing"},
	{"struct", "81 a1 (y) 01", "a.x: want int, got nothing"},
	{"struct", "82 a1 (x) 01 a1 (y) c0", "a.y: want any, got nil"},
	{"struct", "82 a1 (x) 01 a1 (z) 01", "a.z: want one of the attributes x, y, got an unknown one"},
	{"struct", "82 a1 (x) 01 a2 (\n\x1b) 01", `a."\n\x1b": want one of the attributes x, y, got an unknown one`},
	{"struct", "82 a1 (x) 01 a1 (x) 01", "a.x: want one x, got a second x"},
	{"struct", "90", "a: want struct, got list"},
	{"structs", "91 81 a4 (tags) 81 a1 (k) c3", ""},
	{"structs", "92 81 a4 (tags) 80 81 a4 (tags) 81 a3 (k.1) 01", `a[1].tags["k.1"]: want bool, got int`},
}

// say puts an error as the tables do.
func say(err error) string {
	var breach *schema.ValueError
	switch {
	case err == nil:
		return ""
	case !errors.As(err, &breach):
		return err.Error()
	case breach.Attr == "":
		return fmt.Sprintf("%s: want %s, got %s", breach.Message, breach.Want, breach.Got)
	}
	return fmt.Sprintf("%s.%s: want %s, got %s", breach.Message, breach.Attr, breach.Want, breach.Got)
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range checks {
		m := messageOf(kinds[c.kind])
		b := unhex(t, "81 a1 (a) "+c.bytes)
		whole := len(b)
		n, err := m.Check(b)
		got := say(err)
		want := c.want
		if strings.HasPrefix(want, "a") {
			want = "M." + want
		}
		if got != want {
			t.Errorf("%s, %s: got %q, want %q", c.kind, c.bytes, got, want)
		}
		var breach *schema.ValueError
		if (err == nil || errors.As(err, &breach)) && n != whole {
			t.Errorf("%s, %s: got length %d, want %d (error %v)", c.kind, c.bytes, n, whole, err)
		}
		// What follows the value is not its business, unless it is missing.
		if !strings.HasSuffix(want, "before the value does") {
			if more, again := m.Check(append(b, 0xc1, 0xff)); more != n || fmt.Sprint(again) != fmt.Sprint(err) {
				t.Errorf("%s, %s: with bytes behind it got %d, %v; want %d, %v", c.kind, c.bytes, more, again, n, err)
			}
		}
	}
	if len(checks) < 120 {
		t.Errorf("the table has %d cases", len(checks))
	}
}

func TestCheckMessage(t *testing.T) {
	t.Parallel()
	m := wire.NewMessage(schema.Definition{Name: "M", Attrs: []schema.Attribute{
		{Name: "id", Type: schema.Type{Kind: schema.Int}},
		{Name: "a_rather_long_name", Type: schema.Type{Kind: schema.Int}},
		{Name: "note", Type: schema.Type{Kind: schema.Int}, Optional: true},
	}})
	for s, want := range map[string]string{
		"82 a2 (id) 01 b2 (a_rather_long_name) 02":              "",
		"83 a2 (id) 01 b2 (a_rather_long_name) 02 a4 (note) 03": "",
		"83 a4 (note) 03 b2 (a_rather_long_name) 02 a2 (id) 01": "",
		"de 0002 a2 (id) 01 d9 12 (a_rather_long_name) 02":      "",
		"82 a2 (id) 01 b2 (a_rather_long_nama) 02":              "M.a_rather_long_nama: want one of the attributes id, a_rather_long_name, note, got an unknown one",
		"81 a2 (id) 01": "M.a_rather_long_name: want int, got nothing",
		"80":            "M.id: want int, got nothing",
		"83 a2 (id) 01 b2 (a_rather_long_name) 02 a4 (note) c0": "M.note: want int, got nil",
		"83 a2 (id) 01 b2 (a_rather_long_name) 02 a2 (id) 01":   "M.id: want one id, got a second id",
		"82 01 01 b2 (a_rather_long_name) 02":                   "offset 1: a map key that is not a string",
		"90":                                                    "M: want struct, got list",
		"c0":                                                    "M: want struct, got nil",
		"":                                                      "offset 0: the bytes end before the value does",
		"82 a2 (id)":                                            "offset 0: the bytes end before the value does",
		"82 a2 (id) a1 (x) b2 (a_rather_long_name)": "offset 25: the bytes end before the value does",
		"82 a2 (id) a1 (x) c1 01":                   "offset 6: 0xc1 is no msgpack",
		"df ffffffff":                               "offset 0: the bytes end before the value does",
	} {
		_, err := m.Check(unhex(t, s))
		if got := say(err); got != want {
			t.Errorf("%s: got %q, want %q", s, got, want)
		}
	}
}

func TestCheckLimits(t *testing.T) {
	t.Parallel()
	deep := func(n int) schema.Type {
		typ := schema.Type{Kind: schema.Any}
		for range n {
			inner := typ
			typ = schema.Type{Kind: schema.List, Elem: &inner}
		}
		return typ
	}
	attr := []byte{0x81, 0xa1, 'a'}
	for name, c := range map[string]struct {
		typ  schema.Type
		b    []byte
		want string
	}{
		"16 levels of lists":     {deep(15), unhex(t, strings.Repeat("91", 15)+"c0"), ""},
		"17 levels of lists":     {deep(16), unhex(t, strings.Repeat("91", 16)+"c0"), "16 deep"},
		"16 levels, most in any": {deep(3), unhex(t, strings.Repeat("91", 15)+"c0"), ""},
		"17 levels, most in any": {deep(3), unhex(t, strings.Repeat("91", 16)+"c0"), "16 deep"},
		"1024 keys":              {schema.Type{Kind: schema.Map, Elem: &schema.Type{}}, manyKeys(1024, false), ""},
		"1024 keys, descending":  {schema.Type{Kind: schema.Map, Elem: &schema.Type{}}, manyKeys(1024, true), ""},
		"1025 keys":              {schema.Type{Kind: schema.Map, Elem: &schema.Type{}}, manyKeys(1025, false), "1024 keys"},
		"20000 values":           {schema.Type{Kind: schema.List, Elem: &schema.Type{Kind: schema.Int}}, list16(19_997), ""},
		"20001 values":           {schema.Type{Kind: schema.List, Elem: &schema.Type{Kind: schema.Int}}, list16(19_998), "20000 values"},
		"20000 values in any":    {schema.Type{}, list16(19_997), ""},
		"20001 values in any":    {schema.Type{}, list16(19_998), "20000 values"},
		"20000 values, each any": {schema.Type{Kind: schema.List, Elem: &schema.Type{}}, list16(19_997), ""},
		"20001 values, each any": {schema.Type{Kind: schema.List, Elem: &schema.Type{}}, list16(19_998), "20000 values"},
	} {
		b := append(attr[:3:3], c.b...)
		_, err := messageOf(c.typ).Check(b)
		_, skipErr := wire.Skip(b)
		switch {
		case c.want == "" && (err != nil || skipErr != nil):
			t.Errorf("%s: got %v, Skip %v; want nil", name, err, skipErr)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || skipErr == nil):
			t.Errorf("%s: got %v, Skip %v; want %q", name, err, skipErr, c.want)
		}
	}
}

func TestCheckDoesNotAllocate(t *testing.T) {
	for _, bm := range benchmarks {
		b := encoded(t, bm.message, bm.value)
		if got := testing.AllocsPerRun(100, func() { _, _ = bm.message.Check(b) }); got != 0 {
			t.Errorf("Check %s: %v allocations, want 0", bm.name, got)
		}
	}
	c := wire.Compile(schema.MustNew("Test/Wire", schema.Of[one](schema.FromClient)))
	name := []byte("One")
	if got := testing.AllocsPerRun(100, func() { c.MessageBytes(name) }); got != 0 {
		t.Errorf("MessageBytes: %v allocations, want 0", got)
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	s := schema.MustNew("Test/Wire", schema.Of[one](schema.FromClient), schema.Of[twelve](schema.FromService))
	c := wire.Compile(s)
	m, ok := c.MessageBytes([]byte("Twelve"))
	if byName, _ := c.Message("Twelve"); !ok || m != byName || m.Name() != "Twelve" || m.Definition().From != schema.FromService || c.Schema() != s {
		t.Errorf("Compile: got %v, %v; want the message Twelve by both ways", m, ok)
	}
	if got, want := string(m.NameBytes()), "\xa6Twelve"; got != want {
		t.Errorf("NameBytes: got %q, want %q", got, want)
	}
	if m, ok := c.Message("Thirteen"); ok || m != nil {
		t.Errorf("Message(Thirteen): got %v, %v; want none", m, ok)
	}
}
