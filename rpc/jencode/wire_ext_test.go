package jencode_test

import (
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"busd/rpc/jencode"
)

func bigInt(text string) *big.Int {
	n, ok := new(big.Int).SetString(text, 10)
	if !ok {
		panic(text)
	}
	return n
}

type word string

// TestValues is the table of values, both ways, in both dialects.
func TestValues(t *testing.T) {
	t.Parallel()
	paris := time.FixedZone("Paris", 3600)
	for _, c := range []struct {
		value       any
		dirac, json string
		back        any // what any reads in the DIRAC dialect; nil: value
		jsonBack    any // the same in JSON; nil: back
	}{
		{nil, `null`, `null`, nil, nil},
		{true, `true`, `true`, nil, nil},
		{false, `false`, `false`, nil, nil},
		{1, `1`, `1`, int64(1), nil},
		{-7, `-7`, `-7`, int64(-7), nil},
		{uint8(255), `255`, `255`, int64(255), nil},
		{int64(math.MinInt64), `-9223372036854775808`, `-9223372036854775808`, nil, nil},
		{uint64(math.MaxUint64), `18446744073709551615`, `18446744073709551615`, bigInt("18446744073709551615"), nil},
		{bigInt("1180591620717411303424"), `1180591620717411303424`, `1180591620717411303424`, nil, nil},
		{*bigInt("-1180591620717411303424"), `-1180591620717411303424`, `-1180591620717411303424`, bigInt("-1180591620717411303424"), nil},
		{bigInt("5"), `5`, `5`, int64(5), nil},
		{time.Second, `1000000000`, `1000000000`, int64(1e9), nil},

		{1.0, `1.0`, `1.0`, nil, nil},
		{1e16, `1e+16`, `1e+16`, nil, nil},
		{9999999999999998.0, `9999999999999998.0`, `9999999999999998.0`, nil, nil},
		{123456789012345680.0, `1.2345678901234568e+17`, `1.2345678901234568e+17`, nil, nil},
		{math.Copysign(0, -1), `-0.0`, `-0.0`, nil, nil},
		{1.5e-07, `1.5e-07`, `1.5e-07`, nil, nil},
		{1e-05, `1e-05`, `1e-05`, nil, nil},
		{0.0001, `0.0001`, `0.0001`, nil, nil},
		{1e22, `1e+22`, `1e+22`, nil, nil},
		{1e100, `1e+100`, `1e+100`, nil, nil},
		{5e-324, `5e-324`, `5e-324`, nil, nil},
		{float32(0.1), `0.1`, `0.1`, 0.1, nil},
		{math.Inf(1), `Infinity`, `"Infinity"`, nil, "Infinity"},
		{math.Inf(-1), `-Infinity`, `"-Infinity"`, nil, "-Infinity"},

		{"é☃😀\x7f", `"\u00e9\u2603\ud83d\ude00\u007f"`, "\"é☃😀\x7f\"", nil, nil},
		{"\"\\/\b\f\n\r\t\x00\x1f<&>\u2028", `"\"\\/\b\f\n\r\t\u0000\u001f<&>\u2028"`, "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f<&>\u2028\"", nil, nil},
		{"", `""`, `""`, nil, nil},
		{word("a named type"), `"a named type"`, `"a named type"`, "a named type", nil},

		{[]byte("\x00\xff"), `{"__dCls": "b64", "obj": "AP8="}`, `"AP8="`, nil, "AP8="},
		{[]byte(nil), `{"__dCls": "b64", "obj": ""}`, `""`, []byte{}, ""},
		{
			time.Date(2020, 1, 2, 4, 4, 5, 678901000, paris),
			`{"__dCls": "dt", "obj": "2020-01-02 03:04:05"}`, `"2020-01-02T03:04:05.678901Z"`,
			time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC), "2020-01-02T03:04:05.678901Z",
		},
		{time.Time{}, `{"__dCls": "dt", "obj": "0001-01-01 00:00:00"}`, `"0001-01-01T00:00:00Z"`, nil, "0001-01-01T00:00:00Z"},
		{jencode.Date{2020, 1, 2}, `{"__dCls": "date", "obj": "2020-01-02"}`, `"2020-01-02"`, nil, "2020-01-02"},
		{jencode.Date{7, 12, 31}, `{"__dCls": "date", "obj": "0007-12-31"}`, `"0007-12-31"`, nil, "0007-12-31"},

		{[]any{1, []any{2}}, `[1, [2]]`, `[1,[2]]`, []any{int64(1), []any{int64(2)}}, nil},
		{[2]int{3, 4}, `[3, 4]`, `[3,4]`, []any{int64(3), int64(4)}, nil},
		{[]string(nil), `[]`, `[]`, []any{}, nil},
		{map[string]int(nil), `{}`, `{}`, map[string]any{}, nil},
		{map[string]any{"b": 2, "a": nil, "": 1}, `{"": 1, "a": null, "b": 2}`, `{"":1,"a":null,"b":2}`, map[string]any{"": int64(1), "a": nil, "b": int64(2)}, nil},
		{map[int]string{1: "x", -2: "y"}, `{"-2": "y", "1": "x"}`, `{"-2":"y","1":"x"}`, map[string]any{"1": "x", "-2": "y"}, nil},
		{map[uint8]bool{3: true}, `{"3": true}`, `{"3":true}`, map[string]any{"3": true}, nil},
		{map[word]*int{"é": nil}, `{"\u00e9": null}`, `{"é":null}`, map[string]any{"é": nil}, nil},
		{
			jencode.Serializable{Class: "Operation", Module: "DIRAC.Operation", Fields: map[string]any{"b": 1, "a": "x"}},
			`{"__dCls": "Operation", "__dMod": "DIRAC.Operation", "a": "x", "b": 1}`,
			`{"__dCls":"Operation","__dMod":"DIRAC.Operation","a":"x","b":1}`,
			jencode.Serializable{Class: "Operation", Module: "DIRAC.Operation", Fields: map[string]any{"b": int64(1), "a": "x"}},
			map[string]any{"__dCls": "Operation", "__dMod": "DIRAC.Operation", "b": int64(1), "a": "x"},
		},
		{jencode.Raw(`[ 1,2 ]`), `[ 1,2 ]`, `[ 1,2 ]`, []any{int64(1), int64(2)}, nil},
		{jencode.Raw(nil), `null`, `null`, nil, nil},
		{(*int)(nil), `null`, `null`, nil, nil},
		{new("pointed at"), `"pointed at"`, `"pointed at"`, "pointed at", nil},
	} {
		back := c.back
		if back == nil && !isNil(c.value) {
			back = c.value
		}
		jsonBack := c.jsonBack
		if jsonBack == nil {
			jsonBack = back
		}
		twoWays(t, c.value, c.dirac, back, jencode.DIRAC)
		twoWays(t, c.value, c.json, jsonBack, jencode.JSON)
	}
}

