package schema

import (
	"cmp"
	"math"
	"regexp/syntax"
	"strings"
	"unicode/utf8"

	"busd/internal/nearest"
)

// Bounds that keep a hostile contract cheap. A pattern's program is counted in
// instructions, of 40 bytes each: a text of one kilobyte can ask for 150,000.
const (
	maxTypes   = 1 << 16
	maxProgram = 1 << 16
)

// validator checks a contract as far as its own parts tell.
type validator struct {
	faults
	types   int
	program int
	full    bool
}

func (v *validator) schema(s *Schema) {
	if err := CheckService(s.service); err != nil {
		v.add("service", "%v", err)
	}
	if len(s.messages) > MaxMessages {
		v.add("contract", "%d messages, want at most %d", len(s.messages), MaxMessages)
	}
	if len(s.methods) > MaxMessages {
		v.add("contract", "%d methods, want at most %d", len(s.methods), MaxMessages)
	}
	for i := range s.messages {
		v.definition(&s.messages[i])
	}
	for i := range s.methods {
		v.method(&s.methods[i])
	}
}

func (v *validator) definition(d *Definition) {
	v.name(d.Name, "message", d.Name)
	v.doc(d.Name, d.Doc)
	if int(d.From) >= len(senderWords) {
		v.add(d.Name, "no such sender: %s", d.From)
	}
	if int(d.Class) >= len(classWords) {
		v.add(d.Name, "no such class: %s", d.Class)
	}
	v.attrs(d.Name, d.Attrs, 1)
	if d.Key == "" {
		return
	}
	if d.Class != Latest {
		v.add(d.Name, "a key belongs to class latest, not to %s", d.Class)
	}
	for _, a := range d.Attrs {
		if a.Name != d.Key {
			continue
		}
		if k := a.Type.Kind; a.Optional || k != String && k != Int && k != Enum {
			v.add(d.Name, "the key must be a required string, int or enum, and %q is not", d.Key)
		}
		return
	}
	v.add(d.Name, "the key %q is no attribute%s", cut(d.Key), nearest.DidYouMean(d.Key, attrNames(d.Attrs)))
}

func (v *validator) method(m *Method) {
	where := m.place()
	v.name(where, "method", m.Name)
	v.doc(where, m.Doc)
	optional := false
	for _, p := range m.Params {
		if optional && !p.Optional {
			v.add(paramPlace(m.Name, p.Name), "a required parameter cannot follow an optional one: they are told apart by position")
		}
		optional = optional || p.Optional
	}
	v.list(m.Params, func(name string) string { return paramPlace(m.Name, name) }, where, 1)
	if m.Result != nil {
		v.typ(where+" result", m.Result, 1)
	}
	v.streams(where, m)
}

// streams checks that what is said to be a stream of bytes can be one.
func (v *validator) streams(where string, m *Method) {
	if m.Upload {
		if n := len(m.Params); n == 0 || m.Params[n-1].Optional || m.Params[n-1].Type.Kind != Bytes {
			v.add(where, "an upload's last parameter must be required and of kind bytes")
		}
	}
	if m.Download && (m.Result == nil || m.Result.Kind != Bytes) {
		v.add(where, "a download's result must be of kind bytes")
	}
}

func paramPlace(method, param string) string { return method + "(" + param + ")" }

func (v *validator) attrs(where string, attrs []Attribute, depth int) {
	v.list(attrs, func(name string) string { return where + "." + name }, where, depth)
}

func (v *validator) list(attrs []Attribute, place func(string) string, where string, depth int) {
	if len(attrs) > MaxAttrs {
		v.add(where, "%d attributes, want at most %d", len(attrs), MaxAttrs)
		return
	}
	seen := make(map[string]bool, len(attrs))
	for i := range attrs {
		a := &attrs[i]
		at := place(a.Name)
		v.name(at, "attribute", a.Name)
		v.doc(at, a.Doc)
		if seen[a.Name] {
			v.add(at, "it is declared twice")
		}
		seen[a.Name] = true
		v.typ(at, &a.Type, depth)
	}
}

// typ checks a type that stands in a container at that depth. It ends for
// types that contain themselves too: by depth, and by count.
func (v *validator) typ(where string, t *Type, depth int) {
	if v.types++; v.types > maxTypes {
		if !v.full {
			v.full = true
			v.add("contract", "more than %d types", maxTypes)
		}
		return
	}
	if int(t.Kind) >= len(kindWords) {
		v.add(where, "no such kind: %s", t.Kind)
		return
	}
	v.belongs(where, t)
	v.bounds(where, t)
	v.enum(where, t)
	v.pattern(where, t)
	if t.Kind != List && t.Kind != Map && t.Kind != Struct {
		return
	}
	if depth == MaxDepth {
		v.add(where, "values nest deeper than %d", MaxDepth)
		return
	}
	if t.Kind == Struct {
		v.attrs(where, t.Attrs, depth+1)
	} else if t.Elem != nil {
		v.typ(where+elemMark(t.Kind), t.Elem, depth+1)
	}
}

