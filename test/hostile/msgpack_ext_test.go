//go:build linux

package hostile_test

import (
	"encoding/binary"
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
