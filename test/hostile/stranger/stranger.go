// Package stranger is how those who attack busd hear what it says: WebSocket frames and
// msgpack, by hand. Nothing here shares code with what is under test.
package stranger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"busd/bus"
)

// ReadFrame reads one WebSocket frame of the server, whole and not masked, with its
// opcode. The payload is the caller's.
func ReadFrame(r io.Reader) (op byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := uint64(head[1] & 0x7f)
	if width := map[uint64]int{126: 2, 127: 8}[n]; width > 0 {
		var long [8]byte
		if _, err := io.ReadFull(r, long[8-width:]); err != nil {
			return 0, nil, err
		}
		n = binary.BigEndian.Uint64(long[:])
	}
	if head[0]&^0x0f != 0x80 || head[1]&0x80 != 0 || n > 8<<20 {
		return 0, nil, fmt.Errorf("the server sent a frame with the head %x and %d bytes", head, n)
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(r, payload)
	return head[0] & 0x0f, payload, err
}

// CodeIn finds the code in a drop's or error's map.
func CodeIn(v any) string {
	m, _ := v.(map[string]any)
	n, ok := m["code"].(int64)
	if !ok {
		return fmt.Sprint(v)
	}
	return bus.Code(n).String()
}

var errShort = errors.New("the bytes end before the value does")

// Unpack reads one msgpack value of the server's, into nil, bool, int64, float64, string,
// []byte, []any or map[string]any, and returns what follows it.
func Unpack(b []byte) (v any, rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil, errShort
	}
	c := b[0]
	b = b[1:]
	switch {
	case c <= 0x7f || c >= 0xe0:
		return int64(int8(c)), b, nil
	case c <= 0x8f:
		return dict(b, int(c&0x0f))
	case c <= 0x9f:
		return list(b, int(c&0x0f))
	case c <= 0xbf:
		return text(b, int(c&0x1f))
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
		s, rest, err := text(b, int(n))
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
		return text(b, int(n))
	case 0xdc, 0xdd:
		return list(b, int(n))
	case 0xde, 0xdf:
		return dict(b, int(n))
	}
	return nil, nil, fmt.Errorf("the server sent 0x%02x", c)
}

func text(b []byte, n int) (any, []byte, error) {
	if n > len(b) {
		return nil, nil, errShort
	}
	return string(b[:n]), b[n:], nil
}

func list(b []byte, n int) (any, []byte, error) {
	var all []any
	for range n {
		v, rest, err := Unpack(b)
		if err != nil {
			return nil, nil, err
		}
		all, b = append(all, v), rest
	}
	return all, b, nil
}

func dict(b []byte, n int) (any, []byte, error) {
	all := map[string]any{}
	for range n {
		k, rest, err := Unpack(b)
		if err != nil {
			return nil, nil, err
		}
		v, rest, err := Unpack(rest)
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
