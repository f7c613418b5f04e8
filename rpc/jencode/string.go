package jencode

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// Bytes of a word of eight, for looking at eight at a time: files come in
// texts of many megabytes.
const (
	ones   = 0x0101010101010101
	highs  = 0x8080808080808080
	quotes = '"' * ones
	slants = '\\' * ones
	spaces = ' ' * ones
)

// unplain marks by their high bits the bytes of x that are quotes, backslashes,
// control characters or not ASCII; the lowest mark is right, those above may not be.
func unplain(x uint64) uint64 {
	return (((x ^ quotes) - ones) | ((x ^ slants) - ones) | (x - spaces) | x) & highs
}

// isPlain is what unplain tells, of one byte.
func isPlain(c byte) bool { return c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' }

// plain returns where the plain bytes that begin at pos end.
func plain(b []byte, pos int) int {
	for ; pos+8 <= len(b); pos += 8 {
		if m := unplain(binary.LittleEndian.Uint64(b[pos:])); m != 0 {
			return pos + bits.TrailingZeros64(m)>>3
		}
	}
	for pos < len(b) && isPlain(b[pos]) {
		pos++
	}
	return pos
}

// text passes the string at pos.
func (s *scanner) text(pos int) (int, *ValueError) {
	pos++
	for {
		pos = plain(s.data, pos)
		if pos == len(s.data) {
			return pos, s.fault(pos, `the closing "`)
		}
		var bad *ValueError
		switch c := s.data[pos]; {
		case c == '"':
			return pos + 1, nil
		case c == '\\':
			pos, bad = s.escape(pos)
		case c < ' ':
			bad = s.fault(pos, `an escape such as \n for a control character`)
		default:
			r, n := utf8.DecodeRune(s.data[pos:])
			if r == utf8.RuneError && n == 1 {
				bad = s.fault(pos, "text in UTF-8")
			}
			pos += n
		}
		if bad != nil {
			return pos, bad
		}
	}
}

// escape passes the escape at pos; in JSON both halves of a surrogate pair.
func (s *scanner) escape(pos int) (int, *ValueError) {
	switch s.at(pos + 1) {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return pos + 2, nil
	case 'u':
	default:
		return pos, s.fault(pos+1, `one of "\/bfnrtu behind a backslash`)
	}
	unit, ok := hex4(s.data, pos+2)
	if !ok {
		return pos, s.fault(pos, `four hexadecimal digits behind \u`)
	}
	if s.dialect != JSON || !utf16.IsSurrogate(unit) {
		return pos + 6, nil
	}
	if low, ok := lowHalf(s.data, pos+6); !ok || utf16.DecodeRune(unit, low) == utf8.RuneError {
		return pos, &ValueError{Path: byteAt(pos), Want: "both halves of a surrogate pair", Got: "one"}
	}
	return pos + 12, nil
}

// hex4 reads the four digits at pos.
func hex4(b []byte, pos int) (rune, bool) {
	if pos+4 > len(b) {
		return 0, false
	}
	var r rune
	for _, c := range b[pos : pos+4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// lowHalf reads the \uXXXX at pos, if there is one.
func lowHalf(b []byte, pos int) (rune, bool) {
	if pos+2 > len(b) || b[pos] != '\\' || b[pos+1] != 'u' {
		return 0, false
	}
	return hex4(b, pos+2)
}

// textEnd returns where the quote stands that ends the string whose inside
// begins at pos, and whether there are escapes. The text has been checked.
func textEnd(b []byte, pos int) (end int, escaped bool) {
	for {
		for pos = plain(b, pos); b[pos] >= utf8.RuneSelf; {
			pos++
		}
		switch b[pos] {
		case '"':
			return pos, escaped
		case '\\':
			escaped = true
			pos += 2
		}
	}
}

// unquote returns what the inside of a checked string means: itself, if there
// are no escapes. Half a surrogate pair becomes U+FFFD.
func unquote(inside []byte) []byte {
	pos := plain(inside, 0)
	for pos < len(inside) && inside[pos] != '\\' {
		pos++
	}
	if pos == len(inside) {
		return inside
	}
	text := append(make([]byte, 0, len(inside)), inside[:pos]...)
	for pos < len(inside) {
		c := inside[pos]
		if c != '\\' {
			text = append(text, c)
			pos++
			continue
		}
		if c = inside[pos+1]; c != 'u' {
			text = append(text, unescaped[c])
			pos += 2
			continue
		}
		r, _ := hex4(inside, pos+2)
		pos += 6
		if utf16.IsSurrogate(r) {
			low, ok := lowHalf(inside, pos)
			if r = utf16.DecodeRune(r, low); ok && r != utf8.RuneError {
				pos += 6
			} else {
				r = utf8.RuneError
			}
		}
		text = utf8.AppendRune(text, r)
	}
	return text
}

// unescaped is what a letter means behind a backslash, and escaped the
// reverse.
var (
	unescaped = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}
	escaped   = [utf8.RuneSelf]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}
)

// appendText appends s in quotes; false: it is not UTF-8.
func appendText(b []byte, s string, d Dialect) ([]byte, bool) {
	b = append(b, '"')
	for s != "" {
		n := 0
		for n < len(s) && isPlain(s[n]) && (s[n] != 0x7f || d == JSON) {
			n++
		}
		b = append(b, s[:n]...)
		if s = s[n:]; s == "" {
			break
		}
		if c := s[0]; c < utf8.RuneSelf {
			if escaped[c] != 0 {
				b = append(b, '\\', escaped[c])
			} else {
				b = appendUnit(b, uint16(c))
			}
			s = s[1:]
			continue
		}
		r, size := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && size == 1 {
			return b, false
		}
		switch {
		case d == JSON:
			b = append(b, s[:size]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			b = appendUnit(appendUnit(b, uint16(high)), uint16(low))
		default:
			b = appendUnit(b, uint16(r))
		}
		s = s[size:]
	}
	return append(b, '"'), true
}

// appendUnit appends \uXXXX.
func appendUnit(b []byte, u uint16) []byte {
	const digits = "0123456789abcdef"
	return append(b, '\\', 'u', digits[u>>12], digits[u>>8&15], digits[u>>4&15], digits[u&15])
}
