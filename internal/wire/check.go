package wire

import (
	"bytes"
	"encoding/binary"
	"slices"

	"busd/schema"
)

// Check checks the value at the start of b against the definition, as it is
// encoded, and returns its length; what follows is not looked at. Attributes
// may come in any order; contract order is the fastest. An int may come in any
// integer encoding, a float in either size.
//
// An error is a [*SyntaxError] for what breaks the rules of [Scan], or a
// [*schema.ValueError], the first in the order of the bytes, for what breaks
// the contract; with the latter n is the value's length too, so that a reader
// can go on behind it. What an attribute of kind any holds is held to the rules
// of [Scan], and its integers to 64 bits with a sign. No attribute is nil, an
// optional one neither: what is absent does not come.
//
// Check allocates only when it fails. Its recursion is bounded by
// [schema.MaxDepth].
func (m *Message) Check(b []byte) (n int, err error) {
	if n = m.quick(b, 0); n > 0 {
		return n, nil
	}
	return m.check(b)
}

func (m *Message) check(b []byte) (n int, err error) {
	c := checker{b: b, left: schema.MaxValues - 1}
	if n = c.object(&m.root, 0, 0); n >= 0 {
		return n, nil
	}
	f := c.fault
	if f.syntax != nil {
		return 0, f.syntax
	}
	if n, err = Skip(b); err != nil {
		return 0, err
	}
	return n, &schema.ValueError{Message: m.definition.Name, Attr: f.path, Want: f.want, Got: f.got}
}

// A checker is one run of Check. Its methods take the offset where a value
// begins and return the one where it ends; or -1 when they have found a fault.
type checker struct {
	b     []byte
	left  int // how many values may still come
	fault *fault
}

// A fault is what is wrong at a path: syntax, or what was wanted and what came
// instead.
type fault struct {
	path, want, got string
	syntax          *SyntaxError
}

// value checks the value at pos, inside depth containers.
func (c *checker) value(n *node, pos, depth int) int {
	if end := usual(n, c.b, pos); end > 0 {
		return end
	}
	switch n.kind {
	case schema.Bool, schema.Int, schema.Float, schema.String, schema.Bytes, schema.Time, schema.Enum:
		return c.scalar(n, pos)
	case schema.List:
		return c.list(n, pos, depth)
	case schema.Map:
		return c.dict(n, pos, depth)
	case schema.Struct:
		return c.object(n, pos, depth)
	case schema.Any:
	}
	if n.present && pos < len(c.b) && c.b[pos] == 0xc0 {
		return c.mismatch(n, pos)
	}
	// The value was counted with its container; scan counts it again.
	end, rest, why := scan(c.b, pos, depth, c.left+1, untyped)
	if why != "" {
		return c.malformed(end, why)
	}
	c.left = rest
	return end
}

// scalar checks what holds no other values.
func (c *checker) scalar(n *node, pos int) int {
	b := c.b
	cl, size, next := readHead(b, pos)
	if cl != classOf[n.kind] {
		return c.mismatch(n, pos)
	}
	ok := true
	switch n.kind { //nolint:exhaustive // the others hold values, or are any
	case schema.Int:
		v, big := readInt(b, pos)
		ok = !big && n.holdsInt(v)
	case schema.Float:
		ok = n.holdsFloat(readFloat(b, pos))
	case schema.String:
		s := b[next : next+size]
		if !isText(s) {
			return c.malformed(pos, whyUTF8)
		}
		ok = n.holdsText(s)
	case schema.Enum:
		ok = n.allows(textOf(b[next : next+size]))
	case schema.Bytes:
		ok = n.holdsLen(size)
	case schema.Time:
		ok = isTime(b[pos], b[next:next+size])
	}
	if !ok {
		return c.mismatch(n, pos)
	}
	return next + size
}

// open checks the head of the list or map at pos and counts its contents.
func (c *checker) open(pos, depth, n, next int, isMap bool) bool {
	values := n
	if isMap {
		values *= 2
	}
	if values > len(c.b)-next || values > c.left || n > schema.MaxKeys || depth >= schema.MaxDepth {
		if why := checkOpen(isMap, n, depth, c.left, len(c.b)-next); why != "" {
			c.malformed(pos, why)
			return false
		}
	}
	c.left -= values
	return true
}

func (c *checker) list(n *node, pos, depth int) int {
	cl, size, next := readHead(c.b, pos)
	if cl != classList {
		return c.mismatch(n, pos)
	}
	if !c.open(pos, depth, size, next, false) {
		return -1
	}
	if !n.holdsLen(size) {
		return c.mismatch(n, pos)
	}
	pos = next
	for i := range size {
		if pos = c.value(n.elem, pos, depth+1); pos < 0 {
			c.insideElem(i)
			return -1
		}
	}
	return pos
}

