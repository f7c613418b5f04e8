package jencode

import (
	"bytes"
	"math"
	"strconv"
)

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// digits returns where the digits at pos end.
func (s *scanner) digits(pos int) int {
	for pos < len(s.data) && isDigit(s.data[pos]) {
		pos++
	}
	return pos
}

// number passes the number at pos.
func (s *scanner) number(start int) (int, *ValueError) {
	pos := start
	if s.at(pos) == '-' {
		if pos++; s.at(pos) == 'I' {
			return s.nonFinite(pos, "Infinity")
		}
	}
	whole := pos
	pos = s.digits(pos)
	switch {
	case pos == whole && whole == start:
		return pos, s.fault(pos, "a value")
	case pos == whole:
		return pos, s.fault(pos, "a digit")
	case s.data[whole] == '0' && pos-whole > 1:
		return pos, &ValueError{Path: byteAt(start), Want: "a number without leading zeros", Got: "one with them"}
	}
	count, exponent := pos-whole, false
	if s.at(pos) == '.' {
		from := pos + 1
		if pos = s.digits(from); pos == from {
			return pos, s.fault(pos, "a digit behind the point")
		}
		count += pos - from
	}
	if s.at(pos)|0x20 == 'e' {
		from := pos + 1
		if c := s.at(from); c == '+' || c == '-' {
			from++
		}
		if pos = s.digits(from); pos == from {
			return pos, s.fault(pos, "a digit in the exponent")
		}
		count += pos - from
		exponent = true
	}
	if count > s.bounds.digits {
		return pos, &ValueError{
			Path: byteAt(start), Want: "a number of at most " + strconv.Itoa(s.bounds.digits) + " digits", Got: "one of " + strconv.Itoa(count),
		}
	}
	if exponent && s.dialect == JSON && math.IsInf(parseFloat(s.data[start:pos]), 0) {
		return pos, &ValueError{Path: byteAt(start), Want: "a number that a float can hold", Got: "a larger one"}
	}
	return pos, nil
}

// numberEnd returns where the checked number at pos ends, and whether it is an
// int.
func numberEnd(b []byte, pos int) (end int, isInt bool) {
	isInt = true
	for ; pos < len(b); pos++ {
		switch c := b[pos]; {
		case isDigit(c), c == '-':
		case c == '.', c == '+', 'a' <= c|0x20 && c|0x20 <= 'z':
			isInt = false
		default:
			return pos, isInt
		}
	}
	return pos, isInt
}

// safeDigits is how many digits surely fit into an int64.
const safeDigits = 18

// parseInt reads a checked int; false: it does not fit into an int64.
func parseInt(b []byte) (int64, bool) {
	if len(b) > safeDigits {
		n, err := strconv.ParseInt(string(b), 10, 64)
		return n, err == nil
	}
	i, n := 0, int64(0)
	if b[0] == '-' {
		i++
	}
	for ; i < len(b); i++ {
		n = n*10 + int64(b[i]-'0')
	}
	if b[0] == '-' {
		n = -n
	}
	return n, true
}

// parseFloat reads a checked number of any kind; one that is too large is
// infinite.
func parseFloat(b []byte) float64 {
	switch {
	case b[0] == 'N':
		return math.NaN()
	case b[0] == 'I':
		return math.Inf(1)
	case bytes.HasPrefix(b, []byte("-I")):
		return math.Inf(-1)
	}
	f, _ := strconv.ParseFloat(string(b), 64) // beyond the range it is infinite
	return f
}

// wordOf is the word for a float that has no digits; empty: it has.
func wordOf(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return ""
}

// appendFloat appends a float of so many bits as Python's repr does: with an
// exponent below 1e-4 and from 1e16 on, else with a point.
func appendFloat(b []byte, f float64, size int, d Dialect) []byte {
	if word := wordOf(f); word != "" {
		if d == JSON {
			return append(append(append(b, '"'), word...), '"')
		}
		return append(b, word...)
	}
	const least, most = 1e-4, 1e16
	if a := math.Abs(f); a != 0 && (a < least || a >= most) {
		return strconv.AppendFloat(b, f, 'e', -1, size)
	}
	start := len(b)
	b = strconv.AppendFloat(b, f, 'f', -1, size)
	if bytes.IndexByte(b[start:], '.') < 0 {
		b = append(b, ".0"...)
	}
	return b
}
