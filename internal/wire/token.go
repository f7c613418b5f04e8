package wire

import (
	"encoding/binary"
	"math"
	"time"
	"unicode/utf8"
)

// A class is the msgpack family of a value, whatever its encoding.
type class uint8

const (
	classNone class = iota // 0xc1, which msgpack does not use
	classNil
	classBool
	classInt
	classFloat
	classString
	classBytes
	classList
	classMap
	classExt
	classShort // the bytes end before the value does
)

// A lead says what a value's first byte means: from its low bits up 4 bits of
// class, 3 bits of how many bytes of length follow (0: n says it all), and n,
// the number of payload bytes, elements or pairs; where a length follows, n is
// to be added to it (an extension's type byte).
type lead uint16

func newLead(c class, width, n int) lead { return lead(int(c) | width<<4 | n<<7) }

func (l lead) class() class { return class(l & 0x0f) }
func (l lead) width() int   { return int(l >> 4 & 0x07) }
func (l lead) n() int       { return int(l >> 7) }

// leads is the table of all first bytes.
var leads = func() (t [256]lead) {
	for c := range 256 {
		switch {
		case c <= 0x7f || c >= 0xe0:
			t[c] = newLead(classInt, 0, 0)
		case c <= 0x8f:
			t[c] = newLead(classMap, 0, c&0x0f)
		case c <= 0x9f:
			t[c] = newLead(classList, 0, c&0x0f)
		case c <= 0xbf:
			t[c] = newLead(classString, 0, c&0x1f)
		}
	}
	t[0xc0] = newLead(classNil, 0, 0)
	t[0xc2], t[0xc3] = newLead(classBool, 0, 0), newLead(classBool, 0, 0)
	t[0xca], t[0xcb] = newLead(classFloat, 0, 4), newLead(classFloat, 0, 8)
	t[0xdc], t[0xdd] = newLead(classList, 2, 0), newLead(classList, 4, 0)
	t[0xde], t[0xdf] = newLead(classMap, 2, 0), newLead(classMap, 4, 0)
	for i := range 3 {
		t[0xc4+i] = newLead(classBytes, 1<<i, 0)
		t[0xc7+i] = newLead(classExt, 1<<i, 1)
		t[0xd9+i] = newLead(classString, 1<<i, 0)
	}
	for i := range 4 {
		t[0xcc+i], t[0xd0+i] = newLead(classInt, 0, 1<<i), newLead(classInt, 0, 1<<i)
	}
	for i := range 5 {
		t[0xd4+i] = newLead(classExt, 0, 1+1<<i)
	}
	return t
}()

// readHead reads what stands before the contents of the value at pos: its
// class, the length n (payload bytes, elements or pairs) and where its
// contents begin. It has checked that n bytes are left, which holds for
// elements too, as each takes at least one.
func readHead(b []byte, pos int) (c class, n, next int) {
	if uint(pos) < uint(len(b)) {
		if l := leads[b[pos]]; l.width() == 0 && l.n() < len(b)-pos {
			return l.class(), l.n(), pos + 1
		}
	}
	return readLongHead(b, pos)
}

// readLongHead is readHead for a value with bytes of length, or cut short.
func readLongHead(b []byte, pos int) (c class, n, next int) {
	if pos >= len(b) {
		return classShort, 0, pos
	}
	l := leads[b[pos]]
	pos++
	if l.width() > len(b)-pos {
		return classShort, 0, pos
	}
	var long uint64
	switch l.width() {
	case 1:
		long = uint64(b[pos])
	case 2:
		long = uint64(binary.BigEndian.Uint16(b[pos:]))
	case 4:
		long = uint64(binary.BigEndian.Uint32(b[pos:]))
	}
	pos += l.width()
	long += uint64(l.n())
	if long > uint64(len(b)-pos) {
		return classShort, 0, pos
	}
	return l.class(), int(long), pos
}

