package schema_test

import (
	"errors"
	"math"
	"strings"
	"sync"
	"testing"

	"busd/schema"
)

func ptr[T any](v T) *T { return &v }

func attr(name string, t schema.Type) schema.Attribute { return schema.Attribute{Name: name, Type: t} }

func optional(name string, t schema.Type) schema.Attribute {
	return schema.Attribute{Name: name, Type: t, Optional: true}
}

func message(name string, attrs ...schema.Attribute) schema.Definition {
	return schema.Definition{Name: name, Attrs: attrs}
}

var (
	boolType   = schema.Type{Kind: schema.Bool}
	intType    = schema.Type{Kind: schema.Int}
	floatType  = schema.Type{Kind: schema.Float}
	stringType = schema.Type{Kind: schema.String}
	bytesType  = schema.Type{Kind: schema.Bytes}
	timeType   = schema.Type{Kind: schema.Time}
	anyType    = schema.Type{Kind: schema.Any}
)

func listOf(t schema.Type) schema.Type { return schema.Type{Kind: schema.List, Elem: &t} }

func mapOf(t schema.Type) schema.Type { return schema.Type{Kind: schema.Map, Elem: &t} }

func enumOf(values ...string) schema.Type { return schema.Type{Kind: schema.Enum, Values: values} }

func structOf(attrs ...schema.Attribute) schema.Type {
	return schema.Type{Kind: schema.Struct, Attrs: attrs}
}

// deep returns a type of n lists in each other.
func deep(n int) schema.Type {
	t := boolType
	for range n {
		t = listOf(t)
	}
	return t
}

// wantFaults checks that err has exactly these faults, by substring of
// "where: reason".
func wantFaults(t *testing.T, err error, want ...string) {
	t.Helper()
	var got []string
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			got = append(got, e.Error())
		}
	} else if err != nil {
		got = []string{err.Error()}
	}
	if len(got) != len(want) {
		t.Fatalf("got %d faults %q, want %d like %q", len(got), got, len(want), want)
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("fault %d: got %q, want something with %q", i, got[i], want[i])
		}
	}
}

