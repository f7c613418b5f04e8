package schema_test

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"busd/schema"
)

func TestRecordSetAndGet(t *testing.T) {
	t.Parallel()
	d := message("M", attr("i", intType), attr("f", floatType), attr("x", bytesType), attr("t", timeType), attr("e", enumOf("new")),
		attr("l", listOf(intType)), attr("m", mapOf(floatType)), attr("s", structOf(attr("p", listOf(stringType)), optional("q", intType))), optional("a", anyType))
	raw := []byte{1, 2}
	list := []int8{1, 2}
	nested := map[string]any{"p": []string{"x"}, "q": nil}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))
	given := map[string]any{
		"i": uint8(7), "f": float32(0.5), "x": raw, "t": at, "e": "new", "l": list,
		"m": map[string]float32{"k": 1}, "s": nested, "a": []any{int16(1), map[string]any{"b": nil}},
	}
	want := map[string]any{
		"i": int64(7), "f": 0.5, "x": []byte{1, 2}, "t": at.UTC(), "e": "new", "l": []any{int64(1), int64(2)},
		"m": map[string]any{"k": 1.0}, "s": map[string]any{"p": []any{"x"}}, "a": []any{int64(1), map[string]any{"b": nil}},
	}
	r := schema.NewRecord(d)
	for name, v := range given {
		if err := r.Set(name, v); err != nil {
			t.Fatalf("Set(%s): %v", name, err)
		}
	}
	raw[0], list[0] = 9, 9
	nested["p"] = "changed"
	got := map[string]any{}
	var order []string
	for name, v := range r.Attrs() {
		got[name] = v
		order = append(order, name)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %#v\nwant %#v", got, want)
	}
	if got, want := strings.Join(order, ""), "ifxtelmsa"; got != want {
		t.Errorf("order: got %s, want %s", got, want)
	}
	for range r.Attrs() {
		break
	}
	if err := r.Check(); err != nil {
		t.Errorf("Check: %v", err)
	}
	if err := r.Definition().Check(got); err != nil {
		t.Errorf("Definition().Check: %v", err)
	}
	if v, ok := r.Get("i"); !ok || v != int64(7) {
		t.Errorf("Get(i): got %v, %v", v, ok)
	}
	if _, ok := r.Get("nope"); ok {
		t.Error("Get(nope): got a value")
	}
	if err := r.Set("a", nil); err != nil {
		t.Errorf("Set(a, nil): %v", err)
	}
	if _, ok := r.Get("a"); ok {
		t.Error("a: got a value, want it removed")
	}
}

func TestRecordErrors(t *testing.T) {
	t.Parallel()
	r := schema.NewRecord(message("Ping", attr("id", schema.Type{Kind: schema.Int, MaxInt: ptr(int64(10))}), optional("note", stringType)))
	for _, tc := range []struct {
		name  string
		value any
		want  string
	}{
		{"id", "7", "Ping.id: want int, got string"},
		{"id", 11, "Ping.id: want int, got 11 (max 10)"},
		{"id", nil, "Ping.id: want int, got nothing"},
		{"ids", 1, `Ping.ids: want one of the attributes id, note (did you mean "id"?), got an unknown one`},
	} {
		err := r.Set(tc.name, tc.value)
		var v *schema.ValueError
		if !errors.As(err, &v) || v.Error() != tc.want {
			t.Errorf("Set(%s, %v): got %v, want %s", tc.name, tc.value, err, tc.want)
		}
	}
	if got, want := r.Check(), "Ping.id: want int, got nothing"; got == nil || got.Error() != want {
		t.Errorf("Check: got %v, want %s", got, want)
	}
	if err := r.Set("id", 1); err != nil {
		t.Fatal(err)
	}
	if err := r.Set("id", 12); err == nil {
		t.Error("got no error")
	}
	if v, _ := r.Get("id"); v != int64(1) {
		t.Errorf("got %v, want a failed Set to change nothing", v)
	}
}

func TestRecordString(t *testing.T) {
	t.Parallel()
	r := schema.NewRecord(message("M", attr("i", intType), attr("s", stringType), attr("q", stringType), attr("x", bytesType), attr("t", timeType), attr("l", listOf(intType)), attr("m", mapOf(intType)), attr("b", boolType)))
	for name, v := range map[string]any{
		"i": 1234567, "s": "äöüßéxyz", "q": "a\n", "x": []byte("secret bytes"), "t": time.Unix(0, 0), "l": []int{1, 2}, "m": map[string]int{"k": 1}, "b": true,
	} {
		if err := r.Set(name, v); err != nil {
			t.Fatal(err)
		}
	}
	want := `M{i: 12345…, s: "äöüßé"…, q: "a\n", x: c2Vjc…, t: 1970-…, l: [2], m: {1}, b: true}`
	if got := r.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var none *schema.Record
	if none.String() != "<nil>" || none.MessageName() != "" || r.MessageName() != "M" {
		t.Errorf("nil record: got %q, %q", none.String(), none.MessageName())
	}
}

