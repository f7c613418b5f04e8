package vectors_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// The players have a msgpack of their own, as a client in another language
// has: what ours writes is read by something that shares no code with it.

// pack appends a value in its shortest encoding; floats take 64 bits.
func pack(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, 0xc0)
	case bool:
		if v {
			return append(dst, 0xc3)
		}
		return append(dst, 0xc2)
	case int64:
		return packInt(dst, v)
	case uint64:
		return binary.BigEndian.AppendUint64(append(dst, 0xcf), v)
	case float64:
		return binary.BigEndian.AppendUint64(append(dst, 0xcb), math.Float64bits(v))
	case string:
		if len(v) < 32 {
			return append(append(dst, 0xa0|byte(len(v))), v...)
		}
		return append(packLength(dst, 0xd9, len(v)), v...)
	case []byte:
		return append(packLength(dst, 0xc4, len(v)), v...)
	case time.Time:
		return packTime(dst, v)
	case wildcard:
		return pack(dst, v.sample)
	case []any:
		dst = packCount(dst, 0x90, 0xdc, len(v))
		for _, e := range v {
			dst = pack(dst, e)
		}
		return dst
	case object:
		dst = packCount(dst, 0x80, 0xde, len(v))
		for _, p := range v {
			dst = pack(pack(dst, p.key), p.value)
		}
		return dst
	}
	panic(fmt.Sprintf("no msgpack for %T", v))
}

func packInt(dst []byte, v int64) []byte {
	switch {
	case v >= -32 && v < 128:
		return append(dst, byte(v))
	case v >= 0 && v <= math.MaxUint8:
		return append(dst, 0xcc, byte(v))
	case v >= 0 && v <= math.MaxUint16:
		return append(dst, 0xcd, byte(v>>8), byte(v))
	case v >= 0 && v <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, 0xce), uint32(v))
	case v >= 0:
		return binary.BigEndian.AppendUint64(append(dst, 0xcf), uint64(v))
	case v >= math.MinInt8:
		return append(dst, 0xd0, byte(v))
	case v >= math.MinInt16:
		return append(dst, 0xd1, byte(v>>8), byte(v))
	case v >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(dst, 0xd2), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xd3), uint64(v))
}

// packLength appends a length of 8, 16 or 32 bits; lead is that of 8.
func packLength(dst []byte, lead byte, n int) []byte {
	switch {
	case n <= math.MaxUint8:
		return append(dst, lead, byte(n))
	case n <= math.MaxUint16:
		return append(dst, lead+1, byte(n>>8), byte(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, lead+2), uint32(n))
}

func packCount(dst []byte, short, long byte, n int) []byte {
	if n < 16 {
		return append(dst, short|byte(n))
	}
	return append(dst, long, byte(n>>8), byte(n))
}

func packTime(dst []byte, t time.Time) []byte {
	sec, nano := t.Unix(), uint64(t.Nanosecond())
	switch {
	case sec < 0 || sec >= 1<<34:
		dst = binary.BigEndian.AppendUint32(append(dst, 0xc7, 12, 0xff), uint32(nano))
		return binary.BigEndian.AppendUint64(dst, uint64(sec))
	case nano == 0 && sec <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, 0xd6, 0xff), uint32(sec))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xd7, 0xff), nano<<34|uint64(sec))
}

var errShort = errors.New("msgpack: the bytes end before the value does")

// unpack reads the value at the start of b and returns what follows it.
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
		return unpackString(b, int(c&0x1f))
	}
	switch c {
	case 0xc0:
		return nil, b, nil
	case 0xc2, 0xc3:
		return c == 0xc3, b, nil
	case 0xcf:
		u, b, err := number(b, 8)
		if u > math.MaxInt64 {
			return u, b, err
		}
		return int64(u), b, err
	case 0xcc, 0xcd, 0xce:
		u, b, err := number(b, 1<<(c-0xcc))
		return int64(u), b, err
	case 0xd0, 0xd1, 0xd2, 0xd3:
		size := 1 << (c - 0xd0)
		u, b, err := number(b, size)
		shift := 64 - 8*size
		return int64(u<<shift) >> shift, b, err
	case 0xca:
		u, b, err := number(b, 4)
		return float64(math.Float32frombits(uint32(u))), b, err
	case 0xcb:
		u, b, err := number(b, 8)
		return math.Float64frombits(u), b, err
	}
	return unpackLong(c, b)
}

// unpackLong reads what has a length of its own, and times.
func unpackLong(c byte, b []byte) (v any, rest []byte, err error) {
	widths := map[byte]int{
		0xc4: 1, 0xc5: 2, 0xc6: 4, 0xc7: 1, 0xd9: 1, 0xda: 2, 0xdb: 4, 0xdc: 2, 0xdd: 4, 0xde: 2, 0xdf: 4,
	}
	n, b, err := number(b, widths[c])
	if err != nil {
		return nil, nil, err
	}
	switch c {
	case 0xc4, 0xc5, 0xc6:
		v, b, err := unpackString(b, int(n))
		if err != nil {
			return nil, nil, err
		}
		return []byte(v.(string)), b, nil
	case 0xd9, 0xda, 0xdb:
		return unpackString(b, int(n))
	case 0xdc, 0xdd:
		return unpackList(b, int(n))
	case 0xde, 0xdf:
		return unpackMap(b, int(n))
	case 0xd6:
		u, b, err := number(b[1:], 4)
		return time.Unix(int64(u), 0).UTC(), b, err
	case 0xd7:
		u, b, err := number(b[1:], 8)
		return time.Unix(int64(u&(1<<34-1)), int64(u>>34)).UTC(), b, err
	case 0xc7:
		nano, b, err := number(b[1:], 4)
		if err != nil {
			return nil, nil, err
		}
		sec, b, err := number(b, 8)
		return time.Unix(int64(sec), int64(nano)).UTC(), b, err
	}
	return nil, nil, fmt.Errorf("msgpack: byte %#x", c)
}

func number(b []byte, size int) (u uint64, rest []byte, err error) {
	if len(b) < size {
		return 0, nil, errShort
	}
	for _, c := range b[:size] {
		u = u<<8 | uint64(c)
	}
	return u, b[size:], nil
}

func unpackString(b []byte, n int) (any, []byte, error) {
	if n > len(b) {
		return nil, nil, errShort
	}
	return string(b[:n]), b[n:], nil
}

func unpackList(b []byte, n int) (any, []byte, error) {
	list := []any{}
	for range n {
		v, rest, err := unpack(b)
		if err != nil {
			return nil, nil, err
		}
		list, b = append(list, v), rest
	}
	return list, b, nil
}

func unpackMap(b []byte, n int) (any, []byte, error) {
	o := object{}
	for range n {
		k, rest, err := unpack(b)
		if err != nil {
			return nil, nil, err
		}
		key, ok := k.(string)
		if !ok {
			return nil, nil, fmt.Errorf("msgpack: a key of type %T", k)
		}
		v, rest, err := unpack(rest)
		if err != nil {
			return nil, nil, err
		}
		o, b = append(o, pair{key, v}), rest
	}
	return o, b, nil
}
