package schema

import "reflect"

// A Field is an exported field of a Go struct that is sent: what [Infer] makes
// an attribute of, and where it is in memory.
type Field struct {
	// Attribute is what Infer makes of the field.
	Attribute
	// GoName is the field's name in Go.
	GoName string
	// GoType is its type in Go.
	GoType reflect.Type
	// Offset is where it is, in bytes from the start of the struct that
	// [Fields] was asked for, fields of embedded structs included.
	Offset uintptr
}

// Fields returns the fields of struct type t that are sent, in the order in
// which Infer makes attributes of them. The errors are those of Infer, for t
// and the types of its fields. It is for encoders.
func Fields(t reflect.Type) ([]Field, error) {
	if t.Kind() != reflect.Struct || t == timeType {
		return nil, &Fault{Where: t.String(), Reason: "it is not a struct of attributes"}
	}
	var in inference
	attrs := in.structAttrs(t.String(), t)
	seen := make(map[string]bool, len(attrs))
	for _, a := range attrs {
		if seen[a.Name] {
			in.add(t.String()+"."+a.Name, "it is declared twice")
		}
		seen[a.Name] = true
	}
	if err := in.err(); err != nil {
		return nil, err
	}
	fields := sentFields(nil, t, 0)
	for i := range fields {
		fields[i].Attribute = attrs[i]
	}
	return fields, nil
}

// sentFields appends the fields of t, which inference has accepted: a tagged
// field is an attribute, an embedded struct without a tag is part of t, and
// there is nothing else.
func sentFields(fields []Field, t reflect.Type, offset uintptr) []Field {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, tagged := f.Tag.Lookup("bus")
		switch {
		case tag == "-":
		case tagged:
			fields = append(fields, Field{GoName: f.Name, GoType: f.Type, Offset: offset + f.Offset})
		case f.Anonymous && f.Type.Kind() == reflect.Struct && f.Type != timeType:
			fields = sentFields(fields, f.Type, offset+f.Offset)
		}
	}
	return fields
}
