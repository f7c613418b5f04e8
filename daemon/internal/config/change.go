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
		if old[path] != now[path] {
			changes = append(changes, Change{Path: path, Old: old[path], New: now[path], Live: isLive(path)})
		}
	}
	return changes
}

func isLive(path string) bool {
	return slices.ContainsFunc(rules(), func(r *rule) bool { return r.Live && r.Path == path })
}

// flat returns all values as texts.
func (c *Config) flat() map[string]string {
	texts := map[string]string{}
	flatten(texts, reflect.ValueOf(c).Elem(), "")
	return texts
}

func flatten(texts map[string]string, v reflect.Value, path string) {
	t := v.Type()
	for i := range t.NumField() {
		name, ok := t.Field(i).Tag.Lookup("key")
		if !ok {
			continue
		}
		f, at := v.Field(i), join(path, name)
		switch {
		case f.Kind() == reflect.Struct:
			flatten(texts, f, at)
		case f.Kind() == reflect.Map:
			for _, k := range f.MapKeys() {
				flatten(texts, f.MapIndex(k), join(at, k.String()))
			}
		case isStructs(f.Type()):
			for j := range f.Len() {
				flatten(texts, f.Index(j), indexed(at, j))
			}
		default:
			texts[at] = textOf(f)
		}
	}
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