func TestRecordJSON(t *testing.T) {
	t.Parallel()
	d := message("M", attr("i", intType), attr("min", intType), attr("max", intType), attr("f", floatType), attr("n", schema.Type{Kind: schema.Float, NonFinite: true}), attr("x", bytesType),
		attr("t", timeType), attr("e", enumOf("new")), attr("l", listOf(listOf(timeType))), attr("m", mapOf(bytesType)), attr("s", structOf(attr("p", floatType), optional("q", intType))), optional("a", anyType), attr("b", boolType))
	r := schema.NewRecord(d)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for name, v := range map[string]any{
		"i": 1<<53 + 1, "min": math.MinInt64, "max": math.MaxInt64, "f": 3.0, "n": math.Inf(-1), "x": []byte{0xff, 0xfe}, "t": at, "e": "new",
		"l": [][]time.Time{{at}, {}}, "m": map[string][]byte{"z": {1}, "a": {}}, "s": map[string]any{"p": 1e21},
		"a": map[string]any{"whole": 1, "float": 1.0, "big": math.MaxInt64, "none": nil, "<": "<&>"}, "b": false,
	} {
		if err := r.Set(name, v); err != nil {
			t.Fatal(err)
		}
	}
	want := `{"i":9007199254740993,"min":-9223372036854775808,"max":9223372036854775807,"f":3.0,"n":"-Infinity","x":"//4=","t":"2026-01-02T03:04:05.000000006Z","e":"new",` +
		`"l":[["2026-01-02T03:04:05.000000006Z"],[]],"m":{"a":"","z":"AQ=="},"s":{"p":1e+21},"a":{"<":"<&>","big":9223372036854775807,"float":1.0,"none":null,"whole":1},"b":false}`
	got, err := r.MarshalJSON()
	if err != nil || string(got) != want {
		t.Fatalf("got  %s (%v)\nwant %s", got, err, want)
	}
	if b, err := json.Marshal(r); err != nil || !json.Valid(b) {
		t.Errorf("json.Marshal: %s, %v", b, err)
	}
	back, err := schema.RecordFromJSON(d, got)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, r) {
		t.Errorf("got  %#v\nwant %#v", back, r)
	}
}

