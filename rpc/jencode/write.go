package jencode

import (
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// value appends v, of c's type.
func (w *writer) value(c *codec, v reflect.Value) *ValueError {
	switch c.op {
	case opString:
		return w.text(v.String())
	case opInt:
		w.b = strconv.AppendInt(w.b, v.Int(), 10)
	case opUint:
		w.b = strconv.AppendUint(w.b, v.Uint(), 10)
	case opBool:
		w.b = strconv.AppendBool(w.b, v.Bool())
	case opFloat:
		w.b = appendFloat(w.b, v.Float(), c.typ.Bits(), w.dialect)
	case opAny:
		return w.any(v.Interface())
	case opBytes:
		return w.bytes(v.Bytes())
	case opRaw:
		return w.raw(v.Bytes())
	case opTime:
		t, _ := reflect.TypeAssert[time.Time](v)
		return w.time(t)
	case opDate:
		d, _ := reflect.TypeAssert[Date](v)
		return w.date(d)
	case opBig:
		n, _ := reflect.TypeAssert[big.Int](v)
		w.big(&n)
	case opSerializable:
		s, _ := reflect.TypeAssert[Serializable](v)
		return w.serializable(s)
	case opPointer:
		if v.IsNil() {
			w.put("null")
			return nil
		}
		return w.pointed(c.elem, v.Elem())
	case opList, opArray:
		return w.list(c, v)
	case opMap:
		return w.dict(c, v)
	case opStruct:
		return w.fields(c, v)
	}
	return nil
}

// pointed appends what a pointer points to. Pointers and interfaces may lead in a
// circle without any list or object: they count as levels while they are followed.
func (w *writer) pointed(c *codec, v reflect.Value) *ValueError {
	if c.op != opPointer && c.op != opAny {
		return w.value(c, v)
	}
	if w.depth == MaxDepth {
		return misfit(tooDeep, "another")
	}
	w.depth++
	bad := w.value(c, v)
	w.depth--
	return bad
}

func (w *writer) list(c *codec, v reflect.Value) *ValueError {
	if bad := w.open('['); bad != nil {
		return bad
	}
	for i := range v.Len() {
		w.comma(i)
		if bad := w.value(c.elem, v.Index(i)); bad != nil {
			return bad.inside(i)
		}
	}
	w.close(']')
	return nil
}

func (w *writer) dict(c *codec, v reflect.Value) *ValueError {
	if bad := w.open('{'); bad != nil {
		return bad
	}
	type member struct {
		name string
		key  reflect.Value
	}
	all := make([]member, 0, v.Len())
	for _, k := range v.MapKeys() {
		all = append(all, member{nameOf(k), k})
	}
	slices.SortFunc(all, func(a, b member) int { return strings.Compare(a.name, b.name) })
	for i, m := range all {
		w.comma(i)
		if bad := w.key(m.name); bad != nil {
			return bad
		}
		if bad := w.value(c.elem, v.MapIndex(m.key)); bad != nil {
			return bad.member(m.name)
		}
	}
	w.close('}')
	return nil
}

// nameOf is how the key of a map is written.
func nameOf(k reflect.Value) string {
	switch {
	case k.CanInt():
		return strconv.FormatInt(k.Int(), 10)
	case k.CanUint():
		return strconv.FormatUint(k.Uint(), 10)
	}
	return k.String()
}

func (w *writer) fields(c *codec, v reflect.Value) *ValueError {
	if bad := w.open('{'); bad != nil {
		return bad
	}
	n := 0
	for i := range c.fields {
		f := &c.fields[i]
		m := f.in(v)
		if f.optional && m.IsNil() {
			continue
		}
		w.comma(n)
		n++
		w.b = append(append(append(w.b, '"'), f.name...), '"')
		w.colon()
		if bad := w.value(f.codec, m); bad != nil {
			return bad.member(f.name)
		}
	}
	w.close('}')
	return nil
}

// in returns the field of a struct.
func (f *field) in(v reflect.Value) reflect.Value {
	if len(f.index) == 1 {
		return v.Field(f.index[0])
	}
	return v.FieldByIndex(f.index)
}
