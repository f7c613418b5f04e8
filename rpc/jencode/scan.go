package jencode

import (
	"bytes"
	"fmt"
	"strconv"
)

// A scanner checks text: everything that reads it later trusts what it has let
// pass. It keeps what is open in a word instead of recursing.
type scanner struct {
	data    []byte
	dialect Dialect
	bounds  bounds
	values  int // that may still come
	// objects has a bit for each open container, the innermost lowest; 1 is an
	// object.
	objects uint64
	depth   int
	names   *names // of open objects; nil but in JSON
}

// bounds are how much a text may hold.
type bounds struct {
	values int
	levels int
	digits int // of a number
}

// asked bounds what is asked of a server, answered what it answers.
var (
	asked    = bounds{MaxValues, MaxDepth, MaxNumber}
	answered = bounds{MaxAnswerValues, MaxDepth, MaxAnswerNumber}
)

// check tells whether data is one value, within bounds.
func check(data []byte, d Dialect, b bounds) *ValueError {
	s := scanner{data: data, dialect: d, bounds: b, values: b.values}
	if d == JSON {
		s.names = borrowNames()
		defer s.names.giveBack()
	}
	pos, bad := s.value(space(data, 0))
	if bad != nil {
		return bad
	}
	if pos = space(data, pos); pos < len(data) {
		return s.fault(pos, "nothing behind the value")
	}
	return nil
}

// value passes the value at pos. Like all that pass something, it returns where
// that ends.
func (s *scanner) value(pos int) (int, *ValueError) {
	for {
		at, more, bad := s.begin(pos)
		for bad == nil && !more {
			if s.depth == 0 {
				return at, nil
			}
			at, more, bad = s.follow(at)
		}
		if bad != nil {
			return at, bad
		}
		pos = at
	}
}

// begin passes a value that holds no others; or it opens a container, and
// returns where the first value in it begins, and true.
func (s *scanner) begin(pos int) (int, bool, *ValueError) {
	if s.values--; s.values < 0 {
		return pos, false, &ValueError{Path: byteAt(pos), Want: "no more than " + strconv.Itoa(s.bounds.values) + " values", Got: "another"}
	}
	var bad *ValueError
	switch s.at(pos) {
	case '"':
		pos, bad = s.text(pos)
	case '[', '{':
		return s.open(pos)
	case 'n':
		pos, bad = s.word(pos, "null")
	case 't':
		pos, bad = s.word(pos, "true")
	case 'f':
		pos, bad = s.word(pos, "false")
	case 'N':
		pos, bad = s.nonFinite(pos, "NaN")
	case 'I':
		pos, bad = s.nonFinite(pos, "Infinity")
	default:
		pos, bad = s.number(pos)
	}
	return pos, false, bad
}

// open passes the bracket at pos, and the one behind it if nothing is between
// them.
func (s *scanner) open(pos int) (int, bool, *ValueError) {
	if s.depth == s.bounds.levels {
		return pos, false, &ValueError{Path: byteAt(pos), Want: tooDeep, Got: "another"}
	}
	object := s.data[pos] == '{'
	pos = space(s.data, pos+1)
	if object {
		if s.at(pos) == '}' {
			return pos + 1, false, nil
		}
		s.depth++
		s.objects = s.objects<<1 | 1
		if s.dialect == JSON {
			s.names.open()
		}
		pos, bad := s.name(pos, "a name in quotes, or }")
		return pos, true, bad
	}
	if s.at(pos) == ']' {
		return pos + 1, false, nil
	}
	s.depth++
	s.objects <<= 1
	return pos, true, nil
}

// follow passes what follows a value in the innermost container: a comma, and
// then it returns where the next value begins, and true; or the end of the container.
func (s *scanner) follow(pos int) (int, bool, *ValueError) {
	pos = space(s.data, pos)
	c, object := s.at(pos), s.objects&1 == 1
	switch {
	case c == ',' && !object:
		return space(s.data, pos+1), true, nil
	case c == ',':
		pos, bad := s.name(space(s.data, pos+1), "a name in quotes")
		return pos, true, bad
	case c == ']' && !object:
	case c == '}' && object:
		if s.dialect == JSON {
			if bad := s.names.close(s.data); bad != nil {
				return pos, false, bad
			}
		}
	case object:
		return pos, false, s.fault(pos, "a comma or }")
	default:
		return pos, false, s.fault(pos, "a comma or ]")
	}
	s.depth--
	s.objects >>= 1
	return pos + 1, false, nil
}

// name passes a member's name and its colon, and returns where its value
// begins.
func (s *scanner) name(pos int, want string) (int, *ValueError) {
	if s.at(pos) != '"' {
		return pos, s.fault(pos, want)
	}
	end, bad := s.text(pos)
	if bad != nil {
		return end, bad
	}
	if s.dialect == JSON {
		s.names.add(pos+1, end-1)
	}
	if pos = space(s.data, end); s.at(pos) != ':' {
		return pos, s.fault(pos, "a colon")
	}
	return space(s.data, pos+1), nil
}

func (s *scanner) word(pos int, word string) (int, *ValueError) {
	end := pos + len(word)
	if end > len(s.data) || string(s.data[pos:end]) != word {
		return pos, s.fault(pos, "a value")
	}
	return end, nil
}

// nonFinite passes the bare word for a number that JSON does not know.
func (s *scanner) nonFinite(pos int, word string) (int, *ValueError) {
	end, bad := s.word(pos, word)
	if bad == nil && s.dialect == JSON {
		return pos, &ValueError{Path: byteAt(pos), Want: "a value that JSON knows", Got: "the word " + word}
	}
	return end, bad
}

// at returns the byte at pos; 0, which no text holds, at the end.
func (s *scanner) at(pos int) byte {
	if pos < len(s.data) {
		return s.data[pos]
	}
	return 0
}

// space returns where the white space at pos ends.
func space(b []byte, pos int) int {
	for pos < len(b) && b[pos] <= ' ' && (b[pos] == ' ' || b[pos] == '\n' || b[pos] == '\r' || b[pos] == '\t') {
		pos++
	}
	return pos
}

// tooDeep is what is wanted of a container too many.
var tooDeep = "no more than " + strconv.Itoa(MaxDepth) + " levels of lists and objects"

func byteAt(pos int) string { return "byte " + strconv.Itoa(pos) }

func (s *scanner) fault(pos int, want string) *ValueError {
	return &ValueError{Path: byteAt(pos), Want: want, Got: s.glimpse(pos)}
}

// glimpse names what is at pos.
func (s *scanner) glimpse(pos int) string {
	switch rest := s.data[min(pos, len(s.data)):]; {
	case len(rest) == 0:
		return "the end"
	case bytes.HasPrefix(rest, []byte("\xef\xbb\xbf")):
		return "a byte order mark"
	case rest[0] > ' ' && rest[0] < 0x7f:
		return strconv.QuoteRune(rune(rest[0]))
	default:
		return fmt.Sprintf("the byte 0x%02x", rest[0])
	}
}
