package vectors_test

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net"
)

// The players have a WebSocket of their own too (RFC 6455), of which they can
// say every byte.
const (
	opContinue = 0x0
	opText     = 0x1
	opBinary   = 0x2
	opClose    = 0x8
	opPing     = 0x9
	opPong     = 0xa
)

const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + guid))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// A socket is one end of a WebSocket.
type socket struct {
	net.Conn
	in     *bufio.Reader
	client bool // it masks
}

// write writes one unfragmented message or control frame.
func (s *socket) write(op byte, payload []byte) error {
	b := []byte{0x80 | op}
	masked := byte(0)
	if s.client {
		masked = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, masked|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, masked|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, masked|127), uint64(n))
	}
	if s.client {
		mask := [4]byte{1, 2, 3, 4}
		b = append(b, mask[:]...)
		start := len(b)
		b = append(b, payload...)
		for i := range payload {
			b[start+i] ^= mask[i%4]
		}
	} else {
		b = append(b, payload...)
	}
	_, err := s.Write(b)
	return err
}

// read returns the next message, its fragments joined, or control frame.
func (s *socket) read() (op byte, payload []byte, err error) {
	for {
		final, o, part, err := s.frame()
		if err != nil {
			return 0, nil, err
		}
		if o >= opClose {
			return o, part, nil
		}
		if o != opContinue {
			op = o
		}
		payload = append(payload, part...)
		if final {
			return op, payload, nil
		}
	}
}

func (s *socket) frame() (final bool, op byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(s.in, head[:]); err != nil {
		return false, 0, nil, err
	}
	if head[0]&0x70 != 0 || (head[1]&0x80 != 0) == s.client {
		return false, 0, nil, errors.New("a WebSocket frame with a reserved bit, or wrongly masked")
	}
	n := uint64(head[1] & 0x7f)
	if n >= 126 {
		long := make([]byte, 2<<(2*(n-126)))
		if _, err := io.ReadFull(s.in, long); err != nil {
			return false, 0, nil, err
		}
		n = 0
		for _, c := range long {
			n = n<<8 | uint64(c)
		}
	}
	var mask [4]byte
	if !s.client {
		if _, err := io.ReadFull(s.in, mask[:]); err != nil {
			return false, 0, nil, err
		}
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(s.in, payload); err != nil {
		return false, 0, nil, err
	}
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
	return head[0]&0x80 != 0, head[0] & 0x0f, payload, nil
}
