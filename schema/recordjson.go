package schema

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MarshalJSON writes the attributes that are set as one object in contract
// order: ints exactly, floats with a point or an exponent (NaN, Infinity and
// -Infinity as strings), bytes in standard base64, times in RFC 3339 with
// nanoseconds. It fails for a time outside the years 0 to 9999.
//
// [RecordFromJSON] reads it back to the same values, except inside any, where
// bytes come back as their base64.
func (r *Record) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, v := range r.values {
		if v == nil {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		a := &r.definition.Attrs[i]
		b = append(appendJSONString(b, a.Name), ':')
		var err *ValueError
		if b, err = appendJSON(b, v); err != nil {
			return nil, r.fault(err.under(a.Name))
		}
	}
	return append(b, '}'), nil
}

func appendJSON(b []byte, v any) ([]byte, *ValueError) {
	var err *ValueError
	switch v := v.(type) {
	case bool:
		return strconv.AppendBool(b, v), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case float64:
		return appendJSONFloat(b, v), nil
	case string:
		return appendJSONString(b, v), nil
	case []byte:
		b = append(b, '"')
		return append(base64.StdEncoding.AppendEncode(b, v), '"'), nil
	case time.Time:
		if y := v.Year(); y < 0 || y > 9999 {
			return nil, misfit("a time of the years 0 to 9999", "the year "+strconv.Itoa(y))
		}
		b = append(b, '"')
		return append(v.AppendFormat(b, time.RFC3339Nano), '"'), nil
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendJSON(b, e); err != nil {
				return nil, err.under("[" + strconv.Itoa(i) + "]")
			}
		}
		return append(b, ']'), nil
	case map[string]any:
		return appendJSONMap(b, v)
	}
	return append(b, "null"...), nil
}

// appendJSONMap sorts the keys, so that one record has one text.
func appendJSONMap(b []byte, m map[string]any) ([]byte, *ValueError) {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	b = append(b, '{')
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendJSONString(b, k), ':')
		var err *ValueError
		if b, err = appendJSON(b, m[k]); err != nil {
			return nil, err.under("[" + strconv.Quote(k) + "]")
		}
	}
	return append(b, '}'), nil
}

// appendJSONFloat keeps a whole float a float: JSON has one number type, but
// inside any the text decides.
func appendJSONFloat(b []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Infinity"`...)
	}
	start := len(b)
	b = strconv.AppendFloat(b, f, 'g', -1, 64)
	if !strings.ContainsAny(string(b[start:]), ".e") {
		b = append(b, ".0"...)
	}
	return b
}

func appendJSONString(b []byte, s string) []byte { return append(b, marshal(s)...) }

// RecordFromJSON reads a record from one JSON object of attributes. An int
// must be an integer literal, of any size that fits; a float is any number, or
// one of the strings "NaN", "Infinity" and "-Infinity" where the contract lets
// it be; bytes are standard base64; a time is RFC 3339; inside any, an integer
// literal is an int and any other number a float. null is an absent attribute.
//
// A misfit is a [*ValueError], as is a required attribute that is missing;
// duplicate keys, unknown attributes and anything after the object are errors.
func RecordFromJSON(d Definition, data []byte) (*Record, error) {
	root, err := readJSON(data, MaxDepth, MaxValues)
	if err != nil {
		return nil, &Fault{Where: d.Name, Reason: err.Error()}
	}
	r := NewRecord(d)
	if root.kind != "object" {
		return nil, r.fault(misfit("an object of attributes", root.kind))
	}
	for i, name := range root.keys {
		at := indexAttr(d.Attrs, name)
		if at < 0 {
			return nil, r.fault(unknownAttr(d.Attrs, name))
		}
		v, misfit := fromJSON(&d.Attrs[at].Type, &root.items[i])
		if misfit != nil {
			return nil, r.fault(misfit.under(name))
		}
		if err := r.Set(name, v); err != nil {
			return nil, err
		}
	}
	if err := r.Check(); err != nil {
		return nil, err
	}
	return r, nil
}

// fromJSON turns JSON into the Go value that the type asks for, as far as
// JSON's own types differ; the rest is found as it is set.
func fromJSON(t *Type, v *jsonValue) (any, *ValueError) {
	switch {
	case v.kind == "list":
		return listFromJSON(t, v)
	case v.kind == "object":
		return mapFromJSON(t, v)
	case v.kind == "null":
		return nil, nil //nolint:nilnil // null is absent
	case v.kind == "bool":
		return v.truth, nil
	case v.kind == "number":
		return numberFromJSON(t, v.text)
	case t.Kind == Bytes:
		b, err := base64.StdEncoding.Strict().DecodeString(v.text)
		if err != nil {
			return nil, misfit("bytes in standard base64", "another string")
		}
		return b, nil
	case t.Kind == Time:
		at, err := time.Parse(time.RFC3339Nano, v.text)
		if err != nil {
			return nil, misfit("time as RFC 3339, such as 2006-01-02T15:04:05Z", "another string")
		}
		return at, nil
	case t.Kind == Float && t.NonFinite:
		if f, ok := nonFinite[v.text]; ok {
			return f, nil
		}
	}
	return v.text, nil
}

var nonFinite = map[string]float64{"NaN": math.NaN(), "Infinity": math.Inf(1), "-Infinity": math.Inf(-1)}

func numberFromJSON(t *Type, text string) (any, *ValueError) {
	whole := !strings.ContainsAny(text, ".eE")
	if t.Kind != Float && whole {
		i, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, misfit(t.want(), "an integer beyond 64 bits")
		}
		return i, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, misfit(t.want(), "a number beyond what a float can hold")
	}
	return f, nil
}

func listFromJSON(t *Type, v *jsonValue) (any, *ValueError) {
	elem := &Type{}
	if t.Kind == List && t.Elem != nil {
		elem = t.Elem
	}
	all := make([]any, len(v.items))
	for i := range v.items {
		var err *ValueError
		if all[i], err = fromJSON(elem, &v.items[i]); err != nil {
			return nil, err.under("[" + strconv.Itoa(i) + "]")
		}
	}
	return all, nil
}

func mapFromJSON(t *Type, v *jsonValue) (any, *ValueError) {
	all := make(map[string]any, len(v.items))
	for i, k := range v.keys {
		elem, step := &Type{}, "["+strconv.Quote(cut(k))+"]"
		if t.Kind == Map && t.Elem != nil {
			elem = t.Elem
		} else if at := indexAttr(t.Attrs, k); at >= 0 {
			elem, step = &t.Attrs[at].Type, k
		}
		e, err := fromJSON(elem, &v.items[i])
		if err != nil {
			return nil, err.under(step)
		}
		all[k] = e
	}
	return all, nil
}

var _ json.Marshaler = (*Record)(nil)
