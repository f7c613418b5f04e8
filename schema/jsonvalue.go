package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// jsonValue is a JSON value as it was written: numbers stay text, so that
// 2^53+1 survives, and an object keeps its order.
type jsonValue struct {
	kind  string // "object", "list", "string", "number", "bool" or "null"
	text  string // of a string or number
	truth bool
	keys  []string
	items []jsonValue // an object's values, by position of their keys, or a list's
}

// readJSON reads one JSON value that nests at most depth containers and has at
// most values values, keys included. Duplicate keys and anything after the
// value are errors.
func readJSON(data []byte, depth, values int) (jsonValue, error) {
	if !utf8.Valid(data) {
		return jsonValue{}, errors.New("not UTF-8")
	}
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return jsonValue{}, fmt.Errorf("not JSON: at byte %d: %w", syntax.Offset, err)
		}
		return jsonValue{}, fmt.Errorf("not JSON: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	r := jsonReader{d: d, depth: depth, values: values}
	return r.value("", 0)
}

type jsonReader struct {
	d             *json.Decoder
	depth, values int
}

func (r *jsonReader) value(path string, depth int) (jsonValue, error) {
	if r.values--; r.values < 0 {
		return jsonValue{}, errors.New("it holds too many values")
	}
	token, err := r.d.Token()
	if err != nil {
		return jsonValue{}, err
	}
	switch t := token.(type) {
	case string:
		return jsonValue{kind: "string", text: t}, nil
	case json.Number:
		return jsonValue{kind: "number", text: t.String()}, nil
	case bool:
		return jsonValue{kind: "bool", truth: t}, nil
	case json.Delim:
		if depth == r.depth {
			return jsonValue{}, fmt.Errorf("%s: it nests deeper than %d", printable(path), r.depth)
		}
		if t == '{' {
			return r.object(path, depth+1)
		}
		return r.list(path, depth+1)
	}
	return jsonValue{kind: "null"}, nil
}

func (r *jsonReader) object(path string, depth int) (jsonValue, error) {
	v := jsonValue{kind: "object"}
	seen := map[string]bool{}
	for r.d.More() {
		token, err := r.d.Token()
		if err != nil {
			return v, err
		}
		key, _ := token.(string)
		at := join(path, key)
		if seen[key] {
			return v, fmt.Errorf("%s: the key is there twice", printable(at))
		}
		seen[key] = true
		r.values--
		item, err := r.value(at, depth)
		if err != nil {
			return v, err
		}
		v.keys, v.items = append(v.keys, key), append(v.items, item)
	}
	_, err := r.d.Token()
	return v, err
}

func (r *jsonReader) list(path string, depth int) (jsonValue, error) {
	v := jsonValue{kind: "list"}
	for r.d.More() {
		item, err := r.value(fmt.Sprintf("%s[%d]", path, len(v.items)), depth)
		if err != nil {
			return v, err
		}
		v.items = append(v.items, item)
	}
	_, err := r.d.Token()
	return v, err
}

// get returns the value of a key of an object, or nil.
func (v *jsonValue) get(key string) *jsonValue {
	for i, k := range v.keys {
		if k == key {
			return &v.items[i]
		}
	}
	return nil
}

// join adds a name to a path.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
