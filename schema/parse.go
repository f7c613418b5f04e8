package schema

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"busd/internal/nearest"
)

// Bounds of a document beside its length: a type nests an object and a list.
const (
	maxDocumentDepth  = 2*MaxDepth + 6
	maxDocumentValues = 1 << 18
)

// Parse reads a contract's JSON document, as [Schema.JSON] writes it. It is
// strict: unknown and duplicate keys, wrong types, anything after the end, and
// whatever [New] refuses are errors that name the place, all of them together
// as far as that goes. Only at the top an object "extensions" is skipped,
// which a newer busd may have written.
//
// A document is at most [MaxDocument] bytes. Parse may be given bytes of a
// stranger.
func Parse(document []byte) (*Schema, error) {
	if len(document) > MaxDocument {
		return nil, &Fault{Where: "contract", Reason: fmt.Sprintf("the document has %d bytes, want at most %d", len(document), MaxDocument)}
	}
	root, err := readJSON(document, maxDocumentDepth, maxDocumentValues)
	if err != nil {
		return nil, &Fault{Where: "contract", Reason: err.Error()}
	}
	var p parser
	service, parts := p.schema(&root)
	if err := p.err(); err != nil {
		return nil, err
	}
	return New(service, parts...)
}

// parser turns a document into the parts of a Schema.
type parser struct{ faults }

func (p *parser) schema(root *jsonValue) (string, []Part) {
	if !p.object("", root, "service", "messages", "methods", "extensions") {
		return "", nil
	}
	if e := root.get("extensions"); e != nil && e.kind != "object" {
		p.want("extensions", "object", e)
	}
	var parts []Part
	for at, v := range p.list("", root, "messages") {
		parts = append(parts, p.message(at, v))
	}
	for at, v := range p.list("", root, "methods") {
		parts = append(parts, p.method(at, v))
	}
	return p.text("", root, "service"), parts
}

func (p *parser) message(at string, v *jsonValue) Definition {
	if !p.object(at, v, "name", "from", "class", "key", "doc", "attrs") {
		return Definition{}
	}
	d := Definition{Name: p.text(at, v, "name"), Key: p.text(at, v, "key"), Doc: p.text(at, v, "doc")}
	d.From = word(p, at, v, "from", ParseSender, senderWords[:])
	d.Class = word(p, at, v, "class", ParseClass, classWords[:])
	d.Attrs = p.attrs(at, v, "attrs")
	return d
}

func (p *parser) method(at string, v *jsonValue) Method {
	if !p.object(at, v, "name", "doc", "params", "result", "upload", "download") {
		return Method{}
	}
	m := Method{
		Name: p.text(at, v, "name"), Doc: p.text(at, v, "doc"), Params: p.attrs(at, v, "params"),
		Upload: p.flag(at, v, "upload"), Download: p.flag(at, v, "download"),
	}
	if r := v.get("result"); r != nil && p.object(join(at, "result"), r, typeKeys...) {
		t := p.typ(join(at, "result"), r)
		m.Result = &t
	}
	return m
}

var (
	typeKeys = []string{"type", "min", "max", "nonfinite", "minlen", "maxlen", "pattern", "values", "elem", "attrs"}
	attrKeys = append(slices.Clone(typeKeys), "name", "optional", "doc")
)

func (p *parser) attrs(at string, v *jsonValue, key string) []Attribute {
	var attrs []Attribute
	for at, a := range p.list(at, v, key) {
		if p.object(at, a, attrKeys...) {
			attrs = append(attrs, Attribute{
				Name: p.text(at, a, "name"), Type: p.typ(at, a), Optional: p.flag(at, a, "optional"), Doc: p.text(at, a, "doc"),
			})
		}
	}
	return attrs
}