// dict checks a map whose keys are free. Our encoders write them in order: then
// they are distinct, and each is compared with the one before alone.
func (c *checker) dict(n *node, pos, depth int) int {
	cl, size, next := readHead(c.b, pos)
	if cl != classMap {
		return c.mismatch(n, pos)
	}
	if !c.open(pos, depth, size, next, true) {
		return -1
	}
	if !n.holdsLen(size) {
		return c.mismatch(n, pos)
	}
	var last []byte // nil before the first: every key is greater
	sorted := true
	pos = next
	for range size {
		at, length, why := scanKey(c.b, pos)
		if why != "" {
			return c.malformed(pos, why)
		}
		key := c.b[at : at+length]
		sorted = sorted && bytes.Compare(last, key) < 0
		last = key
		if pos = c.value(n.elem, at+length, depth+1); pos < 0 {
			c.insideKey(key)
			return -1
		}
	}
	if !sorted {
		if key, ok := duplicateKey(c.b, next, size); ok {
			return c.duplicateKey(key)
		}
	}
	return pos
}

func (c *checker) object(n *node, pos, depth int) int {
	b := c.b
	cl, size, next := readHead(b, pos)
	if cl != classMap {
		return c.mismatch(n, pos)
	}
	if !c.open(pos, depth, size, next, true) {
		return -1
	}
	var seen bitset
	o := n.object
	pos = next
	expected := 0
	for range size {
		i, at := o.expect(b, pos, expected)
		if i < 0 {
			if i, at = c.find(o, pos); i < 0 {
				return -1
			}
		}
		a := &o.attrs[i]
		if seen.has(i) {
			return c.duplicate(a.name)
		}
		seen.add(i)
		if pos = usual(&a.node, b, at); pos == 0 {
			if pos = c.value(&a.node, at, depth+1); pos < 0 {
				c.inside(a.name)
				return -1
			}
		}
		expected = i + 1
	}
	if size < len(o.attrs) {
		for w := range seen {
			if missing := o.required[w] &^ seen[w]; missing != 0 {
				return c.missing(o, &seen)
			}
		}
	}
	return pos
}

// lookAhead is how many optional attributes may be absent before a key costs
// a look-up.
const lookAhead = 8

// expect tells whether the key at pos, which is in b or at its end, is, as usually
// encoded, that of the attribute expected next, or of one behind it when only
// optional ones are between. It returns the attribute and where its value begins,
// or -1.
func (o *object) expect(b []byte, pos, expected int) (i, at int) {
	if expected < len(o.keys) && pos <= len(b)-8 {
		k := &o.keys[expected]
		if word := binary.LittleEndian.Uint64(b[pos:]); (word^k.first)&k.mask == 0 && k.size <= 8 {
			return expected, pos + k.size
		}
	}
	return o.lookFor(b, pos, expected)
}

// lookFor is expect where the first look did not do.
func (o *object) lookFor(b []byte, pos, expected int) (i, at int) {
	b = b[pos:]
	var first uint64
	if len(b) >= 8 {
		first = binary.LittleEndian.Uint64(b)
	} else {
		first = shortWord(b)
	}
	for i := expected; i < len(o.keys) && i < expected+lookAhead; i++ {
		k := &o.keys[i]
		if (first^k.first)&k.mask == 0 && k.size <= len(b) && (k.size <= 8 || bytes.HasPrefix(b, o.attrs[i].key)) {
			return i, pos + k.size
		}
		if !k.optional {
			break
		}
	}
	return -1, 0
}

// shortWord reads less than 8 bytes as the low ones of a little-endian word.
func shortWord(b []byte) uint64 {
	n := len(b)
	switch {
	case n >= 4:
		return uint64(binary.LittleEndian.Uint32(b)) | uint64(binary.LittleEndian.Uint32(b[n-4:]))<<(8*(n-4))
	case n == 0:
		return 0
	}
	return uint64(b[0]) | uint64(b[n/2])<<(8*(n/2)) | uint64(b[n-1])<<(8*(n-1))
}

// find looks up the key at pos, in whatever encoding.
func (c *checker) find(o *object, pos int) (i, at int) {
	start, n, why := scanKey(c.b, pos)
	if why != "" {
		return c.malformed(pos, why), 0
	}
	i, ok := o.index[string(c.b[start:start+n])]
	if !ok {
		return c.unknown(o, string(c.b[start:start+n])), 0
	}
	return i, start + n
}

// missing reports the first required attribute that did not come.
func (c *checker) missing(o *object, seen *bitset) int {
	i := slices.IndexFunc(o.attrs, func(a attribute) bool { return !a.optional && !seen.has(o.index[a.name]) })
	return c.breached(o.attrs[i].name, describe(&o.attrs[i].node), "nothing")
}
