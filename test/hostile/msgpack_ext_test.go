//go:build linux

package hostile_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// msgpack by hand: nothing here shares code with what is under test.

func appendPacked(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, 0xc0)
	case bool:
		if v {
			return append(b, 0xc3)
		}
		return append(b, 0xc2)
	case int64:
		if v >= 0 && v < 128 || v < 0 && v >= -32 {
			return append(b, byte(v))
		}
		return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(v))
	case float64:
		return binary.BigEndian.AppendUint64(append(b, 0xcb), math.Float64bits(v))
	case string:
		if len(v) < 32 {
			return append(append(b, 0xa0|byte(len(v))), v...)
		}
		return append(binary.BigEndian.AppendUint32(append(b, 0xdb), uint32(len(v))), v...)
	case []byte:
		return append(binary.BigEndian.AppendUint32(append(b, 0xc6), uint32(len(v))), v...)
	case raw:
		return append(b, v...)
	}
	panic(fmt.Sprintf("a %T in msgpack", v))
}

// appendHead is the head of a list or map: the short form, or that of 16 bits.
func appendHead(b []byte, short, long byte, n int) []byte {
	if n < 16 {
		return append(b, short|byte(n))
	}
	return binary.BigEndian.AppendUint16(append(b, long), uint16(n))
}

var errShort = errors.New("the bytes end before the value does")

// unpack reads one value of the server's, into nil, bool, int64, float64, string,
// []byte, []any or map[string]any, and returns what follows it.
func unpack(b []byte) (v any, rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil, errShort
	}
	c := b[0]
	b = b[1:]
	switch {
	case c <= 0x7f || c >= 0xe0:
		return int64(int8(c)), b, nil
	case c <= 0x8f:
		return unpackMap(b, int(c&0x0f))
	case c <= 0x9f:
		return unpackList(b, int(c&0x0f))
	case c <= 0xbf:
		return unpackText(b, int(c&0x1f))
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
		s, rest, err := unpackText(b, int(n))
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
		return unpackText(b, int(n))
	case 0xdc, 0xdd:
		return unpackList(b, int(n))
	case 0xde, 0xdf:
		return unpackMap(b, int(n))
	}
	return nil, nil, fmt.Errorf("the server sent 0x%02x", c)
}

func unpackText(b []byte, n int) (any, []byte, error) {
	if n > len(b) {
		return nil, nil, errShort
	}
	return string(b[:n]), b[n:], nil
}

func unpackList(b []byte, n int) (any, []byte, error) {
	var all []any
	for range n {
		v, rest, err := unpack(b)
		if err != nil {
			return nil, nil, err
		}
		all, b = append(all, v), rest
	}
	return all, b, nil
}

func unpackMap(b []byte, n int) (any, []byte, error) {
	all := map[string]any{}
	for range n {
		k, rest, err := unpack(b)
		if err != nil {
			return nil, nil, err
		}
		v, rest, err := unpack(rest)
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
