package jencode

import (
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"time"
)

// Unmarshal reads one value into what into points to, strictly: an int is no
// float and no bool; a whole float is no int; an int is taken for a float. null
// is for pointers, any and optional fields of a struct. Of a struct's names
// unknown ones are errors, and missing ones that are not optional; so is what
// breaks the limits in its tags (min, maxlen, …). An array takes exactly its
// length. A time is also read from a text in RFC 3339, and a [Date] from
// 2006-01-02, in the DIRAC dialect too.
//
// Into any it makes nil, bool, int64, *big.Int for larger ones, float64, string,
// []byte, time.Time, [Date], [Serializable], []any, map[string]any; in JSON text
// stays text, also that of times and bytes.
//
// What was there before is replaced, and nothing refers to data afterwards,
// except that a [Raw] is a part of it. After an error some of it may have been
// replaced.
//
// What is wrong with data is a *[ValueError]; any other error is the program's:
// into is no pointer, or to a type that [CheckType] refuses.
func Unmarshal(data []byte, into any, d Dialect) error {
	if bad := check(data, d, asked); bad != nil {
		return bad
	}
	return unmarshal(&reader{data, d, false}, into)
}

// UnmarshalPart is [Unmarshal] for a value that [Elements] or [Members] has returned of
// data in the same dialect, and so has checked. It may panic for any other.
func UnmarshalPart(part Raw, into any, d Dialect) error {
	return unmarshal(&reader{part, d, false}, into)
}

// UnmarshalAnswer is [Unmarshal] for what a server answered to whom asked it: of
// up to [MaxAnswerValues] values and [MaxAnswerNumber] digits. Names that a struct has
// not are passed over, so that a service may say more than its clients know of.
func UnmarshalAnswer(data []byte, into any, d Dialect) error {
	if bad := check(data, d, answered); bad != nil {
		return bad
	}
	return unmarshal(&reader{data, d, true}, into)
}

func unmarshal(r *reader, into any) error {
	pos := space(r.data, 0)
	var bad *ValueError
	switch p := into.(type) {
	case *any:
		*p, _, bad = r.any(pos)
	case *Raw:
		*p, _ = r.raw(pos)
	case *string:
		*p, _, bad = r.string(pos)
	case *int64:
		*p, _, bad = r.integer(pos)
	case *float64:
		*p, _, bad = r.float(pos)
	case *[]byte:
		*p, _, bad = r.bytes(pos)
	default:
		v := reflect.ValueOf(into)
		if v.Kind() != reflect.Pointer || v.IsNil() {
			return fmt.Errorf("want a pointer to read into, got %T", into)
		}
		c, err := codecOf(v.Type().Elem())
		if err != nil {
			return err
		}
		_, bad = r.value(c, pos, v.Elem())
	}
	if bad != nil {
		return bad
	}
	return nil
}

// value reads what is at pos into v, of c's type.
func (r *reader) value(c *codec, pos int, v reflect.Value) (int, *ValueError) {
	switch c.op {
	case opInt:
		return r.toInt(c, pos, v)
	case opUint:
		return r.toUint(c, pos, v)
	case opString:
		s, end, bad := r.string(pos)
		v.SetString(s)
		return end, bad
	case opBool:
		b, end, bad := r.boolean(pos)
		v.SetBool(b)
		return end, bad
	case opFloat:
		f, end, bad := r.float(pos)
		if bad == nil && c.typ.Kind() == reflect.Float32 && math.Abs(f) > math.MaxFloat32 && !math.IsInf(f, 0) {
			bad = misfit("float of 32 bits", r.describe(pos))
		}
		v.SetFloat(f)
		return end, bad
	case opBytes:
		b, end, bad := r.bytes(pos)
		v.SetBytes(b)
		return end, bad
	case opAny:
		x, end, bad := r.any(pos)
		*v.Addr().Interface().(*any) = x //nolint:forcetypeassert // by its op
		return end, bad
	case opPointer:
		if r.isNull(pos) {
			v.SetZero()
			return pos + null, nil
		}
		v.Set(reflect.New(c.elem.typ))
		return r.value(c.elem, pos, v.Elem())
	case opList:
		return r.toList(c, pos, v)
	case opArray:
		return r.toArray(c, pos, v)
	case opMap:
		return r.toMap(c, pos, v)
	case opStruct:
		return r.toStruct(c, pos, v)
	case opTime, opDate, opBig, opRaw, opSerializable:
	}
	return r.toNamed(pos, v.Addr().Interface())
}

// toNamed reads into one of the types that have a meaning of their own.
func (r *reader) toNamed(pos int, into any) (end int, bad *ValueError) {
	switch p := into.(type) {
	case *time.Time:
		*p, end, bad = r.time(pos)
	case *Date:
		*p, end, bad = r.date(pos)
	case *Raw:
		*p, end = r.raw(pos)
	case *Serializable:
		*p, end, bad = r.serializable(pos)
	case *big.Int:
		var n *big.Int
		if n, end, bad = r.big(pos); bad == nil {
			p.Set(n)
		}
	}
	return end, bad
}

func (r *reader) toInt(c *codec, pos int, v reflect.Value) (int, *ValueError) {
	n, end, bad := r.integer(pos)
	if bad != nil {
		return pos, bad
	}
	if v.OverflowInt(n) {
		half := int64(1) << (c.typ.Bits() - 1)
		return pos, misfit("int"+spread(new(-half), new(half-1)), r.describe(pos))
	}
	v.SetInt(n)
	return end, nil
}

func (r *reader) toUint(c *codec, pos int, v reflect.Value) (int, *ValueError) {
	if !startsNumber(r.data[pos]) {
		return pos, misfit("int", r.describe(pos))
	}
	end, isInt := numberEnd(r.data, pos)
	if !isInt {
		return pos, misfit("int", r.describe(pos))
	}
	text := r.data[pos:end]
	if string(text) == "-0" {
		text = text[1:]
	}
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil || v.OverflowUint(n) {
		most := uint64(math.MaxUint64) >> (64 - c.typ.Bits())
		return pos, misfit("int of 0 to "+strconv.FormatUint(most, 10), r.describe(pos))
	}
	v.SetUint(n)
	return end, nil
}
