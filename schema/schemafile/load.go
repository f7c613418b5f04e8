// Package schemafile reads a service's contract from a YAML file:
//
//	service: Framework/PingPong
//	extends: base.yaml            # optional, relative to this file
//	messages:
//	  Ping: {from: client, attrs: {id: int}, doc: asks for a Pong with the same id}
//	  Job:
//	    from: service             # client, service or both (default)
//	    class: latest             # must (default), latest or volatile
//	    key: id
//	    attrs:
//	      id: {type: int, min: 0}
//	      note: string?           # ? = optional
//	      tags: {type: list, of: string, optional: true, maxlen: 10}
//	      where: {type: struct, attrs: {host: string, port: {type: int, min: 1, max: 65535}}}
//	      state: {type: enum, values: [new, done]}
//	      name: {type: string, minlen: 1, pattern: "^[a-z]+$"}
//	methods:
//	  add: {params: [{name: a, type: int}, {name: b, type: int}], result: int, doc: adds}
//	  store:
//	    params: [{name: name, type: string}, {name: content, type: bytes}]
//	    upload: true              # the last parameter is a file: a stream of bytes
//	  fetch: {params: [{name: name, type: string}], result: bytes, download: true}
//
// An attribute is a kind (bool, int, float, string, bytes, time, enum, list,
// map, struct, any) or a mapping with type and optional, doc, min, max,
// nonfinite, minlen, maxlen, pattern, values, of, attrs. The order in the file
// is the order in the contract.
//
// It is strict: whatever is unknown, there twice or of a wrong type is an
// error with file, line and column. Anchors, aliases and tags are refused. It
// knows YAML and nothing else; what a contract may say is package schema's.
package schemafile

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"busd/schema"
)

// MaxFile bounds a file, in bytes.
const MaxFile = 1 << 20

// maxExtends bounds a chain of files that extend each other.
const maxExtends = 16

// Load reads the contract in a file and in those that it extends. A file
// called *.json is read as a contract's JSON document ([schema.Parse]).
//
// All faults of a file are reported together, each a [*Fault].
func Load(path string) (*schema.Schema, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data, readFile)
}

// Parse is [Load] for bytes that are at hand. name is the file's name in
// errors, and what extends is relative to; open is asked for the files that
// the contract extends, and nil if it may extend none. data may come from a
// stranger.
func Parse(name string, data []byte, open func(path string) ([]byte, error)) (*schema.Schema, error) {
	l := loader{open: open}
	return l.parse(name, data)
}

// loader reads one file and, through open, those under it.
type loader struct {
	open func(path string) ([]byte, error)
	// chain are the files being read, each extending the next.
	chain []string
}

func (l *loader) parse(name string, data []byte) (*schema.Schema, error) {
	f := file{name: name, data: data}
	if len(data) > MaxFile {
		f.add(position{}, "the file has %d bytes, want at most %d", len(data), MaxFile)
		return nil, f.err()
	}
	if strings.EqualFold(filepath.Ext(name), ".json") {
		s, err := schema.Parse(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return s, nil
	}
	root := f.tree()
	if root == nil {
		return nil, f.err()
	}
	l.chain = append(l.chain, filepath.Clean(name))
	defer func() { l.chain = l.chain[:len(l.chain)-1] }()
	return l.schema(&f, root)
}

func (l *loader) schema(f *file, root *node) (*schema.Schema, error) {
	r := reader{file: f, places: map[string]position{}}
	service, base, parts := r.contract(root)
	if base != nil {
		s, err := l.extended(f, base)
		if err != nil {
			return nil, err
		}
		if s != nil {
			parts = append(parts, schema.Extends(s))
		}
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	s, err := schema.New(service, parts...)
	if err != nil {
		r.locate(err)
		return nil, f.err()
	}
	return s, nil
}

// extended reads the file that f extends. Faults of the reference are f's;
// faults inside it are an error of their own, which is not repeated.
func (l *loader) extended(f *file, n *node) (*schema.Schema, error) {
	path := n.text
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(f.name), path)
	}
	path = filepath.Clean(path)
	switch {
	case l.open == nil:
		f.add(n.position, "this contract may not extend another")
		return nil, nil //nolint:nilnil // the fault is f's
	case slices.Contains(l.chain, path):
		f.add(n.position, "the files extend each other in a circle: %s", strings.Join(append(l.chain, path), ", "))
		return nil, nil //nolint:nilnil // the fault is f's
	case len(l.chain) == maxExtends:
		f.add(n.position, "more than %d files extend each other", maxExtends)
		return nil, nil //nolint:nilnil // the fault is f's
	}
	data, err := l.open(path)
	if err != nil {
		f.add(n.position, "%v", err)
		return nil, nil //nolint:nilnil // the fault is f's
	}
	return l.parse(path, data)
}

// readFile reads a file of at most MaxFile bytes, and one more of a longer
// one.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, err
	}
	return data, nil
}
