//go:build linux

package hostile_test

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// A token is a word of a script's bytes.
type token struct {
	kind rune   // 'n' number, 'f' float, 's' text, 'x' raw bytes, 'b' binary, 'i' name, or the character itself
	text string // of a name; the bytes of s, x and b
	num  int64
	real float64
}

// lex takes the bytes of one step apart.
func lex(s string) ([]token, error) {
	var all []token
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		t, rest, err := lexOne(s)
		if err != nil {
			return nil, err
		}
		all, s = append(all, t), rest
	}
	return all, nil
}

func lexOne(s string) (token, string, error) {
	switch c := s[0]; {
	case strings.ContainsRune("()[]{},:", rune(c)):
		return token{kind: rune(c)}, s[1:], nil
	case c == '"':
		return lexText(s, 's')
	case strings.HasPrefix(s, `x"`):
		return lexText(s[1:], 'x')
	case strings.HasPrefix(s, `b"`):
		return lexText(s[1:], 'b')
	case c == '-' || unicode.IsDigit(rune(c)):
		return lexNumber(s)
	}
	end := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' })
	if end == 0 {
		return token{}, "", fmt.Errorf("what is %q?", s)
	}
	if end < 0 {
		end = len(s)
	}
	return token{kind: 'i', text: s[:end]}, s[end:], nil
}

func lexText(s string, kind rune) (token, string, error) {
	quoted, err := strconv.QuotedPrefix(s)
	if err != nil {
		return token{}, "", fmt.Errorf("%s: %w", s, err)
	}
	text, err := strconv.Unquote(quoted)
	if err != nil {
		return token{}, "", fmt.Errorf("%s: %w", quoted, err)
	}
	if kind == 'x' {
		raw, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
		if err != nil {
			return token{}, "", fmt.Errorf("x%s: %w", quoted, err)
		}
		text = string(raw)
	}
	return token{kind: kind, text: text}, s[len(quoted):], nil
}

func lexNumber(s string) (token, string, error) {
	end := strings.IndexFunc(s, func(r rune) bool { return !strings.ContainsRune("-+.xabcdefABCDEF0123456789", r) })
	if end < 0 {
		end = len(s)
	}
	if n, err := strconv.ParseInt(s[:end], 0, 64); err == nil {
		return token{kind: 'n', num: n}, s[end:], nil
	}
	f, err := strconv.ParseFloat(s[:end], 64)
	if err != nil {
		return token{}, "", fmt.Errorf("number %s: %w", s[:end], err)
	}
	return token{kind: 'f', real: f}, s[end:], nil
}
