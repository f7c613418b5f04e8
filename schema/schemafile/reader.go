package schemafile

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"busd/internal/nearest"
	"busd/schema"
)

// reader turns a tree into the parts of a contract.
type reader struct {
	*file
	// places tells where the file declares what package schema names in its
	// faults, such as "Ping.id".
	places map[string]position
}

// contract reads the whole file. base is what the contract extends, or nil.
func (r *reader) contract(n *node) (service string, base *node, parts []schema.Part) {
	r.places["contract"], r.places["service"] = n.position, n.position
	if !r.mapping(n, "service", "extends", "messages", "methods") {
		return "", nil, nil
	}
	service = r.text(n, "service")
	if s := n.get("service"); s != nil {
		r.places["service"] = s.position
	}
	if e := n.get("extends"); e != nil && r.is(e, "string") {
		base = e
	}
	r.each(n, "messages", func(k key, v *node) { parts = append(parts, r.message(k, v)) })
	r.each(n, "methods", func(k key, v *node) { parts = append(parts, r.method(k, v)) })
	return service, base, parts
}

func (r *reader) message(k key, n *node) schema.Definition {
	d := schema.Definition{Name: k.name}
	r.places[k.name] = k.position
	if !r.mapping(n, "from", "class", "key", "doc", "attrs") {
		return d
	}
	d.From = word(r, n, "from", schema.ParseSender, senders)
	d.Class = word(r, n, "class", schema.ParseClass, classes)
	d.Key, d.Doc = r.text(n, "key"), r.text(n, "doc")
	d.Attrs = r.attrs(n, k.name)
	return d
}

func (r *reader) method(k key, n *node) schema.Method {
	m := schema.Method{Name: k.name}
	r.places[k.name+"()"] = k.position
	if !r.mapping(n, "params", "result", "upload", "download", "doc") {
		return m
	}
	m.Doc, m.Upload, m.Download = r.text(n, "doc"), r.flag(n, "upload"), r.flag(n, "download")
	if p := n.get("params"); p != nil && r.is(p, "list") {
		for _, param := range p.items {
			m.Params = append(m.Params, r.param(k.name, param))
		}
	}
	if res := n.get("result"); res != nil {
		where := k.name + "() result"
		r.places[where] = res.position
		t := r.typ(res, where)
		m.Result = &t
	}
	return m
}

func (r *reader) param(method string, n *node) schema.Attribute {
	if !r.is(n, "mapping") {
		return schema.Attribute{}
	}
	name := n.get("name")
	if name == nil {
		r.add(n.position, `the key "name" is missing: parameters have positions`)
		return schema.Attribute{}
	}
	k := key{position: name.position, name: r.text(n, "name")}
	return r.attr(k, n, method+"("+k.name+")", "name")
}

func (r *reader) attrs(n *node, where string) []schema.Attribute {
	var attrs []schema.Attribute
	r.each(n, "attrs", func(k key, v *node) {
		attrs = append(attrs, r.attr(k, v, where+"."+k.name))
	})
	return attrs
}

// typeKeys are what a type in long form may say.
var typeKeys = []string{"type", "of", "attrs", "values", "min", "max", "nonfinite", "minlen", "maxlen", "pattern"}

// attr reads an attribute in either form; more are keys that its place adds.
func (r *reader) attr(k key, n *node, where string, more ...string) schema.Attribute {
	a := schema.Attribute{Name: k.name}
	r.places[where] = k.position
	kind := n
	if n.kind != "string" {
		if !r.mapping(n, slices.Concat(typeKeys, more, []string{"optional", "doc"})...) {
			return a
		}
		a.Doc, a.Optional = r.text(n, "doc"), r.flag(n, "optional")
		kind = n.get("type")
	}
	if kind != nil && kind.kind == "string" && strings.HasSuffix(kind.text, "?") {
		if o := n.get("optional"); o != nil && !a.Optional {
			r.add(o.position, "it is optional by the ? in line %d, and is not here", kind.line)
		}
		a.Optional = true
		kind.text = strings.TrimSuffix(kind.text, "?")
	}
	a.Type = r.fields(n, where)
	return a
}

// typ reads a type that is no attribute: of a list's elements, or a result.
func (r *reader) typ(n *node, where string) schema.Type {
	if n.kind != "string" && !r.mapping(n, typeKeys...) {
		return schema.Type{}
	}
	return r.fields(n, where)
}

