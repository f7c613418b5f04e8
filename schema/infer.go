package schema

import (
	"fmt"
	"reflect"
	"slices"
	"time"
)

// Infer reads the definition of message M from its Go type: a struct, or a
// pointer to one.
//
// Each exported field says its name on the wire in a tag, `bus:"id"`, or that
// it is not sent, `bus:"-"`; a second tag, `doc:"…"`, documents it. Fields of
// embedded structs without a tag count as the message's own. Options follow
// the name after commas:
//
//	optional            nil is absent (slices, maps, []byte, any; pointers are optional without it)
//	min=1, max=9        of an int or float, inclusive
//	minlen=1, maxlen=9  of a string (code points), []byte (bytes), slice or map (elements)
//	enum=new|done       a string that is one of these
//	nonfinite           a float may be NaN or infinite
//	pattern=^[a-z]+$    of a string; the last option: it takes the rest of the tag
//
// The kinds come from bool; int, int8 to int64, uint8 to uint32 (sized ones
// with their range as min and max); float32, float64; string; []byte;
// time.Time; slices; maps with string keys; structs; any; and types made of
// these. Other types, fields without a tag and types that contain themselves
// are errors, all reported together, each a [*Fault].
func Infer[M Message](from Sender) (Definition, error) {
	return inferType(reflect.TypeFor[M](), from)
}

// InferMessage is [Infer] for a message whose type is known only as the
// program runs. m's contents do not matter.
func InferMessage(m Message, from Sender) (Definition, error) {
	if m == nil {
		return Definition{}, &Fault{Where: "message", Reason: "it is nil"}
	}
	return inferType(reflect.TypeOf(m), from)
}

func inferType(t reflect.Type, from Sender) (Definition, error) {
	base := t
	if t.Kind() == reflect.Pointer {
		base = t.Elem()
	}
	switch {
	case base == reflect.TypeFor[Record]():
		return Definition{}, &Fault{Where: t.String(), Reason: "a record has no Go type to infer from: use its Definition"}
	case base.Kind() != reflect.Struct || base == timeType:
		return Definition{}, &Fault{Where: t.String(), Reason: "a message must be a struct or a pointer to a struct"}
	}
	name, err := messageName(t)
	if err != nil {
		return Definition{}, err
	}
	in := inference{open: []reflect.Type{base}}
	d := Definition{Name: name, From: from, Attrs: in.structAttrs(name, base)}
	if err := in.err(); err != nil {
		return Definition{}, err
	}
	var v validator
	v.definition(&d)
	if err := v.err(); err != nil {
		return Definition{}, err
	}
	return d, nil
}

// messageName asks the zero value, of a pointer the zero value that it points
// to.
func messageName(t reflect.Type) (name string, err error) {
	zero := reflect.Zero(t)
	if t.Kind() == reflect.Pointer {
		zero = reflect.New(t.Elem())
	}
	m, ok := zero.Interface().(Message)
	if !ok {
		return "", &Fault{Where: t.String(), Reason: "it has no method MessageName"}
	}
	defer func() {
		if r := recover(); r != nil {
			err = &Fault{Where: t.String(), Reason: fmt.Sprintf("MessageName of the zero value panics: %v", r)}
		}
	}()
	return m.MessageName(), nil
}

var timeType = reflect.TypeFor[time.Time]()

// inference walks Go types.
type inference struct {
	faults
	// open are the types being walked that have others in them, outermost first.
	open []reflect.Type
	// loose takes what is outside the closed set for any; known go before
	// everything else ([InferType]).
	loose bool
	known map[reflect.Type]Type
}

// outside is the type of what a message cannot hold: a fault, or any.
func (in *inference) outside(at, format string, args ...any) (Type, bool) {
	if !in.loose {
		in.add(at, format, args...)
	}
	return Type{}, in.loose
}

func (in *inference) structAttrs(where string, t reflect.Type) []Attribute {
	var attrs []Attribute
	for i := range t.NumField() {
		f := t.Field(i)
		tag, tagged := f.Tag.Lookup("bus")
		at := where + "." + f.Name
		switch {
		case tag == "-":
		case f.Anonymous && !tagged && f.Type.Kind() == reflect.Struct && f.Type != timeType:
			attrs = append(attrs, in.structAttrs(where, f.Type)...)
		case f.Anonymous && !tagged && f.Type.Kind() == reflect.Pointer:
			in.add(at, "an embedded pointer needs a bus tag: embed the struct itself, or name the attribute")
		case !f.IsExported() && tagged:
			in.add(at, "the field has a bus tag, but is not exported")
		case !f.IsExported():
		case !tagged:
			in.add(at, "the field needs a tag that says its name on the wire, such as `bus:\"id\"`, or `bus:\"-\"` if it is not sent")
		default:
			if a, ok := in.attribute(where, at, f, tag); ok {
				attrs = append(attrs, a)
			}
		}
	}
	return attrs
}

