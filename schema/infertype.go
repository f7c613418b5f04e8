package schema

import "reflect"

// InferType returns the type that values of a Go type have in a contract, as
// [Infer] reads the fields of a message: for the parameters and results of
// methods, which hold more than messages do. A pointer is what it points to;
// integers of 64 bits without a sign, arrays, maps whose keys are no strings,
// interfaces with methods, and what stands within itself, are [Any]. known, which
// may be nil, goes before all that.
//
// Fields without a tag, tags that cannot be, and Go types that nothing can be made
// of, such as channels, are errors, all reported together, each a [*Fault].
func InferType(t reflect.Type, known map[reflect.Type]Type) (Type, error) {
	in := inference{loose: true, known: known}
	inferred, _ := in.typ(t.String(), t)
	if err := in.err(); err != nil {
		return Type{}, err
	}
	var v validator
	v.typ(t.String(), &inferred, 1)
	return inferred, v.err()
}
