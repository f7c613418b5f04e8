package wire

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"busd/schema"
)

// What follows runs only once something was found wrong. Paths are put
// together on the way out, so that nothing is kept for them on the way in.

func insideAttr(e *schema.ValueError, name string) *schema.ValueError {
	e.Attr = join(name, e.Attr)
	return e
}

func insideElem(e *schema.ValueError, i int) *schema.ValueError {
	return insideAttr(e, "["+strconv.Itoa(i)+"]")
}

func insideKey(e *schema.ValueError, key string) *schema.ValueError {
	return insideAttr(e, "["+strconv.Quote(key)+"]")
}

// join puts a step before a path.
func join(step, path string) string {
	if path == "" || path[0] == '[' {
		return step + path
	}
	return step + "." + path
}

// named completes a ValueError with the message's name.
func (m *Message) named(e *schema.ValueError) error {
	e.Message = m.definition.Name
	return e
}

// unsendable turns what Check says of our own bytes into what their author can
// act on: a ValueError that names the attribute, also where the bytes break the
// rules of the wire.
func (m *Message) unsendable(b []byte, err error) error {
	if e := new(*SyntaxError); !errors.As(err, e) {
		return err
	}
	c := checker{b: b, left: schema.MaxValues - 1}
	c.object(&m.root, 0, 0)
	return m.named(&schema.ValueError{Attr: c.fault.path, Want: "what the wire takes", Got: c.fault.syntax.Reason})
}

// malformed reports what is not msgpack by the bus's rules.
func (c *checker) malformed(pos int, why string) int {
	c.fault = &fault{syntax: &SyntaxError{Offset: pos, Reason: why}}
	return -1
}

// breached reports what breaks the contract, inside the attribute that is
// being checked; name is a step below it, or empty.
func (c *checker) breached(name, want, got string) int {
	c.fault = &fault{path: name, want: want, got: got}
	return -1
}

// inside puts a step before the path of what was reported.
func (c *checker) inside(step string)   { c.fault.path = join(step, c.fault.path) }
func (c *checker) insideElem(i int)     { c.inside("[" + strconv.Itoa(i) + "]") }
func (c *checker) insideKey(key []byte) { c.inside("[" + strconv.Quote(string(key)) + "]") }

// duplicate reports an attribute that came a second time.
func (c *checker) duplicate(name string) int {
	return c.breached(name, "one "+name, "a second "+name)
}

func (c *checker) duplicateKey(key []byte) int {
	return c.breached("["+strconv.Quote(string(key))+"]", "distinct keys", "the key a second time")
}

// unknown reports a name that the object lacks.
func (c *checker) unknown(o *object, name string) int {
	const most = 16
	want := "no attributes"
	if len(o.attrs) > 0 {
		names := make([]string, 0, most+1)
		for i := range o.attrs {
			if i == most {
				names = append(names, "…")
				break
			}
			names = append(names, o.attrs[i].name)
		}
		want = "one of the attributes " + strings.Join(names, ", ")
	}
	return c.breached(plain(name), want, "an unknown one")
}

// mismatch reports the value at pos, which is not what n asks for: of another
// kind, or outside a constraint.
func (c *checker) mismatch(n *node, pos int) int {
	cl, size, next := readHead(c.b, pos)
	switch cl {
	case classShort:
		return c.malformed(pos, whyShort)
	case classNone:
		return c.malformed(pos, whyUnused)
	case classExt:
		if !isTime(c.b[pos], c.b[next:next+size]) {
			return c.malformed(pos, whyExtension)
		}
	case classString:
		if !utf8.Valid(c.b[next : next+size]) {
			return c.malformed(pos, whyUTF8)
		}
	case classNil, classBool, classInt, classFloat, classBytes, classList, classMap:
	}
	want, got := describe(n), classWords[cl]
	if cl == classOf[n.kind] {
		want, got = c.outside(n, pos, size, next)
	}
	return c.breached("", want, got)
}

// outside says how a value of the right kind breaks a constraint.
func (c *checker) outside(n *node, pos, size, next int) (want, got string) {
	want = describe(n)
	switch n.kind {
	case schema.Int:
		v, big := readInt(c.b, pos)
		if big {
			return want, fmt.Sprintf("%d (max %d)", uint64(v), n.maxInt)
		}
		return want, bounded(v, n.minInt, n.maxInt, "")
	case schema.Float:
		v := readFloat(c.b, pos)
		if !n.nonFinite && !isFinite(v) {
			return "finite " + want, formatFloat(v)
		}
		if v < n.minFloat {
			return want, formatFloat(v) + " (min " + formatFloat(n.minFloat) + ")"
		}
		return want, formatFloat(v) + " (max " + formatFloat(n.maxFloat) + ")"
	case schema.String:
		if count := utf8.RuneCount(c.b[next : next+size]); count < n.minLen || count > n.maxLen {
			return want, bounded(count, n.minLen, n.maxLen, " code points")
		}
		return "string like " + n.pattern.String(), "one that does not match"
	case schema.Enum:
		return want, "another string"
	case schema.Bytes:
		return want, bounded(size, n.minLen, n.maxLen, " bytes")
	case schema.List, schema.Map:
		return want, bounded(size, n.minLen, n.maxLen, " elements")
	case schema.Any, schema.Bool, schema.Time, schema.Struct:
	}
	return want, classWords[classOf[n.kind]]
}

func bounded[T int | int64](v, least, most T, unit string) string {
	if v < least {
		return fmt.Sprintf("%d%s (min %d)", v, unit, least)
	}
	return fmt.Sprintf("%d%s (max %d)", v, unit, most)
}

func formatFloat(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// classWords says what came; a timestamp is the only extension that gets here.
var classWords = [...]string{
	classNone: "0xc1", classNil: "nil", classBool: "bool", classInt: "int", classFloat: "float", classString: "string",
	classBytes: "bytes", classList: "list", classMap: "map", classExt: "time", classShort: "nothing",
}

// classOf is how each kind travels; any has no class of its own.
var classOf = [...]class{
	schema.Any: classNone, schema.Bool: classBool, schema.Int: classInt, schema.Float: classFloat, schema.String: classString,
	schema.Bytes: classBytes, schema.Time: classExt, schema.Enum: classString, schema.List: classList, schema.Map: classMap,
	schema.Struct: classMap,
}

// describe says in a few words what a contract asks for.
func describe(n *node) string {
	switch n.kind {
	case schema.List, schema.Map:
		return n.kind.String() + " of " + n.elem.kind.String()
	case schema.Enum:
		const most = 8
		if v := n.source.Values; len(v) > most {
			return "one of " + strings.Join(v[:most], ", ") + ", …"
		}
		return "one of " + strings.Join(n.source.Values, ", ")
	case schema.Any, schema.Bool, schema.Int, schema.Float, schema.String, schema.Bytes, schema.Time, schema.Struct:
	}
	return n.kind.String()
}

// plain shows a name that a peer chose: quoted, unless it is harmless.
func plain(name string) string {
	for _, r := range name {
		if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return strconv.Quote(name)
		}
	}
	return name
}
