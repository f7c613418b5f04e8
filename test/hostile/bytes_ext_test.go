//go:build linux

package hostile_test

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"
)

// functions are those that scripts call. Their arguments are bytes, but where
// their comment says a number.
var functions map[string]func(scope, []expression) ([]byte, error)

func init() { // each refers to functions itself
	functions = map[string]func(scope, []expression) ([]byte, error){
		// rep(number, bytes); zeros(number)
		"rep": func(s scope, a []expression) ([]byte, error) {
			n, parts, err := numbered(s, a, 1)
			return bytes.Repeat(join(parts), int(n[0])), err
		},
		"zeros": func(s scope, a []expression) ([]byte, error) {
			n, _, err := numbered(s, a, 1)
			return make([]byte, n[0]), err
		},
		"each": each,

		// mutated(number, bytes): a few of them changed, the same with the same number
		"mutated": func(s scope, a []expression) ([]byte, error) {
			n, parts, err := numbered(s, a, 1)
			return mutated(n[0], join(parts)), err
		},

		// u8(number) to u64(number): big-endian; len(bytes): in decimal digits
		"u8": integer(1), "u16": integer(2), "u24": integer(3), "u32": integer(4), "u64": integer(8),
		"len":  of(func(b []byte) []byte { return fmt.Append(nil, len(b)) }),
		"gzip": of(zipped),
		"b64":  of(func(b []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(b)) }),
		"url":  of(func(b []byte) []byte { return []byte(base64.RawURLEncoding.EncodeToString(b)) }),

		// str, bin: text and binary of msgpack, of bytes that are computed
		"str": of(func(b []byte) []byte { return appendPacked(nil, string(b)) }),
		"bin": of(func(b []byte) []byte { return appendPacked(nil, b) }),

		// record(type number, bytes): TLS records in the clear, of 16 KiB at most;
		// later(type number, bytes): the same, as they are after the first answer;
		// handshake(type number, bytes): a message of the handshake;
		// clienthello(version, session id, suites, compressions, extensions), each
		// without its length; ext(id number, bytes); honest(): a whole good record.
		"record": func(s scope, a []expression) ([]byte, error) {
			n, parts, err := numbered(s, a, 1)
			return records(byte(n[0]), 1, join(parts)), err
		},
		"later": func(s scope, a []expression) ([]byte, error) {
			n, parts, err := numbered(s, a, 1)
			return records(byte(n[0]), 3, join(parts)), err
		},
		"handshake": func(s scope, a []expression) ([]byte, error) {
			n, parts, err := numbered(s, a, 1)
			b := join(parts)
			return append([]byte{byte(n[0]), byte(len(b) >> 16), byte(len(b) >> 8), byte(len(b))}, b...), err
		},
		"ext": func(s scope, a []expression) ([]byte, error) {
			n, parts, err := numbered(s, a, 1)
			b := join(parts)
			return append(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, uint16(n[0])), uint16(len(b))), b...), err
		},
		"clienthello": clientHello,
		"honest":      func(scope, []expression) ([]byte, error) { return honestHello() },

		// frame(first byte number, bytes): masked, by zeros; bare(…): not masked;
		// head(first byte number, length number): a frame's head, with its mask;
		// message(bytes): a binary message
		"frame": func(s scope, a []expression) ([]byte, error) {
			n, parts, err := numbered(s, a, 1)
			return frame(byte(n[0]), join(parts)), err
		},
		"bare": func(s scope, a []expression) ([]byte, error) {
			n, parts, err := numbered(s, a, 1)
			b := join(parts)
			return append(frameHead(byte(n[0]), 0, uint64(len(b))), b...), err
		},
		"head": func(s scope, a []expression) ([]byte, error) {
			n, _, err := numbered(s, a, 2)
			return append(frameHead(byte(n[0]), maskBit, uint64(n[1])), 0, 0, 0, 0), err
		},
		"message": of(func(b []byte) []byte { return frame(0x82, b) }),

		// request(line, headers…), get(path, headers…), post(path, body, headers…),
		// upgrade(path, headers…). A header replaces what is there of its name; "-Name"
		// takes it away, and "+Name: x" is one more.
		"request": func(s scope, a []expression) ([]byte, error) {
			parts, err := evaluated(s, a, 1)
			return request(string(parts[0]), nil, parts[1:]), err
		},
		"get": func(s scope, a []expression) ([]byte, error) {
			parts, err := evaluated(s, a, 1)
			return request("GET "+string(parts[0])+" HTTP/1.1", nil, parts[1:]), err
		},
		"post": func(s scope, a []expression) ([]byte, error) {
			parts, err := evaluated(s, a, 2)
			own := []string{"Content-Type: application/json", fmt.Sprintf("Content-Length: %d", len(parts[1]))}
			return append(request("POST "+string(parts[0])+" HTTP/1.1", own, parts[2:]), parts[1]...), err
		},
		"upgrade": func(s scope, a []expression) ([]byte, error) {
			parts, err := evaluated(s, a, 1)
			return request("GET "+string(parts[0])+" HTTP/1.1", upgradeHeaders, parts[1:]), err
		},

		// h2(type, flags, stream numbers, bytes): a frame; hpack(name, value, …):
		// headers by literals; h2post(path, more headers by hpack…); preface(): what a
		// client begins with
		"h2": func(s scope, a []expression) ([]byte, error) {
			n, parts, err := numbered(s, a, 3)
			return h2frame(byte(n[0]), byte(n[1]), uint32(n[2]), join(parts)), err
		},
		"hpack": func(s scope, a []expression) ([]byte, error) {
			parts, err := evaluated(s, a, 2)
			return hpack(parts), err
		},
		"h2post": func(s scope, a []expression) ([]byte, error) {
			parts, err := evaluated(s, a, 1)
			head := hpack([][]byte{
				[]byte(":method"), []byte("POST"), []byte(":scheme"), []byte("https"), []byte(":path"), parts[0],
				[]byte(":authority"), []byte("localhost"), []byte("content-type"), []byte("application/json"),
			})
			return append(head, join(parts[1:])...), err
		},

		// jwt(name): a token of token_ext_test.go
		"jwt": func(s scope, a []expression) ([]byte, error) {
			parts, err := evaluated(s, a, 1)
			if err != nil {
				return nil, err
			}
			return theIssuer.token(string(parts[0]))
		},
		// pem(name): a certificate of pki_ext_test.go, as proxies pass it on
		"pem": func(s scope, a []expression) ([]byte, error) {
			parts, err := evaluated(s, a, 1)
			if err != nil {
				return nil, err
			}
			return thePKI.passedOn(string(parts[0]))
		},
	}
}

