package schema_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"busd/schema"
)

// whole is a contract with everything in it.
func whole() *schema.Schema {
	all := message("All",
		attr("b", boolType),
		attr("i", schema.Type{Kind: schema.Int, MinInt: ptr(int64(-1 << 63)), MaxInt: ptr(int64(1<<63 - 1))}),
		attr("j", schema.Type{Kind: schema.Int, MaxInt: ptr(int64(1<<53 + 1))}),
		attr("f", schema.Type{Kind: schema.Float, MinFloat: ptr(-0.1), MaxFloat: ptr(1e300), NonFinite: true}),
		attr("s", schema.Type{Kind: schema.String, MinLen: ptr(0), MaxLen: ptr(10), Pattern: `^[<>&"\\]+$`}),
		optional("x", schema.Type{Kind: schema.Bytes, MaxLen: ptr(4)}),
		attr("t", timeType),
		attr("e", enumOf("new", "<done>", "ü")),
		attr("l", schema.Type{Kind: schema.List, Elem: ptr(structOf(attr("p", intType), optional("q", listOf(anyType)))), MinLen: ptr(1)}),
		attr("m", mapOf(enumOf("a", "b"))),
		attr("n", structOf()),
		optional("a", anyType),
	)
	all.Attrs[0].Doc = "a doc with \"quotes\", <b>, ü, \u2028 and\nlines"
	return schema.MustNew("System/Component",
		all.WithDoc("all kinds").Latest("i"), message("Empty").Volatile(),
		schema.Definition{Name: "C", From: schema.FromClient}, schema.Definition{Name: "S", From: schema.FromService},
		schema.Method{Name: "none"},
		schema.Method{Name: "add", Doc: "adds", Params: []schema.Attribute{attr("a", intType), optional("b", listOf(intType))}, Result: ptr(mapOf(floatType))},
		schema.Method{Name: "store", Params: []schema.Attribute{attr("a", intType), attr("b", bytesType)}, Upload: true},
		schema.Method{Name: "fetch", Result: &bytesType, Download: true},
	)
}

func TestParseRoundTrip(t *testing.T) {
	t.Parallel()
	s := whole()
	got, err := schema.Parse(s.JSON())
	if err != nil {
		t.Fatalf("Parse: %v\n%s", err, s.JSON())
	}
	if got.Fingerprint() != s.Fingerprint() {
		t.Error("the fingerprints differ")
	}
	if !bytes.Equal(got.JSON(), s.JSON()) {
		t.Errorf("got\n%s\nwant\n%s", got.JSON(), s.JSON())
	}
	if changes := schema.Diff(s, got); len(changes) > 0 {
		t.Errorf("Diff: got %v, want nothing", changes)
	}
	if d, _ := got.Message("All"); *d.Attrs[2].Type.MaxInt != 1<<53+1 || *d.Attrs[1].Type.MinInt != -1<<63 || *d.Attrs[1].Type.MaxInt != 1<<63-1 {
		t.Error("int bounds are not exact")
	}
}

