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
	index = -1
	keyed(t, "", func(i int, _ reflect.StructField, key string) {
		if key == name {
			index = i
		}
		known = append(known, key)
	})
	return index, known
}

func (l *loader) value(n *node, k key, v reflect.Value, path, generic string) {
	kind := shapeOf(v.Type())
	below := kind.below(generic)
	switch kind {
	case isSection:
		l.structure(n, v, path, below)
	case isServices:
		l.services(n, path, below)
	case isSections:
		l.sections(n, k, v, path, below)
	case isNamed:
		l.named(n, v, path, below)
	case isLists:
		l.lists(n, v, path, below)
	case isValue:
		if v.Kind() == reflect.Slice {
			l.elements(n, k, v, path, below)
			return
		}
		l.scalar(n, k.position, ruleOf(below), v, path)
	}
}

// elements reads a list of values.
func (l *loader) elements(n *node, k key, v reflect.Value, path, generic string) {
	if !l.want(n, isList, path) {
		return
	}
	r := ruleOf(generic)
	list := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
	for i, item := range n.items {
		l.scalar(item, item.position, r, list.Index(i), path)
		l.said(indexed(path, i), item.position)
	}
	v.Set(list)
	l.said(path, k.position)
}

// lists reads a mapping of lists, by names that somebody else knows.
func (l *loader) lists(n *node, v reflect.Value, path, generic string) {
	if n.kind == isNull || !l.want(n, isMapping, path) {
		return
	}
	lists := reflect.MakeMap(v.Type())
	for i, k := range n.keys {
		list := reflect.New(v.Type().Elem()).Elem()
		l.elements(n.items[i], k, list, join(path, k.name), generic)
		lists.SetMapIndex(reflect.ValueOf(k.name), list)
	}
	v.Set(lists)
}

// named reads a mapping of things that the operator names, in their order.
func (l *loader) named(n *node, v reflect.Value, path, generic string) {
	if n.kind == isNull || !l.want(n, isMapping, path) {
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.keys), len(n.keys))
	for i, k := range n.keys {
		one := list.Index(i)
		defaults(one, generic)
		one.Field(0).SetString(k.name)
		at := join(path, k.name)
		l.structure(n.items[i], one, at, generic)
		l.said(at, k.position)
	}
	v.Set(list)
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
			l.add(l.origin(k.position).fault(at, "%s", l.noService(k.name)))
			continue
		}
		l.structure(n.items[i], reflect.ValueOf(&s).Elem(), at, generic)
		l.config.Services[k.name] = s
		l.said(at, k.position)
	}
}

// noService says that there is no service of a name.
func (l *loader) noService(name string) string {
	there := "there are none"
	if len(l.options.Services) > 0 {
		there = "there are " + strings.Join(l.options.Services, ", ")
	}
	return "there is no such service here: " + there + nearest.DidYouMean(name, l.options.Services)
}

// sections reads a list of structs.
func (l *loader) sections(n *node, k key, v reflect.Value, path, generic string) {
	if n.kind == isNull || !l.want(n, isList, path) {
		return
	}
	l.said(path, k.position)
	list := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
	for i, item := range n.items {
		defaults(list.Index(i), generic)
		l.said(indexed(path, i), item.position)
		l.structure(item, list.Index(i), indexed(path, i), generic)
	}
	if v.Len() > 0 && len(n.items) == 0 { // that has one by default
		l.fault(k.position, path, "want at least one")
		return
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