// evaluated are bytes, at least so many.
func evaluated(s scope, args []expression, least int) ([][]byte, error) {
	if len(args) < least {
		return make([][]byte, least), fmt.Errorf("want %d arguments, got %d", least, len(args))
	}
	parts := make([][]byte, len(args))
	var err error
	for i, e := range args {
		if parts[i], err = e.bytes(s); err != nil {
			return parts, err
		}
	}
	return parts, nil
}

// numbered are so many numbers, and then bytes.
func numbered(s scope, args []expression, count int) (numbers []int64, parts [][]byte, err error) {
	numbers = make([]int64, count)
	if len(args) < count {
		return numbers, nil, fmt.Errorf("want %d numbers first, got %d arguments", count, len(args))
	}
	for i := range count {
		if numbers[i], err = args[i].number(s); err != nil {
			return make([]int64, count), nil, err
		}
	}
	parts, err = evaluated(s, args[count:], 0)
	return numbers, parts, err
}

// of makes a function of bytes.
func of(f func([]byte) []byte) func(scope, []expression) ([]byte, error) {
	return func(s scope, a []expression) ([]byte, error) {
		parts, err := evaluated(s, a, 1)
		return f(join(parts)), err
	}
}

func integer(width int) func(scope, []expression) ([]byte, error) {
	return func(s scope, a []expression) ([]byte, error) {
		n, _, err := numbered(s, a, 1)
		return binary.BigEndian.AppendUint64(nil, uint64(n[0]))[8-width:], err
	}
}

// each(name, from, count, step, bytes) evaluates the bytes again and again; the name
// stands for a number.
func each(s scope, a []expression) ([]byte, error) {
	if len(a) != 5 || len(a[0]) != 1 {
		return nil, errors.New("want a name, three numbers and bytes")
	}
	n, _, err := numbered(s, a[1:4], 3)
	if err != nil {
		return nil, err
	}
	inner := scope{}
	for name, v := range s {
		inner[name] = v
	}
	var all []byte
	for i := range n[1] {
		inner[a[0][0].text] = n[0] + i*n[2]
		b, err := a[4].bytes(inner)
		if err != nil {
			return nil, err
		}
		all = append(all, b...)
	}
	return all, nil
}

