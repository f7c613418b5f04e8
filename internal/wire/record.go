package wire

import (
	"maps"
	"slices"
	"time"

	"busd/bus"
	"busd/schema"
)

// AppendRecord appends the attributes of a record, in the order of m's
// definition, and then checks them as [Packer.Append] does. Optional
// attributes that m lacks are left out.
func (m *Message) AppendRecord(dst []byte, r *schema.Record) ([]byte, error) {
	if r == nil {
		return nil, bus.Errorf(bus.CodeInvalidArgument, "message %s: the record is nil", m.Name())
	}
	values := make(map[string]any)
	for _, a := range r.Definition().Attrs {
		if _, ok := m.root.object.index[a.Name]; !ok && a.Optional {
			continue
		}
		if v, ok := r.Get(a.Name); ok {
			values[a.Name] = v
		}
	}
	start := len(dst)
	return m.checked(appendObject(dst, m.root.object, values), start)
}

// appendObject appends attributes in contract order, and then what the
// contract lacks: the check will name it.
func appendObject(dst []byte, o *object, values map[string]any) []byte {
	dst = appendMapHead(dst, len(values))
	for i := range o.attrs {
		if v, ok := values[o.attrs[i].name]; ok {
			dst = appendPlain(append(dst, o.attrs[i].key...), &o.attrs[i].node, v)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if _, ok := o.index[name]; !ok {
			dst = appendPlain(appendString(dst, name), &untypedNode, values[name])
		}
	}
	return dst
}

// untypedNode stands for what no contract describes.
var untypedNode = node{kind: schema.Any}

// appendPlain appends a value in the plain form that a record keeps. The node
// only orders a struct's attributes; whether the value fits is left to the
// check.
func appendPlain(dst []byte, n *node, v any) []byte {
	switch v := v.(type) {
	case bool:
		return appendBool(dst, v)
	case int64:
		return appendInt(dst, v)
	case float64:
		return appendFloat(dst, v)
	case string:
		return appendString(dst, v)
	case []byte:
		return appendBytes(dst, v)
	case time.Time:
		return appendTime(dst, v)
	case []any:
		dst = appendListHead(dst, len(v))
		for _, e := range v {
			dst = appendPlain(dst, n.elemNode(), e)
		}
		return dst
	case map[string]any:
		if n.kind == schema.Struct {
			return appendObject(dst, n.object, v)
		}
		dst = appendMapHead(dst, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			dst = appendPlain(appendString(dst, k), n.elemNode(), v[k])
		}
		return dst
	}
	return appendNil(dst)
}

func (n *node) elemNode() *node {
	if n.elem == nil {
		return &untypedNode
	}
	return n.elem
}

// Record returns the attributes at the start of b, which have passed
// [Message.Check], as a record. Nothing in it refers to b.
func (m *Message) Record(b []byte) (*schema.Record, error) {
	r := schema.NewRecord(m.definition)
	_, n, pos := readHead(b, 0)
	for range n {
		_, size, at := readHead(b, pos)
		var v any
		v, pos = readAny(b, at+size)
		if err := r.Set(string(b[at:at+size]), v); err != nil {
			return nil, err
		}
	}
	return r, nil
}
