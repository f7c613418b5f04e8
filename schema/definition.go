package schema

import (
	"fmt"
	"slices"
)

// Of returns the definition of message M as [Infer] reads it from the Go type.
// It panics where Infer returns an error: a type that cannot be sent is found
// as the program starts.
func Of[M Message](from Sender) Definition {
	d, err := Infer[M](from)
	if err != nil {
		panic(fmt.Sprintf("schema: %v", err))
	}
	return d
}

// WithDoc returns a copy of d with that documentation.
func (d Definition) WithDoc(doc string) Definition {
	d.Doc = doc
	return d
}

// Latest returns a copy of d with class [Latest]: a newer message replaces one
// that is still unsent and has the same value in the attribute key, which must
// be a required string, int or enum. With an empty key it replaces any of that
// name.
func (d Definition) Latest(key string) Definition {
	d.Class, d.Key = Latest, key
	return d
}

// Volatile returns a copy of d with class [Volatile]: it is dropped, and
// counted, when there is no room.
func (d Definition) Volatile() Definition {
	d.Class, d.Key = Volatile, ""
	return d
}

func (d Definition) clone() Definition {
	d.Attrs = cloneAttrs(d.Attrs)
	return d
}

func (m Method) clone() Method {
	m.Params = cloneAttrs(m.Params)
	if m.Result != nil {
		t := m.Result.clone()
		m.Result = &t
	}
	return m
}

func (t Type) clone() Type {
	if t.Elem != nil {
		e := t.Elem.clone()
		t.Elem = &e
	}
	t.Attrs = cloneAttrs(t.Attrs)
	t.Values = slices.Clone(t.Values)
	t.MinInt, t.MaxInt = clonePointer(t.MinInt), clonePointer(t.MaxInt)
	t.MinFloat, t.MaxFloat = clonePointer(t.MinFloat), clonePointer(t.MaxFloat)
	t.MinLen, t.MaxLen = clonePointer(t.MinLen), clonePointer(t.MaxLen)
	return t
}

func cloneAttrs(attrs []Attribute) []Attribute {
	all := slices.Clone(attrs)
	for i := range all {
		all[i].Type = all[i].Type.clone()
	}
	return all
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