// typ reads the keys of v that say its type; v is an object.
func (p *parser) typ(at string, v *jsonValue) Type {
	if v.get("type") == nil {
		p.add(at, "the key \"type\" is missing")
	}
	t := Type{
		Kind:      word(p, at, v, "type", ParseKind, kindWords[:]),
		NonFinite: p.flag(at, v, "nonfinite"),
		MinLen:    p.length(at, v, "minlen"), MaxLen: p.length(at, v, "maxlen"),
		Pattern: p.text(at, v, "pattern"),
		Attrs:   p.attrs(at, v, "attrs"),
	}
	p.bound(at, v, "min", &t, &t.MinInt, &t.MinFloat)
	p.bound(at, v, "max", &t, &t.MaxInt, &t.MaxFloat)
	for at, s := range p.list(at, v, "values") {
		if s.kind != "string" {
			p.want(at, "string", s)
		}
		t.Values = append(t.Values, s.text)
	}
	if e := v.get("elem"); e != nil && p.object(join(at, "elem"), e, typeKeys...) {
		elem := p.typ(join(at, "elem"), e)
		t.Elem = &elem
	}
	return t
}

// bound reads a min or max, as an int for an int and else as a float.
func (p *parser) bound(at string, v *jsonValue, key string, t *Type, i **int64, f **float64) {
	n := v.get(key)
	if n == nil {
		return
	}
	at = join(at, key)
	if n.kind != "number" {
		p.want(at, "number", n)
		return
	}
	if t.Kind == Int {
		whole, err := strconv.ParseInt(n.text, 10, 64)
		if err != nil {
			p.add(at, "want an integer of 64 bits, got %s", cut(n.text))
		}
		*i = &whole
		return
	}
	real, err := strconv.ParseFloat(n.text, 64)
	if err != nil {
		p.add(at, "want a number that a float can hold, got %s", cut(n.text))
	}
	*f = &real
}

// object tells whether v is an object, and adds a fault for each of its keys
// that is not known.
func (p *parser) object(at string, v *jsonValue, known ...string) bool {
	if v.kind != "object" {
		p.want(at, "object", v)
		return false
	}
	for _, k := range v.keys {
		if !slices.Contains(known, k) {
			p.add(join(at, k), "unknown key%s", nearest.DidYouMean(k, known))
		}
	}
	return true
}

// list yields the elements of a key's list with their paths; a missing key is
// an empty list.
func (p *parser) list(at string, v *jsonValue, key string) func(yield func(string, *jsonValue) bool) {
	return func(yield func(string, *jsonValue) bool) {
		l := v.get(key)
		if l == nil {
			return
		}
		at := join(at, key)
		if l.kind != "list" {
			p.want(at, "list", l)
		}
		for i := range l.items {
			if l.kind == "list" && !yield(fmt.Sprintf("%s[%d]", at, i), &l.items[i]) {
				return
			}
		}
	}
}

func (p *parser) text(at string, v *jsonValue, key string) string {
	s := v.get(key)
	if s == nil {
		return ""
	}
	if s.kind != "string" {
		p.want(join(at, key), "string", s)
	}
	return s.text
}

func (p *parser) flag(at string, v *jsonValue, key string) bool {
	b := v.get(key)
	if b == nil {
		return false
	}
	if b.kind != "bool" {
		p.want(join(at, key), "bool", b)
	}
	return b.truth
}

func (p *parser) length(at string, v *jsonValue, key string) *int {
	n := v.get(key)
	if n == nil {
		return nil
	}
	whole, err := strconv.ParseInt(n.text, 10, strconv.IntSize)
	if n.kind != "number" || err != nil {
		p.add(join(at, key), "want a length, got %s", strings.TrimSpace(n.kind+" "+cut(n.text)))
		return nil
	}
	length := int(whole)
	return &length
}

// word reads a key whose value is one of a few words; a missing key is the
// zero value.
func word[T any](p *parser, at string, v *jsonValue, key string, parse func(string) (T, bool), known []string) T {
	var zero T
	s := v.get(key)
	if s == nil {
		return zero
	}
	w, ok := parse(s.text)
	if s.kind != "string" {
		p.want(join(at, key), "string", s)
	} else if !ok {
		p.add(join(at, key), "want one of %s, got %q%s", strings.Join(known, ", "), cut(s.text), nearest.DidYouMean(s.text, known))
	}
	return w
}

func (p *parser) want(at, kind string, v *jsonValue) {
	if at == "" {
		at = "contract"
	}
	p.add(at, "want %s %s, got %s", articleOf(kind), kind, v.kind)
}

func articleOf(kind string) string {
	if kind == "object" {
		return "an"
	}
	return "a"
}
