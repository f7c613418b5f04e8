package schema_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"busd/schema"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	type (
		word  string
		count int32
	)
	small := schema.Type{Kind: schema.Int, MinInt: ptr(int64(-1)), MaxInt: ptr(int64(10))}
	narrow := schema.Type{Kind: schema.Float, MinFloat: ptr(-0.5), MaxFloat: ptr(2.0)}
	loose := schema.Type{Kind: schema.Float, MaxFloat: ptr(2.0), NonFinite: true}
	short := schema.Type{Kind: schema.String, MinLen: ptr(1), MaxLen: ptr(3)}
	manyKeys := map[string]int{}
	for i := range schema.MaxKeys + 1 {
		manyKeys["k"+strings.Repeat("x", i%60)+strings.Repeat("y", i/60)] = i
	}
	var nest any = 1
	for range schema.MaxDepth {
		nest = []any{nest}
	}
	for _, tc := range []struct {
		name  string
		typ   schema.Type
		value any
		want  string // the error after "M.a", "" for none
	}{
		{"bool", boolType, true, ""},
		{"bool from int", boolType, 1, ": want bool, got int"},
		{"int", intType, 7, ""},
		{"int8", intType, int8(-7), ""},
		{"uint64", intType, uint64(7), ""},
		{"uint64 too large", intType, uint64(math.MaxUint64), ": want int, got 18446744073709551615 (max 9223372036854775807)"},
		{"named int", intType, count(3), ""},
		{"int64 min", intType, int64(math.MinInt64), ""},
		{"int64 max", intType, int64(math.MaxInt64), ""},
		{"int from bool", intType, true, ": want int, got bool"},
		{"int from whole float", intType, 1.0, ": want int, got float"},
		{"int from string", intType, "secret", ": want int, got string"},
		{"int from pointer", intType, new(int), ": want int, got a value that cannot be sent (*int)"},
		{"min", small, -2, ": want int, got -2 (min -1)"},
		{"max", small, 99, ": want int, got 99 (max 10)"},
		{"inside", small, 10, ""},
		{"float", floatType, 0.5, ""},
		{"float32", floatType, float32(0.5), ""},
		{"float from int", floatType, 1, ": want float, got int"},
		{"NaN", floatType, math.NaN(), ": want finite float, got NaN"},
		{"infinity", floatType, math.Inf(1), ": want finite float, got +Inf"},
		{"float min", narrow, -0.75, ": want float, got -0.75 (min -0.5)"},
		{"float max", narrow, 2.5, ": want float, got 2.5 (max 2)"},
		{"NaN allowed", loose, math.NaN(), ""},
		{"infinity over max", loose, math.Inf(1), ": want float, got +Inf (max 2)"},
		{"infinity under max", loose, math.Inf(-1), ""},
		{"string", stringType, "x", ""},
		{"named string", stringType, word("x"), ""},
		{"string from bytes", stringType, []byte("x"), ": want string, got bytes"},
		{"not UTF-8", stringType, "\xff", ": want string, got a string that is not UTF-8"},
		{"code points", short, "üüü", ""},
		{"too long", short, "üüüü", ": want string, got 4 code points (max 3)"},
		{"too short", short, "", ": want string, got 0 code points (min 1)"},
		{"pattern", schema.Type{Kind: schema.String, Pattern: "^a+$"}, "aaa", ""},
		{"pattern missed", schema.Type{Kind: schema.String, Pattern: "^a+$"}, "secret", ": want string like ^a+$, got one that does not match"},
		{"pattern anywhere", schema.Type{Kind: schema.String, Pattern: "b"}, "abc", ""},
		{"bytes", bytesType, []byte{1}, ""},
		{"bytes from string", bytesType, "x", ": want bytes, got string"},
		{"bytes too long", schema.Type{Kind: schema.Bytes, MaxLen: ptr(1)}, []byte{1, 2}, ": want bytes, got 2 bytes (max 1)"},
		{"time", timeType, time.Now(), ""},
		{"time from int", timeType, 1, ": want time, got int"},
		{"enum", enumOf("x", "y"), "y", ""},
		{"enum missed", enumOf("x", "y"), "secret", ": want one of x, y, got another string"},
		{"enum from int", enumOf("x"), 1, ": want one of x, got int"},
		{"long enum", enumOf("1", "2", "3", "4", "5", "6", "7", "8", "9"), "0", ": want one of 1, 2, 3, 4, 5, 6, 7, 8, …, got another string"},
		{"list", listOf(intType), []any{1, int8(2)}, ""},
		{"list of T", listOf(intType), []int16{1}, ""},
		{"nil list", listOf(intType), []int(nil), ""},
		{"list from bytes", listOf(intType), []byte{1}, ": want list of int, got bytes"},
		{"list from map", listOf(intType), map[string]int{}, ": want list of int, got map"},
		{"element", listOf(intType), []any{1, 2, 3, "x"}, "[3]: want int, got string"},
		{"nil element", listOf(intType), []any{nil}, "[0]: want int, got nothing"},
		{"long list", schema.Type{Kind: schema.List, Elem: &intType, MaxLen: ptr(1)}, []int{1, 2}, ": want list of int, got 2 elements (max 1)"},
		{"map", mapOf(intType), map[string]any{"a": 1}, ""},
		{"map of T", mapOf(intType), map[word]int{"a": 1}, ""},
		{"map value", mapOf(intType), map[string]any{"a": 1, "b": 1.5}, `["b"]: want int, got float`},
		{"map empty key", mapOf(intType), map[string]int{"": 1}, ": want keys of 1 to 64 bytes UTF-8, got one of 0 bytes"},
		{"map long key", mapOf(intType), map[string]int{strings.Repeat("k", 65): 1}, ": want keys of 1 to 64 bytes UTF-8, got one of 65 bytes"},
		{"map with int keys", mapOf(intType), map[int]int{}, ": want map of int, got a value that cannot be sent (map[int]int)"},
		{"map too large", mapOf(intType), manyKeys, ": want at most 1024 keys, got 1025"},
		{"short map", schema.Type{Kind: schema.Map, Elem: &intType, MinLen: ptr(1)}, map[string]int{}, ": want map of int, got 0 elements (min 1)"},
		{"struct", structOf(attr("x", intType)), map[string]any{"x": 1}, ""},
		{"struct of T", structOf(attr("x", intType)), map[word]int{"x": 1}, ""},
		{"struct from list", structOf(), []int{}, ": want struct, got list"},
		{"struct missing", structOf(attr("x", intType)), map[string]any{}, ".x: want int, got nothing"},
		{"struct unknown", structOf(attr("abc", intType)), map[string]any{"abd": 1}, `.abd: want one of the attributes abc (did you mean "abc"?), got an unknown one`},
		{"path", listOf(structOf(attr("m", mapOf(listOf(structOf(attr("id", intType))))))), []any{map[string]any{"m": map[string]any{"k": []any{map[string]any{"id": true}}}}}, `[0].m["k"][0].id: want int, got bool`},
		{"any", anyType, map[string]any{"a": []any{nil, true, 1, 1.5, "x", []byte{1}}}, ""},
		{"any struct", anyType, struct{}{}, ": want any (which has no time), got a value that cannot be sent (struct {})"},
		{"any time", anyType, []any{time.Now()}, "[0]: want any (which has no time), got time"},
		{"any NaN", anyType, []any{math.NaN()}, "[0]: want finite float, got NaN"},
		{"any not UTF-8", anyType, "\xff", ": want any, got a string that is not UTF-8"},
		{"any uint64", anyType, uint64(math.MaxUint64), ": want any, got 18446744073709551615 (max 9223372036854775807)"},
		{"any nil element", listOf(anyType), []any{nil}, ""},
		{"any nil", anyType, nil, ": want any, got nothing"},
		{"any too deep", anyType, nest, strings.Repeat("[0]", schema.MaxDepth-1) + ": want at most 16 levels, got more"},
		{"too many values", listOf(boolType), make([]bool, schema.MaxValues), "[19997]: want at most 20000 values, keys included, got more"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := message("M", attr("a", tc.typ)).Check(map[string]any{"a": tc.value})
			got := ""
			if err != nil {
				got = strings.TrimPrefix(err.Error(), "M.a")
			}
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			var v *schema.ValueError
			if err != nil && (!errors.As(err, &v) || v.Message != "M") {
				t.Errorf("got %#v, want a ValueError of message M", err)
			}
		})
	}
}

