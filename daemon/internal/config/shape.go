package config

import (
	"net/netip"
	"reflect"
)

// A shape says how a field of the configuration stands in the file.
type shape uint8

const (
	isValue    shape = iota // one value, or a list of such
	isSection               // a mapping with known keys
	isSections              // a list of these
	isNamed                 // a mapping of these, by names of the operator's, in their order
	isServices              // a mapping of these, by the names of the services there are
	isLists                 // a mapping of lists of values, by names
)

// nameKey is the key of the field that a name goes into.
const nameKey = "*"

func shapeOf(t reflect.Type) shape {
	switch {
	case t.Kind() == reflect.Struct && t != reflect.TypeFor[netip.Prefix]():
		return isSection
	case t.Kind() == reflect.Map && shapeOf(t.Elem()) == isSection:
		return isServices
	case t.Kind() == reflect.Map:
		return isLists
	case t.Kind() == reflect.Slice && shapeOf(t.Elem()) == isSection:
		if t.Elem().Field(0).Tag.Get("key") == nameKey {
			return isNamed
		}
		return isSections
	}
	return isValue
}

// below is the path, as the table has it, of what a field of that shape holds.
func (s shape) below(path string) string {
	switch s {
	case isSections:
		return path + "[]"
	case isNamed, isServices, isLists:
		return path + ".*"
	case isValue, isSection:
	}
	return path
}

// keyed calls do for each field of a struct that has a key of its own, with its
// path below that of the struct.
func keyed(t reflect.Type, path string, do func(i int, f reflect.StructField, path string)) {
	for i := range t.NumField() {
		f := t.Field(i)
		if name, ok := f.Tag.Lookup("key"); ok && name != nameKey {
			do(i, f, join(path, name))
		}
	}
}
