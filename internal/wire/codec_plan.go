package wire

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"

	"busd/bus"
	"busd/schema"
)

// A direction is what a plan is for.
type direction uint8

const (
	packing   direction = iota // Go to bytes
	unpacking                  // bytes to Go
)

// A plan joins a Go struct type with an object, for one direction.
type plan struct {
	object *object
	// slots are the attributes that the struct has, in contract order.
	slots []slot
	// fixed: no slot can be absent.
	fixed bool
	// byAttr finds the slot of an attribute; nil where the struct lacks it.
	byAttr []*slot
	// nils are the fields to be set to nil before unpacking.
	nils []slot
}

// An op says what Go type a slot's memory is.
type op uint8

const (
	opBool op = iota
	opInt8
	opInt16
	opInt32
	opInt64
	opUint8
	opUint16
	opUint32
	opFloat32
	opFloat64
	opString
	opBytes
	opTime
	opAny
	opList
	opMap
	opStruct
)

// A slot is a place in Go memory with the contract type that it holds.
type slot struct {
	op op
	// pointer: the memory holds a pointer to the value.
	pointer bool
	// optional: nil means that the attribute is absent.
	optional bool
	offset   uintptr
	name     string
	// key is the attribute's name, encoded; word its first 8 bytes, as one.
	key  []byte
	word uint64
	node *node
	// typ is the value's Go type, behind the pointer if there is one.
	typ  reflect.Type
	elem *slot // of a list or map
	plan *plan // of a struct
}

// A misfit says where and why a Go type and a contract do not fit.
type misfit struct{ path, reason string }

func (m *misfit) Error() string { return m.path + ": " + m.reason }

func misfitf(path, format string, a ...any) error {
	return &misfit{path, fmt.Sprintf(format, a...)}
}

func (m *Message) compilePlan(t reflect.Type, d direction) (*plan, error) {
	if t == nil || t.Kind() != reflect.Struct {
		return nil, bus.Errorf(bus.CodeSchemaMismatch, "message %s: want a struct or a pointer to one, got %v", m.Name(), t)
	}
	p, err := newPlan(m.root.object, t, d, m.Name())
	var bad *misfit
	switch {
	case errors.As(err, &bad):
		e := bus.Errorf(bus.CodeSchemaMismatch, "%s (Go type %v)", bad.reason, t)
		e.Path = bad.path
		return nil, e
	case err != nil:
		return nil, bus.Errorf(bus.CodeSchemaMismatch, "message %s: %v", m.Name(), err)
	}
	return p, nil
}

func newPlan(o *object, t reflect.Type, d direction, path string) (*plan, error) {
	fields, err := schema.Fields(t)
	if err != nil {
		return nil, err
	}
	p := &plan{object: o, fixed: true, byAttr: make([]*slot, len(o.attrs))}
	byName := make(map[string]*schema.Field, len(fields))
	for i := range fields {
		f := &fields[i]
		byName[f.Name] = f
		if d == unpacking && f.Optional {
			p.nils = append(p.nils, slot{offset: f.Offset, typ: f.GoType})
		}
		if _, ok := o.index[f.Name]; !ok && !f.Optional {
			return nil, misfitf(path+"."+f.Name, "the contract lacks it, and the Go field %s is not optional", f.GoName)
		}
	}
	for i := range o.attrs {
		a := &o.attrs[i]
		at := path + "." + a.name
		f, ok := byName[a.name]
		if !ok {
			if d == packing && !a.optional {
				return nil, misfitf(at, "the contract requires it, and the Go type lacks it")
			}
			continue
		}
		if d == unpacking && a.optional && !f.Optional {
			return nil, misfitf(at, "it is optional in the contract, and the Go field %s is not: make it a pointer, or tag it optional", f.GoName)
		}
		s, err := newSlot(&a.node, f.GoType, d, at)
		if err != nil {
			return nil, err
		}
		s.offset, s.optional, s.name, s.key, s.word = f.Offset, f.Optional, a.name, a.key, o.keys[i].first
		p.slots = append(p.slots, *s)
		p.fixed = p.fixed && !s.optional
		p.byAttr[i] = s
	}
	return p, nil
}

