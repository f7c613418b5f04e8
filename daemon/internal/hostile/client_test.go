package hostile

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"busd/test/hostile/stranger"
)

// A point is how far an honest client goes before the case begins.
type point int

// The points.
const (
	tcpOpen   point = iota // the TCP connection is open
	tlsOpen                // the TLS handshake is done, with a certificate
	tlsNobody              // the same without a certificate
	upgraded               // the WebSocket is open
	welcomed               // the hello is answered
	sessioned              // the same, with a session that outlives its line
	busy                   // of a crowd: welcomed, has sent all that it may, and reads nothing
)

// client is a client of bytes.
type client struct {
	t        *testing.T
	stack    *stack
	point    point
	path     string // of the service
	instance string

	raw  net.Conn
	conn net.Conn // TLS over raw, or raw itself
	r    *bufio.Reader
	err  error // of the TLS handshake

	head bool   // the request is a HEAD
	n    uint64 // number of the last numbered frame that was sent

	welcomeSaid map[string]any // what the welcome said
}

// newClient opens a client and goes to a point.
func (s *stack) newClient(t *testing.T, at point, path string) *client {
	t.Helper()
	c := &client{t: t, stack: s, path: path, instance: fmt.Sprintf("i%d", s.instances.Add(1))}
	d := net.Dialer{LocalAddr: s.nextAddress(), Timeout: 5 * time.Second}
	raw, err := d.Dial("tcp", s.addr)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { _ = raw.Close() })
	c.raw, c.conn, c.r = raw, raw, bufio.NewReader(raw)
	c.goTo(at)
	return c
}

func (c *client) goTo(at point) {
	c.t.Helper()
	c.point = at
	switch at {
	case tlsNobody:
		c.handshake(tls.Certificate{})
	case tlsOpen, upgraded, welcomed, sessioned:
		c.handshake(c.stack.good)
	case tcpOpen:
		return
	}
	if c.err != nil {
		c.t.Fatalf("handshake: %v", c.err)
	}
	if at < upgraded {
		return
	}
	c.upgrade()
	switch at {
	case welcomed:
		c.welcome()
	case sessioned:
		c.welcome(resumable()...)
	}
}

func (c *client) upgrade() {
	c.t.Helper()
	c.send(upgrade(c.path))
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		c.t.Fatalf("upgrade: got %v, %v", resp, err)
	}
}

// resumable is what a hello says of a client that keeps a session, and can move.
func resumable(more ...[]byte) [][]byte {
	return append([][]byte{str("features"), list(str("resume"), str("move"))}, more...)
}

// handshake makes TLS of the raw connection. In TLS 1.3 a client learns from
// its first read that its certificate was refused.
func (c *client) handshake(cert tls.Certificate) {
	config := c.tlsConfig()
	if len(cert.Certificate) > 0 {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	c.handshakeWith(config)
}

// tlsConfig is an honest one without a certificate.
func (c *client) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, InsecureSkipVerify: true,
		ServerName: "localhost", NextProtos: []string{"http/1.1"},
	}
}

func (c *client) handshakeWith(config *tls.Config) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn := tls.Client(c.raw, config)
	c.err = conn.HandshakeContext(ctx)
	c.conn, c.r = conn, bufio.NewReader(conn)
}

// welcome says hello and reads the welcome.
func (c *client) welcome(more ...[]byte) {
	c.t.Helper()
	c.message(hello(c.instance, more...))
	_ = c.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	op, payload, err := stranger.ReadFrame(c.r)
	if err != nil || op != opBinary {
		c.t.Fatalf("welcome: got opcode %d, %v", op, err)
	}
	v, _, err := stranger.Unpack(payload)
	frame, ok := v.([]any)
	if err != nil || !ok || frame[0] != int64(kindWelcome) {
		c.t.Fatalf("welcome: got %v, %v", v, err)
	}
	c.welcomeSaid, _ = frame[1].(map[string]any)
}

// send writes bytes. That the server has ended the connection is for observe
// to find.
func (c *client) send(b []byte) { _, _ = c.conn.Write(b) }

// upgrade is a proper request for a stable connection, with more headers.
func upgrade(path string, more ...string) []byte {
	return request("GET "+path+" HTTP/1.1", append([]string{
		"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol: msgbus.v1",
	}, more...)...)
}

// without takes a header off a request.
func without(request []byte, header string) []byte {
	var kept []string
	for line := range strings.SplitAfterSeq(string(request), "\r\n") {
		if !strings.HasPrefix(line, header+":") {
			kept = append(kept, line)
		}
	}
	return []byte(strings.Join(kept, ""))
}

func request(line string, headers ...string) []byte {
	return []byte(line + "\r\nHost: localhost\r\n" + strings.Join(append(headers, "", ""), "\r\n"))
}

// RFC 6455's opcodes and first bits.
const (
	opContinue, opText, opBinary      = 0x0, 0x1, 0x2
	opClose, opPing, opPong           = 0x8, 0x9, 0xa
	fin, rsv1, rsv2, rsv3        byte = 0x80, 0x40, 0x20, 0x10
	maskBit                      byte = 0x80
)

// frame is a masked WebSocket frame; the mask is of zeros, so that it changes
// nothing.
func frame(first byte, payload []byte) []byte {
	return join(frameHead(first, maskBit, uint64(len(payload))), make([]byte, 4), payload)
}

// frameHead is a frame's head up to its mask, announcing n bytes.
func frameHead(first, mask byte, n uint64) []byte {
	switch {
	case n < 126:
		return []byte{first, mask | byte(n)}
	case n < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{first, mask | 126}, uint16(n))
	}
	return binary.BigEndian.AppendUint64([]byte{first, mask | 127}, n)
}

// message sends one binary message.
func (c *client) message(payload ...[]byte) { c.send(frame(fin|opBinary, join(payload...))) }

// numbered is a numbered frame with the next number.
func (c *client) numbered(kind uint64, elements ...[]byte) []byte {
	c.n++
	return packed(kind, append([][]byte{num(c.n)}, elements...)...)
}

func (c *client) data(name string, attrs []byte) []byte {
	return c.numbered(kindData, str(name), attrs)
}

func (c *client) request(name string, attrs []byte) []byte {
	return c.numbered(kindRequest, str(name), attrs)
}
