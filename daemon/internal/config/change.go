package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// A Change is a key whose value is another one.
type Change struct {
	// Path is the key's, with names and indices: "listeners[0].address",
	// "services.Framework/PingPong.credit".
	Path     string
	Old, New string // empty: it was not there
	// Live: a running program can apply it.
	Live bool
}

// Changes returns what differs in next, by path.
func (c *Config) Changes(next *Config) []Change {
	old, now := c.flat(), next.flat()
	paths := maps.Clone(old)
	maps.Copy(paths, now)
	var changes []Change
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if old[path].text != now[path].text {
			changes = append(changes, Change{Path: path, Old: old[path].text, New: now[path].text, Live: paths[path].live})
		}
	}
	return changes
}

// A flatValue is a value as a text.
type flatValue struct {
	text string
	live bool
}

// flat returns all values, by path.
func (c *Config) flat() map[string]flatValue {
	f := flattener{values: map[string]flatValue{}, live: map[string]bool{}}
	for _, r := range rules() {
		f.live[r.Path] = r.Live
	}
	f.section(reflect.ValueOf(c).Elem(), "", "")
	return f.values
}

type flattener struct {
	values map[string]flatValue
	live   map[string]bool // by the table's paths
}

// section adds the values of a struct. generic is its path as the table has it.
func (f *flattener) section(v reflect.Value, path, generic string) {
	keyed(v.Type(), "", func(i int, field reflect.StructField, name string) {
		kind, value := shapeOf(field.Type), v.Field(i)
		at, below := join(path, name), kind.below(join(generic, name))
		switch kind {
		case isSection:
			f.section(value, at, below)
		case isSections:
			for j := range value.Len() {
				f.section(value.Index(j), indexed(at, j), below)
			}
		case isNamed:
			names := f.named(value, at, below)
			if field.Tag.Get("order") == "yes" {
				f.values[at] = flatValue{"[" + strings.Join(names, ", ") + "]", field.Tag.Get("live") == "yes"}
			}
		case isServices:
			for _, k := range value.MapKeys() {
				f.section(value.MapIndex(k), join(at, k.String()), below)
			}
		case isLists:
			for _, k := range value.MapKeys() {
				f.values[join(at, k.String())] = flatValue{textOf(value.MapIndex(k)), f.live[below]}
			}
		case isValue:
			f.values[at] = flatValue{textOf(value), f.live[below]}
		}
	})
}

// named adds things that have names, and returns these. There may be thousands:
// what is not said of one is left out.
func (f *flattener) named(list reflect.Value, path, generic string) []string {
	names := make([]string, list.Len())
	for i := range names {
		names[i] = list.Index(i).Field(0).String()
		at := join(path, names[i])
		f.section(list.Index(i), at, generic)
		keyed(list.Type().Elem(), at, func(_ int, _ reflect.StructField, at string) {
			if text := f.values[at].text; text == "" || text == "[]" {
				delete(f.values, at)
			}
		})
	}
	return names
}

func textOf(v reflect.Value) string {
	switch {
	case v.Kind() == reflect.Pointer && v.IsNil():
		return ""
	case v.Kind() == reflect.Pointer:
		return textOf(v.Elem())
	case v.Kind() == reflect.Slice:
		words := make([]string, v.Len())
		for i := range words {
			words[i] = textOf(v.Index(i))
		}
		return "[" + strings.Join(words, ", ") + "]"
	}
	return fmt.Sprint(v.Interface())
}

// String returns the size in the largest unit that leaves it whole.
func (s Size) String() string {
	for _, u := range []struct {
		name  string
		bytes Size
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if s != 0 && s%u.bytes == 0 {
			return fmt.Sprintf("%d%s", int(s/u.bytes), u.name)
		}
	}
	return fmt.Sprintf("%dB", int(s))
}
