package apidoc_test

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"busd/schema"
	"busd/schema/apidoc"
)

var update = flag.Bool("update", false, "write the documents in testdata anew")

func ref[T any](v T) *T { return &v }

// contract has every kind, constraint and class.
func contract() *schema.Schema {
	every := []schema.Attribute{
		{Name: "any"},
		{Name: "flag", Type: schema.Type{Kind: schema.Bool}, Doc: "on or off"},
		{Name: "n", Type: schema.Type{Kind: schema.Int, MinInt: ref(int64(-1)), MaxInt: ref(int64(9007199254740993))}},
		{Name: "ratio", Type: schema.Type{Kind: schema.Float, MinFloat: ref(0.5), MaxFloat: ref(1.5)}},
		{Name: "name", Type: schema.Type{Kind: schema.String, MinLen: ref(1), MaxLen: ref(9), Pattern: "^<[a-z]+>$"}},
		{Name: "raw", Type: schema.Type{Kind: schema.Bytes, MinLen: ref(1), MaxLen: ref(4)}},
		{Name: "at", Type: schema.Type{Kind: schema.Time}},
		{Name: "state", Type: schema.Type{Kind: schema.Enum, Values: []string{"new", "done"}}},
		{Name: "list", Type: schema.Type{Kind: schema.List, MaxLen: ref(3), Elem: &schema.Type{Kind: schema.Int}}},
		{Name: "map", Type: schema.Type{Kind: schema.Map, MinLen: ref(1), Elem: &schema.Type{Kind: schema.String}}},
		{Name: "odd", Type: schema.Type{Kind: schema.Float, NonFinite: true}, Optional: true},
		{Name: "struct", Type: schema.Type{Kind: schema.Struct, Attrs: []schema.Attribute{{Name: "id", Type: schema.Type{Kind: schema.Int}}}}, Optional: true},
	}
	return schema.MustNew(
		"Test/Every",
		schema.Definition{Name: "Tell", From: schema.FromClient, Attrs: every, Doc: "tells\neverything"},
		schema.Definition{Name: "State", From: schema.FromService, Class: schema.Latest, Key: "id", Attrs: []schema.Attribute{{Name: "id", Type: schema.Type{Kind: schema.Int}}}},
		schema.Definition{Name: "Both", Class: schema.Volatile},
		schema.Method{Name: "every", Params: every, Result: &schema.Type{Kind: schema.List, Elem: &schema.Type{}}, Doc: "takes\neverything"},
		schema.Method{Name: "nothing"},
		schema.Method{
			Name: "store", Upload: true, Doc: "keeps a file",
			Params: []schema.Attribute{{Name: "name", Type: schema.Type{Kind: schema.String}}, {Name: "content", Type: schema.Type{Kind: schema.Bytes}}},
		},
		schema.Method{Name: "replace", Upload: true, Params: []schema.Attribute{{Name: "content", Type: schema.Type{Kind: schema.Bytes}}}},
		schema.Method{
			Name: "fetch", Download: true, Result: &schema.Type{Kind: schema.Bytes},
			Params: []schema.Attribute{{Name: "name", Type: schema.Type{Kind: schema.String}}},
		},
	)
}