// newSlot joins a Go type with a contract type.
func newSlot(n *node, t reflect.Type, d direction, path string) (*slot, error) {
	s := &slot{node: n, typ: t}
	if t.Kind() == reflect.Pointer {
		s.pointer, s.typ = true, t.Elem()
	}
	var ok bool
	if s.op, ok = opFor(n.kind, s.typ); !ok {
		return nil, misfitf(path, "want %s, and the Go type %v cannot be that", n.kind, t)
	}
	var err error
	switch s.op { //nolint:exhaustive // the others are complete
	case opList:
		s.elem, err = newSlot(n.elem, s.typ.Elem(), d, path+"[]")
	case opMap:
		s.elem, err = newSlot(n.elem, s.typ.Elem(), d, path+"{}")
	case opStruct:
		s.plan, err = newPlan(n.object, s.typ, d, path)
	case opInt8, opInt16, opInt32, opInt64, opUint8, opUint16, opUint32:
		least, most := intRange(s.op)
		if d == unpacking && (n.minInt < least || n.maxInt > most) {
			return nil, misfitf(path, "the contract allows %s, and a Go %v holds %d to %d only", describe(n), s.typ, least, most)
		}
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

var timeType = reflect.TypeFor[time.Time]()

// opFor tells how a Go type can hold a kind.
func opFor(k schema.Kind, t reflect.Type) (op, bool) {
	switch k {
	case schema.Any:
		return opAny, t.Kind() == reflect.Interface && t.NumMethod() == 0
	case schema.Bool:
		return opBool, t.Kind() == reflect.Bool
	case schema.Int:
		return intOp(t.Kind())
	case schema.Float:
		if t.Kind() == reflect.Float32 {
			return opFloat32, true
		}
		return opFloat64, t.Kind() == reflect.Float64
	case schema.String, schema.Enum:
		return opString, t.Kind() == reflect.String
	case schema.Bytes:
		return opBytes, t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
	case schema.Time:
		return opTime, t == timeType
	case schema.List:
		return opList, t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8
	case schema.Map:
		return opMap, t.Kind() == reflect.Map && t.Key().Kind() == reflect.String
	case schema.Struct:
		return opStruct, t.Kind() == reflect.Struct && t != timeType
	}
	return 0, false
}

func intOp(k reflect.Kind) (op, bool) {
	switch k { //nolint:exhaustive // the integers that an int64 can hold
	case reflect.Int:
		if math.MaxInt == math.MaxInt32 {
			return opInt32, true
		}
		return opInt64, true
	case reflect.Int8:
		return opInt8, true
	case reflect.Int16:
		return opInt16, true
	case reflect.Int32:
		return opInt32, true
	case reflect.Int64:
		return opInt64, true
	case reflect.Uint8:
		return opUint8, true
	case reflect.Uint16:
		return opUint16, true
	case reflect.Uint32:
		return opUint32, true
	}
	return 0, false
}

func intRange(o op) (least, most int64) {
	switch o { //nolint:exhaustive // the integers
	case opInt8:
		return math.MinInt8, math.MaxInt8
	case opInt16:
		return math.MinInt16, math.MaxInt16
	case opInt32:
		return math.MinInt32, math.MaxInt32
	case opUint8:
		return 0, math.MaxUint8
	case opUint16:
		return 0, math.MaxUint16
	case opUint32:
		return 0, math.MaxUint32
	}
	return math.MinInt64, math.MaxInt64
}

// stride is how far apart elements of the slot's type are.
func (s *slot) stride() uintptr {
	if s.pointer {
		return reflect.TypeFor[*byte]().Size()
	}
	return s.typ.Size()
}