func TestRecordJSONOfNaNAndInfinity(t *testing.T) {
	t.Parallel()
	d := message("M", attr("l", listOf(schema.Type{Kind: schema.Float, NonFinite: true})))
	r, err := schema.RecordFromJSON(d, []byte(`{"l":["NaN","Infinity",-0.0]}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.MarshalJSON()
	if want := `{"l":["NaN","Infinity",-0.0]}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}

func TestRecordJSONFailsForFarTimes(t *testing.T) {
	t.Parallel()
	r := schema.NewRecord(message("M", attr("m", mapOf(listOf(timeType)))))
	if err := r.Set("m", map[string]any{"k": []time.Time{time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC)}}); err != nil {
		t.Fatal(err)
	}
	_, err := r.MarshalJSON()
	if want := `M.m["k"][0]: want a time of the years 0 to 9999, got the year 12026`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestRecordFromJSONErrors(t *testing.T) {
	t.Parallel()
	d := message("M", attr("i", intType), optional("f", floatType), optional("x", bytesType), optional("t", timeType), optional("e", enumOf("new")),
		optional("l", listOf(intType)), optional("m", mapOf(intType)), optional("s", structOf(attr("p", intType))), optional("a", anyType), optional("n", schema.Type{Kind: schema.Float, NonFinite: true}))
	for _, tc := range []struct{ data, want string }{
		{`{"i":1}`, ""},
		{`{"i":1,"f":2,"x":null,"n":"NaN"}`, ""},
		{`{"i":-0}`, ""},
		{`{"i":1.0}`, "M.i: want int, got float"},
		{`{"i":1e3}`, "M.i: want int, got float"},
		{`{"i":9223372036854775808}`, "M.i: want int, got an integer beyond 64 bits"},
		{`{"i":"1"}`, "M.i: want int, got string"},
		{`{"i":true}`, "M.i: want int, got bool"},
		{`{"i":null}`, "M.i: want int, got nothing"},
		{`{}`, "M.i: want int, got nothing"},
		{`{"i":1,"f":1e999}`, "M.f: want float, got a number beyond what a float can hold"},
		{`{"i":1,"f":"NaN"}`, "M.f: want float, got string"},
		{`{"i":1,"n":"nan"}`, "M.n: want float, got string"},
		{`{"i":1,"x":"a"}`, "M.x: want bytes in standard base64, got another string"},
		{`{"i":1,"x":5}`, "M.x: want bytes, got int"},
		{`{"i":1,"t":"yesterday"}`, "M.t: want time as RFC 3339"},
		{`{"i":1,"e":"old"}`, "M.e: want one of new, got another string"},
		{`{"i":1,"l":[1,9223372036854775808]}`, "M.l[1]: want int, got an integer beyond 64 bits"},
		{`{"i":1,"l":{"a":1}}`, "M.l: want list of int, got map"},
		{`{"i":1,"m":{"k":1.5}}`, `M.m["k"]: want int, got float`},
		{`{"i":1,"m":{"k":9223372036854775808}}`, `M.m["k"]: want int, got an integer beyond 64 bits`},
		{`{"i":1,"s":{"p":9223372036854775808}}`, "M.s.p: want int, got an integer beyond 64 bits"},
		{`{"i":1,"s":{"q":1}}`, "M.s.q: want one of the attributes p"},
		{`{"i":1,"a":[18446744073709551615]}`, "M.a[0]: want any, got an integer beyond 64 bits"},
		{`{"i":1,"i":2}`, "M: i: the key is there twice"},
		{`{"i":1,"a":{"k":{"b":1,"b":1}}}`, "M: a.k.b: the key is there twice"},
		{`{"i":1,"ii":2}`, `M.ii: want one of the attributes i, f, x, t, e, l, m, s, a, n (did you mean "i"?), got an unknown one`},
		{`{"i":1} x`, "M: not JSON"},
		{`[1]`, "M: want an object of attributes, got list"},
		{``, "M: not JSON"},
		{`{"i":1,"a":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `}`, "it nests deeper than 16"},
		{`{"i":1,"a":` + strings.Repeat("[", 15) + strings.Repeat("]", 15) + `}`, ""},
		{`{"i":1,"a":[` + strings.Repeat("1,", 20000) + `1]}`, "it holds too many values"},
	} {
		r, err := schema.RecordFromJSON(d, []byte(tc.data))
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tc.want) && !strings.HasSuffix(err.Error(), tc.want)) {
			t.Errorf("%.60s: got %v, want %q", tc.data, err, tc.want)
		}
		if (r == nil) != (err != nil) {
			t.Errorf("%.60s: got record %v and error %v, want one of them", tc.data, r, err)
		}
	}
}

func TestRecordIntsAreExact(t *testing.T) {
	t.Parallel()
	d := message("M", attr("i", intType), attr("a", anyType))
	for _, text := range []string{"9007199254740993", "-9007199254740993", "9223372036854775807", "-9223372036854775808"} {
		in := `{"i":` + text + `,"a":` + text + `}`
		r, err := schema.RecordFromJSON(d, []byte(in))
		if err != nil {
			t.Fatal(err)
		}
		if out, err := r.MarshalJSON(); err != nil || string(out) != in {
			t.Errorf("got %s, %v, want %s", out, err, in)
		}
	}
}

func FuzzRecordFromJSON(f *testing.F) {
	d := message("M", optional("i", intType), optional("f", schema.Type{Kind: schema.Float, NonFinite: true}), optional("x", bytesType), optional("t", timeType),
		optional("e", enumOf("new")), optional("l", listOf(mapOf(stringType))), optional("s", structOf(optional("p", anyType))), optional("a", anyType))
	f.Add([]byte(`{"i":9007199254740993,"f":1.5,"x":"AQ==","t":"2026-01-02T03:04:05.5+01:00","e":"new","l":[{"k":"v"}],"s":{"p":[1,1.0,null]},"a":{"k":[true]}}`))
	f.Add([]byte(`{"f":"NaN","a":-0.0,"t":"0000-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := schema.RecordFromJSON(d, data)
		if err != nil {
			return
		}
		first, err := r.MarshalJSON()
		if err != nil {
			var v *schema.ValueError
			if !errors.As(err, &v) || !strings.HasPrefix(v.Got, "the year") {
				t.Fatalf("MarshalJSON: %v", err)
			}
			return
		}
		again, err := schema.RecordFromJSON(d, first)
		if err != nil {
			t.Fatalf("its own text: %v\n%s", err, first)
		}
		if second, err := again.MarshalJSON(); err != nil || string(second) != string(first) {
			t.Errorf("got %s, %v, want %s", second, err, first)
		}
		values := map[string]any{}
		for name, v := range r.Attrs() {
			values[name] = v
		}
		if err := d.Check(values); err != nil {
			t.Errorf("Check: %v", err)
		}
	})
}
