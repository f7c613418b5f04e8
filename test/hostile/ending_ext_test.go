//go:build linux

package hostile_test

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"busd/test/hostile/stranger"
)

const (
	// quiet is how long nothing may come before a connection counts as open.
	quiet = 500 * time.Millisecond
	// goodbye is how long the end of TCP may take after a close frame: what the
	// server waits for a client's, and a little more.
	goodbye = 6 * time.Second
)

// An ending is how a connection ends, as its client sees it.
type ending struct {
	c     *client
	want  []string // either of these
	limit time.Time
	seen  []string
	lives int64 // number of the request that is to be answered; 0: none
}

// observe reads until the connection ends, or does as it is wanted.
func (c *client) observe(want []string, limit time.Time) *ending {
	e := &ending{c: c, want: want, limit: limit}
	for _, w := range want {
		if i := strings.LastIndex(w, "lives "); i >= 0 {
			e.lives, _ = strconv.ParseInt(w[i+len("lives "):], 10, 64)
		}
	}
	_ = c.raw.SetReadDeadline(limit)
	switch {
	case c.failed != nil:
		e.note(endOf(c.failed))
	case c.point == "h2":
		e.http2()
	case c.isWS:
		e.frames()
	case c.tls == nil:
		e.inTheClear()
	default:
		e.http()
	}
	return e
}

// good tells whether it is one of the ends that are wanted. Any is any that the
// server may choose: what it says must be well-formed.
func (e *ending) good() bool {
	if e.want[0] == "any" {
		return !slices.ContainsFunc(e.seen, func(s string) bool { return strings.HasPrefix(s, malformed) })
	}
	return slices.Contains(e.want, e.String())
}

// malformed is how the notes begin of what no server may do.
const malformed = "malformed: "

func (e *ending) String() string { return strings.Join(e.seen, ", ") }

// note adds what was seen; several errors or resets in a row are one.
func (e *ending) note(what string) {
	again := strings.HasPrefix(what, "error") || strings.HasPrefix(what, "reset")
	if n := len(e.seen); again && n > 0 && e.seen[n-1] == what {
		return
	}
	if len(e.seen) < 100 {
		e.seen = append(e.seen, what)
	}
}

// wants tells whether an end is wanted that ends so.
func (e *ending) wants(last string) bool {
	return slices.ContainsFunc(e.want, func(w string) bool { return strings.HasSuffix(w, last) })
}

// endOf names the error that a read ended with.
func endOf(err error) string {
	var op *net.OpError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "open"
	case errors.As(err, &op) && op.Op == "remote error":
		for n := range 256 {
			if tls.AlertError(n).Error() == op.Err.Error() {
				return fmt.Sprintf("alert %d", n)
			}
		}
	}
	return "closed"
}

// inTheClear reads what is not yet TLS.
func (e *ending) inTheClear() {
	if first, err := e.c.r.Peek(5); err == nil && string(first) == "HTTP/" {
		e.http()
		return
	}
	for {
		head := make([]byte, 5)
		if _, err := io.ReadFull(e.c.r, head); err != nil {
			e.note(endOf(err))
			return
		}
		body := make([]byte, binary.BigEndian.Uint16(head[3:]))
		if _, err := io.ReadFull(e.c.r, body); err != nil {
			e.note(fmt.Sprintf("half a record %x, %s", head, endOf(err)))
			return
		}
		switch {
		case head[0] == 21 && len(body) == 2:
			e.note(fmt.Sprintf("alert %d", body[1]))
		case head[0] == 22 && body[0] == 2:
			e.note(serverHello(body))
		}
		e.soon()
	}
}

// serverHello tells a hello from the wish for another one by its random number.
func serverHello(body []byte) string {
	if len(body) > 38 && binary.BigEndian.Uint32(body[6:]) == 0xcf21ad74 { // RFC 8446, section 4.1.3
		return "retry"
	}
	return "serverhello"
}

// soon makes the next read a short one, where the connection may stay open.
func (e *ending) soon() {
	// After a goaway the server takes a second.
	ends := len(e.seen) > 0 && strings.HasPrefix(e.seen[len(e.seen)-1], "goaway")
	if next := time.Now().Add(quiet); !ends && e.wants("open") && next.Before(e.limit) {
		_ = e.c.raw.SetReadDeadline(next)
	} else {
		_ = e.c.raw.SetReadDeadline(e.limit)
	}
}

// http reads answers until the connection ends, or nothing more comes.
func (e *ending) http() {
	for {
		resp, err := http.ReadResponse(e.c.r, e.c.asked())
		if err != nil {
			e.note(endOf(err))
			return
		}
		e.note(strconv.Itoa(resp.StatusCode))
		if resp.StatusCode == http.StatusSwitchingProtocols {
			e.c.isWS = true
			e.frames()
			return
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			e.note("half an answer, " + endOf(err))
			return
		}
		_ = resp.Body.Close()
		e.soon()
	}
}

