package hostile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// msgpack by hand: nothing here shares code with what is under test.

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func repeat(b []byte, n int) []byte { return bytes.Repeat(b, n) }

var null = []byte{0xc0}

func num(n uint64) []byte {
	switch {
	case n < 1<<7:
		return []byte{byte(n)}
	case n < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{0xcd}, uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32([]byte{0xce}, uint32(n))
	}
	return binary.BigEndian.AppendUint64([]byte{0xcf}, n)
}

func str(s string) []byte {
	if len(s) < 32 {
		return append([]byte{0xa0 | byte(len(s))}, s...)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0xdb}, uint32(len(s))), s...)
}

func bin(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0xc6}, uint32(len(b))), b...)
}

func float(f float64) []byte {
	return binary.BigEndian.AppendUint64([]byte{0xcb}, math.Float64bits(f))
}

// head32 is the head of a list, map, string, bin or extension with 32 bits of
// length.
func head32(first byte, n uint32) []byte { return binary.BigEndian.AppendUint32([]byte{first}, n) }

func list(values ...[]byte) []byte {
	return append(head32(0xdd, uint32(len(values))), join(values...)...)
}

// dict takes keys and values in turn, encoded.
func dict(pairs ...[]byte) []byte {
	return append(head32(0xdf, uint32(len(pairs)/2)), join(pairs...)...)
}

// nested is a list in a list in a list, so many of them.
func nested(n int) []byte { return append(repeat([]byte{0x91}, n-1), 0x90) }

// nestedMap is the same of maps.
func nestedMap(n int) []byte { return append(repeat([]byte{0x81, 0xa1, 'a'}, n-1), 0x80) }

// The frames of docs/protocol.md, by hand.
const (
	kindHello, kindWelcome, kindDrop, kindAck, kindData, kindRequest  = 0, 1, 2, 3, 4, 5
	kindAnswer, kindError, kindCancel, kindGoaway, kindCall, kindPart = 6, 7, 8, 9, 10, 11
)

func packed(kind uint64, elements ...[]byte) []byte {
	return list(append([][]byte{num(kind)}, elements...)...)
}

func hello(instance string, more ...[]byte) []byte {
	return packed(kindHello, dict(append([][]byte{str("instance"), str(instance)}, more...)...))
}

func ping(id uint64) []byte { return dict(str("id"), num(id)) }

// readValue reads one msgpack value, into nil, bool, int64, float64, string,
// []byte, []any or map[string]any, and returns what follows it.
func readValue(b []byte) (v any, rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil, errShort
	}
	c := b[0]
	b = b[1:]
	switch {
	case c <= 0x7f:
		return int64(c), b, nil
	case c >= 0xe0:
		return int64(int8(c)), b, nil
	case c <= 0x8f:
		return readMap(b, int(c&0x0f))
	case c <= 0x9f:
		return readList(b, int(c&0x0f))
	case c <= 0xbf:
		return readString(b, int(c&0x1f))
	}
	width := map[byte]int{
		0xc4: 1, 0xc5: 2, 0xc6: 4, 0xca: 4, 0xcb: 8, 0xcc: 1, 0xcd: 2, 0xce: 4, 0xcf: 8,
		0xd0: 1, 0xd1: 2, 0xd2: 4, 0xd3: 8, 0xd9: 1, 0xda: 2, 0xdb: 4, 0xdc: 2, 0xdd: 4, 0xde: 2, 0xdf: 4,
	}[c]
	if len(b) < width {
		return nil, nil, errShort
	}
	var n uint64
	for _, d := range b[:width] {
		n = n<<8 | uint64(d)
	}
	b = b[width:]
	switch c {
	case 0xc0:
		return nil, b, nil
	case 0xc2, 0xc3:
		return c == 0xc3, b, nil
	case 0xc4, 0xc5, 0xc6:
		s, rest, err := readString(b, int(n))
		if err != nil {
			return nil, nil, err
		}
		return []byte(s.(string)), rest, nil
	case 0xcc, 0xcd, 0xce, 0xcf:
		return int64(n), b, nil
	case 0xd0, 0xd1, 0xd2, 0xd3:
		shift := 64 - 8*width
		return int64(n<<shift) >> shift, b, nil
	case 0xcb:
		return math.Float64frombits(n), b, nil
	case 0xd9, 0xda, 0xdb:
		return readString(b, int(n))
	case 0xdc, 0xdd:
		return readList(b, int(n))
	case 0xde, 0xdf:
		return readMap(b, int(n))
	}
	return nil, nil, fmt.Errorf("the server sent 0x%02x", c)
}

var errShort = errors.New("the bytes end before the value does")

func readString(b []byte, n int) (any, []byte, error) {
	if n > len(b) {
		return nil, nil, errShort
	}
	return string(b[:n]), b[n:], nil
}

func readList(b []byte, n int) (any, []byte, error) {
	var all []any
	for range n {
		v, rest, err := readValue(b)
		if err != nil {
			return nil, nil, err
		}
		all, b = append(all, v), rest
	}
	return all, b, nil
}

func readMap(b []byte, n int) (any, []byte, error) {
	all := map[string]any{}
	for range n {
		k, rest, err := readValue(b)
		if err != nil {
			return nil, nil, err
		}
		v, rest, err := readValue(rest)
		if err != nil {
			return nil, nil, err
		}
		key, ok := k.(string)
		if !ok {
			return nil, nil, fmt.Errorf("the server sent the map key %v", k)
		}
		all[key], b = v, rest
	}
	return all, b, nil
}
