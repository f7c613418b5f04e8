package schema_test

import (
	"errors"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"busd/schema"
)

type (
	tree struct {
		Name     string  `bus:"name"`
		Children []*tree `bus:"children,optional"`
	}
	endless []endless
	foreign struct{ A, B int }
)

func TestInferType(t *testing.T) {
	t.Parallel()
	of := func(k schema.Kind, elem schema.Type) schema.Type { return schema.Type{Kind: k, Elem: &elem} }
	place := structOf(schema.Attribute{Name: "host", Type: stringType, Doc: "a name"},
		attr("port", schema.Type{Kind: schema.Int, MinInt: ptr(int64(1)), MaxInt: ptr(int64(65535))}))
	for _, c := range []struct {
		value any
		want  schema.Type
	}{
		{true, boolType},
		{1, schema.Type{Kind: schema.Int}},
		{int8(1), schema.Type{Kind: schema.Int, MinInt: ptr(int64(-128)), MaxInt: ptr(int64(127))}},
		{1.5, schema.Type{Kind: schema.Float}},
		{"", stringType},
		{[]byte{}, schema.Type{Kind: schema.Bytes}},
		{time.Time{}, schema.Type{Kind: schema.Time}},
		{time.Second, schema.Type{Kind: schema.Int}},
		{[]string{}, of(schema.List, stringType)},
		{[]*string{}, of(schema.List, stringType)},
		{map[string][]int{}, of(schema.Map, of(schema.List, schema.Type{Kind: schema.Int}))},
		{where{}, place},
		{&where{}, place},
		{[]any{}, of(schema.List, schema.Type{})},
		{struct{}{}, schema.Type{Kind: schema.Struct}},

		// What a method's values hold and a message's do not is any.
		{uint64(1), schema.Type{}},
		{[2]int{}, schema.Type{}},
		{map[int]string{}, schema.Type{}},
		{map[string]uint{}, of(schema.Map, schema.Type{})},
		{[]error{}, of(schema.List, schema.Type{})},
		{endless{}, of(schema.List, schema.Type{})},
		{tree{}, structOf(attr("name", stringType), schema.Attribute{Name: "children", Type: of(schema.List, schema.Type{}), Optional: true})},

		// What is known goes before.
		{foreign{}, schema.Type{Kind: schema.String}},
		{[]*foreign{}, of(schema.List, stringType)},
		{&big.Int{}, schema.Type{Kind: schema.Int}},
	} {
		got, err := schema.InferType(reflect.TypeOf(c.value), map[reflect.Type]schema.Type{
			reflect.TypeFor[foreign](): stringType, reflect.TypeFor[*big.Int](): {Kind: schema.Int},
		})
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%T: got %+v, %v, want %+v", c.value, got, err, c.want)
		}
	}
}

func TestInferTypeRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value any
		want  string
	}{
		{make(chan int), "chan int cannot be sent"},
		{[]func(){}, "func() cannot be sent"},
		{1i, "complex128 cannot be sent"},
		{foreign{}, "foreign.A: the field needs a tag"},
		{struct {
			At int `bus:"-"`
		}{}, "it has no field with a bus tag"},
		{struct {
			N int `bus:"n,least=1"`
		}{}, `unknown option "least"`},
		{struct {
			N int `bus:"n,min=3,max=1"`
		}{}, "max 1 is outside"},
		{struct {
			S string `bus:"s,pattern=("`
		}{}, "the pattern does not compile"},
	} {
		_, err := schema.InferType(reflect.TypeOf(c.value), nil)
		var fault *schema.Fault
		if err == nil || !errors.As(err, &fault) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%T: got %v, want a fault that says %q", c.value, err, c.want)
		}
	}
}

// TestInferRefusesEndlessContainers: a message's types must end.
func TestInferRefusesEndlessContainers(t *testing.T) {
	t.Parallel()
	if _, err := schema.Infer[endlessMessage](schema.FromBoth); err == nil || !strings.Contains(err.Error(), "contains itself") {
		t.Errorf("got %v, want a fault", err)
	}
}

type endlessMessage struct {
	All endless `bus:"all"`
}

func (endlessMessage) MessageName() string { return "Endless" }
