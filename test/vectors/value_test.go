package vectors_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Values are written as JSON with a few additions, which README.md lists. In Go
// they are nil, bool, int64, uint64, float64, string, []byte, time.Time, []any,
// object, and wildcard.
type (
	// object is a map that keeps its order, and its duplicates.
	object []pair
	pair   struct {
		key   string
		value any
	}
	// wildcard stands for any value when it is heard, and for its sample when
	// it is said. One that is kept stands for that value from then on.
	wildcard struct {
		name   string
		sample any
		kept   bool
	}
)

// A scanner reads values from text.
type scanner struct {
	text string
	pos  int
	vars map[string]any
}

func (s *scanner) space() {
	for s.pos < len(s.text) && (s.text[s.pos] == ' ' || s.text[s.pos] == '\n') {
		s.pos++
	}
}

func (s *scanner) peek() byte {
	s.space()
	if s.pos == len(s.text) {
		return 0
	}
	return s.text[s.pos]
}

// take reads text if it is next.
func (s *scanner) take(text string) bool {
	s.space()
	if !strings.HasPrefix(s.text[s.pos:], text) {
		return false
	}
	s.pos += len(text)
	return true
}

func (s *scanner) fail(want string) error {
	return fmt.Errorf("column %d: want %s at %.30q", s.pos+1, want, s.text[s.pos:])
}

// word reads letters, digits and a few signs.
func (s *scanner) word() string {
	s.space()
	start := s.pos
	for s.pos < len(s.text) && !strings.ContainsRune(" ,:{}[]()\"=", rune(s.text[s.pos])) {
		s.pos++
	}
	return s.text[start:s.pos]
}

// quoted reads a JSON string.
func (s *scanner) quoted() (string, error) {
	s.space()
	d := json.NewDecoder(strings.NewReader(s.text[s.pos:]))
	var v string
	if err := d.Decode(&v); err != nil {
		return "", s.fail("a string")
	}
	s.pos += int(d.InputOffset())
	return v, nil
}

func (s *scanner) value() (any, error) {
	switch c := s.peek(); c {
	case '{':
		return s.object()
	case '[':
		return s.list()
	case '"':
		return s.quoted()
	case '*':
		s.pos++
		return wildcard{}, nil
	}
	if s.take("h\"") || s.take("t\"") {
		s.pos--
		kind := s.text[s.pos-1]
		text, err := s.quoted()
		if err != nil {
			return nil, err
		}
		if kind == 'h' {
			return hex.DecodeString(text)
		}
		return time.Parse(time.RFC3339Nano, text)
	}
	if s.take("b'") {
		text, _, ok := strings.Cut(s.text[s.pos:], "'")
		if !ok {
			return nil, s.fail("text and '")
		}
		s.pos += len(text) + 1
		return []byte(text), nil
	}
	zeros, letters := s.take("zeros("), false
	if !zeros {
		letters = s.take("letters(")
	}
	if !zeros && !letters {
		return s.scalar()
	}
	n, err := strconv.Atoi(s.word())
	if err != nil || !s.take(")") {
		return nil, s.fail("a number and )")
	}
	if letters {
		return strings.Repeat("x", n), nil
	}
	return make([]byte, n), nil
}

func (s *scanner) scalar() (any, error) {
	start := s.pos
	word := s.word()
	switch {
	case word == "null":
		return nil, nil
	case word == "true" || word == "false":
		return word == "true", nil
	case strings.HasPrefix(word, "$"):
		v, ok := s.vars[word[1:]]
		if !ok {
			return nil, fmt.Errorf("unknown variable %s", word)
		}
		return v, nil
	case strings.ContainsAny(word, ".eEIN"):
		return strconv.ParseFloat(word, 64)
	}
	if i, err := strconv.ParseInt(word, 10, 64); err == nil {
		return i, nil
	}
	if u, err := strconv.ParseUint(word, 10, 64); err == nil {
		return u, nil
	}
	s.pos = start
	return nil, s.fail("a value")
}

func (s *scanner) object() (any, error) {
	o := object{}
	s.take("{")
	for !s.take("}") {
		if len(o) > 0 && !s.take(",") {
			return nil, s.fail("a comma")
		}
		key, err := s.quoted()
		if err != nil {
			return nil, err
		}
		if !s.take(":") {
			return nil, s.fail("a colon")
		}
		v, err := s.value()
		if err != nil {
			return nil, err
		}
		o = append(o, pair{key, v})
	}
	return o, nil
}

func (s *scanner) list() (any, error) {
	list := []any{}
	s.take("[")
	for !s.take("]") {
		if len(list) > 0 && !s.take(",") {
			return nil, s.fail("a comma")
		}
		v, err := s.value()
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// parseValue reads text that is one value.
func parseValue(text string, vars map[string]any) (any, error) {
	s := &scanner{text: text, vars: vars}
	v, err := s.value()
	if err == nil && s.peek() != 0 {
		err = errors.New("something after the value")
	}
	return v, err
}

// show writes a value as the scanner reads it.
func show(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case uint64:
		return strconv.FormatUint(v, 10)
	case float64:
		text := strconv.FormatFloat(v, 'g', -1, 64)
		if !strings.ContainsAny(text, ".eIN") {
			text += ".0"
		}
		return text
	case string:
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		_ = e.Encode(v) // strings always encode
		return strings.TrimSuffix(b.String(), "\n")
	case []byte:
		if len(v) > 64 && strings.Trim(string(v), "\x00") == "" {
			return fmt.Sprintf("zeros(%d)", len(v))
		}
		return `h"` + hex.EncodeToString(v) + `"`
	case time.Time:
		return `t"` + v.UTC().Format(time.RFC3339Nano) + `"`
	case wildcard:
		if v.name == "" {
			return "*"
		}
		return "$" + v.name
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = show(v[i])
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case object:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = show(v[i].key) + ": " + show(v[i].value)
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	panic(fmt.Sprintf("no notation for %T", v))
}

// showText writes bytes as the text that they are, where they are one.
func showText(v any) string {
	b, ok := v.([]byte)
	if !ok || len(b) == 0 {
		return show(v)
	}
	for _, c := range b {
		if c < ' ' || c > '~' || c == '\'' {
			return show(v)
		}
	}
	return "b'" + string(b) + "'"
}

// fits tells whether a value that was heard is the one wanted. The order of a
// map's keys does not matter. What wildcards that are kept stand for is put into
// found; nil: nobody wants to know.
func fits(want, got any, found map[string]any) bool {
	switch w := want.(type) {
	case wildcard:
		if w.kept && found != nil {
			found[w.name] = got
		}
		return true
	case object:
		g, ok := got.(object)
		if !ok || len(g) != len(w) {
			return false
		}
		for _, p := range w {
			v, has := g.get(p.key)
			if !has || !fits(p.value, v, found) {
				return false
			}
		}
		return true
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for i := range w {
			if !fits(w[i], g[i], found) {
				return false
			}
		}
		return true
	}
	return show(want) == show(got)
}

func (o object) get(key string) (any, bool) {
	for _, p := range o {
		if p.key == key {
			return p.value, true
		}
	}
	return nil, false
}
