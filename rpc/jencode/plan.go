package jencode

import (
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"sync"
	"time"

	"busd/schema"
)

// An op says what a Go type is made of.
type op uint8

const (
	opBool op = iota
	opInt
	opUint
	opFloat
	opString
	opBytes
	opTime
	opDate
	opBig
	opRaw
	opSerializable
	opAny
	opPointer
	opList
	opArray
	opMap
	opStruct
)

// A codec is the plan by which values of one Go type are written and read. It
// is immutable; those of types that contain themselves do too.
type codec struct {
	typ  reflect.Type
	op   op
	elem *codec // behind a pointer; of a list, an array or a map

	// Of a struct: its fields, and where they are by name.
	fields []field
	byName map[string]int
}

// A field is a struct's member.
type field struct {
	name     string
	index    []int
	optional bool
	codec    *codec
	limits   *limits // nil: none
}

// maxFields is how many fields fit into a fieldSet.
const maxFields = schema.MaxAttrs

// A fieldSet has a bit for each field of a struct.
type fieldSet [maxFields / 64]uint64

func (s *fieldSet) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s *fieldSet) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

var (
	anyType          = reflect.TypeFor[any]()
	timeType         = reflect.TypeFor[time.Time]()
	dateType         = reflect.TypeFor[Date]()
	bigType          = reflect.TypeFor[big.Int]()
	rawType          = reflect.TypeFor[Raw]()
	serializableType = reflect.TypeFor[Serializable]()
)

// CheckType tells whether values of a Go type can be written and read: those
// that [Append] names. The error names the part that cannot. It is for programs that
// find out as they start.
func CheckType(t reflect.Type) error {
	_, err := codecOf(t)
	return err
}

// codecs holds the *codec of each type that was asked for, for ever: types are
// as many as the program has.
var codecs sync.Map

func codecOf(t reflect.Type) (*codec, error) {
	if c, ok := codecs.Load(t); ok {
		return c.(*codec), nil //nolint:forcetypeassert // nothing else is in it
	}
	if t == nil {
		return nil, errors.New("nil has no type")
	}
	c, err := compiler{}.codec(t.String(), t)
	if err != nil {
		return nil, err
	}
	codecs.Store(t, c)
	return c, nil
}

// A compiler holds the codecs of one type's parts, so that a type may contain
// itself.
type compiler map[reflect.Type]*codec

func (m compiler) codec(at string, t reflect.Type) (*codec, error) {
	if c := m[t]; c != nil {
		return c, nil
	}
	c := &codec{typ: t}
	m[t] = c
	return c, m.fill(at, c)
}

func (m compiler) fill(at string, c *codec) error {
	var ok bool
	if c.op, ok = wholeOp(c.typ); ok {
		return nil
	}
	var err error
	switch t := c.typ; t.Kind() {
	case reflect.Pointer:
		c.op = opPointer
		c.elem, err = m.codec(at, t.Elem())
	case reflect.Slice:
		c.op = opList
		c.elem, err = m.codec(at+"[]", t.Elem())
	case reflect.Array:
		c.op = opArray
		c.elem, err = m.codec(at+"[]", t.Elem())
	case reflect.Map:
		if k := reflect.Zero(t.Key()); k.Kind() != reflect.String && !k.CanInt() && !k.CanUint() {
			return fmt.Errorf("%s: the keys of a map must be strings or integers, got %v", at, t)
		}
		c.op = opMap
		c.elem, err = m.codec(at+"{}", t.Elem())
	case reflect.Struct:
		c.op = opStruct
		err = m.fields(at, c)
	default:
		err = fmt.Errorf("%s: a Go value of type %v cannot be written or read", at, t)
	}
	return err
}

// wholeOp returns the op of a type that has no parts to look at.
func wholeOp(t reflect.Type) (op, bool) {
	switch t {
	case timeType:
		return opTime, true
	case dateType:
		return opDate, true
	case bigType:
		return opBig, true
	case rawType:
		return opRaw, true
	case serializableType:
		return opSerializable, true
	}
	switch k := t.Kind(); {
	case k == reflect.Bool:
		return opBool, true
	case k >= reflect.Int && k <= reflect.Int64:
		return opInt, true
	case k >= reflect.Uint && k <= reflect.Uint64:
		return opUint, true
	case k == reflect.Float32, k == reflect.Float64:
		return opFloat, true
	case k == reflect.String:
		return opString, true
	case k == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return opBytes, true
	case k == reflect.Interface && t.NumMethod() == 0:
		return opAny, true
	}
	return 0, false
}

func (m compiler) fields(at string, c *codec) error {
	if err := m.add(at, c, c.typ, nil); err != nil {
		return err
	}
	switch n := len(c.fields); {
	case n == 0 && c.typ.NumField() > 0:
		return fmt.Errorf("%s: nothing of it would be sent: it has no field with a bus tag", at)
	case n > maxFields:
		return fmt.Errorf("%s: %d fields, want at most %d", at, n, maxFields)
	}
	c.byName = make(map[string]int, len(c.fields))
	for i := range c.fields {
		f := &c.fields[i]
		if _, ok := c.byName[f.name]; ok {
			return fmt.Errorf("%s.%s: it is declared twice", at, f.name)
		}
		c.byName[f.name] = i
	}
	return nil
}

// add adds the fields of t, which is c's type or embedded in it at index.
func (m compiler) add(at string, c *codec, t reflect.Type, index []int) error {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, tagged := f.Tag.Lookup("bus")
		own := append(append([]int(nil), index...), i)
		switch _, whole := wholeOp(f.Type); {
		case tag == "-":
			continue
		case f.Anonymous && !tagged && f.Type.Kind() == reflect.Struct && !whole:
			if err := m.add(at, c, f.Type, own); err != nil {
				return err
			}
			continue
		case f.Anonymous && !tagged && f.Type.Kind() == reflect.Pointer:
			return fmt.Errorf("%s.%s: an embedded pointer needs a bus tag: embed the struct itself, or name the member", at, f.Name)
		case !f.IsExported() && tagged:
			return fmt.Errorf("%s.%s: the field has a bus tag, but is not exported", at, f.Name)
		case !f.IsExported():
			continue
		}
		a, err := attribute(f)
		if err != nil {
			return fmt.Errorf("%s.%s: %w", at, f.Name, err)
		}
		inner, err := m.codec(at+"."+a.Name, f.Type)
		if err != nil {
			return err
		}
		c.fields = append(c.fields, field{a.Name, own, a.Optional, inner, limitsOf(&a.Type)})
	}
	return nil
}

// attribute returns what package schema makes of a field's tag. A field of a type
// that messages do not have, such as [Date], is shown to it as one that may be
// anything.
func attribute(f reflect.StructField) (schema.Attribute, error) {
	ask := func(t reflect.Type) ([]schema.Field, error) {
		return schema.Fields(reflect.StructOf([]reflect.StructField{{Name: f.Name, Type: t, Tag: f.Tag}}))
	}
	fields, err := ask(f.Type)
	if err == nil {
		return fields[0].Attribute, nil
	}
	var fault *schema.Fault
	if errors.As(err, &fault) {
		err = errors.New(fault.Reason)
	}
	fields, anyErr := ask(anyType)
	if anyErr != nil {
		return schema.Attribute{}, err
	}
	a := fields[0].Attribute
	switch f.Type.Kind() {
	case reflect.Pointer:
		a.Optional = true
	case reflect.Slice, reflect.Map, reflect.Interface:
	default:
		if a.Optional {
			return a, fmt.Errorf("a Go value of type %v cannot be absent: use *%v", f.Type, f.Type)
		}
	}
	return a, nil
}