func TestNewReportsFaults(t *testing.T) {
	t.Parallel()
	cyclic := schema.Type{Kind: schema.List}
	cyclic.Elem = &cyclic
	many := make([]schema.Attribute, schema.MaxAttrs+1)
	wide := structOf(attr("a", intType))
	for range 12 {
		wide = structOf(attr("a", wide), attr("b", wide), attr("c", wide))
	}
	for _, tc := range []struct {
		name string
		part schema.Part
		want []string
	}{
		{"nothing", schema.Method{Name: "m"}, nil},
		{"nil part", nil, []string{"a part is nil"}},
		{"nil base", schema.Extends(nil), []string{"extends a nil schema"}},
		{"message name", message("2x"), []string{`2x: want as name of a message`}},
		{"empty name", message(""), []string{"name of a message"}},
		{"long name", message(strings.Repeat("x", 65)), []string{"at most 64 bytes"}},
		{"attribute name", message("M", attr("a-b", intType)), []string{`M.a-b: want as name of an attribute`}},
		{"attribute twice", message("M", attr("a", intType), attr("a", intType)), []string{"M.a: it is declared twice"}},
		{"name with a newline", message("M", attr("a\nb", intType)), []string{"M.a?b: "}},
		{"sender", schema.Definition{Name: "M", From: 9}, []string{"no such sender: sender(9)"}},
		{"class", schema.Definition{Name: "M", Class: 9}, []string{"no such class: class(9)"}},
		{"kind", message("M", attr("a", schema.Type{Kind: 99})), []string{"M.a: no such kind: kind(99)"}},
		{"too many attributes", message("M", many...), []string{"M: 257 attributes, want at most 256"}},
		{"doc", message("M").WithDoc("\xff"), []string{"M: its documentation is not UTF-8"}},
		{"depth 16", message("M", attr("a", deep(15))), nil},
		{"depth 17", message("M", attr("a", deep(16))), []string{"nest deeper than 16"}},
		{"recursion", message("M", attr("a", cyclic)), []string{"nest deeper than 16"}},
		{"too many types", message("M", attr("a", wide)), []string{"more than 65536 types"}},
		{"min over max", message("M", attr("a", schema.Type{Kind: schema.Int, MinInt: ptr(int64(5)), MaxInt: ptr(int64(3))})), []string{"M.a: min 5 is greater than max 3"}},
		{"float min over max", message("M", attr("a", schema.Type{Kind: schema.Float, MinFloat: ptr(0.5), MaxFloat: ptr(0.25)})), []string{"M.a: min 0.5 is greater than max 0.25"}},
		{"float bound", message("M", attr("a", schema.Type{Kind: schema.Float, MinFloat: ptr(math.NaN())})), []string{"finite"}},
		{"length crossed", message("M", attr("a", schema.Type{Kind: schema.String, MinLen: ptr(2), MaxLen: ptr(1)})), []string{"minlen 2 is greater than maxlen 1"}},
		{"length negative", message("M", attr("a", schema.Type{Kind: schema.Bytes, MinLen: ptr(-2)})), []string{"cannot be negative, got -2"}},
		{"int bound on string", message("M", attr("a", schema.Type{Kind: schema.String, MinInt: ptr(int64(1))})), []string{"string cannot have min or max"}},
		{"float bound on int", message("M", attr("a", schema.Type{Kind: schema.Int, MaxFloat: ptr(1.0)})), []string{"int cannot have min or max"}},
		{"nonfinite int", message("M", attr("a", schema.Type{Kind: schema.Int, NonFinite: true})), []string{"int cannot have nonfinite"}},
		{"length of int", message("M", attr("a", schema.Type{Kind: schema.Int, MaxLen: ptr(1)})), []string{"int cannot have minlen or maxlen"}},
		{"pattern of bytes", message("M", attr("a", schema.Type{Kind: schema.Bytes, Pattern: "x"})), []string{"bytes cannot have a pattern"}},
		{"values of string", message("M", attr("a", schema.Type{Kind: schema.String, Values: []string{"x"}})), []string{"string cannot have values"}},
		{"attributes of list", message("M", attr("a", schema.Type{Kind: schema.List, Elem: &intType, Attrs: []schema.Attribute{attr("b", intType)}})), []string{"list cannot have attributes"}},
		{"element of int", message("M", attr("a", schema.Type{Kind: schema.Int, Elem: &intType})), []string{"int cannot have an element type"}},
		{"list of nothing", message("M", attr("a", schema.Type{Kind: schema.List})), []string{"list of what?"}},
		{"enum of nothing", message("M", attr("a", enumOf())), []string{"at least one value"}},
		{"enum with faults", message("M", attr("a", enumOf("x", "x", "", "\xff"))), []string{`"x" is there twice`, "cannot be empty", "not UTF-8"}},
		{"pattern", message("M", attr("a", schema.Type{Kind: schema.String, Pattern: "(["})), []string{"M.a: the pattern does not compile"}},
		{"long pattern", message("M", attr("a", schema.Type{Kind: schema.String, Pattern: strings.Repeat("x", 1025)})), []string{"1025 bytes, want at most 1024"}},
		{"large pattern", message("M", attr("a", schema.Type{Kind: schema.String, Pattern: strings.Repeat(".{1000}", 100)})), []string{"too large together"}},
		{"key of class must", schema.Definition{Name: "M", Key: "a", Attrs: []schema.Attribute{attr("a", intType)}}, []string{"a key belongs to class latest, not to must"}},
		{"key that is no attribute", message("M", attr("id", intType)).Latest("ld"), []string{`the key "ld" is no attribute (did you mean "id"?)`}},
		{"optional key", message("M", optional("a", intType)).Latest("a"), []string{"must be a required string, int or enum"}},
		{"float key", message("M", attr("a", floatType)).Latest("a"), []string{"must be a required string, int or enum"}},
		{"enum key", message("M", attr("a", enumOf("x"))).Latest("a"), nil},
		{"latest without key", message("M").Latest(""), nil},
		{"nested", message("M", attr("a", listOf(structOf(attr("b", mapOf(enumOf())))))), []string{"M.a[].b{}: an enum needs"}},
		{"method name", schema.Method{Name: "x!"}, []string{"x!(): want as name of a method"}},
		{"param", schema.Method{Name: "m", Params: []schema.Attribute{attr("a", enumOf())}}, []string{"m(a): an enum needs"}},
		{"param twice", schema.Method{Name: "m", Params: []schema.Attribute{attr("a", intType), attr("a", intType)}}, []string{"m(a): it is declared twice"}},
		{"param after optional", schema.Method{Name: "m", Params: []schema.Attribute{optional("a", intType), attr("b", intType)}}, []string{"m(b): a required parameter cannot follow"}},
		{"upload of nothing", schema.Method{Name: "m", Upload: true}, []string{"m(): an upload's last parameter must be required and of kind bytes"}},
		{"upload of another kind", schema.Method{Name: "m", Upload: true, Params: attrsOf(stringType)}, []string{"m(): an upload's last"}},
		{"optional upload", schema.Method{Name: "m", Upload: true, Params: one(optional("a", bytesType))}, []string{"m(): an upload's last"}},
		{"download of nothing", schema.Method{Name: "m", Download: true}, []string{"m(): a download's result must be of kind bytes"}},
		{"download of another kind", schema.Method{Name: "m", Download: true, Result: &stringType}, []string{"m(): a download's result"}},
		{"result", schema.Method{Name: "m", Result: ptr(enumOf())}, []string{"m() result: an enum needs"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := schema.New("Test/Test", tc.part)
			wantFaults(t, err, tc.want...)
			var f *schema.Fault
			if err != nil && !errors.As(err, &f) {
				t.Errorf("got %T, want it to hold a *schema.Fault", err)
			}
		})
	}
}

