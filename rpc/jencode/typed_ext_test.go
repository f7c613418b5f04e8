package jencode_test

import (
	"errors"
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"busd/rpc/jencode"
)

type site struct {
	Name string `bus:"name"`
	Slots
}

type Slots struct {
	Free int16 `bus:"free"`
	Used *int  `bus:"used"`
}

// everything has a field of each kind of type.
type everything struct {
	Bool    bool                 `bus:"bool"`
	Int8    int8                 `bus:"int8"`
	Uint64  uint64               `bus:"uint64"`
	Float32 float32              `bus:"float32"`
	Word    word                 `bus:"word"`
	Bytes   []byte               `bus:"bytes"`
	Time    time.Time            `bus:"time"`
	Day     jencode.Date         `bus:"day"`
	Big     *big.Int             `bus:"big"`
	BigToo  big.Int              `bus:"bigToo"`
	List    []*site              `bus:"list"`
	Pair    [2]float64           `bus:"pair"`
	Map     map[string][]string  `bus:"map"`
	ByRun   map[int32]site       `bus:"byRun"`
	Any     any                  `bus:"any"`
	Raw     jencode.Raw          `bus:"raw"`
	Object  jencode.Serializable `bus:"object"`
	Note    *string              `bus:"note"`
	Tags    []string             `bus:"tags,optional"`
	Hidden  string               `bus:"-"`
	own     int
}

func example() everything {
	return everything{
		Bool: true, Int8: -128, Uint64: 1 << 63, Float32: 0.1, Word: "w", Bytes: []byte{0, 255},
		Time: time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC), Day: jencode.Date{2020, 1, 2},
		Big: bigInt("1180591620717411303424"), BigToo: *big.NewInt(-5),
		List: []*site{{"CERN", Slots{7, new(9)}}, nil}, Pair: [2]float64{1, 1.5},
		Map: map[string][]string{"a": {"x"}, "b": {}}, ByRun: map[int32]site{-4: {Name: "GRIDKA"}},
		Any: []any{int64(1), nil}, Raw: jencode.Raw(`{"x": 1}`),
		Object: jencode.Serializable{Class: "C", Module: "M", Fields: map[string]any{"a": "b"}},
	}
}

// TestAnswersMayGrow: a service may say more than its older clients know of, who are not
// strict as a service is with its callers.
func TestAnswersMayGrow(t *testing.T) {
	t.Parallel()
	const text = `[{"new": {"a": [1, "]"]}, "name": "CERN", "free": 7, "more": {"free": 1}}]`
	for _, d := range []jencode.Dialect{jencode.DIRAC, jencode.JSON} {
		var got []site
		if err := jencode.UnmarshalAnswer([]byte(text), &got, d); err != nil || len(got) != 1 || got[0].Name != "CERN" || got[0].Free != 7 {
			t.Errorf("got %v, %v", got, err)
		}
		if err := jencode.Unmarshal([]byte(text), &got, d); err == nil {
			t.Error("arguments are taken that nobody reads")
		}
		if err := jencode.UnmarshalAnswer([]byte(`[{"new": 1, "name": "CERN"}]`), &got, d); err == nil || err.Error() != "[0].free: want int, got nothing" {
			t.Errorf("what is missing: got %v", err)
		}
	}
}

func TestStruct(t *testing.T) {
	t.Parallel()
	v := example()
	v.Hidden, v.own = "stays here", 3
	text, err := jencode.Append(nil, &v, jencode.DIRAC)
	want := `{"bool": true, "int8": -128, "uint64": 9223372036854775808, "float32": 0.1, "word": "w", "bytes": {"__dCls": "b64", "obj": "AP8="}, ` +
		`"time": {"__dCls": "dt", "obj": "2020-01-02 03:04:05"}, "day": {"__dCls": "date", "obj": "2020-01-02"}, ` +
		`"big": 1180591620717411303424, "bigToo": -5, "list": [{"name": "CERN", "free": 7, "used": 9}, null], "pair": [1.0, 1.5], ` +
		`"map": {"a": ["x"], "b": []}, "byRun": {"-4": {"name": "GRIDKA", "free": 0}}, "any": [1, null], "raw": {"x": 1}, ` +
		`"object": {"__dCls": "C", "__dMod": "M", "a": "b"}}`
	if err != nil || string(text) != want {
		t.Fatalf("got  %s, %v\nwant %s", text, err, want)
	}
	back := everything{Hidden: "untouched", Note: new("goes"), Tags: []string{"goes"}, List: []*site{{}}, Any: "goes"}
	if err := jencode.Unmarshal(text, &back, jencode.DIRAC); err != nil {
		t.Fatal(err)
	}
	again := example()
	again.Hidden = "untouched"
	if !reflect.DeepEqual(back, again) {
		t.Errorf("got  %+v\nwant %+v", back, again)
	}

	v.Object = jencode.Serializable{}
	if _, err := jencode.Append(nil, v, jencode.JSON); err == nil || err.Error() != "object: want the name of a class and its module, got nothing" {
		t.Errorf("got %v", err)
	}
}

