package rpc

import (
	"bytes"
	"unicode/utf8"

	"busd/access"
	"busd/bus"
	"busd/rpc/jencode"
)

// Bounds on forms. A DIRAC client sends at most seven fields.
const (
	// MaxFields is the most fields of a form, those without a meaning and empty
	// ones included.
	MaxFields = 64
	// MaxFieldName is the most bytes of a field's name, as it is sent.
	MaxFieldName = 256
	// MaxField is the most bytes of a field's value; args and kwargs may be as
	// large as the body.
	MaxField = 64 << 10
)

// fields are what the fields of a form, or of a query string, say of a call. Of a
// field that stands there several times the last counts.
type fields struct {
	count  int // all that were seen
	method string
	// args and kwargs are JEncode; nil: they are not there.
	args, kwargs []byte
	vo, setup    string
	// extra is extraCredentials, JEncode; nil: it is not there.
	extra []byte
	raw   bool // rawContent
}

// badCall is the error of a call that nobody can make sense of.
func badCall(format string, a ...any) *bus.Error {
	return bus.Errorf(bus.CodeInvalidArgument, format, a...)
}

func badEscape(name []byte) *bus.Error {
	return badCall("form: field %q: %% is not followed by two hexadecimal digits", name)
}

func longField(name []byte) *bus.Error {
	return bus.Errorf(bus.CodeOutOfRange, "form: field %q has more than %d bytes", name, MaxField)
}

// parse reads an urlencoded text, in which it decodes in place: args and kwargs
// are parts of it.
func (f *fields) parse(text []byte) *bus.Error {
	for len(text) > 0 {
		var pair []byte
		pair, text, _ = bytes.Cut(text, []byte{'&'})
		if err := f.more(); err != nil {
			return err
		}
		name, value, _ := bytes.Cut(pair, []byte{'='})
		name, err := fieldName(name)
		if err != nil {
			return err
		}
		value, _, ok := unescape(value, true)
		if !ok {
			return badEscape(name)
		}
		if err := f.set(name, value); err != nil {
			return err
		}
	}
	return nil
}

// methodIn finds the method in the beginning of an urlencoded form, if it stands
// before the arguments.
func methodIn(text []byte) string {
	for len(text) > 0 {
		var pair []byte
		pair, text, _ = bytes.Cut(text, []byte{'&'})
		name, value, _ := bytes.Cut(pair, []byte{'='})
		switch string(name) {
		case "method", "procedure":
			value, _, _ = unescape(bytes.Clone(value), true) // what is wrong with it is found later
			return string(bytes.TrimSpace(value))
		case "args", "kwargs":
			return ""
		}
	}
	return ""
}

// more counts a field.
func (f *fields) more() *bus.Error {
	if f.count++; f.count > MaxFields {
		return badCall("form: more than %d fields", MaxFields)
	}
	return nil
}

// fieldName decodes a field's name, in place.
func fieldName(name []byte) ([]byte, *bus.Error) {
	if len(name) > MaxFieldName {
		return nil, badCall("form: a field's name has more than %d bytes", MaxFieldName)
	}
	name, _, ok := unescape(name, true)
	if !ok {
		return nil, badCall("form: in a field's name %% is not followed by two hexadecimal digits")
	}
	return name, nil
}

// set takes one field, decoded. Unknown ones are ignored, as DIRAC's servers do:
// newer clients may send more.
func (f *fields) set(name, value []byte) *bus.Error {
	if !utf8.Valid(value) {
		return badCall("form: field %q is not UTF-8", name)
	}
	if value = bytes.TrimSpace(value); len(value) > MaxField && !mayBeLarge(name) {
		return longField(name)
	}
	switch string(name) {
	case "method", "procedure":
		f.method = string(value)
	case "args":
		f.args = value
	case "kwargs":
		f.kwargs = value
	case "clientVO":
		f.vo = string(value)
	case "clientSetup":
		f.setup = string(value)
	case "extraCredentials":
		f.extra = value
	case "rawContent":
		f.raw = len(value) > 0 // any text: DIRAC's server takes "False" for true
	}
	return nil
}

// mayBeLarge tells whether a field may have as many bytes as the body.
func mayBeLarge(name []byte) bool { return string(name) == "args" || string(name) == "kwargs" }

// fromQuery takes from a query string what may stand there; what the body says
// counts before it.
func (f *fields) fromQuery(q *fields) { f.method, f.extra, f.raw = q.method, q.extra, q.raw }

// claim is what a client says of himself: extraCredentials is a group, "hosts", or
// the [DN, group] of whom a trusted host asks for. ok is false where it is none of
// these.
func (f *fields) claim() (c access.Claim, ok bool) {
	if f.extra == nil {
		return c, true
	}
	var said any
	if err := jencode.Unmarshal(f.extra, &said, jencode.DIRAC); err != nil {
		return c, false
	}
	switch said := said.(type) {
	case string:
		if said == "hosts" {
			return access.Claim{Host: true}, true
		}
		return access.Claim{Group: said}, true
	case []any:
		if len(said) != 2 {
			return c, false
		}
		dn, isDN := said[0].(string)
		group, isGroup := said[1].(string)
		if !isDN || !isGroup || dn == "" {
			return c, false
		}
		return access.Claim{Forward: &access.Forward{DN: dn, Group: group}}, true
	}
	return c, false
}

// unescape decodes what is urlencoded, in place; control characters become
// spaces, as in DIRAC's server. Unless src is the last part of its value, an escape
// that its end cuts is left in rest. ok is false where % is not followed by two
// hexadecimal digits.
func unescape(src []byte, last bool) (decoded, rest []byte, ok bool) {
	i := 0
	for i < len(src) && !isCoded[src[i]] {
		i++
	}
	n := i // what comes before is as it will be
	for i < len(src) {
		c := src[i]
		switch {
		case !isCoded[c]:
		case c == '%':
			if i+2 >= len(src) {
				return src[:n], src[i:], !last
			}
			high, low := unhex[src[i+1]], unhex[src[i+2]]
			if high|low > 0xf {
				return nil, nil, false
			}
			if c = high<<4 | low; isControl(c) {
				c = ' '
			}
			i += 2
		default: // + or a control character
			c = ' '
		}
		src[n] = c
		n++
		i++
	}
	return src[:n], nil, true
}

// isControl tells what DIRAC's server (tornado) takes for a control character:
// tab, line feed and their neighbours are none.
func isControl(c byte) bool { return c < 0x20 && (c < '\t' || c > '\r') }

// isCoded has the bytes that are not themselves in an urlencoded value; unhex the
// values of hexadecimal digits, and 0xff for all others.
var isCoded, unhex = func() (coded [256]bool, values [256]byte) {
	for i := range 256 {
		c := byte(i)
		coded[c] = c == '%' || c == '+' || isControl(c)
		values[c] = 0xff
		switch {
		case '0' <= c && c <= '9':
			values[c] = c - '0'
		case 'a' <= c && c <= 'f':
			values[c] = c - 'a' + 10
		case 'A' <= c && c <= 'F':
			values[c] = c - 'A' + 10
		}
	}
	return coded, values
}()
