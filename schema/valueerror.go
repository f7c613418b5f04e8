package schema

import "strings"

// A ValueError says how a value breaks its contract. It holds no contents: at
// most a number.
type ValueError struct {
	// Message is the message's name.
	Message string
	// Attr is the path of the attribute, such as "items[3].id" or
	// `labels["cpu"]`; empty if the message itself is meant.
	Attr string
	// Want says what the contract asks for, such as "int".
	Want string
	// Got says what came: a kind, such as "string", "nothing", or what breaks
	// a constraint, such as "99 (max 10)".
	Got string
}

// Error returns a sentence such as "Ping.id: want int, got string".
func (e *ValueError) Error() string {
	where := e.Message
	if e.Attr != "" {
		where = join(where, e.Attr)
	}
	return where + ": want " + e.Want + ", got " + e.Got
}

// misfit is a ValueError whose place is not yet known.
func misfit(want, got string) *ValueError { return &ValueError{Want: want, Got: got} }

// under puts a step before the path, on the way out of a value.
func (e *ValueError) under(step string) *ValueError {
	if e.Attr != "" && !strings.HasPrefix(e.Attr, "[") {
		step += "."
	}
	e.Attr = step + e.Attr
	return e
}

// want describes a type in a word or a few.
func (t *Type) want() string {
	switch t.Kind {
	case List, Map:
		if t.Elem != nil {
			return t.Kind.String() + " of " + t.Elem.Kind.String()
		}
	case Enum:
		const most = 8
		if len(t.Values) > most {
			return "one of " + strings.Join(t.Values[:most], ", ") + ", …"
		}
		return "one of " + strings.Join(t.Values, ", ")
	case Any, Bool, Int, Float, String, Bytes, Time, Struct:
	}
	return t.Kind.String()
}
