package schemafile

import (
	"errors"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// node is a YAML value with its place: what this package needs of the
// library's tree, and nothing of what it refuses.
type node struct {
	position
	kind  string // "mapping", "list", "string", "number", "bool" or "null"; "" after a fault
	text  string // of a scalar
	keys  []key
	items []*node        // a mapping's values, by position of their keys, or a list's
	at    map[string]int // a mapping's keys: their positions
}

type key struct {
	position
	name string
}

// get returns the value of a mapping's key, or nil.
func (n *node) get(name string) *node {
	if i, ok := n.at[name]; ok {
		return n.items[i]
	}
	return nil
}

// Bounds of a file beside its length. The library's parser recurses for each
// level (100,000 of "[" take it 11 s, a megabyte minutes and more stack than there
// is), and its time grows with the square of a mapping's keys.
const (
	maxLevels = 64
	maxTokens = 100_000
)

// tree reads the file's one document. nil means that there are faults, and a
// tree that there may be some.
func (f *file) tree() *node {
	if !utf8.Valid(f.data) {
		f.add(position{}, "the file is not UTF-8")
		return nil
	}
	root, err := f.parse()
	if err != nil {
		f.library(err)
		return nil
	}
	if root == nil && len(f.faults) == 0 {
		f.add(position{}, "the file is empty")
	}
	return root
}

var errLibrary = errors.New("this is no YAML that can be read")

// parse returns the document, or nil if there is none or there are faults.
func (f *file) parse() (root *node, err error) {
	// The library has panicked on malformed text before (goccy/go-yaml#540,
	// #718, #890), and what it is given may come from a stranger: that is a
	// fault of the file. Fuzzing has found no such text in the pinned version.
	defer func() {
		if r := recover(); r != nil {
			root, err = nil, errLibrary
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
	var body ast.Node
	for _, d := range parsed.Docs {
		if d.Body == nil {
			continue
		}
		if body != nil {
			f.add(place(d.Body.GetToken()), "a second document: a file holds one contract")
			return nil, nil //nolint:nilnil // the fault says why
		}
		body = d.Body
	}
	if body == nil {
		return nil, nil //nolint:nilnil // an empty file
	}
	return f.node(body, 0), nil
}

// acceptable looks at the tokens before the parser does: it refuses what a
// contract has no use for, and what the parser cannot stand.
func (f *file) acceptable(tokens token.Tokens) bool {
	if len(tokens) > maxTokens {
		f.add(position{}, "the file has %d parts, want at most %d", len(tokens), maxTokens)
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
			f.add(place(t), "%s cannot be used here", refused)
			return false
		}
		if flow > maxLevels || dashes > maxLevels {
			f.add(place(t), "it nests deeper than %d", maxLevels)
			return false
		}
	}
	return true
}

// library reports an error of the library, with its place if it has one.
func (f *file) library(err error) {
	var syntax yaml.Error
	if !errors.As(err, &syntax) {
		f.add(position{}, "%v", err)
		return
	}
	reason, _, _ := strings.Cut(syntax.GetMessage(), "\n")
	f.add(place(syntax.GetToken()), "%s", reason)
}

func place(t *token.Token) position {
	if t == nil || t.Position == nil {
		return position{}
	}
	return position{t.Position.Line, t.Position.Column}
}

var exponent = regexp.MustCompile(`^[-+]?[0-9]+[eE][-+]?[0-9]+$`)

// node turns the library's tree into ours. What is refused is reported, and
// becomes a node without a kind.
func (f *file) node(from ast.Node, level int) *node {
	n := &node{position: place(from.GetToken())}
	if level > maxLevels {
		f.add(n.position, "it nests deeper than %d", maxLevels)
		return n
	}
	switch v := from.(type) {
	case *ast.MappingNode:
		n.kind = "mapping"
		for _, e := range v.Values {
			f.entry(n, e, level)
		}
	case *ast.MappingValueNode:
		n.kind = "mapping"
		f.entry(n, v, level)
	case *ast.SequenceNode:
		n.kind = "list"
		for _, e := range v.Values {
			n.items = append(n.items, f.node(e, level+1))
		}
	case *ast.StringNode:
		n.kind, n.text = "string", v.Value
		// 1e3 is a number by YAML 1.2; the library asks for a point.
		if v.Token.Type == token.StringType && exponent.MatchString(v.Value) {
			n.kind = "number"
		}
	case *ast.LiteralNode:
		n.kind, n.text = "string", v.Value.Value
	case *ast.IntegerNode, *ast.FloatNode:
		n.kind, n.text = "number", from.GetToken().Value
	case *ast.BoolNode:
		n.kind, n.text = "bool", from.GetToken().Value
	case *ast.NullNode:
		n.kind = "null"
	case *ast.InfinityNode, *ast.NanNode:
		n.kind, n.text = "number", from.GetToken().Value
	default:
		f.add(n.position, "%s cannot be used here", from.Type())
	}
	return n
}

func (f *file) entry(n *node, e *ast.MappingValueNode, level int) {
	k := key{position: place(e.Key.GetToken())}
	switch v := e.Key.(type) {
	case *ast.StringNode:
		k.name = v.Value
	case *ast.BoolNode, *ast.NullNode:
		// A word like any other when it names something.
		k.name = e.Key.GetToken().Value
	default:
		f.add(k.position, "want a name as key")
		return
	}
	if i, twice := n.at[k.name]; twice {
		f.add(k.position, "%q is there twice, first in line %d", k.name, n.keys[i].line)
		return
	}
	if len(n.keys) == 0 {
		// The library gives a mapping the place of its first colon.
		n.position, n.at = k.position, map[string]int{}
	}
	n.at[k.name] = len(n.keys)
	n.keys = append(n.keys, k)
	n.items = append(n.items, f.node(e.Value, level+1))
}
