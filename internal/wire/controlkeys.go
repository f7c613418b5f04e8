package wire

import (
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// keyTypes are the keys that a control frame's map, or a map in it, may have,
// by name. The library would take bytes for a string, a list for a map, and a
// number beyond 64 bits with a sign.
type keyTypes map[string]keyType

type keyType struct {
	class class
	elem  class    // of a list
	keys  keyTypes // of a map; nil: any
}

var (
	allKeyTypes sync.Map // reflect.Type → keyTypes
	rawMap      = reflect.TypeFor[msgpack.RawMessage]()
)

func keyTypesOf(t reflect.Type) keyTypes {
	if found, ok := allKeyTypes.Load(t); ok {
		return found.(keyTypes) // nothing else is stored
	}
	keys := keyTypes{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("msgpack"), ",")
		keys[name] = keyTypeOf(f.Type)
	}
	allKeyTypes.Store(t, keys)
	return keys
}

func keyTypeOf(t reflect.Type) keyType {
	switch t.Kind() { //nolint:exhaustive // control frames have no others
	case reflect.String:
		return keyType{class: classString}
	case reflect.Int64:
		return keyType{class: classInt}
	case reflect.Bool:
		return keyType{class: classBool}
	case reflect.Struct:
		return keyType{class: classMap, keys: keyTypesOf(t)}
	case reflect.Slice:
		switch {
		case t == rawMap:
			return keyType{class: classMap}
		case t.Elem().Kind() == reflect.Uint8:
			return keyType{class: classBytes}
		}
		return keyType{class: classList, elem: keyTypeOf(t.Elem()).class}
	}
	panic(fmt.Sprintf("wire: a control frame with a %s", t))
}

// check looks at the values in the map at pos, which has been scanned, and
// returns the first key whose value is of the wrong type, or "". nil is as if
// the key were not there.
func (k keyTypes) check(b []byte, pos int) string {
	_, n, pos := readHead(b, pos)
	for range n {
		_, size, at := readHead(b, pos)
		name := string(b[at : at+size])
		at += size
		if want, known := k[name]; known && !want.fits(b, at) {
			return name
		}
		pos = passValue(b, at)
	}
	return ""
}

func (t keyType) fits(b []byte, pos int) bool {
	c, n, next := readHead(b, pos)
	switch {
	case c == classNil:
		return true
	case c != t.class:
		return false
	case c == classInt:
		_, big := readInt(b, pos)
		return !big
	case c == classMap && t.keys != nil:
		return t.keys.check(b, pos) == ""
	case c == classList:
		for range n {
			if c, _, _ := readHead(b, next); c != t.elem {
				return false
			}
			next = passValue(b, next)
		}
	}
	return true
}
