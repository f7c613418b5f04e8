package jencode

import (
	"reflect"
	"strconv"
	"strings"

	"busd/internal/nearest"
)

func (r *reader) toList(c *codec, pos int, v reflect.Value) (int, *ValueError) {
	if r.data[pos] != '[' {
		return pos, misfit("list", r.describe(pos))
	}
	if p, ok := v.Addr().Interface().(*[]any); ok { // without reflection for each
		all, end, bad := r.anyList(pos)
		*p = all
		return end, bad
	}
	v.SetZero()
	at, more := r.open(pos)
	if more {
		v.Grow(fewElements)
	} else {
		v.Set(reflect.MakeSlice(c.typ, 0, 0))
	}
	for n := 0; more; n++ {
		if n == v.Cap() {
			v.Grow(1)
		}
		v.SetLen(n + 1)
		end, bad := r.value(c.elem, at, v.Index(n))
		if bad != nil {
			return end, bad.inside(n)
		}
		at, more = r.follow(end)
	}
	return at, nil
}

func (r *reader) toArray(c *codec, pos int, v reflect.Value) (int, *ValueError) {
	if r.data[pos] != '[' {
		return pos, misfit("list", r.describe(pos))
	}
	n := 0
	at, more := r.open(pos)
	for ; more; n++ {
		end := 0
		if n < v.Len() {
			var bad *ValueError
			if end, bad = r.value(c.elem, at, v.Index(n)); bad != nil {
				return end, bad.inside(n)
			}
		} else {
			end = r.skip(at)
		}
		at, more = r.follow(end)
	}
	if n != v.Len() {
		return pos, misfit("list of "+strconv.Itoa(v.Len())+" elements", "one of "+strconv.Itoa(n))
	}
	return at, nil
}

func (r *reader) toMap(c *codec, pos int, v reflect.Value) (int, *ValueError) {
	if r.data[pos] != '{' {
		return pos, misfit("object", r.describe(pos))
	}
	if p, ok := v.Addr().Interface().(*map[string]any); ok { // likewise
		all, end, bad := r.anyMap(pos)
		*p = all
		return end, bad
	}
	all := reflect.MakeMap(c.typ)
	key, elem := reflect.New(c.typ.Key()).Elem(), reflect.New(c.elem.typ).Elem()
	at, more := r.open(pos)
	for more {
		name, end := r.name(at)
		var bad *ValueError
		if r.isClassName(name) {
			if end, bad = r.noClass(end); bad != nil {
				return end, bad
			}
			at, more = r.follow(end)
			continue
		}
		if bad = setKey(key, name); bad != nil {
			return end, bad
		}
		elem.SetZero()
		if end, bad = r.value(c.elem, end, elem); bad != nil {
			return end, bad.member(string(name))
		}
		all.SetMapIndex(key, elem)
		at, more = r.follow(end)
	}
	v.Set(all)
	return at, nil
}

// anyMap reads the object at pos, which must not be a value of a class.
func (r *reader) anyMap(pos int) (map[string]any, int, *ValueError) {
	all := map[string]any{}
	at, more := r.open(pos)
	for more {
		name, end := r.name(at)
		var bad *ValueError
		if r.isClassName(name) {
			end, bad = r.noClass(end)
		} else {
			var v any
			if v, end, bad = r.any(end); bad != nil {
				bad = bad.member(string(name))
			}
			all[string(name)] = v
		}
		if bad != nil {
			return nil, end, bad
		}
		at, more = r.follow(end)
	}
	return all, at, nil
}

// setKey makes a name the key of a map.
func setKey(key reflect.Value, name []byte) *ValueError {
	switch {
	case key.Kind() == reflect.String:
		key.SetString(string(name))
		return nil
	case key.CanInt():
		if n, err := strconv.ParseInt(string(name), 10, 64); err == nil && !key.OverflowInt(n) {
			key.SetInt(n)
			return nil
		}
	default:
		if n, err := strconv.ParseUint(string(name), 10, 64); err == nil && !key.OverflowUint(n) {
			key.SetUint(n)
			return nil
		}
	}
	return misfit("names that are integers of type "+key.Kind().String(), place(string(name)))
}

func (r *reader) toStruct(c *codec, pos int, v reflect.Value) (int, *ValueError) {
	if r.data[pos] != '{' {
		return pos, misfit("object", r.describe(pos))
	}
	var seen fieldSet
	expected := 0
	at, more := r.open(pos)
	for more {
		name, end := r.name(at)
		var bad *ValueError
		if r.isClassName(name) {
			if end, bad = r.noClass(end); bad != nil {
				return end, bad
			}
			at, more = r.follow(end)
			continue
		}
		i := c.find(name, expected)
		if i < 0 && r.lenient {
			at, more = r.follow(r.skip(end))
			continue
		}
		if i < 0 {
			return at, c.unknown(string(name))
		}
		if end, bad = r.toField(&c.fields[i], end, v); bad != nil {
			return end, bad.member(c.fields[i].name)
		}
		seen.add(i)
		expected = i + 1
		at, more = r.follow(end)
	}
	for i := range c.fields {
		f := &c.fields[i]
		switch {
		case seen.has(i):
		case f.optional:
			f.in(v).SetZero()
		default:
			return at, misfit(f.codec.want(), "nothing").member(f.name)
		}
	}
	return at, nil
}

func (r *reader) toField(f *field, pos int, v reflect.Value) (int, *ValueError) {
	v = f.in(v)
	if f.optional && r.isNull(pos) && f.codec.op != opRaw {
		v.SetZero()
		return pos + null, nil
	}
	end, bad := r.value(f.codec, pos, v)
	if bad == nil && f.limits != nil {
		bad = f.limits.breach(v)
	}
	return end, bad
}

// find returns which field has the name, or -1; most writers keep the order,
// and then it is the expected one.
func (c *codec) find(name []byte, expected int) int {
	if expected < len(c.fields) && c.fields[expected].name == string(name) {
		return expected
	}
	if i, ok := c.byName[string(name)]; ok {
		return i
	}
	return -1
}

func (c *codec) unknown(name string) *ValueError {
	const most = 16 // that are told
	names := make([]string, len(c.fields))
	for i := range c.fields {
		names[i] = c.fields[i].name
	}
	want := "no names at all"
	if len(names) > 0 {
		want = "one of the names " + strings.Join(names[:min(len(names), most)], ", ")
	}
	if len(names) > most {
		want += ", …"
	}
	return misfit(want+nearest.DidYouMean(name, names), "an unknown one").member(name)
}

// want says what a Go type is read from.
func (c *codec) want() string {
	switch c.op {
	case opBool:
		return "bool"
	case opInt, opUint, opBig:
		return "int"
	case opFloat:
		return "float"
	case opString:
		return "string"
	case opBytes:
		return "bytes"
	case opTime:
		return "time"
	case opDate:
		return "date"
	case opPointer:
		return c.elem.want()
	case opList, opArray:
		return "list"
	case opMap, opStruct, opSerializable:
		return "object"
	case opAny, opRaw:
	}
	return "a value"
}