func isNil(v any) bool {
	r := reflect.ValueOf(v)
	return !r.IsValid() || (r.Kind() == reflect.Pointer || r.Kind() == reflect.Slice) && r.IsNil()
}

func twoWays(t *testing.T, value any, text string, back any, d jencode.Dialect) {
	t.Helper()
	got, err := jencode.Append([]byte("before "), value, d)
	if err != nil || string(got) != "before "+text {
		t.Errorf("%T %v is written %s, %v; want %s", value, value, got, err, text)
	}
	var read any
	if err := jencode.Unmarshal([]byte(" "+text+"\r\n"), &read, d); err != nil || !reflect.DeepEqual(read, back) {
		t.Errorf("%s is read as %T %v, %v; want %T %v", text, read, read, err, back, back)
	}
}

func TestNaN(t *testing.T) {
	t.Parallel()
	for d, text := range map[jencode.Dialect]string{jencode.DIRAC: `[NaN]`, jencode.JSON: `["NaN"]`} {
		got, err := jencode.Append(nil, []float64{math.NaN()}, d)
		if err != nil || string(got) != text {
			t.Errorf("got %s, %v; want %s", got, err, text)
		}
		var back []float64
		if err := jencode.Unmarshal(got, &back, d); err != nil || len(back) != 1 || !math.IsNaN(back[0]) {
			t.Errorf("got %v, %v; want NaN", back, err)
		}
	}
	for text, want := range map[string]float64{`"Infinity"`: math.Inf(1), `"-Infinity"`: math.Inf(-1)} {
		var f float64
		if err := jencode.Unmarshal([]byte(text), &f, jencode.JSON); err != nil || f != want {
			t.Errorf("%s: got %v, %v", text, f, err)
		}
	}
}

