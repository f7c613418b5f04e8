package schema

// A Kind is one of the small closed set of attribute types.
type Kind uint8

// The kinds.
const (
	// Any is any value that the wire allows, itself unchecked. The zero value.
	Any Kind = iota
	// Bool is true or false; it is not an int.
	Bool
	// Int is a signed integer of 64 bits; it is not a float.
	Int
	// Float is an IEEE 754 number of 64 bits; a whole float is not an int.
	Float
	// String is UTF-8 text.
	String
	// Bytes is a sequence of bytes; it is not a string.
	Bytes
	// Time is an instant with nanoseconds.
	Time
	// Enum is one of a list of strings.
	Enum
	// List is a sequence of values of one type.
	List
	// Map is a map from strings to values of one type.
	Map
	// Struct is a fixed set of named attributes.
	Struct
)

// A Type is a kind with what belongs to it, and its constraints. It is a
// plain value; once it is part of a [Schema] it must not be changed.
type Type struct {
	Kind Kind

	// Elem is the type of a list's elements or of a map's values.
	Elem *Type
	// Attrs are a struct's attributes.
	Attrs []Attribute
	// Values are what an enum may be, in the order of declaration.
	Values []string

	// MinInt and MaxInt bound an int, inclusive; nil is no bound.
	MinInt, MaxInt *int64
	// MinFloat and MaxFloat bound a float, inclusive; nil is no bound.
	MinFloat, MaxFloat *float64
	// NonFinite allows a float to be NaN or an infinity.
	NonFinite bool
	// MinLen and MaxLen bound a length: of a string in Unicode code points,
	// of bytes in bytes, of a list or map in elements; nil is no bound.
	MinLen, MaxLen *int
	// Pattern is a regular expression (RE2) that a string must match
	// somewhere; anchor it with ^ and $ to match the whole.
	Pattern string
}

// An Attribute is a named part of a message or of a struct.
type Attribute struct {
	Name     string
	Type     Type
	Optional bool
	Doc      string
}

// A Sender says who may send a message.
type Sender uint8

// The senders.
const (
	// FromBoth lets either side send. The zero value.
	FromBoth Sender = iota
	// FromClient lets only clients send.
	FromClient
	// FromService lets only the service send.
	FromService
)

// A Class says what may happen to a message that finds no room.
type Class uint8

// The delivery classes.
const (
	// Must: it waits, or its session ends and both sides are told. The zero
	// value.
	Must Class = iota
	// Latest: a newer message of the same name and key replaces one that is
	// still unsent.
	Latest
	// Volatile: it is dropped, and counted.
	Volatile
)

// A Definition declares one message.
type Definition struct {
	Name  string
	From  Sender
	Attrs []Attribute
	Class Class
	// Key names the attribute that tells messages of class [Latest] apart;
	// empty: the name alone does.
	Key string
	Doc string
}

// A Method declares one method: a call with an answer. Methods are part of
// the contract; serving them is another room's business.
type Method struct {
	Name   string
	Params []Attribute
	// Result is the type of the answer's value; nil is none.
	Result *Type
	// Upload: the last parameter, required and of kind bytes, is a stream: a file
	// of any length, that is never in memory as a whole.
	Upload bool
	// Download: the result, of kind bytes, is a stream.
	Download bool
	Doc      string
}

// A Message is anything that can be sent: a Go struct with one extra method,
// or a [*Record]. MessageName must not depend on the receiver's contents: it
// is asked of the zero value too.
type Message interface{ MessageName() string }

// Limits of a contract. They keep the checks on the wire cheap and bounded.
const (
	// MaxName bounds the name of a service's part, message, method, attribute
	// or map key, in bytes.
	MaxName = 64
	// MaxAttrs bounds the attributes of one message or struct.
	MaxAttrs = 256
	// MaxDepth bounds how deep values may nest on the wire, the message's own
	// map included.
	MaxDepth = 16
	// MaxValues bounds the values in one message on the wire, keys included.
	MaxValues = 20_000
	// MaxKeys bounds the keys of one map on the wire.
	MaxKeys = 1024
	// MaxMessages bounds the messages, and the methods, of one contract.
	MaxMessages = 1024
	// MaxPattern bounds a pattern, in bytes.
	MaxPattern = 1024
	// MaxDocument bounds the JSON document of one contract, in bytes.
	MaxDocument = 1 << 20
)