// readInt reads the integer at pos, in any encoding; b must hold it whole.
// big says that it is beyond an int64, and then v is its bits as a uint64.
func readInt(b []byte, pos int) (v int64, big bool) {
	c := b[pos]
	p := b[pos+1:]
	switch c {
	case 0xcc:
		return int64(p[0]), false
	case 0xcd:
		return int64(binary.BigEndian.Uint16(p)), false
	case 0xce:
		return int64(binary.BigEndian.Uint32(p)), false
	case 0xcf:
		u := binary.BigEndian.Uint64(p)
		return int64(u), u > math.MaxInt64
	case 0xd0:
		return int64(int8(p[0])), false
	case 0xd1:
		return int64(int16(binary.BigEndian.Uint16(p))), false
	case 0xd2:
		return int64(int32(binary.BigEndian.Uint32(p))), false
	case 0xd3:
		return int64(binary.BigEndian.Uint64(p)), false
	}
	return int64(int8(c)), false
}

// readFloat reads the float at pos, of 32 or 64 bits; b must hold it whole.
func readFloat(b []byte, pos int) float64 {
	if b[pos] == 0xca {
		return float64(math.Float32frombits(binary.BigEndian.Uint32(b[pos+1:])))
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b[pos+1:]))
}

// isFinite tells NaN and the infinities from the other floats.
func isFinite(f float64) bool { return f-f == 0 }

// Of the extensions only the timestamp (type -1) is known, and of its
// encodings the three of the msgpack specification.
const (
	extTime  = 0xff
	lastNano = 999_999_999
)

// isTime tells whether an extension is a timestamp: lead is its first byte,
// p its type byte and payload.
func isTime(lead byte, p []byte) bool {
	if p[0] != extTime {
		return false
	}
	switch {
	case lead == 0xd6:
		return true
	case lead == 0xd7:
		return binary.BigEndian.Uint64(p[1:])>>34 <= lastNano
	case lead == 0xc7 && len(p) == 13:
		return binary.BigEndian.Uint32(p[1:]) <= lastNano
	}
	return false
}

// readTime reads the timestamp at pos, in UTC; isTime must have said yes.
func readTime(b []byte, pos int) time.Time {
	switch b[pos] {
	case 0xd6:
		return time.Unix(int64(binary.BigEndian.Uint32(b[pos+2:])), 0).UTC()
	case 0xd7:
		u := binary.BigEndian.Uint64(b[pos+2:])
		return time.Unix(int64(u&(1<<34-1)), int64(u>>34)).UTC()
	}
	p := b[pos+3:]
	return time.Unix(int64(binary.BigEndian.Uint64(p[4:])), int64(binary.BigEndian.Uint32(p))).UTC()
}

// isText tells whether s is UTF-8.
func isText(s []byte) bool { return isASCII(s) || utf8.Valid(s) }

// isASCII spares most text, which is short and ASCII, the reading one by one that
// utf8.Valid does of its last bytes.
func isASCII(s []byte) bool {
	const high = 0x8080808080808080
	n := len(s)
	switch {
	case n >= 8:
		all := binary.LittleEndian.Uint64(s[n-8:])
		for ; len(s) > 8; s = s[8:] {
			all |= binary.LittleEndian.Uint64(s)
		}
		return all&high == 0
	case n >= 4:
		return (binary.LittleEndian.Uint32(s)|binary.LittleEndian.Uint32(s[n-4:]))&(high>>32) == 0
	}
	return n == 0 || (s[0]|s[n/2]|s[n-1]) < utf8.RuneSelf
}

// passValue returns where the value at pos ends. The bytes must have been
// scanned.
func passValue(b []byte, pos int) int {
	for left := 1; left > 0; left-- {
		c, n, next := readHead(b, pos)
		switch c {
		case classList:
			left += n
			pos = next
		case classMap:
			left += 2 * n
			pos = next
		default:
			pos = next + n
		}
		if c == classShort || c == classNone {
			return len(b)
		}
	}
	return pos
}

// countValues counts the value at the start of b and all in it. The bytes must
// have been scanned.
func countValues(b []byte) (count int) {
	pos := 0
	for left := 1; left > 0; left-- {
		count++
		switch c, n, next := readHead(b, pos); c {
		case classList:
			left, pos = left+n, next
		case classMap:
			left, pos = left+2*n, next
		default:
			pos = next + n
		}
	}
	return count
}