// fields reads a type of a string, its kind, or of a mapping.
func (r *reader) fields(n *node, where string) schema.Type {
	if n.kind == "string" {
		return schema.Type{Kind: wordOf(r, n, schema.ParseKind, kinds)}
	}
	if n.get("type") == nil {
		r.add(n.position, `the key "type" is missing: want one of %s`, strings.Join(kinds, ", "))
		return schema.Type{}
	}
	t := schema.Type{
		Kind:      word(r, n, "type", schema.ParseKind, kinds),
		NonFinite: r.flag(n, "nonfinite"),
		MinLen:    r.length(n, "minlen"), MaxLen: r.length(n, "maxlen"),
		Pattern: r.text(n, "pattern"),
		Attrs:   r.attrs(n, where),
	}
	if t.Kind == schema.Int {
		t.MinInt, t.MaxInt = r.int(n, "min"), r.int(n, "max")
	} else {
		t.MinFloat, t.MaxFloat = r.float(n, "min"), r.float(n, "max")
	}
	if v := n.get("values"); v != nil && r.is(v, "list") {
		for _, s := range v.items {
			r.is(s, "string")
			t.Values = append(t.Values, s.text)
		}
	}
	if of := n.get("of"); of != nil {
		mark := "[]"
		if t.Kind == schema.Map {
			mark = "{}"
		}
		r.places[where+mark] = of.position
		elem := r.typ(of, where+mark)
		t.Elem = &elem
	}
	return t
}

// locate reports the faults that package schema found, each at the place that
// it names, or the nearest around it.
func (r *reader) locate(err error) {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range all.Unwrap() {
			r.locate(e)
		}
		return
	}
	var fault *schema.Fault
	if !errors.As(err, &fault) {
		r.add(position{}, "%v", err)
		return
	}
	where := fault.Where
	for {
		if at, ok := r.places[where]; ok {
			r.add(at, "%v", fault)
			return
		}
		cut := strings.LastIndexAny(where, ".[{( ")
		if cut <= 0 {
			r.add(r.places["contract"], "%v", fault)
			return
		}
		where = where[:cut]
	}
}

// mapping tells whether n is one, and reports its keys that are not known.
func (r *reader) mapping(n *node, known ...string) bool {
	if !r.is(n, "mapping") {
		return false
	}
	for _, k := range n.keys {
		if !slices.Contains(known, k.name) {
			r.add(k.position, "unknown key %q%s", k.name, nearest.DidYouMean(k.name, known))
		}
	}
	return true
}

// is tells whether n is of that kind, and reports it if not, unless n was
// reported before.
func (r *reader) is(n *node, kind string) bool {
	if n.kind == kind || n.kind == "" {
		return n.kind == kind
	}
	hint := ""
	if kind == "string" && (n.kind == "number" || n.kind == "bool") {
		hint = ": put it in quotes"
	}
	r.add(n.position, "want a %s, got a %s%s", kind, n.kind, hint)
	return false
}

// each calls do for the entries of the mapping under a key, if it is there.
func (r *reader) each(n *node, name string, do func(k key, v *node)) {
	m := n.get(name)
	if m == nil || !r.is(m, "mapping") {
		return
	}
	for i, k := range m.keys {
		do(k, m.items[i])
	}
}

func (r *reader) text(n *node, name string) string {
	v := n.get(name)
	if v == nil || !r.is(v, "string") {
		return ""
	}
	return v.text
}

func (r *reader) flag(n *node, name string) bool {
	v := n.get(name)
	return v != nil && r.is(v, "bool") && strings.EqualFold(v.text, "true")
}

func (r *reader) int(n *node, name string) *int64 {
	v := n.get(name)
	if v == nil || !r.is(v, "number") {
		return nil
	}
	i, err := strconv.ParseInt(v.text, 10, 64)
	if err != nil {
		r.add(v.position, "want a decimal integer of 64 bits, got %s", v.text)
		return nil
	}
	return &i
}

func (r *reader) float(n *node, name string) *float64 {
	v := n.get(name)
	if v == nil || !r.is(v, "number") {
		return nil
	}
	f, err := strconv.ParseFloat(v.text, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		r.add(v.position, "want a finite number, got %s", v.text)
		return nil
	}
	return &f
}

func (r *reader) length(n *node, name string) *int {
	v := n.get(name)
	if v == nil || !r.is(v, "number") {
		return nil
	}
	i, err := strconv.Atoi(v.text)
	if err != nil {
		r.add(v.position, "want a length, got %s", v.text)
		return nil
	}
	return &i
}
