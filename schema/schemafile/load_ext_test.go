package schemafile_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"busd/schema"
	"busd/schema/schemafile"
)

type (
	ping struct {
		ID int64 `bus:"id"`
	}
	pong struct {
		ID int64 `bus:"id"`
	}
	longPing struct {
		ID   int64  `bus:"id"`
		More []byte `bus:"more,optional"`
	}
	where struct {
		Host string `bus:"host"`
		Port uint16 `bus:"port,min=1"`
	}
	every struct {
		ID     int64              `bus:"id,min=0"`
		Flag   bool               `bus:"flag"`
		I8     int8               `bus:"i8"`
		I16    int16              `bus:"i16,max=9"`
		U32    uint32             `bus:"u32"`
		Exact  int                `bus:"exact,min=-9007199254740993,max=9007199254740993"`
		Int    int                `bus:"int,min=-9223372036854775808,max=9223372036854775807"`
		Float  float32            `bus:"float,min=-0.5,max=1000,nonfinite"`
		Text   string             `bus:"text,minlen=1,maxlen=9,pattern=^a,b{1,2}=$"`
		Raw    []byte             `bus:"raw,maxlen=4"`
		At     time.Time          `bus:"at"`
		State  string             `bus:"state,enum=new|done" doc:"how far it is"`
		Tags   []string           `bus:"tags,optional,maxlen=10"`
		Labels map[string]float64 `bus:"labels,minlen=1"`
		Where  where              `bus:"where"`
		Note   *string            `bus:"note,maxlen=3"`
		When   *time.Time         `bus:"when"`
		Items  []where            `bus:"items"`
		Grid   [][]int            `bus:"grid"`
		Extra  any                `bus:"extra,optional"`
		Null   map[string]any     `bus:"null"`
	}
)

func (ping) MessageName() string     { return "Ping" }
func (pong) MessageName() string     { return "Pong" }
func (longPing) MessageName() string { return "Ping" }
func (every) MessageName() string    { return "Every" }

func ptr[T any](v T) *T { return &v }

func pingPong() *schema.Schema {
	return schema.MustNew(
		"Framework/PingPong",
		schema.Of[ping](schema.FromClient).WithDoc("asks for a Pong with the same id"),
		schema.Of[pong](schema.FromService).WithDoc("answers a Ping"),
	)
}

func TestFileEqualsGoTypes(t *testing.T) {
	t.Parallel()
	integer := schema.Type{Kind: schema.Int}
	for _, tc := range []struct {
		file string
		want *schema.Schema
	}{
		{"pingpong.yaml", pingPong()},
		{"every.yaml", schema.MustNew(
			"Test/Every", schema.Extends(pingPong()),
			schema.Of[every](schema.FromService).Latest("state").WithDoc("Every kind and every constraint.\n"),
			schema.Of[longPing](schema.FromClient),
			schema.Method{Name: "none"},
			schema.Method{
				Name: "store", Upload: true,
				Params: []schema.Attribute{{Name: "name", Type: schema.Type{Kind: schema.String}}, {Name: "content", Type: schema.Type{Kind: schema.Bytes}}},
			},
			schema.Method{Name: "fetch", Result: &schema.Type{Kind: schema.Bytes}, Download: true},
			schema.Method{
				Name: "add", Doc: "adds",
				Params: []schema.Attribute{
					{Name: "a", Type: integer},
					{Name: "b", Type: schema.Type{Kind: schema.Int, MinInt: ptr(int64(1))}, Optional: true, Doc: "what to add"},
				},
				Result: &schema.Type{Kind: schema.List, Elem: &integer, MaxLen: ptr(2)},
			},
		)},
	} {
		t.Run(tc.file, func(t *testing.T) {
			t.Parallel()
			got, err := schemafile.Load(filepath.Join("testdata", tc.file))
			if err != nil {
				t.Fatal(err)
			}
			if got.Fingerprint() != tc.want.Fingerprint() {
				t.Errorf("the fingerprints differ: %v", schema.Diff(tc.want, got))
			}
			// The document has order and docs too.
			if !bytes.Equal(got.JSON(), tc.want.JSON()) {
				t.Errorf("got\n%s\nwant\n%s", got.JSON(), tc.want.JSON())
			}
		})
	}
}