func TestNewReportsAllFaultsTogether(t *testing.T) {
	t.Parallel()
	_, err := schema.New("PingPong", message("A"), message("A"), message("B", attr("x", enumOf())))
	wantFaults(t, err, "A: it is declared twice", "service: want System/Component", "B.x: an enum needs")
}

func TestNewBoundsWhatItReportsAndHolds(t *testing.T) {
	t.Parallel()
	parts := make([]schema.Part, schema.MaxMessages+1)
	for i := range parts {
		parts[i] = message("2x" + strings.Repeat("y", i%60) + strings.Repeat("z", i/60))
	}
	_, err := schema.New("A/B", parts...)
	if got := strings.Count(err.Error(), "\n") + 1; got != 51 {
		t.Errorf("got %d faults, want 50 and a last line", got)
	}
	if !strings.Contains(err.Error(), "1025 messages, want at most 1024") || !strings.HasSuffix(err.Error(), "there are more faults than these") {
		t.Errorf("got %v", err)
	}
	_, err = schema.New("A/B", message("M").WithDoc(strings.Repeat("x", schema.MaxDocument)))
	wantFaults(t, err, "its document would have")
}

func TestServiceNames(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"A/B": true, "Framework/PingPong2_x": true, "": false, "A": false, "A/": false, "/B": false,
		"A/B/C": false, "A/2": false, "A B/C": false, "Ä/B": false, "_A/B": false,
	} {
		if _, err := schema.New(name); (err == nil) != ok {
			t.Errorf("New(%q): got error %v, want ok %v", name, err, ok)
		}
	}
}

func TestMustNewPanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if r, ok := recover().(string); !ok || !strings.Contains(r, "schema x: service: want") {
			t.Errorf("got %v", r)
		}
	}()
	schema.MustNew("x")
}

func TestExtends(t *testing.T) {
	t.Parallel()
	base := schema.MustNew("A/Base", message("One", attr("a", intType)), message("Two"), schema.Method{Name: "m"}, schema.Method{Name: "n"})
	s := schema.MustNew(
		"A/B", message("Three"), message("One", attr("b", stringType)), schema.Extends(base),
		schema.Method{Name: "m", Doc: "replaced"},
	)
	var names []string
	for _, d := range s.Messages() {
		names = append(names, d.Name)
	}
	if got, want := strings.Join(names, " "), "One Two Three"; got != want {
		t.Errorf("messages: got %s, want %s", got, want)
	}
	if d, ok := s.Message("One"); !ok || d.Attrs[0].Name != "b" {
		t.Errorf("One: got %+v, want the replaced one", d)
	}
	if m, ok := s.Method("m"); !ok || m.Doc != "replaced" || len(s.Methods()) != 2 {
		t.Errorf("methods: got %+v", s.Methods())
	}
	if _, ok := s.Method("x"); ok {
		t.Error("got a method x")
	}
	if _, ok := s.Message("x"); ok {
		t.Error("got a message x")
	}
}

