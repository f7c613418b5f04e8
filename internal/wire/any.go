package wire

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"busd/schema"
)

// AppendAny appends a value whose type no contract says: nil, bool, integers,
// floats, string, []byte, lists and maps with string keys of such values, and
// pointers to them; named types too. Map keys are sorted. What it appends
// passes [Scan]; what cannot (a struct, a time, NaN, text that is not UTF-8,
// more than the limits allow) is an error that says where.
func AppendAny(dst []byte, v any) ([]byte, error) {
	start := len(dst)
	dst, err := appendAny(dst, v, schema.MaxDepth)
	if err != nil {
		return nil, err
	}
	if _, err := Scan(dst[start:]); err != nil {
		var bad *SyntaxError
		errors.As(err, &bad)
		return nil, errors.New(bad.Reason)
	}
	return dst, nil
}

// appendAny appends v, inside which containers may nest depth deep. The limits
// on numbers and lengths are left to a scan or check of the whole.
func appendAny(dst []byte, v any, depth int) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return appendNil(dst), nil
	case bool:
		return appendBool(dst, v), nil
	case int:
		return appendInt(dst, int64(v)), nil
	case int64:
		return appendInt(dst, v), nil
	case uint64:
		return appendUint(dst, v), nil
	case float64:
		return appendAnyFloat(dst, v)
	case string:
		return appendAnyString(dst, v)
	case []byte:
		return appendBytes(dst, v), nil
	case map[string]any:
		return appendAnyMap(dst, reflect.ValueOf(v), depth)
	case time.Time:
		return nil, errors.New("a time: only attributes of kind time can hold one")
	}
	return appendReflected(dst, reflect.ValueOf(v), depth)
}

func appendReflected(dst []byte, v reflect.Value, depth int) ([]byte, error) {
	switch v.Kind() { //nolint:exhaustive // the others cannot be sent
	case reflect.Bool:
		return appendBool(dst, v.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return appendInt(dst, v.Int()), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return appendUint(dst, v.Uint()), nil
	case reflect.Float32, reflect.Float64:
		return appendAnyFloat(dst, v.Float())
	case reflect.String:
		return appendAnyString(dst, v.String())
	case reflect.Pointer:
		if v.IsNil() {
			return appendNil(dst), nil
		}
		if depth == 0 {
			return nil, errors.New(whyDepth)
		}
		return appendAny(dst, v.Elem().Interface(), depth-1)
	case reflect.Slice:
		switch {
		case v.Type().Elem().Kind() == reflect.Uint8:
			return appendBytes(dst, v.Bytes()), nil
		case v.IsNil():
			return appendNil(dst), nil
		}
		return appendAnyList(dst, v, depth)
	case reflect.Map:
		if v.Type().Key().Kind() != reflect.String {
			break
		}
		if v.IsNil() {
			return appendNil(dst), nil
		}
		return appendAnyMap(dst, v, depth)
	}
	return nil, fmt.Errorf("a Go %v, which has no form on the wire", v.Type())
}

func appendAnyFloat(dst []byte, f float64) ([]byte, error) {
	if !isFinite(f) {
		return nil, errors.New(whyNonFinite)
	}
	return appendFloat(dst, f), nil
}

func appendAnyString(dst []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, errors.New(whyUTF8)
	}
	return appendString(dst, s), nil
}

func appendAnyList(dst []byte, v reflect.Value, depth int) ([]byte, error) {
	if depth == 0 {
		return nil, errors.New(whyDepth)
	}
	dst = appendListHead(dst, v.Len())
	for i := range v.Len() {
		var err error
		if dst, err = appendAny(dst, v.Index(i).Interface(), depth-1); err != nil {
			return nil, fmt.Errorf("[%d]: %w", i, err)
		}
	}
	return dst, nil
}

func appendAnyMap(dst []byte, v reflect.Value, depth int) ([]byte, error) {
	if depth == 0 {
		return nil, errors.New(whyDepth)
	}
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	dst = appendMapHead(dst, len(keys))
	for _, k := range keys {
		dst = appendString(dst, k.String())
		var err error
		if dst, err = appendAny(dst, v.MapIndex(k).Interface(), depth-1); err != nil {
			return nil, fmt.Errorf("[%.64q]: %w", k.String(), err)
		}
	}
	return dst, nil
}

// DecodeAny scans the value at the start of b and returns it in Go: nil, bool,
// int64, uint64 for what an int64 cannot hold, float64, string, []byte, []any,
// map[string]any. Nothing of it refers to b. An error is a [*SyntaxError].
func DecodeAny(b []byte) (any, error) {
	if _, err := Scan(b); err != nil {
		return nil, err
	}
	v, _ := readAny(b, 0)
	return v, nil
}

// readAny reads the value at pos, which has been scanned, and returns where it
// ends. Its recursion is bounded by the scan.
func readAny(b []byte, pos int) (any, int) {
	c, n, next := readHead(b, pos)
	switch c {
	case classBool:
		return b[pos] == 0xc3, next
	case classInt:
		v, big := readInt(b, pos)
		if big {
			return uint64(v), next + n
		}
		return v, next + n
	case classFloat:
		return readFloat(b, pos), next + n
	case classString:
		return string(b[next : next+n]), next + n
	case classBytes:
		return slices.Clone(b[next : next+n : next+n]), next + n
	case classList:
		list := make([]any, n)
		for i := range list {
			list[i], next = readAny(b, next)
		}
		return list, next
	case classMap:
		m := make(map[string]any, n)
		for range n {
			_, size, at := readHead(b, next)
			m[string(b[at:at+size])], next = readAny(b, at+size)
		}
		return m, next
	case classExt:
		return readTime(b, pos), next + n
	case classNil, classNone, classShort:
	}
	return nil, next
}
