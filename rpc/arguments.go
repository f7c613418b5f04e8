package rpc

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"busd/bus"
	"busd/internal/nearest"
	"busd/rpc/jencode"
	"busd/schema"
)

// given are the arguments of a call before they are read.
type given struct {
	list   []jencode.Raw
	byName map[string]jencode.Raw
	object jencode.Raw // all of byName, as it came; nil: none
}

// arguments reads a call's arguments: the values that the function is called
// with, but for the context.
func (m *Method) arguments(c *call) ([]reflect.Value, *bus.Error) {
	g, err := m.given(c)
	if err != nil {
		return nil, err
	}
	if m.sig.named != nil {
		return m.structArgument(c, g)
	}
	return m.eachArgument(c, g)
}

// given splits the arguments.
func (m *Method) given(c *call) (given, *bus.Error) {
	var g given
	list, object := jencode.Raw(c.args), jencode.Raw(c.named)
	if first(list) == '{' {
		if !isNull(object) {
			return g, m.bad("", "want one object of named arguments, got two")
		}
		list, object = nil, list
	}
	var err error
	if !isNull(list) {
		if first(list) != '[' {
			return g, m.bad("", "want a list of arguments, or an object of named ones")
		}
		if g.list, err = jencode.Elements(list, c.dialect); err != nil {
			return g, m.misfit("", err)
		}
	}
	if !isNull(object) {
		g.object = object
		if g.byName, err = jencode.Members(object, c.dialect); err != nil {
			return g, m.misfit("", err)
		}
	}
	return g, nil
}

// isNull tells whether a value is null, or there is none.
func isNull(value jencode.Raw) bool {
	trimmed := bytes.TrimSpace(value)
	return len(trimmed) == 0 || string(trimmed) == "null"
}

// first is the first byte of a value; 0: there is none.
func first(value jencode.Raw) byte {
	for _, b := range value {
		if b != ' ' && b != '\t' && b != '\n' && b != '\r' {
			return b
		}
	}
	return 0
}

// structArgument reads arguments into the struct that the function takes.
func (m *Method) structArgument(c *call, g given) ([]reflect.Value, *bus.Error) {
	object := g.object
	switch {
	case len(g.list) == 1 && first(g.list[0]) == '{' && object == nil:
		object = g.list[0] // the only way to name arguments for who has none: DIRAC's client
	case len(g.list) > 0:
		var err *bus.Error
		if object, err = m.joined(g); err != nil {
			return nil, err
		}
	case object == nil:
		object = jencode.Raw("{}")
	}
	into := reflect.New(m.sig.named.typ)
	if err := jencode.Unmarshal(object, into.Interface(), c.dialect); err != nil {
		return nil, m.misfit("", err)
	}
	if !m.sig.named.pointer {
		into = into.Elem()
	}
	return []reflect.Value{into}, nil
}

// joined makes one object of a list of arguments and named ones.
func (m *Method) joined(g given) (jencode.Raw, *bus.Error) {
	if err := m.count(len(g.list)); err != nil {
		return nil, err
	}
	object := []byte{'{'}
	add := func(name string, value jencode.Raw) {
		if len(object) > 1 {
			object = append(object, ',')
		}
		object, _ = jencode.Append(object, name, jencode.JSON) // a string can be written
		object = append(append(object, ':'), value...)
	}
	for i, value := range g.list {
		name := m.sig.params[i].name
		if _, twice := g.byName[name]; twice {
			return nil, m.bad(name, "it is given twice: by position and by name")
		}
		add(name, value)
	}
	for name, value := range g.byName {
		add(name, value)
	}
	return append(object, '}'), nil
}