func TestExtendsTwoBases(t *testing.T) {
	t.Parallel()
	one := schema.MustNew("A/One", message("Same", attr("a", intType)), message("Other", attr("a", intType)))
	two := schema.MustNew("A/Two", message("Same", attr("a", intType)).WithDoc("docs do not differ"), message("Other", attr("a", stringType)))
	_, err := schema.New("A/B", schema.Extends(one), schema.Extends(two))
	wantFaults(t, err, "Other: two of the contracts")
	adds := schema.MustNew("A/Three", schema.Method{Name: "m", Doc: "x", Params: attrsOf(intType)})
	_, err = schema.New("A/B", schema.Extends(adds), schema.Extends(schema.MustNew("A/Four", schema.Method{Name: "m"})))
	wantFaults(t, err, "m(): two of the contracts")
	if _, err := schema.New("A/B", schema.Extends(one), schema.Extends(two), message("Other")); err != nil {
		t.Errorf("replaced: got %v", err)
	}
}

func TestSchemaIsImmutable(t *testing.T) {
	t.Parallel()
	given := message("M", attr("a", schema.Type{Kind: schema.Int, MinInt: ptr(int64(1))}), attr("l", listOf(enumOf("x"))))
	method := schema.Method{Name: "m", Params: []schema.Attribute{attr("a", intType)}, Result: ptr(intType)}
	s := schema.MustNew("A/B", given, method)
	before := string(s.JSON())
	*given.Attrs[0].Type.MinInt = 7
	given.Attrs[1].Type.Elem.Values[0] = "y"
	method.Params[0].Name = "b"
	s.Messages()[0].Attrs[0].Name = "z"
	d, _ := s.Message("M")
	*d.Attrs[0].Type.MinInt = 9
	s.Methods()[0].Result.Kind = schema.Bool
	m, _ := s.Method("m")
	m.Params[0].Name = "c"
	s.JSON()[0] = 'x'
	again := schema.MustNew("A/B", append([]schema.Part{schema.Method{Name: "m", Params: s.Methods()[0].Params, Result: s.Methods()[0].Result}}, s.Messages()[0])...)
	if got := string(again.JSON()); got != before || string(s.JSON()) != before {
		t.Errorf("got %s, want %s", got, before)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	s := schema.MustNew("A/B", message("M", attr("a", intType)))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			d, _ := s.Message("M")
			if err := d.Check(map[string]any{"a": 1}); err != nil {
				t.Errorf("got %v", err)
			}
			_, _, _ = s.JSON(), s.Fingerprint(), s.String()
		})
	}
	wg.Wait()
}

// copies makes of m a method that may be said to take and to give a stream.
func copies(_ *schema.Definition, m *schema.Method) {
	m.Params, m.Result = attrsOf(bytesType), &bytesType
}