func TestCheckAttributes(t *testing.T) {
	t.Parallel()
	d := message("Ping", attr("id", intType), optional("note", stringType))
	for _, tc := range []struct {
		values map[string]any
		want   string
	}{
		{map[string]any{"id": 1}, "<nil>"},
		{map[string]any{"id": 1, "note": nil}, "<nil>"},
		{map[string]any{"id": 1, "note": "x"}, "<nil>"},
		{nil, "Ping.id: want int, got nothing"},
		{map[string]any{"id": nil}, "Ping.id: want int, got nothing"},
		{map[string]any{"id": "7"}, "Ping.id: want int, got string"},
		{map[string]any{"id": 1, "notes": "x"}, `Ping.notes: want one of the attributes id, note (did you mean "note"?), got an unknown one`},
		{map[string]any{"id": 1, strings.Repeat("x", 500) + "\n": 1}, "Ping." + strings.Repeat("x", 64) + "…: want one of the attributes id, note, got an unknown one"},
	} {
		var got string
		if err := d.Check(tc.values); err == nil {
			got = "<nil>"
		} else {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("%v: got %q, want %q", tc.values, got, tc.want)
		}
	}
	if got, want := message("E").Check(map[string]any{"x": 1}).Error(), "E.x: want no attributes, got an unknown one"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	many := message("M")
	for i := range 20 {
		many.Attrs = append(many.Attrs, attr("a"+string(rune('a'+i)), intType))
	}
	if got := many.Check(map[string]any{"zzz": 1}).Error(); !strings.Contains(got, "ap, …, got") {
		t.Errorf("got %q, want a list that is cut", got)
	}
}
