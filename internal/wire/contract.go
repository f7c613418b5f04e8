package wire

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"busd/schema"
)

// A Contract is a schema compiled for the wire. It is immutable and safe for
// concurrent use.
type Contract struct {
	schema   *schema.Schema
	messages map[string]*Message
	names    nameTable
}

// Compile compiles a schema.
func Compile(s *schema.Schema) *Contract {
	all := s.Messages()
	c := &Contract{schema: s, messages: make(map[string]*Message, len(all))}
	for i, d := range all {
		m := NewMessage(d)
		m.index = i
		c.messages[d.Name] = m
	}
	c.names = newNameTable(c.messages)
	return c
}

// Schema returns what c was compiled from.
func (c *Contract) Schema() *schema.Schema { return c.schema }

// Size returns how many messages there are.
func (c *Contract) Size() int { return len(c.messages) }

// Message returns the message of that name.
func (c *Contract) Message(name string) (*Message, bool) {
	if m := c.names.find(name); m != nil {
		return m, true
	}
	m, ok := c.messages[name]
	return m, ok
}

// MessageBytes is [Contract.Message] for a name as it came; it does not
// allocate.
func (c *Contract) MessageBytes(name []byte) (*Message, bool) { return c.Message(textOf(name)) }

// A Message is one message's definition compiled for the wire: it checks
// attributes as they are encoded ([Message.Check]), and makes the plans that
// carry them to and from Go ([Message.Packer], [Message.Unpacker]). It is safe
// for concurrent use.
type Message struct {
	// Fixed at creation.
	definition schema.Definition
	from       schema.Sender
	index      int
	name       []byte
	root       node // the attributes, as a struct

	// Plans made so far: by reflect.Type, a plan or the error instead of one.
	packers   sync.Map
	unpackers sync.Map
	// The last ones used, as most messages have one Go type.
	packer   atomic.Pointer[Packer]
	unpacker atomic.Pointer[Unpacker]
}

// NewMessage compiles one definition. It must be one that a schema accepts;
// NewMessage panics at a pattern that does not compile and at more than
// [schema.MaxAttrs] attributes.
func NewMessage(d schema.Definition) *Message {
	return &Message{
		definition: d,
		from:       d.From,
		name:       appendString(nil, d.Name),
		root:       compileType(schema.Type{Kind: schema.Struct, Attrs: d.Attrs}),
	}
}

// Name returns the message's name.
func (m *Message) Name() string { return m.definition.Name }

// Index numbers the messages of a contract, from 0: what is kept for each of them
// can be kept in a slice.
func (m *Message) Index() int { return m.index }

// Definition returns what m was compiled from. It must not be changed.
func (m *Message) Definition() schema.Definition { return m.definition }

// NameBytes returns the message's name as a msgpack string, to be appended to
// a frame. It must not be changed.
func (m *Message) NameBytes() []byte { return m.name }

// An object is a compiled message or struct: attributes by name.
type object struct {
	attrs    []attribute
	keys     []keyWord // of attrs, for comparing quickly
	index    map[string]int
	required bitset
	needs    int // how many there are up to the last that is required
}

type attribute struct {
	node
	name string
	// key is the name encoded as it usually comes.
	key      []byte
	optional bool
}

// A keyWord is the beginning of an encoded key: its first 8 bytes, read as a
// little-endian word, and a mask of those that it has.
type keyWord struct {
	first, mask uint64
	size        int // of the whole
	text        string
	optional    bool
}

func newKeyWord(key []byte, optional bool) keyWord {
	k := keyWord{size: len(key), text: string(key), optional: optional}
	for i := range min(8, len(key)) {
		k.first |= uint64(key[i]) << (8 * i)
		k.mask |= 0xff << (8 * i)
	}
	return k
}

// A bitset is a set of an object's attributes.
type bitset [schema.MaxAttrs / 64]uint64

func (s *bitset) has(i int) bool { return s[uint8(i)/64]&(1<<(uint(i)%64)) != 0 }

func (s *bitset) add(i int) { s[uint8(i)/64] |= 1 << (uint(i) % 64) }