// eachArgument reads arguments one by one.
func (m *Method) eachArgument(c *call, g given) ([]reflect.Value, *bus.Error) {
	params := m.sig.params
	upload, rest := -1, -1 // where these stand among params
	switch last := len(params) - 1; {
	case m.sig.uploads:
		upload = last
	case m.sig.variadic:
		rest = last
	}
	if err := m.fits(c, g); err != nil {
		return nil, err
	}
	values := make([]reflect.Value, 0, len(params)+1)
	for i := range params {
		p := &params[i]
		raw, ok := g.byName[p.name]
		switch {
		case ok && i < len(g.list):
			return nil, m.bad(p.name, "it is given twice: by position and by name")
		case i < len(g.list):
			raw, ok = g.list[i], true
		}
		var value reflect.Value
		var err *bus.Error
		switch {
		case i == upload:
			value, err = m.upload(c, raw)
		case i == rest:
			value, err = m.rest(c, g, raw)
		case !ok && !p.optional:
			err = m.bad(p.name, "it is missing: want "+word(&p.in))
		case !ok:
			value = reflect.Zero(p.typ)
		default:
			value, err = m.read(c, p, p.name, raw)
		}
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, nil
}

// fits tells whether there are as many arguments as the function takes, under
// its names.
func (m *Method) fits(c *call, g given) *bus.Error {
	n := len(g.list)
	if c.upload != nil && m.sig.uploads {
		if most := len(m.sig.params) - 1; n > most {
			return m.bad("", fmt.Sprintf("want at most %s beside the body, got %d", arguments(most), n))
		}
		n++ // the body is one of them
	}
	if g.object == nil {
		return m.count(n)
	}
	unknown, is := "", false
	for name := range g.byName {
		if !m.sig.has(name) && (!is || name < unknown) { // the first of them is told
			unknown, is = name, true
		}
	}
	if is {
		return m.bad("", fmt.Sprintf("it has no argument %.64q%s", unknown, nearest.DidYouMean(unknown, m.sig.names())))
	}
	return m.count(max(n, m.sig.required)) // which of them are missing is found one by one
}

// count tells whether n arguments are as many as are wanted.
func (m *Method) count(n int) *bus.Error {
	least, most := m.sig.required, len(m.sig.params)
	want := ""
	switch {
	case n >= least && (n <= most || m.sig.variadic), m.sig.named != nil && n <= most:
		return nil
	case m.sig.variadic:
		want = "at least " + arguments(least)
	case m.sig.named != nil || least < most && n > most:
		want = "at most " + arguments(most)
	case least < most:
		want = "at least " + arguments(least)
	default:
		want = arguments(most)
	}
	if len(m.sig.params) > 0 {
		want += " (" + strings.Join(m.sig.names(), ", ") + ")"
	}
	return m.bad("", fmt.Sprintf("want %s, got %d", want, n))
}

func arguments(n int) string {
	switch n {
	case 0:
		return "no arguments"
	case 1:
		return "1 argument"
	}
	return fmt.Sprintf("%d arguments", n)
}

// read reads one argument, a part of what was given; at is its place in an error.
func (m *Method) read(c *call, p *param, at string, raw jencode.Raw) (reflect.Value, *bus.Error) {
	switch {
	case p.typ == rawType && m.quick:
		return reflect.ValueOf(raw), nil
	case p.typ == rawType:
		return reflect.ValueOf(bytes.Clone(raw)), nil // the method may keep it
	case p.typ == bigType && isNull(raw):
		return reflect.Value{}, m.bad(at, "want int, got null")
	}
	into := reflect.New(p.typ)
	if err := jencode.UnmarshalPart(raw, into.Interface(), c.dialect); err != nil {
		return into, m.misfit(at, err)
	}
	return into.Elem(), nil
}

// rest reads the arguments from a variadic function's last one on: a slice. In
// the contract it is one argument, a list; as such it may come too, by its name,
// or by position where it cannot be taken for one of the rest.
func (m *Method) rest(c *call, g given, byName jencode.Raw) (reflect.Value, *bus.Error) {
	last := len(m.sig.params) - 1
	p := &m.sig.params[last]
	var all []jencode.Raw
	if len(g.list) > last {
		all = g.list[last:]
		if k := p.in.Kind; len(all) == 1 && first(all[0]) == '[' && k != schema.List && k != schema.Any {
			byName, all = all[0], nil
		}
	}
	if byName != nil && all == nil {
		var err error
		if all, err = jencode.Elements(byName, c.dialect); err != nil {
			return reflect.Value{}, m.misfit(p.name, err)
		}
	}
	values := reflect.MakeSlice(reflect.SliceOf(p.typ), len(all), len(all))
	for i, raw := range all {
		value, err := m.read(c, p, fmt.Sprintf("%s[%d]", p.name, i), raw)
		if err != nil {
			return value, err
		}
		values.Index(i).Set(value)
	}
	return values, nil
}

// upload is the stream that the function reads.
func (m *Method) upload(c *call, raw jencode.Raw) (reflect.Value, *bus.Error) {
	p := &m.sig.params[len(m.sig.params)-1]
	stream := c.upload
	switch {
	case stream != nil && raw != nil:
		return reflect.Value{}, m.bad(p.name, "it is given twice: as the body and as an argument")
	case stream == nil && raw == nil:
		return reflect.Value{}, m.bad(p.name, "it is missing: want bytes")
	case stream == nil:
		var content []byte
		if err := jencode.Unmarshal(raw, &content, c.dialect); err != nil {
			return reflect.Value{}, m.misfit(p.name, err)
		}
		stream = bytes.NewReader(content)
	}
	v := reflect.New(readerType).Elem()
	v.Set(reflect.ValueOf(stream))
	return v, nil
}

// bad is a fault of an argument; empty: of all of them.
func (m *Method) bad(argument, reason string) *bus.Error {
	e := bus.Errorf(bus.CodeInvalidArgument, "%s", reason)
	e.Path = m.name + "()"
	if argument != "" {
		// The first step of a path names the argument; steps into it stand behind.
		name, deeper := argument, ""
		if i := strings.IndexAny(argument, ".["); i >= 0 {
			name, deeper = argument[:i], argument[i:]
		}
		e.Path = m.name + "(" + name + ")" + deeper
	}
	return e
}

// misfit is what was found wrong with an argument as it was read.
func (m *Method) misfit(at string, err error) *bus.Error {
	var value *jencode.ValueError
	if !errors.As(err, &value) {
		return m.bad(at, err.Error())
	}
	path := value.Path
	if strings.HasPrefix(path, "byte ") { // it is no JSON at all
		return m.bad(at, "want "+value.Want+", got "+value.Got+" at "+path)
	}
	if at != "" && path != "" && path[0] != '[' {
		path = "." + path
	}
	return m.bad(at+path, "want "+value.Want+", got "+value.Got)
}

// word is what a type is called in an error.
func word(t *schema.Type) string {
	if t.Kind == schema.Any {
		return "a value"
	}
	return t.Kind.String()
}