func TestLoadJSON(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "base.json", string(pingPong().JSON()))
	write(t, dir, "bad.json", "{}x")
	write(t, dir, "more.yaml", "service: A/B\nextends: base.json\n")
	got, err := schemafile.Load(filepath.Join(dir, "base.json"))
	if err != nil || got.Fingerprint() != pingPong().Fingerprint() {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err = schemafile.Load(filepath.Join(dir, "more.yaml")); err != nil || len(got.Messages()) != 2 {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := schemafile.Load(filepath.Join(dir, "bad.json")); err == nil || !strings.Contains(err.Error(), "bad.json: contract: not JSON") {
		t.Errorf("got %v", err)
	}
	if _, err := schemafile.Load(filepath.Join(dir, "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that the file does not exist", err)
	}
	if _, err := schemafile.Load(dir); err == nil {
		t.Error("a directory: got no error")
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// parse reads a file of a few that are in memory.
func parse(files map[string]string, name string) (*schema.Schema, error) {
	return schemafile.Parse(name, []byte(files[name]), func(path string) ([]byte, error) {
		text, ok := files[filepath.ToSlash(path)]
		if !ok {
			return nil, fmt.Errorf("no file %s", path)
		}
		return []byte(text), nil
	})
}

func TestExtends(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"dir/top.yaml":  "service: A/Top\nextends: ../base/mid.yaml\nmessages: {C: {}, A: {attrs: {x: int}}}\n",
		"base/mid.yaml": "service: A/Mid\nextends: low.yaml\nmessages: {B: {}}\n",
		"base/low.yaml": "service: A/Low\nmessages: {A: {}}\n",
		"circle.yaml":   "service: A/B\nextends: ./circle2.yaml\n",
		"circle2.yaml":  "service: A/B\nextends: circle.yaml\n",
		"self.yaml":     "service: A/B\nextends: self.yaml\n",
		"missing.yaml":  "service: A/B\nextends: nowhere.yaml\n",
		"bad.yaml":      "service: A/B\nextends: worse.yaml\n",
		"worse.yaml":    "service: A/B\nmesages: {}\n",
		"list.yaml":     "service: A/B\nextends: [a.yaml]\n",
	}
	for i := range 20 {
		files[fmt.Sprintf("chain%d.yaml", i)] = fmt.Sprintf("service: A/B\nextends: chain%d.yaml\n", i+1)
	}
	s, err := parse(files, "dir/top.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range s.Messages() {
		names = append(names, fmt.Sprint(d.Name, len(d.Attrs)))
	}
	if got, want := strings.Join(names, " "), "A1 B0 C0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for name, want := range map[string]string{
		"circle.yaml":  "circle2.yaml:2:10: the files extend each other in a circle: circle.yaml, circle2.yaml, circle.yaml",
		"self.yaml":    "self.yaml:2:10: the files extend each other in a circle: self.yaml, self.yaml",
		"missing.yaml": "missing.yaml:2:10: no file nowhere.yaml",
		"bad.yaml":     `worse.yaml:2:1: unknown key "mesages" (did you mean "messages"?)`,
		"list.yaml":    "list.yaml:2:10: want a string, got a list",
		"chain0.yaml":  "chain15.yaml:2:10: more than 16 files extend each other",
	} {
		if _, err := parse(files, name); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
	if _, err := schemafile.Parse("x.yaml", []byte("service: A/B\nextends: y.yaml"), nil); err == nil || !strings.Contains(err.Error(), "may not extend") {
		t.Errorf("without files: got %v", err)
	}
}

func TestStrict(t *testing.T) {
	t.Parallel()
	const head = "service: A/B\nmessages:\n"
	for _, tc := range []struct{ name, text, want string }{
		{"empty", "", "x.yaml: the file is empty"},
		{"comment", "# nothing\n", "x.yaml: the file is empty"},
		{"not UTF-8", "service: \xff", "x.yaml: the file is not UTF-8"},
		{"too long", strings.Repeat("#", schemafile.MaxFile+1), "x.yaml: the file has 1048577 bytes, want at most 1048576"},
		{"a word", "service", "x.yaml:1:1: want a mapping, got a string"},
		{"a list", "- a", "want a mapping, got a list"},
		{"null", "~", "want a mapping, got a null"},
		{"syntax", "service: [", "x.yaml:1:10: "},
		{"tab", "messages:\n\tA: {}", "x.yaml:2:"},
		{"brace alone", "service:\n}", "x.yaml:2:1: service: want System/Component"},
		{"two documents", "service: A/B\n---\nservice: A/C\n", "x.yaml:3:8: a second document"},
		{"no service", "messages: {}\n", "x.yaml:1:1: service: want System/Component"},
		{"service", "messages: {}\nservice: PingPong\n", "x.yaml:2:10: service: want System/Component"},
		{"service number", "service: 5\n", "x.yaml:1:10: want a string, got a number: put it in quotes"},
		{"unknown key", "service: A/B\nmesages: {}\n", `x.yaml:2:1: unknown key "mesages" (did you mean "messages"?)`},
		{"unknown key, nothing near", "service: A/B\nwhatsoever: {}\n", `x.yaml:2:1: unknown key "whatsoever"`},
		{"twice", "service: A/B\nservice: A/B\n", `x.yaml:2:1: "service" is there twice, first in line 1`},
		{"message twice", head + "  A: {}\n  A: {}\n", `x.yaml:4:3: "A" is there twice, first in line 3`},
		{"flow twice", head + "  A: {attrs: {a: int, a: int}}\n", `x.yaml:3:23: "a" is there twice, first in line 3`},
		{"messages list", "service: A/B\nmessages: [A]\n", "x.yaml:2:11: want a mapping, got a list"},
		{"message null", head + "  A:\n", "want a mapping, got a null"},
		{"message key", head + "  A: {form: client}\n", `x.yaml:3:7: unknown key "form" (did you mean "from"?)`},
		{"message name", head + "  2A: {}\n", "x.yaml:3:3: 2A: want as name of a message"},
		{"number as name", head + "  5: {}\n", "x.yaml:3:3: want a name as key"},
		{"from", head + "  A: {from: clent}\n", `x.yaml:3:13: want one of both, client, service, got "clent" (did you mean "client"?)`},
		{"class", head + "  A: {class: 1}\n", "x.yaml:3:14: want a string, got a number"},
		{"doc", head + "  A: {doc: true}\n", "x.yaml:3:12: want a string, got a bool: put it in quotes"},
		{"attrs null", head + "  A: {attrs: }\n", "want a mapping, got a null"},
		{"kind", head + "  A: {attrs: {a: integer}}\n", `x.yaml:3:18: want one of any, bool, int, float, string, bytes, time, enum, list, map, struct, got "integer"`},
		{"kind near", head + "  A: {attrs: {a: flaot}}\n", `got "flaot" (did you mean "float"?)`},
		{"attribute number", head + "  A: {attrs: {a: 5}}\n", "x.yaml:3:18: want a mapping, got a number"},
		{"attribute list", head + "  A: {attrs: {a: [int]}}\n", "want a mapping, got a list"},
		{"no type", head + "  A: {attrs: {a: {doc: x}}}\n", `the key "type" is missing`},
		{"typo", head + "  A: {attrs: {a: {type: int, mim: 1}}}\n", `x.yaml:3:30: unknown key "mim" (did you mean "min"?)`},
		{"json's word", head + "  A: {attrs: {a: {type: list, elem: int}}}\n", `unknown key "elem"`},
		{"float bound of int", head + "  A: {attrs: {a: {type: int, min: 1.0}}}\n", "x.yaml:3:35: want a decimal integer of 64 bits, got 1.0"},
		{"hexadecimal", head + "  A: {attrs: {a: {type: int, min: 0x10}}}\n", "want a decimal integer of 64 bits, got 0x10"},
		{"beyond int64", head + "  A: {attrs: {a: {type: int, max: 9223372036854775808}}}\n", "want a decimal integer of 64 bits"},
		{"bound string", head + "  A: {attrs: {a: {type: int, max: '5'}}}\n", "want a number, got a string"},
		{"infinite bound", head + "  A: {attrs: {a: {type: float, max: .inf}}}\n", "want a finite number, got .inf"},
		{"length", head + "  A: {attrs: {a: {type: string, maxlen: 1.5}}}\n", "want a length, got 1.5"},
		{"length string", head + "  A: {attrs: {a: {type: string, maxlen: x}}}\n", "want a number, got a string"},
		{"optional", head + "  A: {attrs: {a: {type: int, optional: 1}}}\n", "want a bool, got a number"},
		{"optional and not", head + "  A: {attrs: {a: {type: int?, optional: false}}}\n", "x.yaml:3:41: it is optional by the ? in line 3, and is not here"},
		{"values", head + "  A: {attrs: {a: {type: enum, values: [on, true]}}}\n", "x.yaml:3:44: want a string, got a bool: put it in quotes"},
		{"values of no list", head + "  A: {attrs: {a: {type: enum, values: x}}}\n", "want a list, got a string"},
		{"optional element", head + "  A: {attrs: {a: {type: list, of: int?}}}\n", `got "int?" (did you mean "int"?)`},
		{"element with doc", head + "  A: {attrs: {a: {type: list, of: {type: int, doc: x}}}}\n", `unknown key "doc"`},
		{"list of nothing", head + "  A: {attrs: {a: list}}\n", "x.yaml:3:15: A.a: list of what?"},
		{"min over max", head + "  A:\n    attrs:\n      a: {type: list, of: {type: int, min: 5, max: 3}}\n", "x.yaml:5:28: A.a[]: min 5 is greater than max 3"},
		{"nested", head + "  A: {attrs: {a: {type: map, of: {type: struct, attrs: {b: enum}}}}}\n", "x.yaml:3:57: A.a{}.b: an enum needs"},
		{"key", head + "  A: {class: latest, key: id}\n", "x.yaml:3:3: A: the key \"id\" is no attribute"},
		{"methods", "service: A/B\nmethods: {m: {results: int}}\n", `x.yaml:2:15: unknown key "results" (did you mean "result"?)`},
		{"method list", "service: A/B\nmethods: {m: []}\n", "want a mapping, got a list"},
		{"params", "service: A/B\nmethods: {m: {params: {a: int}}}\n", "want a list, got a mapping"},
		{"param", "service: A/B\nmethods: {m: {params: [int]}}\n", "want a mapping, got a string"},
		{"upload of no bytes", "service: A/B\nmethods: {m: {params: [{name: a, type: int}], upload: true}}\n", "x.yaml:2:11: m(): an upload's last parameter"},
		{"param without name", "service: A/B\nmethods: {m: {params: [{type: int}]}}\n", `the key "name" is missing`},
		{"param fault", "service: A/B\nmethods: {m: {params: [{name: a, type: enum}]}}\n", "x.yaml:2:31: m(a): an enum needs"},
		{"param order", "service: A/B\nmethods: {m: {params: [{name: a, type: int?}, {name: b, type: int}]}}\n", "m(b): a required parameter cannot follow"},
		{"result", "service: A/B\nmethods: {m: {result: enum}}\n", "x.yaml:2:23: m() result: an enum needs"},
		{"result element", "service: A/B\nmethods: {m: {result: {type: list, of: enum}}}\n", "x.yaml:2:40: m() result[]: an enum needs"},
		{"result optional", "service: A/B\nmethods: {m: {result: int?}}\n", `got "int?"`},
		{"method name", "service: A/B\nmethods: {m-n: {}}\n", "x.yaml:2:11: m-n(): want as name of a method"},
		{"anchor", head + "  A: &a {}\n", "x.yaml:3:6: anchors and aliases cannot be used here"},
		{"alias", head + "  A: *a\n", "anchors and aliases cannot be used here"},
		{"merge", head + "  A: {<<: {}}\n", "anchors and aliases cannot be used here"},
		{"tag", head + "  A: !!map {}\n", "tags cannot be used here"},
		{"complex key", "? a\n: b\n", "keys that begin with ? cannot be used here"},
		{"directive", "%YAML 1.2\n---\nservice: A/B\n", "directives cannot be used here"},
		{"flow bomb", strings.Repeat("[", 90000), "it nests deeper than 64"},
		{"map bomb", strings.Repeat("{a: ", 200), "it nests deeper than 64"},
		{"dash bomb", strings.Repeat("- ", 40000), "it nests deeper than 64"},
		{"indent bomb", indented(100), "it nests deeper than 64"},
		{"large", strings.Repeat("a: 1\n", 100000), "parts, want at most 100000"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, err := schemafile.Parse("x.yaml", []byte(tc.text), nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, %v, want an error with %q", s, err, tc.want)
			}
			var f *schemafile.Fault
			if err != nil && !errors.As(err, &f) {
				t.Errorf("got %T, want a *schemafile.Fault", err)
			}
		})
	}
}

func indented(levels int) string {
	var b strings.Builder
	for i := range levels {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func TestFaultsAreShownTogetherWithTheirLines(t *testing.T) {
	t.Parallel()
	text := "service: A/B\nmessages:\n  A: {from: cleint}\n  B: {attrs: {a: itn}}\n  B: {}\n"
	_, err := schemafile.Parse("dir/x.yaml", []byte(text), nil)
	want := `dir/x.yaml:3:13: want one of both, client, service, got "cleint" (did you mean "client"?)
	  A: {from: cleint}
	            ^
dir/x.yaml:4:18: want one of any, bool, int, float, string, bytes, time, enum, list, map, struct, got "itn" (did you mean "int"?)
	  B: {attrs: {a: itn}}
	                 ^
dir/x.yaml:5:3: "B" is there twice, first in line 4
	  B: {}
	  ^`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	var f *schemafile.Fault
	if !errors.As(err, &f) || f.File != "dir/x.yaml" || f.Line != 3 || f.Column != 13 || f.Source != "  A: {from: cleint}" {
		t.Errorf("got %+v", f)
	}
	var many strings.Builder
	many.WriteString("service: A/B\n")
	for i := range 100 {
		fmt.Fprintf(&many, "k%d: 1\n", i)
	}
	_, err = schemafile.Parse("x.yaml", []byte(many.String()), nil)
	if got := strings.Count(err.Error(), "unknown key"); got != 50 || !strings.HasSuffix(err.Error(), "x.yaml: there are more faults than these") {
		t.Errorf("got %d faults, want 50 and a last line", got)
	}
	_, err = schemafile.Parse("x.yaml", []byte("service: A/B"+strings.Repeat(" ", 300)+"\nmessages: {a"+strings.Repeat("b", 300)+": {}}\n"), nil)
	if err == nil || !strings.Contains(err.Error(), "…\n\t           ^") {
		t.Errorf("got %v, want a long line cut", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"pingpong.yaml", "every.yaml"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, s := range []string{
		"service: A/B\nmessages: {A: {attrs: {a: 'x', b: \"\\u00e9\", c: int?}}}", "a: |\n  x\n", "key:\n}", "a:\n- b: c\n- \n", "a: >-\n  x\n", "- - a\n", "{a: [b, {c: d}]}", "%YAML 1.2\n---\n...\n", "&a b", "a: *b", "!t x", "? a\n: b", "<<: {}",
		"{\"service\": \"A/B\", \"messages\": {}}", "service: A/B\nextends: x.yaml\nmethods: {m: {params: [{name: a, type: float, min: 1e3}]}}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := schemafile.Parse("x.yaml", data, func(string) ([]byte, error) {
			return []byte("service: A/Base\nmessages: {Base: {attrs: {a: any?}}}\n"), nil
		})
		if err != nil {
			if !strings.Contains(err.Error(), "x.yaml") {
				t.Errorf("got %v, want the file's name in it", err)
			}
			return
		}
		again, err := schema.Parse(s.JSON())
		if err != nil {
			t.Fatalf("its document: %v\n%s", err, s.JSON())
		}
		if again.Fingerprint() != s.Fingerprint() || !bytes.Equal(again.JSON(), s.JSON()) {
			t.Errorf("got\n%s\nwant\n%s", again.JSON(), s.JSON())
		}
	})
}
