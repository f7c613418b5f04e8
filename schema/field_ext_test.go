package schema_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"busd/schema"
)

type fieldBase struct {
	Pad bool  `bus:"-"`
	ID  int64 `bus:"id"`
}

type fieldOwner struct {
	hidden bool
	fieldBase
	Tags []string `bus:"tags,optional,maxlen=3"`
	Note *string  `bus:"note" doc:"what for"`
}

func TestFields(t *testing.T) {
	t.Parallel()
	fields, err := schema.Fields(reflect.TypeFor[fieldOwner]())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range fields {
		got = append(got, fmt.Sprintf("%s %s %v %v at %d", f.Name, f.GoName, f.GoType, f.Optional, f.Offset))
	}
	var o fieldOwner
	o.hidden = false
	want := []string{
		fmt.Sprintf("id ID int64 false at %d", unsafe.Offsetof(o.ID)),
		fmt.Sprintf("tags Tags []string true at %d", unsafe.Offsetof(o.Tags)),
		fmt.Sprintf("note Note *string true at %d", unsafe.Offsetof(o.Note)),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if f := fields[1]; f.Type.Kind != schema.List || *f.Type.MaxLen != 3 || fields[2].Doc != "what for" {
		t.Errorf("got %+v, want what Infer makes of the fields", fields)
	}
}

func TestFieldsRefuses(t *testing.T) {
	t.Parallel()
	for want, typ := range map[string]reflect.Type{
		"not a struct": reflect.TypeFor[int](),
		"needs a tag":  reflect.TypeFor[struct{ A int }](),
		"declared twice": reflect.TypeFor[struct {
			A int `bus:"a"`
			B int `bus:"a"`
		}](),
	} {
		if fields, err := schema.Fields(typ); err == nil || !strings.Contains(err.Error(), want) || fields != nil {
			t.Errorf("%v: got %v, %v; want an error with %q", typ, fields, err, want)
		}
	}
}
