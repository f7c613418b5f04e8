package ws

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A mute line keeps what is written to it.
type mute struct {
	net.Conn // nil: nothing else is asked of it
	said     bytes.Buffer
}

func (m *mute) Write(p []byte) (int, error)      { return m.said.Write(p) }
func (m *mute) Read([]byte) (int, error)         { return 0, io.EOF }
func (m *mute) Close() error                     { return nil }
func (m *mute) SetDeadline(time.Time) error      { return nil }
func (m *mute) SetReadDeadline(time.Time) error  { return nil }
func (m *mute) SetWriteDeadline(time.Time) error { return nil }

// hijackable is a recorder whose connection can be taken over.
type hijackable struct {
	*httptest.ResponseRecorder
	line *mute
}

func (h *hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.line, bufio.NewReadWriter(bufio.NewReader(h.line), bufio.NewWriter(h.line)), nil
}

// FuzzUpgrade: whatever request net/http can read is either a proper upgrade, and
// answered as RFC 6455 says, or refused with a status, and nothing is taken over.
func FuzzUpgrade(f *testing.F) {
	const good = "GET /A/B HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: msgbus.v1\r\n"
	f.Add(good + "\r\n")
	for _, change := range [][2]string{
		{"GET", "POST"},
		{"1.1", "1.0"},
		{"Upgrade\r", "keep-alive, UPGRADE\r"},
		{"websocket", "h2c, WebSocket"},
		{": 13", ": 8, 13"},
		{"dGhlIHNhbXBsZSBub25jZQ==", "x"},
		{"msgbus.v1", "other, msgbus.v1"},
		{"Host: x", "Host: x\r\nContent-Length: 5"},
		{"Host: x", "Host: x\r\nTransfer-Encoding: chunked"},
		{"Host: x", "Host: x\r\nSec-WebSocket-Extensions: permessage-deflate"},
		{"Sec-WebSocket-Key", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Key"},
	} {
		f.Add(strings.Replace(good, change[0], change[1], 1) + "\r\n")
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			return
		}
		_ = Subprotocols(r)
		if !IsUpgrade(r) {
			return // it is never given to Accept
		}
		w := &hijackable{httptest.NewRecorder(), new(mute)}
		_, err = Accept(w, r, "msgbus.v1")
		if err != nil {
			if w.Code < 400 || w.Code >= 500 || w.line.said.Len() > 0 {
				t.Fatalf("%q: refused (%v) with status %d, and %q", text, err, w.Code, &w.line.said)
			}
			return
		}
		key := r.Header.Get("Sec-WebSocket-Key")
		raw, err := base64.StdEncoding.DecodeString(key)
		if err != nil || len(raw) != 16 || r.Method != http.MethodGet || r.ProtoMajor != 1 || r.ProtoMinor < 1 || r.ContentLength != 0 ||
			len(r.Header["Sec-Websocket-Version"]) == 0 || r.Header["Sec-Websocket-Version"][0] != "13" {
			t.Fatalf("%q is taken", text)
		}
		answer, err := http.ReadResponse(bufio.NewReader(&w.line.said), r)
		if err != nil {
			t.Fatalf("%q: the answer: %v", text, err)
		}
		sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		if answer.StatusCode != http.StatusSwitchingProtocols || answer.Header.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]) ||
			answer.Header.Get("Sec-WebSocket-Extensions") != "" {
			t.Fatalf("%q: answered %s, %v", text, answer.Status, answer.Header)
		}
	})
}