func compileObject(attrs []schema.Attribute) *object {
	if len(attrs) > schema.MaxAttrs {
		panic(fmt.Sprintf("wire: %d attributes, more than %d", len(attrs), schema.MaxAttrs))
	}
	o := &object{
		attrs: make([]attribute, len(attrs)),
		keys:  make([]keyWord, len(attrs)),
		index: make(map[string]int, len(attrs)),
	}
	for i, a := range attrs {
		key := appendString(nil, a.Name)
		o.attrs[i] = attribute{node: compileType(a.Type), name: a.Name, key: key, optional: a.Optional}
		o.attrs[i].present = true
		o.keys[i] = newKeyWord(key, a.Optional)
		o.index[a.Name] = i
		if !a.Optional {
			o.required.add(i)
			o.needs = i + 1
		}
	}
	return o
}

// A node is a compiled type. Absent bounds are the widest there are.
type node struct {
	kind      schema.Kind
	nonFinite bool
	sized     bool // a length bound is set
	free      bool // a string of which no length or pattern is asked
	present   bool // nil is refused of any too: it is an attribute's type

	minInt, maxInt     int64
	minFloat, maxFloat float64
	minLen, maxLen     int
	pattern            *regexp.Regexp
	values             map[string]struct{}
	few                []string // values, where they are not more than fewValues

	elem   *node   // of a list or map
	object *object // of a struct

	source *schema.Type
}

func compileType(t schema.Type) node {
	n := node{
		kind:      t.Kind,
		nonFinite: t.NonFinite,
		sized:     t.MinLen != nil || t.MaxLen != nil,
		minInt:    or(t.MinInt, math.MinInt64),
		maxInt:    or(t.MaxInt, math.MaxInt64),
		minFloat:  or(t.MinFloat, math.Inf(-1)),
		maxFloat:  or(t.MaxFloat, math.Inf(1)),
		minLen:    or(t.MinLen, 0),
		maxLen:    or(t.MaxLen, math.MaxInt),
		source:    &t,
	}
	if t.Pattern != "" {
		n.pattern = regexp.MustCompile(t.Pattern)
	}
	if t.Kind == schema.Enum {
		n.values = make(map[string]struct{}, len(t.Values))
		for _, v := range t.Values {
			n.values[v] = struct{}{}
		}
		if len(t.Values) <= fewValues {
			n.few = t.Values
		}
	}
	if t.Elem != nil {
		elem := compileType(*t.Elem)
		n.elem = &elem
	}
	if t.Kind == schema.Struct {
		n.object = compileObject(t.Attrs)
	}
	n.free = !n.sized && n.pattern == nil
	return n
}

// fewValues is how many of an enum's values are compared one by one.
const fewValues = 8

// allows tells whether s is one of an enum's values.
func (n *node) allows(s string) bool {
	for _, v := range n.few {
		if v == s {
			return true
		}
	}
	if n.few != nil {
		return false
	}
	_, ok := n.values[s]
	return ok
}

// holdsInt tells whether v is within an int's bounds.
func (n *node) holdsInt(v int64) bool { return v >= n.minInt && v <= n.maxInt }

// holdsFloat tells whether v is one that a float may be. Bounds do not refuse NaN.
func (n *node) holdsFloat(v float64) bool {
	return (n.nonFinite || isFinite(v)) && !(v < n.minFloat) && !(v > n.maxFloat)
}

// holdsLen tells whether a length is within its bounds.
func (n *node) holdsLen(size int) bool { return size >= n.minLen && size <= n.maxLen }

// holdsText tells whether UTF-8 is within a string's bounds.
func (n *node) holdsText(s []byte) bool {
	return n.free || (!n.sized || n.holdsLen(utf8.RuneCount(s))) && (n.pattern == nil || n.pattern.Match(s))
}

func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// planFor returns the plan for t, made at the first time of asking.
func planFor[P any](plans *sync.Map, t reflect.Type, compile func(reflect.Type) (P, error)) (P, error) {
	found, ok := plans.Load(t)
	if !ok {
		p, err := compile(t)
		if err != nil {
			found, _ = plans.LoadOrStore(t, err)
		} else {
			found, _ = plans.LoadOrStore(t, p)
		}
	}
	switch found := found.(type) {
	case error:
		var none P
		return none, found
	default:
		return found.(P), nil
	}
}