// TestReads is what is read and would be written in another way.
func TestReads(t *testing.T) {
	t.Parallel()
	day := jencode.Date{2020, 2, 29}
	for _, c := range []struct {
		text string
		want any
		in   string // the dialects
	}{
		{`"caf` + "\u00e9" + `"`, "café", "DJ"},
		{`"\/\u00E9\uD83D\uDE00"`, "/é😀", "DJ"},
		{`{"a": 1, "a": 2}`, map[string]any{"a": int64(2)}, "D"},
		{`1E400`, math.Inf(1), "D"},
		{`-1e400`, math.Inf(-1), "D"},
		{`1e-400`, 0.0, "DJ"},
		{`-0`, int64(0), "DJ"},
		{`1E5`, 1e5, "DJ"},
		{`"\ud800"`, "\ufffd", "D"},
		{`"\udc00\ud800x\ud83d\u0041"`, "\ufffd\ufffdx\ufffdA", "D"},
		{`{"\u005f_dCls":"date","obj":"2020-02-\u0032\u0039"}`, day, "D"},
		{`{"obj": "2020-02-29", "__dCls": "date"}`, day, "D"},
		{`{"__dCls": "date", "more": 1, "obj": "2020-02-29"}`, day, "D"},
		{`{"__dCls": "date", "obj": 1, "obj": "2020-02-29"}`, day, "D"},
		{`{"__dCls": "b64", "obj": "\u0041P8="}`, []byte("\x00\xff"), "D"},
		{`{"__dCls": null, "a": 1}`, map[string]any{"a": int64(1)}, "D"},
		{`{"a": 1, "__dCls": ""}`, map[string]any{"a": int64(1)}, "D"},
		{
			`[{"__dCls": 0}, {"__dCls": false}, {"__dCls": []}, {"__dCls": {}}, {"__dCls": 0.0}, {"__dCls": {"__dCls": "b64", "obj": ""}}]`,
			[]any{map[string]any{}, map[string]any{}, map[string]any{}, map[string]any{}, map[string]any{}, map[string]any{}},
			"D",
		},
		{`{"__dCls": "dt"}`, map[string]any{"__dCls": "dt"}, "J"},
		{
			`{"__dCls": "Op", "__dMod": "M", "inner": {"__dCls": "date", "obj": "2020-02-29"}}`,
			jencode.Serializable{Class: "Op", Module: "M", Fields: map[string]any{"inner": day}},
			"D",
		},
	} {
		for _, letter := range c.in {
			d := map[rune]jencode.Dialect{'D': jencode.DIRAC, 'J': jencode.JSON}[letter]
			var got any
			if err := jencode.Unmarshal([]byte(c.text), &got, d); err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%c %s: got %T %v, %v; want %v", letter, c.text, got, got, err, c.want)
			}
		}
	}
}

// TestMapOfClassCannotBeWritten: DIRAC would read it as something else, or not at
// all; in JSON it is a name like any other.
func TestMapOfClassCannotBeWritten(t *testing.T) {
	t.Parallel()
	for _, v := range []any{
		map[string]any{"a": []any{map[string]any{"__dCls": "x"}}},
		map[string]any{"a": []map[string]string{{"__dCls": "x"}}},
	} {
		got, err := jencode.Append(nil, v, jencode.DIRAC)
		if got != nil || err == nil || !strings.HasPrefix(err.Error(), "a[0]: want names that DIRAC does not read as a class, got __dCls") {
			t.Errorf("got %s, %v", got, err)
		}
		if got, err = jencode.Append(nil, v, jencode.JSON); err != nil || string(got) != `{"a":[{"__dCls":"x"}]}` {
			t.Errorf("got %s, %v", got, err)
		}
	}
}
