package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"

	"busd/internal/nearest"
)

// Options say where a configuration comes from.
type Options struct {
	// File is the flag --config; empty: BUSD_CONFIG, or no file.
	File string
	// Environ are the environment's variables, as os.Environ returns them.
	Environ []string
	// Listen is the flag --listen; empty: it was not given.
	Listen string
	// Only is the flag --services: the others are disabled. nil: it was not
	// given.
	Only []string
	// Services are the services there are.
	Services []string
	// Dev is the flag --dev: the program makes its own certificates, so that
	// none need be said, and every address must be loopback. The defaults are
	// 127.0.0.1:8443 and a log for people.
	Dev bool
}

// Load reads a configuration: flags before the environment before the file
// before defaults. warnings are for people, one line each. The error is an
// *[Error] with everything that is wrong.
func Load(o Options) (c *Config, warnings []string, err error) {
	env := newEnvironment(o.Environ)
	if o.File == "" {
		o.File = env.values["BUSD_CONFIG"]
	}
	var data []byte
	if o.File != "" {
		if data, err = readFile(o.File); err != nil {
			return nil, nil, &Error{[]*Fault{{Where: o.File, Reason: plain(err)}}}
		}
	}
	return parse(o, env, data)
}

// plain is what is wrong with a file, without the operation and the path.
func plain(err error) string {
	var path *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file"
	case errors.Is(err, syscall.EISDIR):
		return "it is a directory"
	case errors.As(err, &path):
		return path.Err.Error()
	}
	return err.Error()
}

// readFile reads a file of at most maxFile bytes, and one more of a longer
// one.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

func parse(o Options, env *environment, data []byte) (*Config, []string, error) {
	c := &Config{origins: map[string]origin{}}
	defaults(reflect.ValueOf(c).Elem(), "")
	for _, name := range o.Services {
		s := Service{}
		defaults(reflect.ValueOf(&s).Elem(), "services.*")
		c.Services[name] = s
	}
	if o.Dev {
		c.Listeners[0].Address, c.Log.Format = "127.0.0.1:8443", "console"
	}
	l := &loader{file: file{faults: &faults{}, name: o.File, data: data}, options: o, config: c}
	root := l.tree()
	unreadable := len(l.list) > 0
	if root != nil {
		l.structure(root, reflect.ValueOf(c).Elem(), "", "")
	}
	l.environment(env)
	l.flags(env)
	if !unreadable { // what is missing may stand there
		l.check()
	}
	if err := l.err(); err != nil {
		return nil, nil, err
	}
	return c, env.warnings(), nil
}

// loader puts what it reads into a configuration.
type loader struct {
	file
	options Options
	config  *Config
}

// structure reads a mapping into a struct. path is where it stands, with names
// and indices; generic is the same as the table has it.
func (l *loader) structure(n *node, v reflect.Value, path, generic string) {
	if n.kind == isNull {
		return // a section whose keys are all commented out
	}
	if !l.want(n, isMapping, path) {
		return
	}
	t := v.Type()
	for i, k := range n.keys {
		at := join(path, k.name)
		f, known := fieldOf(t, k.name)
		if f < 0 {
			l.fault(k.position, at, "there is no such key%s", nearest.DidYouMean(k.name, known))
			continue
		}
		l.value(n.items[i], k, v.Field(f), at, join(generic, k.name))
	}
}

// fieldOf returns the field of a key, or -1 and the keys that there are.
func fieldOf(t reflect.Type, name string) (index int, known []string) {
	for i := range t.NumField() {
		key, ok := t.Field(i).Tag.Lookup("key")
		if ok && key == name {
			return i, nil
		}
		if ok {
			known = append(known, key)
		}
	}
	return -1, known
}

func (l *loader) value(n *node, k key, v reflect.Value, path, generic string) {
	switch {
	case v.Kind() == reflect.Struct && v.Type() != prefixType:
		l.structure(n, v, path, generic)
	case v.Kind() == reflect.Map:
		l.services(n, path, generic)
	case isStructs(v.Type()):
		l.listeners(n, k, v, path, generic)
	case v.Kind() == reflect.Slice:
		if !l.want(n, isList, path) {
			return
		}
		r := ruleOf(generic)
		list := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
		for i, item := range n.items {
			l.scalar(item, item.position, r, list.Index(i), path)
		}
		v.Set(list)
		l.said(path, k.position)
	default:
		l.scalar(n, k.position, ruleOf(generic), v, path)
	}
}

// services reads the mapping of services, whose names must be those of
// services there are.
func (l *loader) services(n *node, path, generic string) {
	if n.kind == isNull || !l.want(n, isMapping, path) {
		return
	}
	for i, k := range n.keys {
		at := join(path, k.name)
		s, ok := l.config.Services[k.name]
		if !ok {
			l.fault(k.position, at, "there is no such service here: %s%s", thereAre(l.options.Services), nearest.DidYouMean(k.name, l.options.Services))
			continue
		}
		l.structure(n.items[i], reflect.ValueOf(&s).Elem(), at, generic+".*")
		l.config.Services[k.name] = s
		l.said(at, k.position)
	}
}

func thereAre(services []string) string {
	if len(services) == 0 {
		return "there are none"
	}
	return "there are " + strings.Join(services, ", ")
}

func (l *loader) listeners(n *node, k key, v reflect.Value, path, generic string) {
	if !l.want(n, isList, path) {
		return
	}
	l.said(path, k.position)
	if len(n.items) == 0 {
		l.fault(k.position, path, "want at least one listener")
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
	for i, item := range n.items {
		defaults(list.Index(i), generic+"[]")
		l.structure(item, list.Index(i), indexed(path, i), generic+"[]")
	}
	v.Set(list)
}

// scalar reads one value; at is the place of its key, for one that is not
// there.
func (l *loader) scalar(n *node, at position, r *rule, v reflect.Value, path string) {
	switch n.kind {
	case isFault:
		return
	case isNull:
		l.fault(at, path, "it has no value")
		return
	case isMapping, isList:
		l.fault(n.position, path, "want one value, got %s", n.kind)
		return
	case isText, isNumber, isBool:
	}
	if reason := r.set(v, n.text, n.kind); reason != "" {
		l.fault(n.position, path, "%s", reason)
		return
	}
	if (r.form == "file" || r.form == "store" && v.String() != "") && !filepath.IsAbs(v.String()) {
		v.SetString(filepath.Join(filepath.Dir(l.name), v.String()))
	}
	l.said(path, n.position)
}

func (l *loader) want(n *node, kind nodeKind, path string) bool {
	if n.kind == kind {
		return true
	}
	if n.kind != isFault {
		l.fault(n.position, path, "want %s, got %s", kind, n.kind)
	}
	return false
}

func (l *loader) said(path string, at position) { l.config.origins[path] = l.origin(at) }
