package schema_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"busd/schema"
)

type Ping struct {
	ID int64 `bus:"id"`
}

func (Ping) MessageName() string { return "Ping" }

type Pong struct {
	ID int64 `bus:"id"`
}

func (*Pong) MessageName() string { return "Pong" }

type (
	state string
	where struct {
		Host string `bus:"host" doc:"a name"`
		Port uint16 `bus:"port,min=1"`
	}
	// Base is embedded.
	Base struct {
		ID int64 `bus:"id,min=0"`
	}
	ignored int
	every   struct {
		Base
		ignored

		hidden  string
		Secret  string             `bus:"-"`
		Flag    bool               `bus:"flag"`
		I8      int8               `bus:"i8"`
		I16     int16              `bus:"i16,max=9"`
		I32     int32              `bus:"i32"`
		U8      uint8              `bus:"u8"`
		U32     uint32             `bus:"u32"`
		Int     int                `bus:"int,min=-9223372036854775808,max=9223372036854775807"`
		F32     float32            `bus:"f32,min=-0.5,max=1e3,nonfinite"`
		Text    string             `bus:"text,minlen=1,maxlen=9,pattern=^a,b{1,2}=$"`
		Raw     []byte             `bus:"raw,maxlen=4"`
		At      time.Time          `bus:"at"`
		State   state              `bus:"state,enum=new|done"`
		Tags    []string           `bus:"tags,optional,maxlen=10"`
		Labels  map[string]float64 `bus:"labels,minlen=1"`
		Where   where              `bus:"where"`
		There   *where             `bus:"there"`
		Note    *string            `bus:"note,maxlen=3"`
		When    *time.Time         `bus:"when"`
		Items   []where            `bus:"items"`
		Grid    [][]int            `bus:"grid"`
		Extra   any                `bus:"extra,optional"`
		Anys    []any              `bus:"anys"`
		Lasting time.Duration      `bus:"lasting"`
		Nothing struct{}           `bus:"nothing"`
	}
)

func (every) MessageName() string { return "Every" }

func TestInferEveryKind(t *testing.T) {
	t.Parallel()
	between := func(low, high int64) schema.Type {
		return schema.Type{Kind: schema.Int, MinInt: &low, MaxInt: &high}
	}
	place := structOf(schema.Attribute{Name: "host", Type: stringType, Doc: "a name"}, attr("port", between(1, 65535)))
	want := schema.Definition{Name: "Every", From: schema.FromService, Attrs: []schema.Attribute{
		attr("id", schema.Type{Kind: schema.Int, MinInt: ptr(int64(0))}),
		attr("flag", boolType),
		attr("i8", between(-128, 127)),
		attr("i16", between(-32768, 9)),
		attr("i32", between(-1<<31, 1<<31-1)),
		attr("u8", between(0, 255)),
		attr("u32", between(0, 1<<32-1)),
		attr("int", between(-1<<63, 1<<63-1)),
		attr("f32", schema.Type{Kind: schema.Float, MinFloat: ptr(-0.5), MaxFloat: ptr(1e3), NonFinite: true}),
		attr("text", schema.Type{Kind: schema.String, MinLen: ptr(1), MaxLen: ptr(9), Pattern: "^a,b{1,2}=$"}),
		attr("raw", schema.Type{Kind: schema.Bytes, MaxLen: ptr(4)}),
		attr("at", timeType),
		attr("state", enumOf("new", "done")),
		optional("tags", schema.Type{Kind: schema.List, Elem: &stringType, MaxLen: ptr(10)}),
		attr("labels", schema.Type{Kind: schema.Map, Elem: &floatType, MinLen: ptr(1)}),
		attr("where", place),
		optional("there", place),
		optional("note", schema.Type{Kind: schema.String, MaxLen: ptr(3)}),
		optional("when", timeType),
		attr("items", listOf(place)),
		attr("grid", listOf(listOf(intType))),
		optional("extra", anyType),
		attr("anys", listOf(anyType)),
		attr("lasting", intType),
		attr("nothing", structOf()),
	}}
	got, err := schema.Infer[every](schema.FromService)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want.Attrs {
		if i < len(got.Attrs) && string(asJSON(t, got.Attrs[i])) != string(asJSON(t, want.Attrs[i])) {
			t.Errorf("attribute %d: got\n%s\nwant\n%s", i, asJSON(t, got.Attrs[i]), asJSON(t, want.Attrs[i]))
		}
	}
	if a, b := schema.MustNew("A/B", got), schema.MustNew("A/B", want); string(a.JSON()) != string(b.JSON()) {
		t.Errorf("got\n%s\nwant\n%s", a.JSON(), b.JSON())
	}
	_ = every{hidden: "", ignored: 0}.hidden
}