func TestDocumentForm(t *testing.T) {
	t.Parallel()
	s := schema.MustNew("A/B", message("M", schema.Attribute{
		Name: "a", Type: schema.Type{Kind: schema.Int, MinInt: ptr(int64(1))}, Optional: true, Doc: "d",
	}).Latest(""), schema.Method{Name: "m", Result: ptr(listOf(intType))},
		schema.Method{Name: "copy", Params: attrsOf(bytesType), Result: &bytesType, Upload: true, Download: true})
	want := `{"service":"A/B","messages":[{"name":"M","from":"both","class":"latest","attrs":[` +
		`{"name":"a","type":"int","min":1,"optional":true,"doc":"d"}]}],` +
		`"methods":[{"name":"m","params":[],"result":{"type":"list","elem":{"type":"int"}}},` +
		`{"name":"copy","params":[{"name":"a","type":"bytes"}],"result":{"type":"bytes"},"upload":true,"download":true}]}`
	if got := string(s.JSON()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestParseIsStrict(t *testing.T) {
	t.Parallel()
	// inM puts keys into an attribute of a message.
	inM := func(keys string) string {
		return `{"service":"A/B","messages":[{"name":"M","attrs":[{"name":"a",` + keys + `}]}]}`
	}
	for _, tc := range []struct{ name, doc, want string }{
		{"empty", ``, "contract: not JSON"},
		{"no object", `[]`, "contract: want an object, got list"},
		{"null", `null`, "contract: want an object, got null"},
		{"cut", `{"service":"A/B"`, "not JSON: at byte 16"},
		{"trailing", `{"service":"A/B"} {}`, "not JSON: at byte 19"},
		{"not UTF-8", "{\"service\":\"A/B\xff\"}", "not UTF-8"},
		{"unknown key", `{"service":"A/B","mesages":[]}`, `mesages: unknown key (did you mean "messages"?)`},
		{"key in another case", `{"Service":"A/B"}`, "Service: unknown key"},
		{"twice", `{"service":"A/B","service":"A/B"}`, "service: the key is there twice"},
		{"extensions", `{"service":"A/B","extensions":[]}`, "extensions: want an object, got list"},
		{"duplicate in extensions", `{"service":"A/B","extensions":{"a":{"b":1,"b":2}}}`, "extensions.a.b: the key is there twice"},
		{"messages", `{"service":"A/B","messages":{}}`, "messages: want a list, got object"},
		{"message", `{"service":"A/B","messages":[1]}`, "messages[0]: want an object, got number"},
		{"message key", `{"service":"A/B","messages":[{"name":"M","sender":"client"}]}`, "messages[0].sender: unknown key"},
		{"from", `{"service":"A/B","messages":[{"name":"M","from":"clent"}]}`, `messages[0].from: want one of both, client, service, got "clent" (did you mean "client"?)`},
		{"from number", `{"service":"A/B","messages":[{"name":"M","from":1}]}`, "messages[0].from: want a string, got number"},
		{"class", `{"service":"A/B","messages":[{"name":"M","class":""}]}`, "messages[0].class: want one of must"},
		{"no name", `{"service":"A/B","messages":[{}]}`, "name of a message"},
		{"doc", `{"service":"A/B","messages":[{"name":"M","doc":1}]}`, "messages[0].doc: want a string"},
		{"attrs", `{"service":"A/B","messages":[{"name":"M","attrs":[[]]}]}`, "messages[0].attrs[0]: want an object, got list"},
		{"no type", inM(`"doc":"x"`), `messages[0].attrs[0]: the key "type" is missing`},
		{"type", inM(`"type":"integer"`), "messages[0].attrs[0].type: want one of any, bool"},
		{"typo", inM(`"type":"int","mim":1`), `messages[0].attrs[0].mim: unknown key (did you mean "min"?)`},
		{"float bound of int", inM(`"type":"int","min":1.0`), "messages[0].attrs[0].min: want an integer of 64 bits, got 1.0"},
		{"bound beyond int64", inM(`"type":"int","max":9223372036854775808`), "max: want an integer of 64 bits"},
		{"exponent", inM(`"type":"int","max":1e3`), "max: want an integer of 64 bits"},
		{"bound beyond float", inM(`"type":"float","max":1e999`), "max: want a number that a float can hold"},
		{"bound as string", inM(`"type":"int","max":"1"`), "max: want a number, got string"},
		{"length", inM(`"type":"string","maxlen":1.5`), "maxlen: want a length, got number 1.5"},
		{"length as string", inM(`"type":"string","maxlen":"5"`), "maxlen: want a length, got string 5"},
		{"optional", inM(`"type":"int","optional":1`), "optional: want a bool, got number"},
		{"values", inM(`"type":"enum","values":["a",1]`), "values[1]: want a string, got number"},
		{"elem", inM(`"type":"list","elem":"int"`), "elem: want an object, got string"},
		{"elem with a name", inM(`"type":"list","elem":{"type":"int","name":"x"}`), "elem.name: unknown key"},
		{"nested", inM(`"type":"struct","attrs":[{"name":"b","type":"list","elem":{"type":"bol"}}]`), `messages[0].attrs[0].attrs[0].elem.type: want one of`},
		{"checked by New", inM(`"type":"enum"`), "M.a: an enum needs at least one value"},
		{"method", `{"service":"A/B","methods":[{"name":"m","results":{}}]}`, `methods[0].results: unknown key (did you mean "result"?)`},
		{"method list", `{"service":"A/B","methods":[[]]}`, "methods[0]: want an object"},
		{"upload", `{"service":"A/B","methods":[{"name":"m","upload":1}]}`, "methods[0].upload: want a bool, got number"},
		{"download of nothing", `{"service":"A/B","methods":[{"name":"m","download":true}]}`, "m(): a download's result must be of kind bytes"},
		{"result", `{"service":"A/B","methods":[{"name":"m","result":{"type":"int","optional":true}}]}`, "methods[0].result.optional: unknown key"},
		{"too deep", `{"extensions":` + strings.Repeat(`{"a":`, 60) + "1" + strings.Repeat("}", 61), "nests deeper than"},
		{"bomb of depth", strings.Repeat("[", 1000000), "not JSON"},
		{"bomb of values", `{"extensions":{"a":[` + strings.Repeat("1,", 300000) + "1]}}", "too many values"},
		{"too long", strings.Repeat(" ", schema.MaxDocument+1), "want at most 1048576"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := schema.Parse([]byte(tc.doc))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestParseReportsFaultsTogether(t *testing.T) {
	t.Parallel()
	_, err := schema.Parse([]byte(`{"service":"A/B","x":1,"messages":[{"name":"M","y":2,"from":"z"}]}`))
	wantFaults(t, err, "x: unknown key", "messages[0].y: unknown key", "messages[0].from: want one of")
}

func TestParseSkipsExtensions(t *testing.T) {
	t.Parallel()
	s, err := schema.Parse([]byte(`{"extensions":{"new":[{"things":1}]},"service":"A/B"}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.Fingerprint(), schema.MustNew("A/B").Fingerprint(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestParseDeepestDocument(t *testing.T) {
	t.Parallel()
	nested := structOf(attr("leaf", boolType))
	for range schema.MaxDepth - 2 {
		nested = structOf(attr("a", nested))
	}
	s := schema.MustNew("A/B", message("M", attr("a", nested)))
	if _, err := schema.Parse(s.JSON()); err != nil {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(whole().JSON())
	f.Add([]byte(`{"service":"A/B","messages":[{"name":"M","from":"client","attrs":[{"name":"a","type":"int","min":-1}]}],"extensions":{}}`))
	for _, t := range []string{"float", "string", "list", "map", "enum", "struct"} {
		f.Add(fmt.Appendf(nil, `{"service":"A/B","messages":[{"name":"M","attrs":[{"name":"a","type":%q,"min":0.5,"maxlen":3,"values":["x"],"elem":{"type":"any"},"attrs":[]}]}]}`, t))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := schema.Parse(data)
		if err != nil {
			return
		}
		again, err := schema.Parse(s.JSON())
		if err != nil {
			t.Fatalf("its own document: %v\n%s", err, s.JSON())
		}
		if !bytes.Equal(again.JSON(), s.JSON()) || again.Fingerprint() != s.Fingerprint() {
			t.Errorf("got\n%s\nwant\n%s", again.JSON(), s.JSON())
		}
	})
}