func TestFingerprintCountsWhatMatters(t *testing.T) {
	t.Parallel()
	full := func(change func(d *schema.Definition, m *schema.Method)) *schema.Schema {
		d := message("M", attr("a", schema.Type{Kind: schema.Int, MinInt: ptr(int64(1)), MaxInt: ptr(int64(2))}),
			attr("e", enumOf("x", "y")), optional("s", structOf(attr("p", floatType), attr("q", listOf(bytesType)))))
		m := schema.Method{Name: "m", Params: []schema.Attribute{attr("a", intType), attr("b", intType)}, Result: ptr(structOf(attr("x", intType), attr("y", intType)))}
		change(&d, &m)
		return schema.MustNew("A/B", message("N"), d, m)
	}
	base := full(func(*schema.Definition, *schema.Method) {})
	for name, change := range map[string]func(d *schema.Definition, m *schema.Method){
		"doc":           func(d *schema.Definition, m *schema.Method) { d.Doc, m.Doc = "x", "y" },
		"attribute doc": func(d *schema.Definition, m *schema.Method) { d.Attrs[0].Doc, m.Params[0].Doc = "x", "y" },
		"nested doc": func(d *schema.Definition, m *schema.Method) {
			d.Attrs[2].Type.Attrs[1].Doc, m.Result.Attrs[0].Doc = "x", "y"
		},
		"order":      func(d *schema.Definition, _ *schema.Method) { d.Attrs[0], d.Attrs[1] = d.Attrs[1], d.Attrs[0] },
		"enum order": func(d *schema.Definition, _ *schema.Method) { d.Attrs[1].Type.Values = []string{"y", "x"} },
		"nested order": func(_ *schema.Definition, m *schema.Method) {
			m.Result.Attrs[0], m.Result.Attrs[1] = m.Result.Attrs[1], m.Result.Attrs[0]
		},
	} {
		if got := full(change); got.Fingerprint() != base.Fingerprint() {
			t.Errorf("%s: got another fingerprint, want the same", name)
		}
	}
	for name, change := range map[string]func(d *schema.Definition, m *schema.Method){
		"name":        func(d *schema.Definition, _ *schema.Method) { d.Name = "O" },
		"sender":      func(d *schema.Definition, _ *schema.Method) { d.From = schema.FromClient },
		"class":       func(d *schema.Definition, _ *schema.Method) { d.Class = schema.Volatile },
		"key":         func(d *schema.Definition, _ *schema.Method) { *d = d.Latest("a") },
		"kind":        func(d *schema.Definition, _ *schema.Method) { d.Attrs[2].Type.Attrs[0].Type = intType },
		"optional":    func(d *schema.Definition, _ *schema.Method) { d.Attrs[0].Optional = true },
		"constraint":  func(d *schema.Definition, _ *schema.Method) { d.Attrs[0].Type.MinInt = nil },
		"element":     func(d *schema.Definition, _ *schema.Method) { d.Attrs[2].Type.Attrs[1].Type = listOf(intType) },
		"param order": func(_ *schema.Definition, m *schema.Method) { m.Params[0], m.Params[1] = m.Params[1], m.Params[0] },
		"result":      func(_ *schema.Definition, m *schema.Method) { m.Result = nil },
	} {
		if got := full(change); got.Fingerprint() == base.Fingerprint() {
			t.Errorf("%s: got the same fingerprint, want another", name)
		}
	}
	base = full(copies)
	for name, change := range map[string]func(d *schema.Definition, m *schema.Method){
		"upload":   func(d *schema.Definition, m *schema.Method) { copies(d, m); m.Upload = true },
		"download": func(d *schema.Definition, m *schema.Method) { copies(d, m); m.Download = true },
	} {
		if got := full(change); got.Fingerprint() == base.Fingerprint() {
			t.Errorf("%s: got the same fingerprint, want another", name)
		}
	}
	if renamed := schema.MustNew("A/C"); renamed.Fingerprint() == schema.MustNew("A/B").Fingerprint() {
		t.Error("service: got the same fingerprint, want another")
	}
}

// The fingerprint is part of the protocol: peers of other versions hold it.
func TestFingerprintIsStable(t *testing.T) {
	t.Parallel()
	s := schema.MustNew("Framework/PingPong", schema.Of[Ping](schema.FromClient), schema.Of[*Pong](schema.FromService))
	const want = "sha256:2c1a76be69dfff1ad3d5e62ec24e704eb2156012b52de98f0d2ced7a73181d5a"
	if got := s.Fingerprint(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := s.String(), "Framework/PingPong (2 messages, 0 methods, sha256:"; !strings.HasPrefix(got, want) {
		t.Errorf("got %s, want it to begin with %s", got, want)
	}
}

func TestZeroBoundsAreOne(t *testing.T) {
	t.Parallel()
	zero := schema.MustNew("A/B", message("M", attr("a", schema.Type{Kind: schema.Float, MinFloat: ptr(0.0)})))
	minus := schema.MustNew("A/B", message("M", attr("a", schema.Type{Kind: schema.Float, MinFloat: ptr(math.Copysign(0, -1))})))
	if zero.Fingerprint() != minus.Fingerprint() {
		t.Error("0 and -0 differ")
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for k := schema.Any; k <= schema.Struct; k++ {
		if got, ok := schema.ParseKind(k.String()); !ok || got != k {
			t.Errorf("ParseKind(%s): got %v, %v", k, got, ok)
		}
	}
	for s := schema.FromBoth; s <= schema.FromService; s++ {
		if got, ok := schema.ParseSender(s.String()); !ok || got != s {
			t.Errorf("ParseSender(%s): got %v, %v", s, got, ok)
		}
	}
	for c := schema.Must; c <= schema.Volatile; c++ {
		if got, ok := schema.ParseClass(c.String()); !ok || got != c {
			t.Errorf("ParseClass(%s): got %v, %v", c, got, ok)
		}
	}
	if _, ok := schema.ParseKind("integer"); ok {
		t.Error("ParseKind(integer): got ok")
	}
	if got, want := schema.Kind(99).String(), "kind(99)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
