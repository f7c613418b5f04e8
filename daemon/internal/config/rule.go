package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"time"
)

// A Key is a row of the table of keys, for documentation.
type Key struct {
	// Path is where it stands: "limits.connections", "listeners[].address",
	// "services.*.credit".
	Path string
	// Form says what a value looks like.
	Form string
	// Default is as it would be written in the file; empty: there is none.
	Default string
	// Doc says what it is for.
	Doc string
	// Live: a reload applies it. Program: where it is not said, what the
	// program says holds.
	Live, Program bool
	// Environ is the variable that sets it; empty if none does.
	Environ string
}

// Keys returns the table of keys in the order of the documentation.
func Keys() []Key {
	var all []Key
	for _, r := range rules() {
		all = append(all, r.Key)
	}
	return all
}

// rule is what the tags of a field say of its key.
type rule struct {
	Key
	typ      reflect.Type
	form     string
	words    []string
	min, max string
	auto     bool
}

// rules returns the rules of all keys that have values of their own.
var rules = sync.OnceValue(func() []*rule {
	var all []*rule
	addRules(&all, reflect.TypeFor[Config](), "")
	return all
})

// ruleOf returns the rule of a path with its indices and names taken out.
func ruleOf(path string) *rule {
	for _, r := range rules() {
		if r.Path == path {
			return r
		}
	}
	panic("config: no rule for " + path)
}

func addRules(all *[]*rule, t reflect.Type, path string) {
	keyed(t, path, func(_ int, f reflect.StructField, at string) {
		kind := shapeOf(f.Type)
		below := kind.below(at)
		switch kind {
		case isSection:
			addRules(all, f.Type, below)
		case isSections, isNamed, isServices:
			addRules(all, f.Type.Elem(), below)
		case isLists:
			*all = append(*all, newRule(f, f.Type.Elem(), below))
		case isValue:
			*all = append(*all, newRule(f, f.Type, below))
		}
	})
}

func newRule(f reflect.StructField, typ reflect.Type, path string) *rule {
	r := &rule{typ: typ, form: f.Tag.Get("form"), min: f.Tag.Get("min"), max: f.Tag.Get("max"), auto: f.Tag.Get("auto") == "yes"}
	if words := f.Tag.Get("words"); words != "" {
		r.words = strings.Split(words, "|")
	}
	r.Path, r.Default, r.Doc = path, f.Tag.Get("default"), f.Tag.Get("doc")
	r.Live, r.Program = f.Tag.Get("live") == "yes", f.Tag.Get("program") == "yes"
	if !strings.ContainsAny(path, "[*") {
		r.Environ = environName(path)
	}
	r.Form = r.describe()
	return r
}

// describe says what a value looks like.
func (r *rule) describe() string {
	t, list := r.typ, ""
	if t.Kind() == reflect.Slice {
		t, list = t.Elem(), "list of "
	}
	one := map[reflect.Type]string{
		reflect.TypeFor[int]():            "number",
		reflect.TypeFor[Size]():           "size",
		reflect.TypeFor[time.Duration]():  "duration",
		reflect.TypeFor[*time.Duration](): "duration",
		reflect.TypeFor[bool]():           "true or false",
		reflect.TypeFor[*bool]():          "true or false",
		reflect.TypeFor[netip.Prefix]():   "network",
		reflect.TypeFor[string]():         r.form,
	}[t]
	switch {
	case len(r.words) > 0:
		one = strings.Join(r.words, ", ")
	case one == "place":
		one = "address or off"
	case one == "store":
		one = "file or off"
	case one == "" && t.Kind() == reflect.String:
		one = "text"
	case one == "rule":
		one, list = "rule", ""
	case r.auto:
		one += " or auto"
	}
	return list + one
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// defaults fills in the defaults of a struct; where the program's own values
// hold, fields stay zero. Of listeners there is one, of other things that there
// may be several of, none.
func defaults(v reflect.Value, path string) {
	keyed(v.Type(), path, func(i int, f reflect.StructField, at string) {
		kind, field := shapeOf(f.Type), v.Field(i)
		switch kind {
		case isSection:
			defaults(field, at)
		case isServices:
			field.Set(reflect.MakeMap(f.Type))
		case isSections:
			if f.Tag.Get("default") == "[]" {
				return
			}
			one := reflect.New(f.Type.Elem()).Elem()
			defaults(one, kind.below(at))
			field.Set(reflect.Append(field, one))
		case isNamed, isLists:
		case isValue:
			if r := ruleOf(at); !r.Program && r.Default != "" {
				r.setDefault(field)
			}
		}
	})
}

func (r *rule) setDefault(v reflect.Value) {
	text := strings.Trim(r.Default, "[]\"")
	if r.typ.Kind() != reflect.Slice {
		if text != "" {
			r.mustSet(v, text)
		}
		return
	}
	v.SetZero()
	for _, word := range splitList(text) {
		one := reflect.New(r.typ.Elem()).Elem()
		r.mustSet(one, word)
		v.Set(reflect.Append(v, one))
	}
}

// mustSet panics for a mistake in the tags, which the first test finds.
func (r *rule) mustSet(v reflect.Value, text string) {
	if reason := r.set(v, text, ""); reason != "" {
		panic(fmt.Sprintf("config: default of %s: %s", r.Path, reason))
	}
}