// http2 reads frames of HTTP/2.
func (e *ending) http2() {
	const data, headers, reset, goaway = 0, 1, 3, 7
	for {
		head := make([]byte, 9)
		if _, err := io.ReadFull(e.c.r, head); err != nil {
			e.note(endOf(err))
			return
		}
		body := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(e.c.r, body); err != nil {
			e.note("half a frame, " + endOf(err))
			return
		}
		switch head[3] {
		case headers:
			e.note(h2status(body))
		case reset:
			e.note(fmt.Sprintf("reset %d", binary.BigEndian.Uint32(body)))
		case goaway:
			e.note(fmt.Sprintf("goaway %d", binary.BigEndian.Uint32(body[4:])))
		}
		e.soon()
	}
}

// h2status reads the status that begins the headers of an answer: from the static
// table, or a literal of three digits.
func h2status(b []byte) string {
	for b[0]&0xe0 == 0x20 { // the table's size comes first: a number of five bits, or more
		n := 1
		for more := b[0]&0x1f == 0x1f; more; n++ {
			more = b[n]&0x80 != 0
		}
		b = b[n:]
	}
	table := map[byte]string{0x88: "200", 0x89: "204", 0x8a: "206", 0x8b: "304", 0x8c: "400", 0x8d: "404", 0x8e: "500"}
	if s, ok := table[b[0]]; ok {
		return s
	}
	if b[0] < 0x48 || b[0] > 0x4e {
		return "headers" // a status that came before
	}
	if b[1] == 3 {
		return string(b[2:5])
	}
	// Huffman's code of digits: 0 to 2 have five bits, the others six.
	var status string
	var bits uint64
	for _, c := range b[2 : 2+int(b[1]&0x7f)] {
		bits = bits<<8 | uint64(c)
	}
	for left := 8 * int(b[1]&0x7f); len(status) < 3; {
		if five := bits >> (left - 5) & 31; five < 3 {
			status, left = status+string(rune('0'+five)), left-5
		} else {
			status, left = status+string(rune('3'+bits>>(left-6)&63-25)), left-6
		}
	}
	return status
}

// The opcodes of RFC 6455 that are looked at.
const opBinary, opClose = 0x2, 0x8

// frames reads WebSocket frames until the connection ends. A client that was told
// goodbye says it too, and waits for the end. One that shall live makes its request
// when what is wanted before has come.
func (e *ending) frames() {
	asked := false
	for {
		if next := append(slices.Clone(e.seen), fmt.Sprint("lives ", e.lives)); e.lives > 0 && !asked && slices.Contains(e.want, strings.Join(next, ", ")) {
			_ = e.c.write(frame(0x82, must(expression.bytes(mustParse(fmt.Sprintf(`[5, %d, "Ping", {"id": 1}]`, e.lives)), nil))))
			asked = true
		}
		op, payload, err := stranger.ReadFrame(e.c.r)
		if err != nil {
			e.note(endOf(err))
			return
		}
		switch op {
		case opBinary:
			if e.message(payload) {
				return
			}
			e.soon()
		case opClose:
			e.close(payload)
			return
		}
	}
}

func mustParse(s string) expression { return must(parseExpression(s)) }

func (e *ending) close(payload []byte) {
	if len(payload) < 2 {
		e.note("close without a code")
	} else {
		e.note(fmt.Sprintf("close %d", binary.BigEndian.Uint16(payload)))
	}
	_ = e.c.raw.SetWriteDeadline(time.Now().Add(goodbye))
	_ = e.c.write(frame(0x80|opClose, payload))
	_ = e.c.raw.SetReadDeadline(time.Now().Add(goodbye))
	if n, err := io.Copy(io.Discard, e.c.r); n != 0 || err != nil && endOf(err) == "open" {
		e.note(fmt.Sprintf(malformed+"%d bytes behind the close frame, and %v", n, err))
	}
}

// message notes the frames of one message, and tells whether the last of what is
// wanted has come.
func (e *ending) message(b []byte) bool {
	for len(b) > 0 {
		v, rest, err := stranger.Unpack(b)
		frame, ok := v.([]any)
		if err != nil || !ok || len(frame) < 2 {
			e.note(fmt.Sprintf(malformed+"the frame %v, %v", v, err))
			return true
		}
		b = rest
		const welcome, drop, answer, fault = 1, 2, 6, 7
		switch kind := frame[0].(int64); kind {
		case welcome:
			e.note(e.c.welcome(frame[1]))
			if e.good() {
				return true
			}
		case drop:
			e.note("drop " + stranger.CodeIn(frame[1]))
		case fault:
			e.note("error " + stranger.CodeIn(frame[3]))
		case answer:
			if e.lives > 0 && frame[2] == e.lives {
				e.note(fmt.Sprint("lives ", e.lives))
				return true
			}
		}
	}
	return false
}