// mutated changes bytes in one to three places: bits, values at the edges of ranges,
// and pieces that are missing, doubled or somewhere else.
func mutated(seed int64, b []byte) []byte {
	r := rand.New(rand.NewPCG(uint64(seed), 666))
	edges := []byte{0, 1, 0x7f, 0x80, 0xc0, 0xc1, 0xdd, 0xdf, 0xfe, 0xff, '\r', '\n', ' ', ':', '%', '/'}
	b = bytes.Clone(b)
	for range 1 + r.IntN(3) {
		if len(b) == 0 {
			break
		}
		at := r.IntN(len(b))
		size := 1 + r.IntN(min(8, len(b)-at))
		switch r.IntN(6) {
		case 0:
			b[at] ^= 1 << r.IntN(8)
		case 1:
			b[at] = edges[r.IntN(len(edges))]
		case 2:
			b = slices.Delete(b, at, at+size)
		case 3:
			b = slices.Insert(b, at, bytes.Clone(b[at:at+size])...)
		case 4:
			b = slices.Insert(b, at, bytes.Repeat(edges[r.IntN(len(edges)):][:1], 1+r.IntN(300))...)
		case 5:
			b = b[:at]
		}
	}
	return b
}

func join(parts [][]byte) []byte { return bytes.Join(parts, nil) }

func zipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b)
	_ = z.Close() // a buffer takes everything
	return out.Bytes()
}

func records(kind, minor byte, b []byte) []byte {
	var all []byte
	for first := true; first || len(b) > 0; first = false {
		n := min(len(b), 16<<10)
		all = append(all, kind, 3, minor, byte(n>>8), byte(n))
		all, b = append(all, b[:n]...), b[n:]
	}
	return all
}

func clientHello(s scope, a []expression) ([]byte, error) {
	parts, err := evaluated(s, a, 5)
	if err != nil {
		return nil, err
	}
	long := func(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }
	short := func(b []byte) []byte { return append([]byte{byte(len(b))}, b...) }
	return join([][]byte{parts[0], bytes.Repeat([]byte{7}, 32), short(parts[1]), long(parts[2]), short(parts[3]), long(parts[4])}), nil
}

// honestHello is a ClientHello of Go's own.
func honestHello() ([]byte, error) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		_ = tls.Client(theirs, honestTLS()).Handshake() // fails when it wants the answer
		theirs.Close()
	}()
	_ = ours.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 4096)
	n, err := ours.Read(b)
	return b[:n], err
}

// honestTLS is what clients of the server say, but for their certificate.
func honestTLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, ServerName: "localhost", NextProtos: []string{"http/1.1"}}
}

const maskBit = 0x80

// frame is a masked WebSocket frame; the mask is of zeros, so that it changes
// nothing.
func frame(first byte, payload []byte) []byte {
	return append(append(frameHead(first, maskBit, uint64(len(payload))), 0, 0, 0, 0), payload...)
}

func frameHead(first, mask byte, n uint64) []byte {
	switch {
	case n < 126:
		return []byte{first, mask | byte(n)}
	case n < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{first, mask | 126}, uint16(n))
	}
	return binary.BigEndian.AppendUint64([]byte{first, mask | 127}, n)
}

var upgradeHeaders = []string{
	"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
	"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol: msgbus.v1",
}

func request(line string, own []string, headers [][]byte) []byte {
	all := append([]string{"Host: localhost"}, own...)
	for _, b := range headers {
		h := string(b)
		name, _, _ := strings.Cut(strings.TrimLeft(h, "-"), ":")
		if h[0] == '+' {
			all = append(all, h[1:])
			continue
		}
		var kept []string
		for _, old := range all {
			if was, _, _ := strings.Cut(old, ":"); !strings.EqualFold(was, name) {
				kept = append(kept, old)
			}
		}
		if all = kept; h[0] != '-' {
			all = append(all, h)
		}
	}
	return []byte(line + "\r\n" + strings.Join(append(all, "", ""), "\r\n"))
}

func h2frame(kind, flags byte, stream uint32, body []byte) []byte {
	head := []byte{byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body)), kind, flags}
	return append(binary.BigEndian.AppendUint32(head, stream), body...)
}

// hpack is names and values in turn, by literals alone.
func hpack(pairs [][]byte) []byte {
	var all []byte
	for i := 0; i+1 < len(pairs); i += 2 {
		all = append(all, 0)
		for _, b := range pairs[i : i+2] {
			if len(b) < 127 {
				all = append(all, byte(len(b)))
			} else { // an integer of RFC 7541, section 5.1
				all = append(all, 127)
				n := len(b) - 127
				for ; n >= 128; n >>= 7 {
					all = append(all, byte(n)|0x80)
				}
				all = append(all, byte(n))
			}
			all = append(all, b...)
		}
	}
	return all
}