// elemMark is how a path names the elements of a list or map.
func elemMark(k Kind) string {
	if k == Map {
		return "{}"
	}
	return "[]"
}

// belongs checks that nothing is set that means nothing for the kind.
func (v *validator) belongs(where string, t *Type) {
	hasLength := t.Kind == String || t.Kind == Bytes || t.Kind == List || t.Kind == Map
	container := t.Kind == List || t.Kind == Map
	for _, c := range []struct {
		what     string
		set, may bool
	}{
		{"min or max", t.MinInt != nil || t.MaxInt != nil, t.Kind == Int},
		{"min or max", t.MinFloat != nil || t.MaxFloat != nil, t.Kind == Float},
		{"nonfinite", t.NonFinite, t.Kind == Float},
		{"minlen or maxlen", t.MinLen != nil || t.MaxLen != nil, hasLength},
		{"a pattern", t.Pattern != "", t.Kind == String},
		{"values", len(t.Values) > 0, t.Kind == Enum},
		{"an element type", t.Elem != nil, container},
		{"attributes", len(t.Attrs) > 0, t.Kind == Struct},
	} {
		if c.set && !c.may {
			v.add(where, "%s cannot have %s", t.Kind, c.what)
		}
	}
	if container && t.Elem == nil {
		v.add(where, "%s of what? The element type is missing", t.Kind)
	}
}

func (v *validator) bounds(where string, t *Type) {
	crossed(v, where, "min", "max", t.MinInt, t.MaxInt)
	crossed(v, where, "min", "max", t.MinFloat, t.MaxFloat)
	crossed(v, where, "minlen", "maxlen", t.MinLen, t.MaxLen)
	for _, f := range []*float64{t.MinFloat, t.MaxFloat} {
		if f != nil && (math.IsNaN(*f) || math.IsInf(*f, 0)) {
			v.add(where, "a bound must be a finite number, got %v", *f)
		}
	}
	for _, n := range []*int{t.MinLen, t.MaxLen} {
		if n != nil && *n < 0 {
			v.add(where, "a length cannot be negative, got %d", *n)
		}
	}
}

func crossed[T cmp.Ordered](v *validator, where, low, high string, least, most *T) {
	if least != nil && most != nil && *least > *most {
		v.add(where, "%s %v is greater than %s %v", low, *least, high, *most)
	}
}

func (v *validator) enum(where string, t *Type) {
	if t.Kind == Enum && len(t.Values) == 0 {
		v.add(where, "an enum needs at least one value")
	}
	seen := make(map[string]bool, len(t.Values))
	for _, s := range t.Values {
		switch {
		case s == "":
			v.add(where, "an enum's value cannot be empty")
		case !utf8.ValidString(s):
			v.add(where, "the enum's value %q is not UTF-8", cut(s))
		case seen[s]:
			v.add(where, "the enum's value %q is there twice", cut(s))
		}
		seen[s] = true
	}
}

func (v *validator) pattern(where string, t *Type) {
	if t.Pattern == "" || v.program > maxProgram {
		return
	}
	if len(t.Pattern) > MaxPattern {
		v.add(where, "the pattern has %d bytes, want at most %d", len(t.Pattern), MaxPattern)
		return
	}
	parsed, err := syntax.Parse(t.Pattern, syntax.Perl)
	if err != nil {
		v.add(where, "the pattern does not compile: %v", err)
		return
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		v.add(where, "the pattern does not compile: %v", err)
		return
	}
	if v.program += len(program.Inst); v.program > maxProgram {
		v.add(where, "the contract's patterns are too large together: %d instructions, want at most %d", v.program, maxProgram)
	}
}

func (v *validator) name(where, what, name string) {
	if !isName(name) {
		v.add(where, "want as name of %s a letter and then letters, digits or _ (at most %d bytes), got %q", article(what), MaxName, cut(name))
	}
}

func article(what string) string {
	if strings.HasPrefix(what, "a") {
		return "an " + what
	}
	return "a " + what
}

func (v *validator) doc(where, doc string) {
	if !utf8.ValidString(doc) {
		v.add(where, "its documentation is not UTF-8")
	}
}

// isName tells whether s may name a part of a service, a message, a method or
// an attribute.
func isName(s string) bool {
	if s == "" || len(s) > MaxName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return true
}

func attrNames(attrs []Attribute) []string {
	names := make([]string, len(attrs))
	for i := range attrs {
		names[i] = attrs[i].Name
	}
	return names
}

// cut shortens what a stranger wrote, so that an error stays one line.
func cut(s string) string {
	if len(s) <= MaxName {
		return s
	}
	return strings.ToValidUTF8(s[:MaxName], "") + "…"
}

// printable makes a place fit to be shown without quotes: one line, not long.
func printable(where string) string {
	const longest = 512
	if len(where) > longest {
		where = where[:longest] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '?'
		}
		return r
	}, where)
}
