package schema_test

import (
	"reflect"
	"strings"
	"testing"

	"busd/schema"
)

// diffCase compares one message M, once for each sender.
type diffCase struct {
	name     string
	old, new []schema.Attribute
	// what the one change says; it breaks when the client sends, when the
	// service does.
	what            string
	client, service bool
}

func one(a schema.Attribute) []schema.Attribute { return []schema.Attribute{a} }

func attrsOf(t schema.Type) []schema.Attribute { return one(attr("a", t)) }

func diffCases() []diffCase {
	const breaks, fine = true, false
	ranged := func(low, high int64) schema.Type {
		return schema.Type{Kind: schema.Int, MinInt: &low, MaxInt: &high}
	}
	real := func(low, high float64) schema.Type {
		return schema.Type{Kind: schema.Float, MinFloat: &low, MaxFloat: &high}
	}
	sized := func(low, high int) schema.Type { return schema.Type{Kind: schema.String, MinLen: &low, MaxLen: &high} }
	pattern := func(p string) schema.Type { return schema.Type{Kind: schema.String, Pattern: p} }
	nonFinite := schema.Type{Kind: schema.Float, NonFinite: true}
	nest := func(a ...schema.Attribute) []schema.Attribute {
		return attrsOf(listOf(mapOf(structOf(append(a, attr("z", intType))...))))
	}
	return []diffCase{
		{"nothing", attrsOf(intType), attrsOf(intType), "", fine, fine},
		{"required added", nil, attrsOf(intType), "M.a: required attribute added", breaks, fine},
		{"optional added", nil, one(optional("a", intType)), "M.a: optional attribute added", fine, fine},
		{"required removed", attrsOf(intType), nil, "M.a: required attribute removed", breaks, breaks},
		{"optional removed", one(optional("a", intType)), nil, "M.a: optional attribute removed", fine, fine},
		{"optional to required", one(optional("a", intType)), attrsOf(intType), "M.a: optional becomes required", breaks, fine},
		{"required to optional", attrsOf(intType), one(optional("a", intType)), "M.a: required becomes optional", fine, breaks},
		{"type", attrsOf(intType), attrsOf(floatType), "M.a: type changed from int to float", breaks, breaks},
		{"string to enum", attrsOf(stringType), attrsOf(enumOf("x")), "M.a: type changed from string to enum", breaks, breaks},
		{"int to any", attrsOf(intType), attrsOf(anyType), "M.a: type changed from int to any", breaks, breaks},
		{"min raised", attrsOf(ranged(1, 9)), attrsOf(ranged(2, 9)), "M.a: min changed from 1 to 2", breaks, fine},
		{"min lowered", attrsOf(ranged(1, 9)), attrsOf(ranged(0, 9)), "M.a: min changed from 1 to 0", fine, fine},
		{"max lowered", attrsOf(ranged(1, 9)), attrsOf(ranged(1, 8)), "M.a: max changed from 9 to 8", breaks, fine},
		{"max raised", attrsOf(ranged(1, 9)), attrsOf(ranged(1, 10)), "M.a: max changed from 9 to 10", fine, fine},
		{"min added", attrsOf(intType), attrsOf(schema.Type{Kind: schema.Int, MinInt: ptr(int64(1))}), "M.a: min 1 added", breaks, fine},
		{"max removed", attrsOf(schema.Type{Kind: schema.Int, MaxInt: ptr(int64(1))}), attrsOf(intType), "M.a: max 1 removed", fine, fine},
		{"float min raised", attrsOf(real(0.5, 9)), attrsOf(real(0.75, 9)), "M.a: min changed from 0.5 to 0.75", breaks, fine},
		{"float max raised", attrsOf(real(0.5, 9)), attrsOf(real(0.5, 9.5)), "M.a: max changed from 9 to 9.5", fine, fine},
		{"minlen raised", attrsOf(sized(1, 9)), attrsOf(sized(2, 9)), "M.a: minlen changed from 1 to 2", breaks, fine},
		{"maxlen lowered", attrsOf(sized(1, 9)), attrsOf(sized(1, 8)), "M.a: maxlen changed from 9 to 8", breaks, fine},
		{"maxlen raised", attrsOf(sized(1, 9)), attrsOf(sized(1, 10)), "M.a: maxlen changed from 9 to 10", fine, fine},
		{"maxlen added", attrsOf(listOf(intType)), attrsOf(schema.Type{Kind: schema.List, Elem: &intType, MaxLen: ptr(3)}), "M.a: maxlen 3 added", breaks, fine},
		{"pattern added", attrsOf(stringType), attrsOf(pattern("x")), "M.a: pattern changed from none to x", breaks, fine},
		{"pattern changed", attrsOf(pattern("x")), attrsOf(pattern("y")), "M.a: pattern changed from x to y", breaks, fine},
		{"pattern removed", attrsOf(pattern("x")), attrsOf(stringType), "M.a: pattern x removed", fine, fine},
		{"nonfinite added", attrsOf(floatType), attrsOf(nonFinite), "M.a: nonfinite numbers allowed", fine, fine},
		{"nonfinite removed", attrsOf(nonFinite), attrsOf(floatType), "M.a: nonfinite numbers no longer allowed", breaks, fine},
		{"value added", attrsOf(enumOf("x")), attrsOf(enumOf("x", "y")), `M.a: value "y" added`, fine, fine},
		{"value removed", attrsOf(enumOf("x", "y")), attrsOf(enumOf("y")), `M.a: value "x" removed`, breaks, fine},
		{"values moved", attrsOf(enumOf("x", "y")), attrsOf(enumOf("y", "x")), "", fine, fine},
		{"element type", attrsOf(listOf(intType)), attrsOf(listOf(stringType)), "M.a[]: type changed from int to string", breaks, breaks},
		{"map value type", attrsOf(mapOf(intType)), attrsOf(mapOf(stringType)), "M.a{}: type changed from int to string", breaks, breaks},
		{"nested required added", nest(), nest(attr("b", intType)), "M.a[]{}.b: required attribute added", breaks, fine},
		{"nested optional added", nest(), nest(optional("b", intType)), "M.a[]{}.b: optional attribute added", fine, fine},
		{"nested removed", nest(attr("b", intType)), nest(), "M.a[]{}.b: required attribute removed", breaks, breaks},
		{"nested to optional", nest(attr("b", intType)), nest(optional("b", intType)), "M.a[]{}.b: required becomes optional", fine, breaks},
		{"nested constraint", nest(attr("b", ranged(1, 9))), nest(attr("b", ranged(3, 9))), "M.a[]{}.b: min changed from 1 to 3", breaks, fine},
		{"order", []schema.Attribute{attr("a", intType), attr("b", intType)}, []schema.Attribute{attr("b", intType), attr("a", intType)}, "", fine, fine},
		{"doc", attrsOf(intType), one(schema.Attribute{Name: "a", Type: intType, Doc: "x"}), "", fine, fine},
	}
}

