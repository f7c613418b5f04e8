package jencode

import (
	"encoding/base64"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"time"
)

// Append appends v as it is written in a dialect. It takes nil, bool, integers,
// *big.Int, floats, strings, []byte, time.Time, [Date], [Serializable], [Raw],
// slices, arrays, maps with keys that are strings or integers, structs by their bus
// tags, pointers and interfaces to these; types made of them count as what they
// are made of. Fields that are optional and nil are left out; other nil pointers
// are null.
//
// The error is a *[ValueError], and the result nil, for what cannot be written:
// another Go type, a string that is not UTF-8, a time or date outside the years 1
// to 9999, a map with the key "__dCls" in the DIRAC dialect (it would be read as a
// class), a Raw that is not in the dialect, more than [MaxDepth] levels. v must
// not change meanwhile.
func Append(dst []byte, v any, d Dialect) ([]byte, error) {
	w := writer{b: dst, dialect: d}
	if bad := w.any(v); bad != nil {
		return nil, bad
	}
	return w.b, nil
}

// A writer appends values to b.
type writer struct {
	b       []byte
	dialect Dialect
	depth   int // of what is open
}

func (w *writer) put(text string) { w.b = append(w.b, text...) }

// open begins a list or an object.
func (w *writer) open(bracket byte) *ValueError {
	if w.depth == MaxDepth {
		return misfit(tooDeep, "another")
	}
	w.depth++
	w.b = append(w.b, bracket)
	return nil
}

func (w *writer) close(bracket byte) {
	w.depth--
	w.b = append(w.b, bracket)
}

// comma separates element i from the one before.
func (w *writer) comma(i int) {
	switch {
	case i == 0:
	case w.dialect == JSON:
		w.b = append(w.b, ',')
	default:
		w.b = append(w.b, ',', ' ')
	}
}

func (w *writer) colon() {
	if w.b = append(w.b, ':'); w.dialect != JSON {
		w.b = append(w.b, ' ')
	}
}

// any appends a value of any type; those that plans and other values are mostly
// made of without reflection.
func (w *writer) any(v any) *ValueError {
	switch v := v.(type) {
	case nil:
		w.put("null")
	case string:
		return w.text(v)
	case int:
		w.b = strconv.AppendInt(w.b, int64(v), 10)
	case int64:
		w.b = strconv.AppendInt(w.b, v, 10)
	case float64:
		w.b = appendFloat(w.b, v, 64, w.dialect)
	case bool:
		w.b = strconv.AppendBool(w.b, v)
	case []byte:
		return w.bytes(v)
	case time.Time:
		return w.time(v)
	case Raw:
		return w.raw(v)
	case []any:
		return w.anyList(v)
	case map[string]any:
		return w.anyMap(v)
	default:
		c, err := codecOf(reflect.TypeOf(v))
		if err != nil {
			return misfit("a value that can be written", err.Error())
		}
		return w.value(c, reflect.ValueOf(v))
	}
	return nil
}

func (w *writer) anyList(all []any) *ValueError {
	if bad := w.open('['); bad != nil {
		return bad
	}
	for i, v := range all {
		w.comma(i)
		if bad := w.any(v); bad != nil {
			return bad.inside(i)
		}
	}
	w.close(']')
	return nil
}

// fewKeys is how many keys of a map are sorted without the heap.
const fewKeys = 16

func (w *writer) anyMap(all map[string]any) *ValueError {
	if bad := w.open('{'); bad != nil {
		return bad
	}
	var few [fewKeys]string
	keys := few[:0]
	for k := range all {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for i, k := range keys {
		w.comma(i)
		if bad := w.key(k); bad != nil {
			return bad
		}
		if bad := w.any(all[k]); bad != nil {
			return bad.member(k)
		}
	}
	w.close('}')
	return nil
}

// key appends the key of a map.
func (w *writer) key(k string) *ValueError {
	if w.dialect == DIRAC && k == className {
		return misfit("names that DIRAC does not read as a class", k)
	}
	if bad := w.text(k); bad != nil {
		return bad
	}
	w.colon()
	return nil
}

func (w *writer) text(s string) *ValueError {
	b, ok := appendText(w.b, s, w.dialect)
	if w.b = b; !ok {
		return misfit("string in UTF-8", "one that is not")
	}
	return nil
}

// class begins an object of one of Python's own classes; unclass ends it.
func (w *writer) class(name string) *ValueError {
	if bad := w.open('{'); bad != nil {
		return bad
	}
	w.put(`"` + className + `": "`)
	w.put(name)
	w.put(`", "` + contentsName + `": "`)
	return nil
}

func (w *writer) unclass() {
	w.b = append(w.b, '"')
	w.close('}')
}

func (w *writer) bytes(p []byte) *ValueError {
	if w.dialect == JSON {
		w.b = append(base64.StdEncoding.AppendEncode(append(w.b, '"'), p), '"')
		return nil
	}
	if bad := w.class(classBytes); bad != nil {
		return bad
	}
	w.b = base64.StdEncoding.AppendEncode(w.b, p)
	w.unclass()
	return nil
}

func (w *writer) time(t time.Time) *ValueError {
	t = t.UTC()
	year, month, day := t.Date()
	if year < minYear || year > maxYear {
		return misfit("time of the years 1 to 9999", "one of the year "+strconv.Itoa(year))
	}
	if w.dialect == JSON {
		w.b = append(t.AppendFormat(append(w.b, '"'), time.RFC3339Nano), '"')
		return nil
	}
	if bad := w.class(classTime); bad != nil {
		return bad
	}
	hour, minute, second := t.Clock()
	w.b = append(appendDate(w.b, year, month, day), ' ')
	w.b = append(appendTwo(w.b, hour), ':')
	w.b = append(appendTwo(w.b, minute), ':')
	w.b = appendTwo(w.b, second)
	w.unclass()
	return nil
}

func (w *writer) date(d Date) *ValueError {
	if !d.valid() {
		return misfit("date of the years 1 to 9999", "another")
	}
	if w.dialect == JSON {
		w.b = append(appendDate(append(w.b, '"'), d.Year, d.Month, d.Day), '"')
		return nil
	}
	if bad := w.class(classDate); bad != nil {
		return bad
	}
	w.b = appendDate(w.b, d.Year, d.Month, d.Day)
	w.unclass()
	return nil
}

func (w *writer) raw(v Raw) *ValueError {
	if v == nil {
		w.put("null")
		return nil
	}
	room := answered
	room.levels -= w.depth
	if bad := check(v, w.dialect, room); bad != nil {
		return bad
	}
	w.b = append(w.b, v...)
	return nil
}

func (w *writer) big(n *big.Int) { w.b = n.Append(w.b, 10) }

func (w *writer) serializable(v Serializable) *ValueError {
	if v.Class == "" || v.Module == "" {
		return misfit("the name of a class and its module", "nothing")
	}
	if bad := w.open('{'); bad != nil {
		return bad
	}
	keys := make([]string, 0, len(v.Fields))
	for k := range v.Fields {
		if k == className || k == moduleName {
			return misfit("names that DIRAC does not read as a class", k)
		}
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for i, part := range [...]string{className, v.Class, moduleName, v.Module} {
		if i == 2 {
			w.comma(i)
		}
		if bad := w.text(part); bad != nil {
			return bad
		}
		if i%2 == 0 {
			w.colon()
		}
	}
	for _, k := range keys {
		w.comma(1)
		if bad := w.key(k); bad != nil {
			return bad
		}
		if bad := w.any(v.Fields[k]); bad != nil {
			return bad.member(k)
		}
	}
	w.close('}')
	return nil
}
