package hostile

import (
	"bytes"
	"encoding/binary"
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