func asJSON(t *testing.T, a schema.Attribute) []byte {
	t.Helper()
	return schema.MustNew("A/B", message("M", a)).JSON()
}

func TestInferPointerAndValue(t *testing.T) {
	t.Parallel()
	if d := schema.Of[*Pong](schema.FromService); d.Name != "Pong" || d.Attrs[0].Name != "id" {
		t.Errorf("got %+v", d)
	}
	if d := schema.Of[*Ping](schema.FromClient); d.Name != "Ping" || d.From != schema.FromClient {
		t.Errorf("got %+v", d)
	}
	d, err := schema.InferMessage(&Pong{ID: 4}, schema.FromBoth)
	if want := schema.Of[*Pong](schema.FromBoth); err != nil || !reflect.DeepEqual(d, want) {
		t.Errorf("got %+v, %v, want %+v", d, err, want)
	}
}

// named lends its name to anonymous types that embed it with a tag "-".
type named struct{}

func (named) MessageName() string { return "M" }

type (
	notAStruct int
	badName    struct{}
	panicking  struct{ *named }
	recursive  struct {
		named    `bus:"-"`
		Children []node `bus:"children"`
	}
	node struct {
		Next map[string]node `bus:"next"`
	}
)

func (notAStruct) MessageName() string { return "N" }
func (badName) MessageName() string    { return "not a name" }

func TestInferErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		m    schema.Message
		want []string
	}{
		{"nil", nil, []string{"message: it is nil"}},
		{"no struct", notAStruct(1), []string{"must be a struct or a pointer to a struct"}},
		{"record", &schema.Record{}, []string{"a record has no Go type"}},
		{"name", badName{}, []string{`name of a message`}},
		{"panic", panicking{}, []string{"MessageName of the zero value panics"}},
		{"recursion", recursive{}, []string{"M.children[].next{}: the type schema_test.node contains itself"}},
		{"no tag", struct {
			named `bus:"-"`
			ID    int
		}{}, []string{"M.ID: the field needs a tag"}},
		{"all at once", struct {
			named `bus:"-"`
			ID    int
			X     chan int `bus:"x"`
		}{}, []string{"M.ID: ", "M.x: a Go value of type chan int cannot be sent"}},
		{"unexported", struct {
			named `bus:"-"`
			id    int `bus:"id"`
		}{}, []string{"M.id: the field has a bus tag, but is not exported"}},
		{"embedded pointer", struct {
			named `bus:"-"`
			*Base
		}{}, []string{"M.Base: an embedded pointer needs a bus tag"}},
		{"empty name", struct {
			named `bus:"-"`
			ID    int `bus:",optional"`
		}{}, []string{"M.ID: want in the tag a name"}},
		{"bad name", struct {
			named `bus:"-"`
			ID    int `bus:"a b"`
		}{}, []string{`got "a b"`}},
		{"twice", struct {
			named `bus:"-"`
			A     int `bus:"id"`
			B     int `bus:"id"`
		}{}, []string{"M.id: it is declared twice"}},
		{"twice by embedding", struct {
			named `bus:"-"`
			Base
			B int `bus:"id"`
		}{}, []string{"M.id: it is declared twice"}},
		{"uint64", struct {
			named `bus:"-"`
			A     uint64 `bus:"a"`
			B     uint   `bus:"b"`
		}{}, []string{"M.a: a uint64 does not fit", "M.b: a uint does not fit"}},
		{"kinds", struct {
			named `bus:"-"`
			A     complex128     `bus:"a"`
			B     func()         `bus:"b"`
			C     [3]int         `bus:"c"`
			D     error          `bus:"d"`
			E     map[int]string `bus:"e"`
			F     []*Base        `bus:"f"`
			G     **int          `bus:"g"`
			H     *any           `bus:"h"`
			I     []uint64       `bus:"i"`
		}{}, []string{
			"M.a: a Go value of type complex128", "M.b: ", "M.c: ", "M.d: only the empty interface", "M.e: a map's keys must be strings",
			"M.f: elements cannot be absent", "M.g: a **int has more than one way to be absent: use *int", "M.h: a *interface {} has", "M.i[]: a uint64",
		}},
		{"nothing to send", struct {
			named `bus:"-"`
			A     struct{ x int } `bus:"a"`
		}{}, []string{"M.a: nothing of type"}},
		{"optional int", struct {
			named `bus:"-"`
			A     int `bus:"a,optional"`
		}{}, []string{"M.a: a Go value of type int cannot be absent: use *int"}},
		{"unknown option", struct {
			named `bus:"-"`
			A     int `bus:"a,mim=1"`
		}{}, []string{`unknown option "mim" in the tag (did you mean "min"?)`}},
		{"option twice", struct {
			named `bus:"-"`
			A     int `bus:"a,min=1,min=2"`
		}{}, []string{`"min" is there twice`}},
		{"option without value", struct {
			named `bus:"-"`
			A     int `bus:"a,min"`
		}{}, []string{`"min" needs a value`}},
		{"option with value", struct {
			named `bus:"-"`
			A     []int `bus:"a,optional=yes"`
		}{}, []string{`"optional" takes no value`}},
		{"bounds", struct {
			named `bus:"-"`
			A     int     `bus:"a,min=1.5"`
			B     float64 `bus:"b,max=NaN"`
			C     string  `bus:"c,min=1"`
			D     int8    `bus:"d,max=300"`
			E     int     `bus:"e,max=9223372036854775808"`
			F     int     `bus:"f,min=5,max=3"`
			G     uint8   `bus:"g,min=-1"`
		}{}, []string{
			"M.a: min: want an integer", "M.b: max: want a finite number", "M.c: min needs an int or a float, and this is string",
			"M.d: max 300 is outside what the Go type or the tag allows (min -128, max 127)", "M.e: max: want an integer of 64 bits",
			"M.f: max 3 is outside what the Go type or the tag allows (min 5, no max)", "M.g: min -1 is outside",
		}},
		{"lengths", struct {
			named `bus:"-"`
			A     string `bus:"a,maxlen=x"`
		}{}, []string{"M.a: maxlen: want a length"}},
		{"length of int", struct {
			named `bus:"-"`
			A     int `bus:"a,maxlen=1"`
		}{}, []string{"M.a: int cannot have minlen or maxlen"}},
		{"enum", struct {
			named `bus:"-"`
			A     int `bus:"a,enum=x"`
		}{}, []string{"M.a: enum needs a string, and this is int"}},
		{"enum values", struct {
			named `bus:"-"`
			A     string `bus:"a,enum=x||x"`
		}{}, []string{"cannot be empty", "there twice"}},
		{"pattern", struct {
			named `bus:"-"`
			A     string `bus:"a,pattern=(["`
		}{}, []string{"M.a: the pattern does not compile"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := schema.InferMessage(tc.m, schema.FromBoth)
			wantFaults(t, err, tc.want...)
		})
	}
}

func TestOfPanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if r, ok := recover().(string); !ok || !strings.Contains(r, "contains itself") {
			t.Errorf("got %v", r)
		}
	}()
	schema.Of[recursive](schema.FromBoth)
}

func TestInferInterface(t *testing.T) {
	t.Parallel()
	_, err := schema.Infer[schema.Message](schema.FromBoth)
	wantFaults(t, err, "must be a struct")
}

func TestBuilders(t *testing.T) {
	t.Parallel()
	d := schema.Of[Ping](schema.FromClient)
	if got := d.WithDoc("x").Latest("id"); got.Doc != "x" || got.Class != schema.Latest || got.Key != "id" {
		t.Errorf("got %+v", got)
	}
	if got := d.Latest("id").Volatile(); got.Class != schema.Volatile || got.Key != "" {
		t.Errorf("got %+v", got)
	}
	if d.Doc != "" || d.Class != schema.Must {
		t.Errorf("got %+v, want the original unchanged", d)
	}
}
