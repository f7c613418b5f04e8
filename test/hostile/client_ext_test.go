//go:build linux

package hostile_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"busd/test/hostile/stranger"
)

// points are how far an honest client goes, in order.
var points = []string{"tcp", "tls", "h2", "upgraded", "welcomed", "sessioned"}

// honest bounds each step of an honest client; a busy machine is slow.
const honest = 30 * time.Second

// A client is a client of bytes.
type client struct {
	// Fixed by at.
	options  map[string]string
	point    string
	instance string
	raw      *net.TCPConn
	tls      *tls.Conn // nil: in the clear
	r        *bufio.Reader
	failed   error // of the TLS handshake

	// Owned by who reads.
	isWS    bool   // what comes is WebSocket
	session string // of the last welcome
	token   []byte

	mu sync.Mutex
	// Guarded by mu: what is written.
	sealer *sealer // nil: crypto/tls writes
	isHead bool    // the last request is a HEAD
	sent   []string
	total  int64
}

// option is what the script says, or else.
func (c *client) option(key, otherwise string) string {
	if v, ok := c.options[key]; ok {
		return v
	}
	return otherwise
}

// addresses and instances are those that no client has had.
var addresses, instances atomic.Int64

// nextAddress is an address of the loopback network.
func nextAddress() net.Addr {
	n := addresses.Add(1)
	return &net.TCPAddr{IP: net.IPv4(127, 1, byte(n/250), byte(n%250+1))}
}

// dial opens a client and goes to a point. from is where it comes from.
func (s *server) dial(words []string, from net.Addr) (*client, error) {
	c := &client{point: words[0], options: map[string]string{}}
	name := "mallory"
	for _, w := range words[1:] {
		if key, value, found := strings.Cut(w, "="); found {
			c.options[key] = value
		} else {
			name = w
		}
	}
	c.instance = c.option("instance", fmt.Sprintf("i%d", instances.Add(1)))
	d := net.Dialer{LocalAddr: from, Timeout: honest}
	raw, err := d.Dial("tcp", s.address(c.option("to", "")))
	if err != nil {
		return nil, err
	}
	c.raw = raw.(*net.TCPConn)
	c.r = bufio.NewReader(c.raw)
	if c.point == "tcp" {
		return c, nil
	}
	cert, err := thePKI.cert(name)
	if err != nil {
		return c, err
	}
	if err := c.handshake(cert); err != nil || c.failed != nil {
		return c, err
	}
	return c, c.goOn()
}

// handshake makes TLS. In TLS 1.3 a client learns from its first read that its
// certificate was refused. That the server ends it is for the script to expect.
func (c *client) handshake(cert tls.Certificate) error {
	conf, secrets := honestTLS(), new(keyLog)
	conf.KeyLogWriter = secrets
	conf.ServerName = c.option("sni", conf.ServerName)
	if c.point == "h2" {
		conf.NextProtos = []string{"h2"}
	}
	if v, ok := c.options["alpn"]; ok {
		conf.NextProtos = strings.Split(v, ",")
	}
	if v, ok := c.options["max"]; ok {
		versions := map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12}
		conf.MinVersion, conf.MaxVersion = tls.VersionTLS10, versions[v]
	}
	if len(cert.Certificate) > 0 {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	ctx, cancel := context.WithTimeout(context.Background(), honest)
	defer cancel()
	c.tls = tls.Client(c.raw, conf)
	c.failed = c.tls.HandshakeContext(ctx)
	c.r = bufio.NewReader(c.tls)
	if c.failed != nil {
		return nil
	}
	var err error
	if c.sealer, err = newSealer(secrets, c.tls.ConnectionState().CipherSuite); errors.Is(err, errNoKeys) {
		err = nil
	}
	return err
}

// goOn goes from TLS to the point.
func (c *client) goOn() error {
	at := slices.Index(points, c.point)
	if at < slices.Index(points, "upgraded") {
		return nil
	}
	_ = c.raw.SetDeadline(time.Now().Add(honest))
	defer c.raw.SetDeadline(time.Time{})
	headers := [][]byte(nil)
	if err := c.write(request("GET "+c.option("path", pingPath)+" HTTP/1.1", upgradeHeaders, headers)); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("upgrade: got %s", resp.Status)
	}
	c.isWS = true
	if c.point == "upgraded" {
		return nil
	}
	return c.hello()
}

// hello says hello, and reads the welcome.
func (c *client) hello() error {
	more := ""
	if c.point == "sessioned" {
		more = `, "features": ["resume", "move"]`
	}
	if credit, ok := c.options["credit"]; ok {
		more += `, "credit": ` + credit
	}
	e, err := parseExpression(`message([0, {"instance": ` + strconv.Quote(c.instance) + more + `}])`)
	if err != nil {
		return err
	}
	b, err := e.bytes(nil)
	if err != nil {
		return err
	}
	if err := c.write(b); err != nil {
		return err
	}
	_, payload, err := stranger.ReadFrame(c.r)
	if err != nil {
		return fmt.Errorf("welcome: %w", err)
	}
	v, _, err := stranger.Unpack(payload)
	if frame, ok := v.([]any); err == nil && ok && len(frame) == 2 && frame[0] == int64(1) {
		c.welcome(frame[1])
		return nil
	}
	return fmt.Errorf("welcome: got %v, %w", v, err)
}

// welcome keeps what a welcome said of the session, and tells whether it is the one
// that was asked for.
func (c *client) welcome(v any) string {
	w, _ := v.(map[string]any)
	c.session, _ = w["session"].(string)
	if c.token, _ = w["token"].([]byte); len(c.token) > 0 {
		secrets.plant(c.token)
	}
	if resumed, _ := w["resumed"].(bool); resumed {
		return "resumed"
	}
	return "welcome"
}

// write says bytes: inside TLS, if there is one.
func (c *client) write(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note(b)
	c.isHead = strings.HasPrefix(string(b[:min(len(b), 5)]), "HEAD ")
	switch {
	case c.sealer != nil:
		return c.sealer.write(c.raw, b)
	case c.tls != nil:
		_, err := c.tls.Write(b)
		return err
	}
	_, err := c.raw.Write(b)
	return err
}

// asked is the last request, as far as its answer depends on it.
func (c *client) asked() *http.Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isHead {
		return &http.Request{Method: http.MethodHead}
	}
	return &http.Request{Method: http.MethodGet}
}

// note remembers what is sent, for who wants to know why a case failed.
func (c *client) note(b []byte) {
	const most, length = 8, 200
	c.total += int64(len(b))
	if len(c.sent) < most {
		c.sent = append(c.sent, fmt.Sprintf("%d bytes: %s", len(b), visible(b, length)))
	}
}

// visible is what of bytes can be read.
func visible(b []byte, most int) string {
	text := strconv.QuoteToASCII(string(b[:min(len(b), most)]))
	if len(b) > most {
		text += "…"
	}
	return text
}

// writeRaw says bytes below TLS.
func (c *client) writeRaw(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note(b)
	_, err := c.raw.Write(b)
	return err
}

// writeRecord says one record of TLS.
func (c *client) writeRecord(kind int, b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sealer == nil {
		return errNoKeys
	}
	c.note(b)
	sealed, err := c.sealer.record(byte(kind), b)
	if err != nil {
		return err
	}
	_, err = c.raw.Write(sealed)
	return err
}