// TestJSONStruct reads what a browser writes.
func TestJSONStruct(t *testing.T) {
	t.Parallel()
	var v struct {
		Bytes []byte       `bus:"bytes"`
		Time  time.Time    `bus:"time"`
		Day   jencode.Date `bus:"day"`
		Float float64      `bus:"float"`
		Tags  []string     `bus:"tags,optional"`
		Note  *string      `bus:"note"`
	}
	text := `{"float":1,"day":"2020-02-29","time":"2020-01-02T04:04:05.5+01:00","bytes":"AP8=","tags":null,"note":null}`
	if err := jencode.Unmarshal([]byte(text), &v, jencode.JSON); err != nil {
		t.Fatal(err)
	}
	got, err := jencode.Append(nil, v, jencode.JSON)
	if want := `{"bytes":"AP8=","time":"2020-01-02T03:04:05.5Z","day":"2020-02-29","float":1.0}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
	// Times and days as text are taken from DIRAC too.
	var at struct {
		Time time.Time    `bus:"time"`
		Day  jencode.Date `bus:"day"`
	}
	text = `{"time": "2020-01-02T03:04:05Z", "day": "2020-01-02"}`
	if err := jencode.Unmarshal([]byte(text), &at, jencode.DIRAC); err != nil || at.Time.Year() != 2020 || at.Day.String() != "2020-01-02" {
		t.Errorf("got %v, %v", at, err)
	}
}

type limited struct {
	N     int      `bus:"n,min=1,max=9"`
	Load  *float64 `bus:"load,min=0"`
	State string   `bus:"state,enum=new|done"`
	Name  string   `bus:"name,minlen=1,maxlen=3,pattern=^[a-zé]*$"`
	Tags  []string `bus:"tags,optional,maxlen=1"`
	Key   []byte   `bus:"key,optional,minlen=2"`
	Port  *uint16  `bus:"port,max=1023"`
}

// misfits reads each text into a new T: want is the error, empty for none.
func misfits[T any](t *testing.T, d jencode.Dialect, cases map[string]string) {
	t.Helper()
	for text, want := range cases {
		got := ""
		if err := jencode.Unmarshal([]byte(text), new(T), d); err != nil {
			if got = err.Error(); !errors.As(err, new(*jencode.ValueError)) {
				t.Errorf("%s: got %T, want a *ValueError", text, err)
			}
		}
		if got != want {
			t.Errorf("%s into %v: got %q\nwant %q", text, reflect.TypeFor[T](), got, want)
		}
	}
}

func TestMisfits(t *testing.T) {
	t.Parallel()
	misfits[int](t, jencode.DIRAC, map[string]string{
		`1`: "", `-0`: "", `1.0`: "want int, got float 1.0", `1e3`: "want int, got float 1e3", `true`: "want int, got bool", `"1"`: "want int, got string",
		`null`: "want int, got null", `[1]`: "want int, got list", `{}`: "want int, got object", `NaN`: "want int, got float NaN",
		`9223372036854775808`: "want int of 64 bits, got int 9223372036854775808", `-9223372036854775808`: "",
		`{"__dCls": "dt", "obj": "bad"}`: "want int, got time",
	})
	misfits[int8](t, jencode.JSON, map[string]string{`127`: "", `128`: "want int of -128 to 127, got int 128", `-129`: "want int of -128 to 127, got int -129"})
	misfits[uint8](t, jencode.JSON, map[string]string{
		`255`: "", `-0`: "", `256`: "want int of 0 to 255, got int 256", `-1`: "want int of 0 to 255, got int -1", `"1"`: "want int, got string", `1.5`: "want int, got float 1.5",
	})
	misfits[uint64](t, jencode.JSON, map[string]string{
		`18446744073709551615`: "", `18446744073709551616`: "want int of 0 to 18446744073709551615, got int 18446744073709551616",
	})
	misfits[float64](t, jencode.DIRAC, map[string]string{
		`1`: "", `1180591620717411303424`: "", `NaN`: "", `-Infinity`: "", `"NaN"`: "want float, got string", `true`: "want float, got bool",
	})
	misfits[float64](t, jencode.JSON, map[string]string{`"NaN"`: "", `"nan"`: "want float, got string", `"1.5"`: "want float, got string"})
	misfits[float32](t, jencode.DIRAC, map[string]string{`3e38`: "", `Infinity`: "", `4e38`: "want float of 32 bits, got float 4e38"})
	misfits[bool](t, jencode.JSON, map[string]string{`true`: "", `1`: "want bool, got int 1", `0.0`: "want bool, got float 0.0"})
	misfits[string](t, jencode.JSON, map[string]string{`""`: "", `null`: "want string, got null", `1`: "want string, got int 1"})
	misfits[*string](t, jencode.JSON, map[string]string{`null`: "", `1`: "want string, got int 1"})
	misfits[big.Int](t, jencode.JSON, map[string]string{`1`: "", `1.0`: "want int, got float 1.0", `null`: "want int, got null"})
	misfits[[2]int](t, jencode.JSON, map[string]string{
		`[1,2]`: "", `[1]`: "want list of 2 elements, got one of 1", `[1,2,[3,4]]`: "want list of 2 elements, got one of 3", `{}`: "want list, got object", `[1,"x"]`: "[1]: want int, got string",
	})
	misfits[[]string](t, jencode.JSON, map[string]string{`[]`: "", `null`: "want list, got null", `"ab"`: "want list, got string", `["a",["b"]]`: "[1]: want string, got list"})
	misfits[map[string]map[string]int](t, jencode.DIRAC, map[string]string{
		`{}`: "", `{"a": {"b c": 1.5}}`: `a["b c"]: want int, got float 1.5`, `{"a": []}`: "a: want object, got list", `{"__dCls": ""}`: "",
		`{"__dCls": "dt"}`: "want object, got time", `{"a": {"__dCls": "C"}}`: "a: want object, got object of class C",
	})
	misfits[map[int8]int](t, jencode.JSON, map[string]string{`{"-5": 1}`: "", `{"128": 1}`: `want names that are integers of type int8, got ["128"]`, `{"x": 1}`: "want names that are integers of type int8, got x"})
	misfits[map[uint8]int](t, jencode.JSON, map[string]string{`{"5": 1}`: "", `{"-1": 1}`: `want names that are integers of type uint8, got ["-1"]`})
}

func TestClassMisfits(t *testing.T) {
	t.Parallel()
	const wantTime = "want time in UTC such as 2006-01-02 15:04:05, got another string"
	misfits[time.Time](t, jencode.DIRAC, map[string]string{
		`{"__dCls": "dt", "obj": "2020-01-02 03:04:05"}`:        "",
		`{"__dCls": "dt", "obj": "2020-01-02T03:04:05"}`:        wantTime,
		`{"__dCls": "dt", "obj": "2020-01-02 03:04:05.5"}`:      wantTime,
		`{"__dCls": "dt", "obj": "2020-01-02 03:04:05Z"}`:       wantTime,
		`{"__dCls": "dt", "obj": "2020-02-30 03:04:05"}`:        wantTime,
		`{"__dCls": "dt", "obj": "2020-13-01 03:04:05"}`:        wantTime,
		`{"__dCls": "dt", "obj": "2020-01-02 24:00:00"}`:        wantTime,
		`{"__dCls": "dt", "obj": "2020-01-02 03:60:00"}`:        wantTime,
		`{"__dCls": "dt", "obj": "2020-01-02 03:04:60"}`:        wantTime,
		`{"__dCls": "dt", "obj": "2020-01-02 0x:04:05"}`:        wantTime,
		`{"__dCls": "dt", "obj": "999-01-02 03:04:05"}`:         wantTime, // as Python writes it, and refuses it
		`{"__dCls": "dt", "obj": "0000-01-02 03:04:05"}`:        wantTime,
		`{"__dCls": "dt", "obj": ""}`:                           wantTime,
		`{"__dCls": "dt"}`:                                      "want a text named obj beside __dCls, got none",
		`{"__dCls": "dt", "obj": 5}`:                            "want a text named obj beside __dCls, got none",
		`{"obj": "2020-01-02", "__dCls": "date"}`:               "want time, got date",
		`{"__dCls": "C", "__dMod": "M"}`:                        "want time, got object of class C",
		`"2020-01-02 03:04:05"`:                                 "want time in RFC 3339 such as 2006-01-02T15:04:05Z, got another string",
		`1577934245`:                                            "want time, got int 1577934245",
		`{"__dCls": "dt", "obj": "2020-01-02 03:04:05", "a":1}`: "",
	})
	misfits[time.Time](t, jencode.JSON, map[string]string{
		`"2020-01-02T03:04:05Z"`: "", `1`: "want time in RFC 3339 such as 2006-01-02T15:04:05Z, got int 1",
		`{"__dCls": "dt", "obj": "2020-01-02 03:04:05"}`: "want time in RFC 3339 such as 2006-01-02T15:04:05Z, got object",
	})
	misfits[jencode.Date](t, jencode.DIRAC, map[string]string{
		`{"__dCls": "date", "obj": "2020-02-29"}`: "", `{"__dCls": "date", "obj": "2021-02-29"}`: "want date such as 2006-01-02, got another string",
		`{"__dCls": "date", "obj": "2020-1-2"}`: "want date such as 2006-01-02, got another string", `1`: "want date, got int 1", `"2020-1-2"`: "want date such as 2006-01-02, got another string",
	})
	misfits[jencode.Date](t, jencode.JSON, map[string]string{`"2020-02-29"`: "", `{}`: "want date such as 2006-01-02, got object"})
	const wantBytes = "want bytes in base64 (standard alphabet, padded), got another string"
	misfits[[]byte](t, jencode.DIRAC, map[string]string{
		`{"__dCls": "b64", "obj": ""}`: "", `{"__dCls": "b64", "obj": "AP8"}`: wantBytes, `{"__dCls": "b64", "obj": "_-8="}`: wantBytes, `{"__dCls": "b64", "obj": "A"}`: wantBytes,
		`{"obj": "!", "__dCls": "b64"}`: wantBytes, `"AP8="`: "want bytes, got string", `[1, 2]`: "want bytes, got list", `null`: "want bytes, got null",
	})
	misfits[[]byte](t, jencode.JSON, map[string]string{`"AP8="`: "", `"AP8"`: wantBytes, `[1,2]`: "want bytes in base64 (standard alphabet, padded), got list"})
	misfits[jencode.Serializable](t, jencode.DIRAC, map[string]string{
		`{"__dCls": "C", "__dMod": "M", "a": 1}`: "", `{"a": 1}`: "want object of a Python class, got object", `{"__dCls": "dt", "obj": "x"}`: wantTime,
		`{"__dCls": "C"}`: "want the module of the class C, named __dMod, beside __dCls, got none", `{"__dCls": "C", "__dMod": 1}`: "want the module of the class C, named __dMod, beside __dCls, got none",
	})
	misfits[any](t, jencode.DIRAC, map[string]string{
		`[{"a": {"__dCls": "x"}}]`:            "[0].a: want the module of the class x, named __dMod, beside __dCls, got none",
		`{"__dCls": 1}`:                       "want the name of a class as __dCls, got another value",
		`{"__dCls": NaN}`:                     "want the name of a class as __dCls, got another value",
		`{"a": 1, "__dCls": "dt", "obj": {}}`: "want a text named obj beside __dCls, got none",
	})
}

func TestStructMisfits(t *testing.T) {
	t.Parallel()
	misfits[site](t, jencode.DIRAC, map[string]string{
		`{"free": 1, "name": "x"}`:                 "",
		`{"free": 1, "name": "x", "used": null}`:   "",
		`{"free": 1}`:                              "name: want string, got nothing",
		`{"name": "x"}`:                            "free: want int, got nothing",
		`{"free": 70000, "name": "x"}`:             "free: want int of -32768 to 32767, got int 70000",
		`{"free": null, "name": "x"}`:              "free: want int, got null",
		`{"free": 1, "nam": "x"}`:                  `nam: want one of the names name, free, used (did you mean "name"?), got an unknown one`,
		`{"free": 1, "Name": "x"}`:                 `Name: want one of the names name, free, used (did you mean "name"?), got an unknown one`,
		`{"Slots": {}}`:                            "Slots: want one of the names name, free, used, got an unknown one",
		`{"free": 1, "name": "x", "name": "y"}`:    "",
		`{"name": "x", "free": 1, "__dCls": null}`: "",
		`{"__dCls": "site"}`:                       "want object, got object of class site",
		`["x", 1]`:                                 "want object, got list",
	})
	misfits[[]everything](t, jencode.DIRAC, map[string]string{
		`[{"list": [{"name": "a", "free": 1}, {"name": 5}]}]`: "[0].list[1].name: want string, got int 5",
		`[{"byRun": {"7": {"free": ""}}}]`:                    `[0].byRun["7"].free: want int, got string`,
		`[{"any": {"a": {"__dCls": "x"}}}]`:                   "[0].any.a: want the module of the class x, named __dMod, beside __dCls, got none",
	})
	type empty struct{}
	misfits[empty](t, jencode.JSON, map[string]string{`{}`: "", `{"a": 1}`: "a: want no names at all, got an unknown one"})
}

// TestMissing: what is missing is named with what it should be.
func TestMissing(t *testing.T) {
	t.Parallel()
	text, err := jencode.Append(nil, example(), jencode.DIRAC)
	if err != nil {
		t.Fatal(err)
	}
	members, err := jencode.Members(text, jencode.DIRAC)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"bool": "bool", "int8": "int", "uint64": "int", "float32": "float", "word": "string", "bytes": "bytes", "time": "time", "day": "date", "bigToo": "int",
		"list": "list", "pair": "list", "map": "object", "byRun": "object", "raw": "a value", "any": "a value", "object": "object", "big": "", "tags": "",
	} {
		rest := maps.Clone(members)
		delete(rest, name)
		text, err := jencode.Append(nil, rest, jencode.DIRAC)
		if err != nil {
			t.Fatal(err)
		}
		if want != "" {
			want = name + ": want " + want + ", got nothing"
		}
		misfits[everything](t, jencode.DIRAC, map[string]string{string(text): want})
	}
}

// TestAnyInside is what typed containers of anything make.
func TestAnyInside(t *testing.T) {
	t.Parallel()
	misfits[[]any](t, jencode.DIRAC, map[string]string{`[]`: "", `{}`: "want list, got object", `[1, {"__dCls": "x"}]`: "[1]: want the module of the class x, named __dMod, beside __dCls, got none"})
	misfits[map[string]any](t, jencode.DIRAC, map[string]string{
		`{"__dCls": null, "a": 1}`: "", `{"a": 1, "__dCls": "date"}`: "want object, got date", `{"__dCls": "b64"}`: "want object, got bytes",
		`{"a": {"__dCls": {"__dCls": "C", "__dMod": "M"}}}`: "a: want the name of a class as __dCls, got another value",
	})
	misfits[map[string]any](t, jencode.JSON, map[string]string{`{"__dCls": "date"}`: "", `null`: "want object, got null"})
	var v struct {
		List []any          `bus:"list"`
		Map  map[string]any `bus:"map"`
	}
	if err := jencode.Unmarshal([]byte(`{"list": [1, []], "map": {"a": 1.5, "__dCls": ""}}`), &v, jencode.DIRAC); err != nil ||
		!reflect.DeepEqual(v.List, []any{int64(1), []any{}}) || !reflect.DeepEqual(v.Map, map[string]any{"a": 1.5}) {
		t.Errorf("got %v, %v", v, err)
	}
}

// TestLimits: what a tag says is kept by what comes.
func TestLimits(t *testing.T) {
	t.Parallel()
	with := func(change string) string {
		name, _, _ := strings.Cut(change, ":")
		parts := []string{change}
		for _, p := range []string{`"n": 5`, `"state": "new"`, `"name": "é"`} {
			if !strings.HasPrefix(p, name) {
				parts = append(parts, p)
			}
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	cases := map[string]string{}
	for change, want := range map[string]string{
		`"n": 1`: "", `"n": 9`: "", `"n": 0`: "n: want int of 1 to 9, got int 0", `"n": 10`: "n: want int of 1 to 9, got int 10",
		`"load": 0`: "", `"load": null`: "", `"load": -0.5`: "load: want float of at least 0, got float -0.5", `"load": NaN`: "load: want float of at least 0, got float NaN",
		`"port": 1023`: "", `"port": 1024`: "port: want int of 0 to 1023, got int 1024", `"port": 65536`: "port: want int of 0 to 65535, got int 65536",
		`"state": "done"`: "", `"state": "old"`: "state: want one of new, done, got another string",
		`"name": "ééé"`: "", `"name": ""`: "name: want string of 1 to 3 characters, got one of 0", `"name": "A"`: "name: want string like ^[a-zé]*$, got one that is not",
		`"tags": ["a"]`: "", `"tags": ["a", "b"]`: "tags: want list of at most 1 elements, got one of 2",
		`"key": {"__dCls": "b64", "obj": "AA=="}`: "key: want bytes of at least 2 bytes, got one of 1",
	} {
		cases[with(change)] = want
	}
	misfits[limited](t, jencode.DIRAC, cases)
}

// A node contains itself.
type node struct {
	Value int     `bus:"value"`
	Next  *node   `bus:"next"`
	More  []node  `bus:"more,optional"`
	Index []*node `bus:"index,optional"`
}

func TestRecursive(t *testing.T) {
	t.Parallel()
	text := `{"value": 1, "next": {"value": 2}, "more": [{"value": 3}], "index": [null, {"value": 4}]}`
	var n node
	if err := jencode.Unmarshal([]byte(text), &n, jencode.DIRAC); err != nil {
		t.Fatal(err)
	}
	if got, err := jencode.Append(nil, n, jencode.DIRAC); err != nil || string(got) != text {
		t.Errorf("got %s, %v", got, err)
	}
	n.Next.Next = &n
	list, dict, loop := []any{nil}, map[string]any{}, any(nil)
	list[0], dict["a"], loop = list, dict, &loop
	type pointer *pointer
	var p pointer
	p = &p
	type box struct {
		In any `bus:"in"`
	}
	deep := any(time.Now())
	for range jencode.MaxDepth {
		deep = []any{deep}
	}
	of := func(v any) any {
		for range jencode.MaxDepth {
			v = [1]any{v}
		}
		return v
	}
	for _, v := range []any{
		n, list, dict, loop, p, deep, of([]byte{}), of(jencode.Date{2020, 1, 2}), of(jencode.Serializable{Class: "C", Module: "M"}), of(box{}), of(map[string]int{}), of([]int{}),
	} {
		if got, err := jencode.Append(nil, v, jencode.DIRAC); got != nil || err == nil || !strings.HasSuffix(err.Error(), "want no more than 64 levels of lists and objects, got another") {
			t.Errorf("%T: got %.40s, %v; want an error", v, got, err)
		}
	}
}

func TestCannotBeWritten(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		v    any
		want string
	}{
		{[]any{make(chan int)}, "[0]: want a value that can be written, got chan int: a Go value of type chan int cannot be written or read"},
		{map[string]any{"a": "\xff"}, "a: want string in UTF-8, got one that is not"},
		{map[string]any{"\xff": "a"}, "want string in UTF-8, got one that is not"},
		{time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), "want time of the years 1 to 9999, got one of the year 10000"},
		{time.Date(0, 12, 31, 0, 0, 0, 0, time.UTC), "want time of the years 1 to 9999, got one of the year 0"},
		{jencode.Date{}, "want date of the years 1 to 9999, got another"},
		{jencode.Date{2021, 2, 29}, "want date of the years 1 to 9999, got another"},
		{[]jencode.Date{{2021, 13, 1}}, "[0]: want date of the years 1 to 9999, got another"},
		{jencode.Serializable{Class: "C", Module: "M", Fields: map[string]any{"__dMod": 1}}, "want names that DIRAC does not read as a class, got __dMod"},
		{jencode.Serializable{Class: "C\xff", Module: "M"}, "want string in UTF-8, got one that is not"},
		{jencode.Serializable{Class: "C", Module: "M", Fields: map[string]any{"\xff": 1}}, "want string in UTF-8, got one that is not"},
		{jencode.Serializable{Class: "C", Module: "M", Fields: map[string]any{"a": "\xff"}}, "a: want string in UTF-8, got one that is not"},
		{map[string]chan int{}, "want a value that can be written, got map[string]chan int{}: a Go value of type chan int cannot be written or read"},
		{jencode.Raw("{"), "byte 1: want a name in quotes, or }, got the end"},
		{jencode.Raw{}, "byte 0: want a value, got the end"},
	} {
		if got, err := jencode.Append(nil, c.v, jencode.DIRAC); got != nil || err == nil || err.Error() != c.want {
			t.Errorf("%v: got %s, %v\nwant %s", c.v, got, err, c.want)
		}
	}
}

func TestCheckType(t *testing.T) {
	t.Parallel()
	for _, v := range []any{everything{}, &node{}, []limited{}, map[int]map[string]any{}, new([]*[3]big.Int)} {
		if err := jencode.CheckType(reflect.TypeOf(v)); err != nil {
			t.Errorf("%T: %v", v, err)
		}
	}
	type inner struct {
		A int
	}
	for _, c := range []struct {
		v    any
		want string
	}{
		{nil, "nil has no type"},
		{func() {}, "a Go value of type func() cannot be written or read"},
		{[]complex128{}, "[]: a Go value of type complex128 cannot be written or read"},
		{map[float64]int{}, "the keys of a map must be strings or integers"},
		{[]error{}, "a Go value of type error cannot be written or read"},
		{inner{}, ".A: the field needs a tag that says its name on the wire"},
		{struct{ a int }{}, "nothing of it would be sent"},
		{struct {
			X []inner `bus:"x"`
		}{}, ".x[].A: the field needs a tag"},
		{struct {
			X uint64 `bus:"x,min=1"`
		}{}, ".X: a uint64 does not fit into an int of 64 bits"},
		{struct {
			X jencode.Date `bus:"x,optional"`
		}{}, ".X: a Go value of type jencode.Date cannot be absent: use *jencode.Date"},
		{struct {
			X int `bus:"x,optionl"`
		}{}, `.X: unknown option "optionl" in the tag (did you mean "optional"?)`},
		{struct {
			X int `bus:"__dCls"`
		}{}, ".X: want in the tag a name of a letter"},
		{struct {
			X, Y int `bus:"x"`
		}{}, ".x: it is declared twice"},
		{struct {
			x int `bus:"x"`
		}{}, ".x: the field has a bus tag, but is not exported"},
		{struct{ *inner }{}, ".inner: an embedded pointer needs a bus tag"},
	} {
		if err := jencode.CheckType(reflect.TypeOf(c.v)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%T: got %v, want %s", c.v, err, c.want)
		}
		if c.v == nil {
			continue
		}
		err := jencode.Unmarshal([]byte(`[]`), reflect.New(reflect.TypeOf(c.v)).Interface(), jencode.JSON)
		if err == nil || errors.As(err, new(*jencode.ValueError)) {
			t.Errorf("%T: got %v; want an error that is not the text's", c.v, err)
		}
	}
	for _, into := range []any{nil, 5, (*int)(nil), "x"} {
		if err := jencode.Unmarshal([]byte(`1`), into, jencode.JSON); err == nil || err.Error() != fmt.Sprintf("want a pointer to read into, got %T", into) {
			t.Errorf("%v: got %v", into, err)
		}
	}
}

// TestManyFields: a struct may have as many as a message.
func TestManyFields(t *testing.T) {
	t.Parallel()
	build := func(n int) reflect.Type {
		fields := make([]reflect.StructField, n)
		for i := range fields {
			fields[i] = reflect.StructField{Name: fmt.Sprintf("F%d", i), Type: reflect.TypeFor[int](), Tag: reflect.StructTag(fmt.Sprintf(`bus:"f%d"`, i))}
		}
		return reflect.StructOf(fields)
	}
	v := reflect.New(build(256))
	text, err := jencode.Append(nil, v.Interface(), jencode.DIRAC)
	if err != nil {
		t.Fatal(err)
	}
	if err := jencode.Unmarshal(text, v.Interface(), jencode.DIRAC); err != nil {
		t.Error(err)
	}
	text = []byte(strings.Replace(string(text), `"f255"`, `"f0"`, 1))
	if err := jencode.Unmarshal(text, v.Interface(), jencode.DIRAC); err == nil || err.Error() != "f255: want int, got nothing" {
		t.Errorf("got %v", err)
	}
	err = jencode.Unmarshal([]byte(`{"x": 1}`), v.Interface(), jencode.DIRAC)
	if err == nil || !strings.Contains(err.Error(), "f14, f15, …") {
		t.Errorf("got %v", err)
	}
	if err := jencode.CheckType(build(257)); err == nil || !strings.Contains(err.Error(), "257 fields, want at most 256") {
		t.Errorf("got %v", err)
	}
}

func TestDateString(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]jencode.Date{"2020-01-02": {2020, 1, 2}, "0079-10-24": {79, 10, 24}, "-0044-03-15": {-44, 3, 15}} {
		if got := d.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