// validator is the specification's own schema.
func validator(t *testing.T, file string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	s, err := c.Compile(file)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func parsed(t *testing.T, b []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestDocumentsAreValid(t *testing.T) {
	t.Parallel()
	write := map[string]func(*schema.Schema, apidoc.Place) []byte{"openapi-3.1": apidoc.OpenAPI, "asyncapi-3.0": apidoc.AsyncAPI}
	places := map[string]apidoc.Place{"somewhere": {Host: "bus.example.org:8443", Version: "1.2.3"}, "nowhere": {}}
	contracts := map[string]*schema.Schema{
		"every":    contract(),
		"messages": schema.MustNew("Test/Messages", schema.Definition{Name: "Tell"}),
		"methods":  schema.MustNew("Test/Methods", schema.Method{Name: "do"}),
	}
	for kind, of := range write {
		v := validator(t, "testdata/"+kind+".json")
		for name, s := range contracts {
			for where, p := range places {
				if err := v.Validate(parsed(t, of(s, p))); err != nil {
					t.Errorf("%s of %s %s: %v", kind, name, where, err)
				}
			}
		}
		broken := bytes.Replace(of(contract(), apidoc.Place{}), []byte(`"title"`), []byte(`"tilte"`), 1)
		if v.Validate(parsed(t, broken)) == nil {
			t.Errorf("%s: the validator takes a document without a title", kind)
		}
	}
}

func TestDocumentsAreKept(t *testing.T) {
	t.Parallel()
	p := apidoc.Place{Host: "bus.example.org:8443", Version: "1.2.3"}
	for file, got := range map[string][]byte{
		"testdata/every.openapi.json": apidoc.OpenAPI(contract(), p), "testdata/every.asyncapi.json": apidoc.AsyncAPI(contract(), p),
	} {
		if *update {
			if err := os.WriteFile(file, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s (%v) is not what is written now: look at it and run with -update", file, err)
		}
	}
}

// at finds a part of a document, and compiles it as a JSON Schema.
func at(t *testing.T, doc []byte, pointer string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("doc.json", parsed(t, doc)); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("doc.json#" + pointer)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What the schemas in a document say of values is what the contract says.
func TestSchemasMean(t *testing.T) {
	t.Parallel()
	doc := apidoc.OpenAPI(contract(), apidoc.Place{})
	request := at(t, doc, "/paths/~1Test~1Every~1every/post/requestBody/content/application~1json/schema")
	answer := at(t, doc, "/paths/~1Test~1Every~1nothing/post/responses/200/content/application~1json/schema")
	const good = `{"any":[1,{}],"flag":true,"n":-1,"ratio":1,"odd":"NaN","name":"<a>","raw":"AA==","at":"2026-01-02T03:04:05Z","state":"new","list":[1,2],"map":{"a":"b"}}`
	for body, fine := range map[string]bool{
		good: true,
		strings.Replace(good, `"n":-1`, `"n":9007199254740993`, 1):                           true,
		strings.Replace(good, `"n":-1`, `"n":9007199254740994`, 1):                           false,
		strings.Replace(good, `"n":-1`, `"n":1.5`, 1):                                        false,
		strings.Replace(good, `"n":-1,`, ``, 1):                                              false,
		strings.Replace(good, `"n":-1`, `"n":1,"m":2`, 1):                                    false,
		strings.Replace(good, `"ratio":1`, `"ratio":0.25`, 1):                                false,
		strings.Replace(good, `"odd":"NaN"`, `"odd":"nan"`, 1):                               false,
		strings.Replace(good, `"odd":"NaN",`, ``, 1):                                         true,
		strings.Replace(good, `"name":"<a>"`, `"name":"<A>"`, 1):                             false,
		strings.Replace(good, `"name":"<a>"`, `"name":"<abcdefghij>"`, 1):                    false,
		strings.Replace(good, `"at":"2026-01-02T03`, `"at":"yesterday`, 1):                   false,
		strings.Replace(good, `"state":"new"`, `"state":"old"`, 1):                           false,
		strings.Replace(good, `"list":[1,2]`, `"list":[1,2,3,4]`, 1):                         false,
		strings.Replace(good, `"map":{"a":"b"}`, `"map":{}`, 1):                              false,
		strings.Replace(good, `"map":{"a":"b"}`, `"map":{"a":1}`, 1):                         false,
		`[1,true,0,1,"<a>","AA==","2026-01-02T03:04:05Z","new",[],{"a":"b"}]`:                true, // what is left out is last
		`[1,true,0,1,"<a>","AA==","2026-01-02T03:04:05Z","new",[],{"a":"b"},0.5,{"id":1},2]`: false,
		`[1]`: false,
		`[]`:  false,
	} {
		if err := request.Validate(parsed(t, []byte(body))); (err == nil) != fine {
			t.Errorf("%s: %v, want it taken: %t", body, err, fine)
		}
	}
	for body, fine := range map[string]bool{
		`{"OK":true,"Value":null}`:              true,
		`{"OK":true,"Value":1}`:                 false,
		`{"OK":true}`:                           false,
		`{"OK":false,"Errno":2,"Message":"no"}`: true,
		`{"OK":false,"Errno":2,"Message":"no such","Code":"not_found"}`:    true,
		`{"OK":false,"Message":"no"}`:                                      false,
		`{"OK":false,"Errno":2,"Message":"no","Value":1,"OK_":"whatever"}`: true,
	} {
		if err := answer.Validate(parsed(t, []byte(body))); (err == nil) != fine {
			t.Errorf("%s: %v, want it taken: %t", body, err, fine)
		}
	}
}
