//go:build linux

package hostile_test

import (
	"errors"
	"fmt"
	"slices"
)

// An expression is what the bytes of a step are made of. It is parsed once, with
// the script, and evaluated for each client.
type expression []node

// A node is one part of it: a value of its own, a call, or a list or map of msgpack.
type node struct {
	token
	args  []expression // of a call, or of a list's elements; a map's keys and values in turn
	isAll bool         // it is a call, a list or a map
}

// A scope is what names stand for: text, []byte (binary), int64, or an
// expression.
type scope map[string]any

// raw is bytes that stand for themselves, in msgpack too.
type raw []byte

// errNoName is for names that stand for nothing, or for nothing yet.
var errNoName = errors.New("nothing is named")

func parseExpression(s string) (expression, error) {
	tokens, err := lex(s)
	if err != nil {
		return nil, err
	}
	p := &parser{left: tokens}
	e, err := p.expression()
	if err == nil && len(p.left) > 0 {
		err = fmt.Errorf("too many words, from %q on", p.left[0].text)
	}
	if err == nil && len(e) == 0 {
		err = errors.New("no bytes")
	}
	return e, err
}

// A parser takes tokens from the left.
type parser struct{ left []token }

func (p *parser) next() rune {
	if len(p.left) == 0 {
		return 0
	}
	return p.left[0].kind
}

// expression ends before what closes it.
func (p *parser) expression() (expression, error) {
	var e expression
	for !slices.Contains([]rune{0, ')', ']', '}', ',', ':'}, p.next()) {
		n := node{token: p.left[0]}
		p.left = p.left[1:]
		var err error
		switch {
		case n.kind == 'i' && p.next() == '(':
			p.left = p.left[1:]
			n.isAll = true
			n.args, err = p.until(')', ',')
		case n.kind == '[':
			n.isAll = true
			n.args, err = p.until(']', ',')
		case n.kind == '{':
			n.isAll = true
			n.args, err = p.pairs()
		case n.kind == '(':
			err = errors.New("a bracket without a name")
		}
		if err != nil {
			return nil, err
		}
		e = append(e, n)
	}
	return e, nil
}

// until parses expressions up to the token that closes them.
func (p *parser) until(closing, between rune) ([]expression, error) {
	var all []expression
	for {
		e, err := p.expression()
		if err != nil {
			return nil, err
		}
		last := p.next()
		if len(p.left) > 0 {
			p.left = p.left[1:]
		}
		if last != closing && last != between {
			return nil, fmt.Errorf("want %c or %c, got %q", closing, between, last)
		}
		if len(e) > 0 {
			all = append(all, e)
		} else if last == between || len(all) > 0 {
			return nil, fmt.Errorf("nothing before %c", last)
		}
		if last == closing {
			return all, nil
		}
	}
}

func (p *parser) pairs() ([]expression, error) {
	var all []expression
	if p.next() == '}' {
		p.left = p.left[1:]
		return nil, nil
	}
	for {
		k, err := p.expression()
		if err != nil {
			return nil, err
		}
		if p.next() != ':' {
			return nil, fmt.Errorf("want a colon, got %q", p.next())
		}
		p.left = p.left[1:]
		v, err := p.expression()
		if err != nil {
			return nil, err
		}
		all = append(all, k, v)
		closing := p.next()
		if closing != '}' && closing != ',' {
			return nil, fmt.Errorf("want } or a comma, got %q", closing)
		}
		p.left = p.left[1:]
		if closing == '}' {
			return all, nil
		}
	}
}

// bytes evaluates it outside of msgpack.
func (e expression) bytes(s scope) ([]byte, error) {
	var all []byte
	for _, n := range e {
		v, err := n.value(s)
		if err != nil {
			return nil, err
		}
		switch v := v.(type) {
		case string:
			all = append(all, v...)
		case []byte:
			all = append(all, v...)
		case raw:
			all = append(all, v...)
		default:
			return nil, fmt.Errorf("%v is no bytes", v)
		}
	}
	return all, nil
}

// packed evaluates it as msgpack.
func (e expression) packed(s scope) ([]byte, error) {
	var all []byte
	for _, n := range e {
		v, err := n.value(s)
		if err != nil {
			return nil, err
		}
		all = appendPacked(all, v)
	}
	return all, nil
}

// number evaluates it where a number must stand.
func (e expression) number(s scope) (int64, error) {
	if len(e) == 1 {
		v, err := e[0].value(s)
		if err != nil {
			return 0, err
		}
		if n, ok := v.(int64); ok {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%v is no number", e)
}

func (n node) value(s scope) (any, error) {
	switch n.kind {
	case 's':
		return n.text, nil
	case 'b':
		return []byte(n.text), nil
	case 'x':
		return raw(n.text), nil
	case 'n':
		return n.num, nil
	case 'f':
		return n.real, nil
	case '[', '{':
		return n.container(s)
	}
	if n.isAll {
		f, ok := functions[n.text]
		if !ok {
			return nil, fmt.Errorf("there is no function %s", n.text)
		}
		b, err := f(s, n.args)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n.text, err)
		}
		return raw(b), nil
	}
	if v, ok := words[n.text]; ok {
		return v, nil
	}
	v, ok := s[n.text]
	if !ok {
		return nil, fmt.Errorf("%w %s", errNoName, n.text)
	}
	if e, ok := v.(expression); ok {
		b, err := e.bytes(s)
		return raw(b), err
	}
	return v, nil
}

// words stand for values that are no bytes.
var words = map[string]any{"nil": nil, "true": true, "false": false}

func (n node) container(s scope) (any, error) {
	b := appendHead(nil, 0x90, 0xdc, len(n.args))
	if n.kind == '{' {
		b = appendHead(nil, 0x80, 0xde, len(n.args)/2)
	}
	for _, e := range n.args {
		v, err := e.packed(s)
		if err != nil {
			return nil, err
		}
		b = append(b, v...)
	}
	return raw(b), nil
}
