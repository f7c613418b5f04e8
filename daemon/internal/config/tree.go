package config

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a file. The library's parser recurses for each level, and its time
// grows with the square of a mapping's keys. A registry of 8,000 users fits, and
// takes a second.
const (
	maxFile   = 1 << 20
	maxTokens = 80_000
	maxLevels = 16
)

// node is a YAML value with its place: what this package needs of the
// library's tree, and nothing of what it refuses.
type node struct {
	position
	kind  nodeKind
	text  string // of a scalar
	keys  []key  // of a mapping
	items []*node
}

type nodeKind string

const (
	isMapping nodeKind = "a mapping"
	isList    nodeKind = "a list"
	isText    nodeKind = "a text"
	isNumber  nodeKind = "a number"
	isBool    nodeKind = "true or false"
	isNull    nodeKind = "nothing"
	isFault   nodeKind = "" // reported already
)

type key struct {
	position
	name string
}

// file is a file being read.
type file struct {
	*faults
	name string
	data []byte

	lines []string // of data; nil: not yet split
}

func (f *file) fault(at position, key, format string, a ...any) {
	f.add(f.origin(at).fault(key, format, a...))
}

func (f *file) origin(at position) origin {
	return origin{where: f.name, position: at, source: f.source(at)}
}

// tree reads the file's one document. nil means that there is none, or that
// there are faults.
func (f *file) tree() *node {
	switch {
	case len(f.data) > maxFile:
		f.fault(position{}, "", "the file has more than %d bytes", maxFile)
		return nil
	case !utf8.Valid(f.data):
		f.fault(position{}, "", "the file is not UTF-8")
		return nil
	}
	doc, err := f.parse()
	if err != nil {
		f.library(err)
		return nil
	}
	if doc == nil {
		return nil
	}
	return f.node(doc, "", 0)
}

var errLibrary = errors.New("this is no YAML that can be read")

func (f *file) parse() (body ast.Node, err error) {
	// The library is large and young: a panic of its is a fault of the file.
	defer func() {
		if r := recover(); r != nil {
			body, err = nil, errLibrary
		}
	}()
	tokens := lexer.Tokenize(string(f.data))
	if !f.acceptable(tokens) {
		return nil, nil //nolint:nilnil // the faults say why
	}
	parsed, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, err
	}
	for _, d := range parsed.Docs {
		if d.Body == nil || d.Body.Type() == ast.CommentType {
			continue
		}
		if body != nil {
			f.fault(place(d.Body.GetToken()), "", "a second document: a file holds one")
			return nil, nil //nolint:nilnil // the fault says why
		}
		body = d.Body
	}
	return body, nil
}

// acceptable looks at the tokens before the parser does: it refuses what a
// configuration has no use for, and what the parser cannot stand.
func (f *file) acceptable(tokens token.Tokens) bool {
	if len(tokens) > maxTokens {
		f.fault(position{}, "", "the file has %d parts, want at most %d", len(tokens), maxTokens)
		return false
	}
	flow, dashes, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, dashes = t.Position.Line, 0
		}
		refused := ""
		switch t.Type { //nolint:exhaustive // the others are harmless
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			refused = "anchors and aliases"
		case token.TagType:
			refused = "tags"
		case token.MappingKeyType:
			refused = "keys that begin with ?"
		case token.DirectiveType:
			refused = "directives"
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType:
			dashes++
		}
		if refused != "" {
			f.fault(place(t), "", "%s cannot be used here", refused)
			return false
		}
		if flow > maxLevels || dashes > maxLevels {
			f.fault(place(t), "", "it nests deeper than %d", maxLevels)
			return false
		}
	}
	return true
}

// library reports an error of the library, with its place if it has one.
func (f *file) library(err error) {
	var syntax yaml.Error
	if !errors.As(err, &syntax) {
		f.fault(position{}, "", "%v", err)
		return
	}
	reason, _, _ := strings.Cut(syntax.GetMessage(), "\n")
	f.fault(place(syntax.GetToken()), "", "%s", reason)
}

func place(t *token.Token) position {
	if t == nil || t.Position == nil {
		return position{}
	}
	width := utf8.RuneCountInString(t.Value)
	if t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType {
		width += 2
	}
	return position{t.Position.Line, t.Position.Column, min(max(1, width), maxSource)}
}

// node turns the library's tree into ours. What is refused is reported, and
// becomes a node of kind isFault.
func (f *file) node(from ast.Node, path string, level int) *node {
	n := &node{position: place(from.GetToken())}
	if level > maxLevels {
		f.fault(n.position, path, "it nests deeper than %d", maxLevels)
		return n
	}
	switch v := from.(type) {
	case *ast.MappingNode:
		n.kind = isMapping
		for _, e := range v.Values {
			f.entry(n, e, path, level)
		}
	case *ast.MappingValueNode:
		n.kind = isMapping
		f.entry(n, v, path, level)
	case *ast.SequenceNode:
		n.kind = isList
		for _, e := range v.Values {
			n.items = append(n.items, f.node(e, path, level+1))
		}
	case *ast.StringNode:
		n.kind, n.text = isText, v.Value
	case *ast.LiteralNode:
		n.kind, n.text = isText, v.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		n.kind, n.text = isNumber, from.GetToken().Value
	case *ast.BoolNode:
		n.kind, n.text = isBool, from.GetToken().Value
	case *ast.NullNode:
		n.kind = isNull
	default:
		f.fault(n.position, path, "%s cannot be used here", from.Type())
	}
	return n
}

func (f *file) entry(n *node, e *ast.MappingValueNode, path string, level int) {
	k := key{position: place(e.Key.GetToken())}
	name, ok := e.Key.(*ast.StringNode)
	if !ok {
		f.fault(k.position, path, "want a name as key")
		return
	}
	k.name = name.Value
	for _, other := range n.keys {
		if other.name == k.name {
			f.fault(k.position, join(path, k.name), "it is there twice, first in line %d", other.line)
			return
		}
	}
	if len(n.keys) == 0 {
		n.position = k.position // the library gives a mapping the place of its first colon
	}
	n.keys = append(n.keys, k)
	n.items = append(n.items, f.node(e.Value, join(path, k.name), level+1))
}

// source returns a line as it can be shown above a mark: tabs as spaces, so
// that the mark stands where it should, and nothing if the place is too far to
// the right.
func (f *file) source(at position) string {
	if at.line < 1 || at.column < 1 || at.column > maxSource {
		return ""
	}
	if f.lines == nil {
		f.lines = strings.Split(string(f.data), "\n")
	}
	if at.line > len(f.lines) {
		return ""
	}
	line := f.lines[at.line-1]
	runes := []rune(strings.TrimRight(line, "\r \t"))
	if len(runes) > maxSource {
		runes = append(runes[:maxSource], '…')
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, string(runes))
}