func TestDiffOfAttributes(t *testing.T) {
	t.Parallel()
	for _, tc := range diffCases() {
		for from, breaks := range map[schema.Sender]bool{
			schema.FromClient: tc.client, schema.FromService: tc.service, schema.FromBoth: tc.client || tc.service,
		} {
			t.Run(tc.name+"/"+from.String(), func(t *testing.T) {
				t.Parallel()
				a := schema.MustNew("A/B", schema.Definition{Name: "M", From: from, Attrs: tc.old})
				b := schema.MustNew("A/B", schema.Definition{Name: "M", From: from, Attrs: tc.new})
				want := tc.what
				if breaks {
					want += " (breaking)"
				}
				checkDiff(t, a, b, want)
				if (a.Fingerprint() == b.Fingerprint()) != (tc.what == "") {
					t.Error("fingerprint and Diff disagree")
				}
			})
		}
	}
}

// checkDiff compares the changes, joined by "; ".
func checkDiff(t *testing.T, a, b *schema.Schema, want string) {
	t.Helper()
	changes := schema.Diff(a, b)
	lines := make([]string, len(changes))
	for i, c := range changes {
		lines[i] = c.String()
	}
	if got := strings.Join(lines, "; "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := schema.Breaking(changes), strings.Contains(want, "(breaking)"); got != want {
		t.Errorf("Breaking: got %v, want %v", got, want)
	}
	if again := schema.Diff(a, b); !reflect.DeepEqual(again, changes) {
		t.Errorf("again: got %v, want %v", again, changes)
	}
}

func TestDiffOfMessagesAndMethods(t *testing.T) {
	t.Parallel()
	from := func(s schema.Sender) schema.Part {
		return schema.Definition{Name: "M", From: s, Attrs: attrsOf(intType)}
	}
	method := func(result *schema.Type, params ...schema.Attribute) schema.Part {
		return schema.Method{Name: "m", Params: params, Result: result}
	}
	a, b := attr("a", intType), attr("b", intType)
	keyed := message("M", a, b)
	for _, tc := range []struct {
		name     string
		old, new []schema.Part
		want     string
	}{
		{"message added", nil, []schema.Part{from(schema.FromBoth)}, "M: message added"},
		{"message removed", []schema.Part{from(schema.FromClient)}, nil, "M: message removed (breaking)"},
		{"message of the service removed", []schema.Part{from(schema.FromService)}, nil, "M: message removed (breaking)"},
		{"sender narrowed", []schema.Part{from(schema.FromBoth)}, []schema.Part{from(schema.FromClient)}, "M: sender changed from both to client (breaking)"},
		{"sender narrowed to service", []schema.Part{from(schema.FromBoth)}, []schema.Part{from(schema.FromService)}, "M: sender changed from both to service (breaking)"},
		{"sender turned", []schema.Part{from(schema.FromClient)}, []schema.Part{from(schema.FromService)}, "M: sender changed from client to service (breaking)"},
		{"sender widened", []schema.Part{from(schema.FromClient)}, []schema.Part{from(schema.FromBoth)}, "M: sender changed from client to both"},
		{"sender of the service widened", []schema.Part{from(schema.FromService)}, []schema.Part{from(schema.FromBoth)}, "M: sender changed from service to both"},
		{
			"widened and less",
			[]schema.Part{from(schema.FromClient)},
			[]schema.Part{message("M", optional("a", intType))},
			"M: sender changed from client to both; M.a: required becomes optional",
		},
		{"class", []schema.Part{keyed}, []schema.Part{keyed.Volatile()}, "M: class changed from must to volatile"},
		{"key", []schema.Part{keyed.Latest("a")}, []schema.Part{keyed.Latest("b")}, "M: key changed from a to b"},
		{"class and key", []schema.Part{keyed}, []schema.Part{keyed.Latest("a")}, "M: class changed from must to latest; M: key changed from none to a"},
		{"doc", []schema.Part{keyed}, []schema.Part{keyed.WithDoc("x")}, ""},
		{"method added", nil, []schema.Part{method(nil)}, "m(): method added"},
		{"method removed", []schema.Part{method(nil)}, nil, "m(): method removed (breaking)"},
		{"param removed", []schema.Part{method(nil, a, b)}, []schema.Part{method(nil, a)}, "m(b): parameter removed (breaking)"},
		{"required param added", []schema.Part{method(nil, a)}, []schema.Part{method(nil, a, b)}, "m(b): parameter added (breaking)"},
		{"optional param added", []schema.Part{method(nil, a)}, []schema.Part{method(nil, a, optional("b", intType))}, "m(b): optional parameter added"},
		{
			"optional param before",
			[]schema.Part{method(nil, optional("a", intType))},
			[]schema.Part{method(nil, optional("b", intType), optional("a", intType))},
			"m(a): parameter moved from position 1 to 2 (breaking); m(b): parameter added (breaking)",
		},
		{
			"params moved",
			[]schema.Part{method(nil, a, b)},
			[]schema.Part{method(nil, b, a)},
			"m(a): parameter moved from position 1 to 2 (breaking); m(b): parameter moved from position 2 to 1 (breaking)",
		},
		{"param renamed", []schema.Part{method(nil, a)}, []schema.Part{method(nil, b)}, "m(a): parameter removed (breaking); m(b): parameter added (breaking)"},
		{"param type", []schema.Part{method(nil, a)}, []schema.Part{method(nil, attr("a", floatType))}, "m(a): type changed from int to float (breaking)"},
		{"param to optional", []schema.Part{method(nil, a)}, []schema.Part{method(nil, optional("a", intType))}, "m(a): required becomes optional"},
		{"param to required", []schema.Part{method(nil, optional("a", intType))}, []schema.Part{method(nil, a)}, "m(a): optional becomes required (breaking)"},
		{
			"param nested",
			[]schema.Part{method(nil, attr("a", structOf(a)))},
			[]schema.Part{method(nil, attr("a", structOf(a, b)))},
			"m(a).b: required attribute added (breaking)",
		},
		{"result added", []schema.Part{method(nil)}, []schema.Part{method(&intType)}, "m() result: result of type int added (breaking)"},
		{"result removed", []schema.Part{method(&intType)}, []schema.Part{method(nil)}, "m() result: result of type int removed (breaking)"},
		{"result type", []schema.Part{method(&intType)}, []schema.Part{method(&floatType)}, "m() result: type changed from int to float (breaking)"},
		{"result more", []schema.Part{method(ptr(structOf(a)))}, []schema.Part{method(ptr(structOf(a, b)))}, "m() result.b: required attribute added"},
		{"result less", []schema.Part{method(ptr(structOf(a, b)))}, []schema.Part{method(ptr(structOf(a)))}, "m() result.b: required attribute removed (breaking)"},
		{
			"upload",
			[]schema.Part{method(nil, attr("a", bytesType))},
			[]schema.Part{schema.Method{Name: "m", Params: attrsOf(bytesType), Upload: true}},
			"m(): has a file as its last parameter now (breaking)",
		},
		{
			"download",
			[]schema.Part{schema.Method{Name: "m", Result: &bytesType, Download: true}},
			[]schema.Part{method(&bytesType)},
			"m(): no longer has a file as its result (breaking)",
		},
		{"method doc", []schema.Part{schema.Method{Name: "m"}}, []schema.Part{schema.Method{Name: "m", Doc: "x"}}, ""},
		{
			"sorted",
			[]schema.Part{message("B"), message("A"), method(nil)},
			[]schema.Part{message("C"), message("D", a), schema.Method{Name: "a"}},
			"A: message removed (breaking); B: message removed (breaking); C: message added; D: message added; a(): method added; m(): method removed (breaking)",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			checkDiff(t, schema.MustNew("A/B", tc.old...), schema.MustNew("A/B", tc.new...), tc.want)
		})
	}
}

func TestDiffOfServices(t *testing.T) {
	t.Parallel()
	a, b := schema.MustNew("A/B", message("M")), schema.MustNew("A/C")
	checkDiff(t, a, b, "service: renamed from A/B to A/C (breaking); M: message removed (breaking)")
}
