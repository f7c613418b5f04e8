package rpcclient_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"busd/bus"
	"busd/internal/mtls"
	"busd/rpc/rpcclient"
)

// Frames of HTTP/2 (RFC 9113, section 6), as far as the test needs them.
const (
	frameHeaders  = 1
	frameReset    = 3
	frameSettings = 4
	frameGoaway   = 7

	refusedStream = 7
	internalError = 2
)

func frame(kind byte, stream uint32, payload ...byte) []byte {
	head := []byte{0, 0, byte(len(payload)), kind, 0}
	return append(binary.BigEndian.AppendUint32(head, stream), payload...)
}

// http2Server takes connections of HTTP/2 and answers each request with frames.
func (w *town) http2Server(t *testing.T, asked *atomic.Int64, answer func(stream uint32) []byte) string {
	t.Helper()
	issued, _, _ := w.issue(t, mtls.Request{Name: "server", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true})
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{issued.TLS()}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13,
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			speakHTTP2(c, asked, answer)
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return "https://" + l.Addr().String() + service
}

// speakHTTP2 serves one connection, until the client ends it.
func speakHTTP2(c net.Conn, asked *atomic.Int64, answer func(stream uint32) []byte) {
	defer c.Close()
	preface := make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	if _, err := io.ReadFull(c, preface); err != nil {
		return
	}
	_, err := c.Write(frame(frameSettings, 0))
	for head := make([]byte, 9); err == nil; {
		if _, err = io.ReadFull(c, head); err != nil {
			return
		}
		size := int64(head[0])<<16 | int64(head[1])<<8 | int64(head[2])
		if _, err = io.CopyN(io.Discard, c, size); err == nil && head[3] == frameHeaders {
			asked.Add(1)
			_, err = c.Write(answer(binary.BigEndian.Uint32(head[5:])))
		}
	}
}

// A server of HTTP/2 can say that it has not looked at a request: then it is made
// elsewhere. Anything else is no such word.
func TestHTTP2Refusals(t *testing.T) {
	t.Parallel()
	reset := func(code byte) func(uint32) []byte {
		return func(stream uint32) []byte { return frame(frameReset, stream, 0, 0, 0, code) }
	}
	for _, tt := range []struct {
		name    string
		answer  func(stream uint32) []byte
		refused bool
	}{
		{"refused stream", reset(refusedStream), true},
		{"going away, and not with this", func(uint32) []byte { return frame(frameGoaway, 0, 0, 0, 0, 0, 0, 0, 0, 0) }, true},
		{"protocol error", reset(1), false},
		{"internal error", reset(internalError), false},
		{"going away, after this", func(stream uint32) []byte {
			return bytes.Join([][]byte{
				frame(frameGoaway, 0, append(binary.BigEndian.AppendUint32(nil, stream), 0, 0, 0, 0)...), reset(internalError)(stream),
			}, nil)
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newTown(t)
			var asked atomic.Int64
			first := w.http2Server(t, &asked, tt.answer)
			second := w.serve(t, nil, answers(fine))
			c, err := rpcclient.New(rpcclient.Config{URL: first, FailoverURLs: []string{second.URL + service}, CAPEM: w.ca.CertPEM()})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			got, err := c.Call(t.Context(), "f")
			switch {
			case tt.refused && (err != nil || got != "fine"):
				t.Errorf("got %v, %v; want the other's answer", got, err)
			case !tt.refused && (bus.CodeOf(err) != bus.CodeUnavailable || errors.Is(err, rpcclient.ErrNotExecuted)):
				t.Errorf("got %v, %v; want that nothing is known", got, err)
			}
			if asked.Load() != 1 {
				t.Errorf("the first was asked %d times", asked.Load())
			}
		})
	}
}