func (in *inference) attribute(where, at string, f reflect.StructField, text string) (Attribute, bool) {
	tag, err := parseTag(text)
	if err == nil && !isName(tag.name) {
		err = fmt.Errorf("want in the tag a name of a letter and then letters, digits or _ (at most %d bytes), got %q", MaxName, cut(tag.name))
	}
	if err != nil {
		in.add(at, "%v", err)
		return Attribute{}, false
	}
	a := Attribute{Name: tag.name, Optional: tag.optional, Doc: f.Tag.Get("doc")}
	at = where + "." + tag.name
	t := f.Type
	switch t.Kind() {
	case reflect.Pointer:
		a.Optional = true
		t = t.Elem()
		if k := t.Kind(); !in.loose && (k == reflect.Pointer || k == reflect.Interface) {
			in.add(at, "a %s has more than one way to be absent: use %s", f.Type, t)
			return Attribute{}, false
		}
	case reflect.Slice, reflect.Map, reflect.Interface:
	default:
		if tag.optional {
			in.add(at, "a Go value of type %s cannot be absent: use *%s", f.Type, f.Type)
			return Attribute{}, false
		}
	}
	typ, ok := in.typ(at, t)
	if !ok {
		return Attribute{}, false
	}
	if err := tag.constrain(&typ); err != nil {
		in.add(at, "%v", err)
		return Attribute{}, false
	}
	a.Type = typ
	return a, true
}

func (in *inference) typ(at string, t reflect.Type) (Type, bool) {
	if known, ok := in.known[t]; ok {
		return known, true
	}
	if t == timeType {
		return Type{Kind: Time}, true
	}
	switch t.Kind() {
	case reflect.Bool:
		return Type{Kind: Bool}, true
	case reflect.Int, reflect.Int64:
		return Type{Kind: Int}, true
	case reflect.Int8, reflect.Int16, reflect.Int32:
		half := int64(1) << (t.Bits() - 1)
		return intRange(-half, half-1), true
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return intRange(0, int64(1)<<t.Bits()-1), true
	case reflect.Float32, reflect.Float64:
		return Type{Kind: Float}, true
	case reflect.String:
		return Type{Kind: String}, true
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return Type{Kind: Bytes}, true
		}
		return in.container(List, at, t)
	case reflect.Map:
		if t.Key().Kind() == reflect.String {
			return in.container(Map, at, t)
		}
		return in.outside(at, "a map's keys must be strings, got %s", t)
	case reflect.Struct:
		return in.structType(at, t)
	case reflect.Interface:
		if t.NumMethod() == 0 {
			return Type{Kind: Any}, true
		}
		return in.outside(at, "only the empty interface, any, can be sent, got %s", t)
	case reflect.Uint, reflect.Uint64, reflect.Uintptr:
		return in.outside(at, "a %s does not fit into an int of 64 bits: use int64, or uint32", t.Kind())
	case reflect.Array:
		return in.outside(at, "a Go value of type %s cannot be sent", t)
	case reflect.Pointer:
		if !in.loose {
			return in.unsent(at, t)
		}
		return in.within(at, t, func() (Type, bool) { return in.typ(at, t.Elem()) })
	default:
		return in.unsent(at, t)
	}
}

func (in *inference) unsent(at string, t reflect.Type) (Type, bool) {
	in.add(at, "a Go value of type %s cannot be sent", t)
	return Type{}, false
}

// within walks what a type has in it. A type that contains itself has no end.
func (in *inference) within(at string, t reflect.Type, walk func() (Type, bool)) (Type, bool) {
	if slices.Contains(in.open, t) {
		return in.outside(at, "the type %s contains itself", t)
	}
	in.open = append(in.open, t)
	defer func() { in.open = in.open[:len(in.open)-1] }()
	return walk()
}

func (in *inference) container(k Kind, at string, t reflect.Type) (Type, bool) {
	elem := t.Elem()
	if elem.Kind() == reflect.Pointer && !in.loose {
		in.add(at, "elements cannot be absent, so they cannot be pointers: use %s", elem.Elem())
		return Type{}, false
	}
	return in.within(at, t, func() (Type, bool) {
		e, ok := in.typ(at+elemMark(k), elem)
		return Type{Kind: k, Elem: &e}, ok
	})
}

func (in *inference) structType(at string, t reflect.Type) (Type, bool) {
	return in.within(at, t, func() (Type, bool) {
		before := len(in.found)
		attrs := in.structAttrs(at, t)
		if len(attrs) == 0 && t.NumField() > 0 && len(in.found) == before {
			in.add(at, "nothing of type %s would be sent: it has no field with a bus tag", t)
		}
		return Type{Kind: Struct, Attrs: attrs}, true
	})
}

func intRange(low, high int64) Type { return Type{Kind: Int, MinInt: &low, MaxInt: &high} }
