package wire

import (
	"errors"
	"fmt"
	"reflect"

	"busd/bus"
	"busd/schema"
)

// Outgoing returns the message of that name if a side may send it.
func (c *Contract) Outgoing(name string, side schema.Sender) (*Message, error) {
	m, ok := c.Message(name)
	if !ok {
		return nil, bus.Errorf(bus.CodeUnimplemented, "the contract of %s has no message %s", c.schema.Service(), name)
	}
	if !allows(m.from, side) {
		return nil, bus.Errorf(bus.CodeUnimplemented, "message %s may be sent by the %s only", name, m.from)
	}
	return m, nil
}

// AsInvalid gives a breach of the contract its code; other errors stay.
func AsInvalid(err error) error {
	var misfit *schema.ValueError
	if errors.As(err, &misfit) {
		return InvalidMessage(misfit)
	}
	return err
}

// NameOf returns the wire name of a message type, a struct or a pointer to one.
func NameOf[M schema.Message]() string {
	t := reflect.TypeFor[M]()
	if t.Kind() == reflect.Pointer {
		return reflect.New(t.Elem()).Interface().(M).MessageName() // M is that pointer
	}
	return (*new(M)).MessageName()
}

// UnpackerFor returns what makes a Go value of attributes that have passed
// [Message.Check]. M is a struct or a pointer to one.
func UnpackerFor[M schema.Message](m *Message) (func(body []byte) (M, error), error) {
	t := reflect.TypeFor[M]()
	pointer := t.Kind() == reflect.Pointer
	if pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil, bus.Errorf(bus.CodeInvalidArgument, "want a struct or a pointer to one, got %s", reflect.TypeFor[M]())
	}
	u, err := m.Unpacker(t)
	if err != nil {
		return nil, err
	}
	if pointer {
		return func(body []byte) (M, error) {
			v := reflect.New(t).Interface()
			if err := u.Unpack(body, v); err != nil {
				return *new(M), fmt.Errorf("%s: %w", m.Name(), err)
			}
			return v.(M), nil // M is the pointer to t
		}, nil
	}
	return func(body []byte) (v M, err error) {
		err = u.unpack(body, placeOf(&v))
		return v, err
	}, nil
}

// AnswerAs makes a Go value of the message that answered a request; m is nil
// where it was handled without a reply.
func AnswerAs[A schema.Message](m *Message, body []byte) (A, error) {
	if m == nil {
		return *new(A), bus.Errorf(bus.CodeFailedPrecondition, "the request was handled without a reply: want %s", NameOf[A]())
	}
	if m.Name() != NameOf[A]() {
		return *new(A), bus.Errorf(bus.CodeSchemaMismatch, "want a reply %s, got %s", NameOf[A](), m.Name())
	}
	unpack, err := UnpackerFor[A](m)
	if err != nil {
		return *new(A), err
	}
	return unpack(body)
}
