package wire

import (
	"reflect"

	"busd/bus"
	"busd/schema"
)

// A Packer is the plan by which values of one Go struct type become the
// attributes of one message. It is immutable and safe for concurrent use.
type Packer struct {
	message *Message
	plan    *plan
	typ     reflect.Type // the struct
	direct  bool
	value   typeWord // the struct
	pointer typeWord // a pointer to it
}

// Packer returns the plan that encodes t, a struct or a pointer to one, as m.
// It is made once. Optional attributes that the struct lacks are left out, and
// so are optional fields that the contract lacks.
//
// What does not fit is a [*bus.Error] with [bus.CodeSchemaMismatch] that names
// the attribute: a required one that the struct lacks, a required field that
// the contract lacks, a field of a type that cannot be the attribute's.
func (m *Message) Packer(t reflect.Type) (*Packer, error) {
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if p := m.packer.Load(); p != nil && p.typ == t {
		return p, nil
	}
	p, err := planFor(&m.packers, t, m.compilePacker)
	if err == nil {
		m.packer.Store(p)
	}
	return p, err
}

func (m *Message) compilePacker(t reflect.Type) (*Packer, error) {
	p, err := m.compilePlan(t, packing)
	if err != nil {
		return nil, err
	}
	return &Packer{
		message: m, plan: p, typ: t, direct: isDirect(t), value: wordFor(t), pointer: wordFor(reflect.PointerTo(t)),
	}, nil
}

// Append appends the attributes of v, which is a value of the Packer's type or
// a pointer to one, and checks them as [Message.Check] does their bytes: what
// breaks the contract is a [*schema.ValueError]. After an error the result is nil, and
// what dst had room for may have been written to.
//
// It does not change v, which must not change meanwhile. Maps, and attributes
// of kind any, apart, it allocates only where dst lacks room.
func (p *Packer) Append(dst []byte, v any) ([]byte, error) {
	var from place
	switch typeIn(v) {
	case p.pointer:
		if from = pointerIn(v); from.p == nil {
			return nil, bus.Errorf(bus.CodeInvalidArgument, "message %s: the *%v is nil", p.message.Name(), p.typ)
		}
	case p.value:
		if from = pointerIn(v); p.direct {
			from = boxed(v)
		}
	default:
		return nil, bus.Errorf(bus.CodeInternal, "message %s: the plan is for %v, got %T", p.message.Name(), p.typ, v)
	}
	if out := p.plan.writeAll(dst, from); out != nil {
		return out, nil
	}
	return p.packAndCheck(dst, from)
}

// packAndCheck has the last word on what may be sent.
func (p *Packer) packAndCheck(dst []byte, from place) ([]byte, error) {
	start := len(dst)
	dst, breach := p.plan.pack(dst, from)
	if breach != nil {
		return nil, p.message.named(breach)
	}
	return p.message.checked(dst, start)
}

// checked returns dst if what it has from start on keeps the contract.
func (m *Message) checked(dst []byte, start int) ([]byte, error) {
	if _, err := m.Check(dst[start:]); err != nil {
		return nil, m.unsendable(dst[start:], err)
	}
	return dst, nil
}

// Append appends the attributes of v, by its Packer or as a record.
func (m *Message) Append(dst []byte, v schema.Message) ([]byte, error) {
	if r, ok := v.(*schema.Record); ok {
		return m.AppendRecord(dst, r)
	}
	p := m.packer.Load()
	if t := typeIn(v); p == nil || t != p.value && t != p.pointer {
		var err error
		if p, err = m.Packer(reflect.TypeOf(v)); err != nil {
			return nil, err
		}
	}
	return p.Append(dst, v)
}

// An Unpacker is the plan by which the attributes of one message become values
// of one Go struct type. It is immutable and safe for concurrent use.
type Unpacker struct {
	message *Message
	plan    *plan
	texts   int // how many strings a message is likely to have
	pointer reflect.Type
	word    typeWord // the same
}

// Unpacker returns the plan that decodes m into t, a struct or a pointer to
// one. It is made once. Attributes that the struct lacks are skipped, and
// optional fields that the contract lacks are set to nil.
//
// What does not fit is a [*bus.Error] with [bus.CodeSchemaMismatch] that names
// the attribute: a required field that the contract lacks or declares
// optional, a field of a type that cannot hold all that the contract allows.
func (m *Message) Unpacker(t reflect.Type) (*Unpacker, error) {
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if u := m.unpacker.Load(); u != nil && u.pointer.Elem() == t {
		return u, nil
	}
	u, err := planFor(&m.unpackers, t, m.compileUnpacker)
	if err == nil {
		m.unpacker.Store(u)
	}
	return u, err
}

func (m *Message) compileUnpacker(t reflect.Type) (*Unpacker, error) {
	p, err := m.compilePlan(t, unpacking)
	if err != nil {
		return nil, err
	}
	pointer := reflect.PointerTo(t)
	return &Unpacker{message: m, plan: p, texts: p.countTexts(), pointer: pointer, word: wordFor(pointer)}, nil
}

// Unpack sets every field of the struct that into points to; those of optional
// attributes that did not come become nil. b begins with attributes that have
// passed [Message.Check] of the same message; what else it holds may make
// Unpack panic. Nothing in the struct refers to b afterwards.
//
// An error is a [*schema.ValueError] for a value that the contract allows and
// the field cannot hold: a float beyond a float32.
func (u *Unpacker) Unpack(b []byte, into any) error {
	if typeIn(into) != u.word {
		return bus.Errorf(bus.CodeInternal, "message %s: the plan is for %v, got %T", u.message.Name(), u.pointer, into)
	}
	to := pointerIn(into)
	if to.p == nil {
		return bus.Errorf(bus.CodeInternal, "message %s: the %v is nil", u.message.Name(), u.pointer)
	}
	return u.unpack(b, to)
}

func (u *Unpacker) unpack(b []byte, to place) error {
	r := unpacker{b: b, texts: newTexts(u.texts, len(b))}
	r.object(u.plan, 0, to)
	if r.breach != nil {
		return u.message.named(r.breach)
	}
	return nil
}
