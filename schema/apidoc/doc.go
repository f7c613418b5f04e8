// Package apidoc writes a contract in the words that tools of others read: OpenAPI
// 3.1 for its methods (https://spec.openapis.org/oas/v3.1.1.html) and AsyncAPI 3.0 for
// its messages (https://www.asyncapi.com/docs/reference/specification/v3.0.0). It knows
// contracts and JSON, no connections and no files.
package apidoc

import (
	"bytes"
	"encoding/json"

	"busd/schema"
)

// A Place says where a service is, and of which version the program is that serves
// it. The zero Place names neither.
type Place struct {
	// Host is "host:port".
	Host string
	// Version is the program's.
	Version string
}

// object is a JSON object whose members stay in order.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON implements [json.Marshaler].
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := plain(m.name)
		if err != nil {
			return nil, err
		}
		value, err := plain(m.value)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// with appends a member unless its value says nothing.
func (o object) with(name string, value any) object {
	switch v := value.(type) {
	case string:
		if v == "" {
			return o
		}
	case nil:
		return o
	}
	return append(o, member{name, value})
}

// plain is JSON as people write it: < and > as they are.
func plain(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// document is a JSON document of two spaces.
func document(o object) []byte {
	b, err := plain(o)
	if err != nil {
		panic(err) // nothing in it cannot be written
	}
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		panic(err) // as above
	}
	out.WriteByte('\n')
	return out.Bytes()
}

// info is how both documents begin.
func info(s *schema.Schema, p Place, what string) object {
	version := p.Version
	if version == "" {
		version = s.Fingerprint() // a document must have one
	}
	return object{}.with("title", s.Service()).with("version", version).with("description", what).
		with("x-busd-fingerprint", s.Fingerprint())
}
