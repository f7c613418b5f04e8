package schema_test

import (
	"fmt"

	"busd/schema"
)

// Jump is a message as a program declares it.
type Jump struct {
	ID     int64   `bus:"id"                       doc:"who jumps"`
	Height float64 `bus:"height,min=0,max=2.5"`
	Style  string  `bus:"style,enum=flop|scissors"`
	Note   *string `bus:"note,maxlen=80"`
}

func (Jump) MessageName() string { return "Jump" }

func ExampleMustNew() {
	s := schema.MustNew("Sports/Athletics",
		schema.Of[Jump](schema.FromClient).WithDoc("one attempt"))

	fmt.Println(s.Service(), len(s.Messages()))
	for _, d := range s.Messages() {
		for _, a := range d.Attrs {
			fmt.Println(d.Name, a.Name, a.Type.Kind, a.Optional)
		}
	}
	// Output:
	// Sports/Athletics 1
	// Jump id int false
	// Jump height float false
	// Jump style enum false
	// Jump note string true
}

func ExampleOf() {
	jump := schema.Of[Jump](schema.FromClient)

	err := jump.Check(map[string]any{"id": 7, "height": 2.51, "style": "flop"})
	fmt.Println(err)
	err = jump.Check(map[string]any{"id": "7", "height": 2.0, "style": "flop"})
	fmt.Println(err)
	// Output:
	// Jump.height: want float, got 2.51 (max 2.5)
	// Jump.id: want int, got string
}

func ExampleDiff() {
	number := schema.Type{Kind: schema.Int}
	text := schema.Type{Kind: schema.String}
	before := schema.MustNew("A/B", schema.Definition{
		Name: "Ping", From: schema.FromClient,
		Attrs: []schema.Attribute{{Name: "id", Type: number}},
	})
	after := schema.MustNew("A/B", schema.Definition{
		Name: "Ping", From: schema.FromClient,
		Attrs: []schema.Attribute{{Name: "id", Type: text}, {Name: "note", Type: text, Optional: true}},
	})

	changes := schema.Diff(before, after)
	for _, c := range changes {
		fmt.Println(c)
	}
	fmt.Println("breaks:", schema.Breaking(changes))
	// Output:
	// Ping.id: type changed from int to string (breaking)
	// Ping.note: optional attribute added
	// breaks: true
}

func ExampleRecord() {
	r := schema.NewRecord(schema.Of[Jump](schema.FromClient))
	fmt.Println(r.Set("heigth", 1.8))
	fmt.Println(r.Set("id", 9007199254740993), r.Set("height", 1.8), r.Set("style", "flop"), r.Check())
	text, err := r.MarshalJSON()
	fmt.Println(string(text), err)
	// Output:
	// Jump.heigth: want one of the attributes id, height, style, note (did you mean "height"?), got an unknown one
	// <nil> <nil> <nil> <nil>
	// {"id":9007199254740993,"height":1.8,"style":"flop"} <nil>
}
