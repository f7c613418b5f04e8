package rpc

import (
	"context"
	"fmt"
	"io"
	"math/big"
	"reflect"
	"slices"
	"strconv"

	"busd/rpc/jencode"
	"busd/schema"
)

// A signature is what a Go function takes and gives, as a method. It is made once,
// by Export.
type signature struct {
	fn           reflect.Value
	takesContext bool
	// params are its arguments in order: those of the function, or, where that takes
	// one struct for named ones (named), the struct's, required ones first.
	params   []param
	required int // so many of params cannot be left out
	named    *namedArgs
	// variadic: the last of params takes the rest. uploads: the last is a stream.
	variadic, uploads bool

	gives  reflect.Type // nil: no result
	result *schema.Type
	errs   bool
	// streams: the result is a download.
	streams bool
}

// A param is one argument.
type param struct {
	name string
	typ  reflect.Type // of the rest: of each
	in   schema.Type  // in the contract; of the rest: of each
	doc  string
	// optional: it may be left out.
	optional bool
}

// namedArgs is a struct for named arguments.
type namedArgs struct {
	typ     reflect.Type
	pointer bool // the function takes a pointer to it
}

var (
	contextType = reflect.TypeFor[context.Context]()
	errorType   = reflect.TypeFor[error]()
	readerType  = reflect.TypeFor[io.Reader]()
	streamType  = reflect.TypeFor[*Stream]()
	rawType     = reflect.TypeFor[jencode.Raw]()
	bigType     = reflect.TypeFor[*big.Int]()
)

// known are JEncode's own types, which a contract has no words for.
var known = map[reflect.Type]schema.Type{
	rawType:                                 {},
	bigType.Elem():                          {},
	reflect.TypeFor[jencode.Date]():         {},
	reflect.TypeFor[jencode.Serializable](): {},
}

// newSignature reads a function's type. Its error is a mistake of the program.
func newSignature(fn any) (*signature, error) {
	v := reflect.ValueOf(fn)
	if v.Kind() != reflect.Func || v.IsNil() {
		return nil, fmt.Errorf("want a function, got %T", fn)
	}
	g := &signature{fn: v, variadic: v.Type().IsVariadic()}
	if err := g.readResults(v.Type()); err != nil {
		return nil, err
	}
	return g, g.readParams(v.Type())
}

func (g *signature) readResults(t reflect.Type) error {
	outs := slices.Collect(t.Outs())
	if n := len(outs); n > 0 && outs[n-1] == errorType {
		g.errs, outs = true, outs[:n-1]
	}
	switch {
	case len(outs) > 1:
		return fmt.Errorf("want at most a result and an error, got %s", t)
	case len(outs) == 0:
		return nil
	case outs[0] == streamType || outs[0].Implements(readerType):
		g.gives, g.streams, g.result = outs[0], true, &schema.Type{Kind: schema.Bytes}
		return nil
	}
	in, err := inferred(outs[0])
	g.gives, g.result = outs[0], &in
	if err != nil {
		return fmt.Errorf("its result: %w", err)
	}
	return nil
}

func (g *signature) readParams(t reflect.Type) error {
	ins := slices.Collect(t.Ins())
	if len(ins) > 0 && ins[0] == contextType {
		g.takesContext, ins = true, ins[1:]
	}
	if n := len(ins); n > 0 && ins[n-1] == readerType {
		g.uploads = true
	}
	for i, in := range ins {
		p, err := g.readParam(in, i == len(ins)-1)
		if err != nil {
			return fmt.Errorf("its argument %d: %w", i+1, err)
		}
		p.name = "arg" + strconv.Itoa(i+1)
		g.params = append(g.params, p)
	}
	if len(g.params) == 1 && g.params[0].in.Kind == schema.Struct && !g.variadic {
		g.readFields(ins[0])
	}
	g.required = len(g.params)
	for i := len(g.params) - 1; i >= 0 && g.params[i].optional; i-- {
		g.required = i
	}
	for i := range g.required { // a pointer before others cannot be left out
		g.params[i].optional = false
	}
	return nil
}

func (g *signature) readParam(t reflect.Type, last bool) (param, error) {
	p := param{typ: t}
	switch {
	case last && g.uploads:
		p.in.Kind = schema.Bytes
		return p, nil
	case last && g.variadic:
		p.typ, p.optional = t.Elem(), true
	case t.Kind() == reflect.Pointer && t != bigType:
		p.optional = !g.uploads // a stream comes last, so nothing before it can be left out
	}
	var err error
	if p.in, err = inferred(p.typ); err != nil {
		return p, err
	}
	return p, nil
}

// readFields takes the arguments from a struct's fields. A list of arguments has
// the required ones first, since they are told apart by position.
func (g *signature) readFields(t reflect.Type) {
	whole := g.params[0]
	g.named = &namedArgs{typ: t}
	if t.Kind() == reflect.Pointer {
		g.named.typ, g.named.pointer = t.Elem(), true
	}
	g.params = g.params[:0]
	for _, optional := range []bool{false, true} {
		for _, a := range whole.in.Attrs {
			if a.Optional == optional {
				g.params = append(g.params, param{name: a.Name, in: a.Type, doc: a.Doc, optional: optional})
			}
		}
	}
}

// inferred is the type in the contract of a Go type that JEncode can write and
// read.
func inferred(t reflect.Type) (schema.Type, error) {
	if err := jencode.CheckType(t); err != nil {
		return schema.Type{}, err
	}
	in, err := schema.InferType(t, known)
	letNonFinite(&in)
	return in, err
}

// letNonFinite says of floats that they may be NaN, as JEncode's may.
func letNonFinite(t *schema.Type) {
	if t.Kind == schema.Float {
		t.NonFinite = t.MinFloat == nil && t.MaxFloat == nil
	}
	if t.Elem != nil {
		letNonFinite(t.Elem)
	}
	for i := range t.Attrs {
		letNonFinite(&t.Attrs[i].Type)
	}
}

// contract is the parameters as a contract has them.
func (g *signature) contract() []schema.Attribute {
	attrs := make([]schema.Attribute, len(g.params))
	for i, p := range g.params {
		attrs[i] = schema.Attribute{Name: p.name, Type: p.in, Optional: p.optional, Doc: p.doc}
		if g.variadic && i == len(g.params)-1 {
			attrs[i].Type = schema.Type{Kind: schema.List, Elem: &p.in}
			attrs[i].Doc = "the rest of the arguments"
		}
	}
	return attrs
}

// names are those of the parameters, in order.
// has tells whether one of the arguments has a name.
func (g *signature) has(name string) bool {
	for i := range g.params {
		if g.params[i].name == name {
			return true
		}
	}
	return false
}

func (g *signature) names() []string {
	names := make([]string, len(g.params))
	for i, p := range g.params {
		names[i] = p.name
	}
	return names
}
