package hostile

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// Frames of HTTP/2 (RFC 9113), and of their flags those that are needed.
const (
	h2Data, h2Headers, h2Reset      = 0x0, 0x1, 0x3
	h2Settings, h2Ping, h2Continued = 0x4, 0x6, 0x9
	h2EndStream, h2EndHeaders       = 0x1, 0x4
)

const h2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

func h2frame(kind, flags byte, stream uint32, payload ...[]byte) []byte {
	body := join(payload...)
	head := []byte{byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body)), kind, flags}
	return join(binary.BigEndian.AppendUint32(head, stream), body)
}

// setting is one setting.
func setting(id uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, id), value)
}

// h2header is one header, by literals alone.
func h2header(name, value string) []byte {
	return join([]byte{0, byte(len(name))}, []byte(name), []byte{byte(len(value))}, []byte(value))
}

// h2post is the header of a call.
func h2post(below string, more ...[]byte) []byte {
	return join(append([][]byte{
		h2header(":method", "POST"), h2header(":scheme", "https"), h2header(":path", callPath+below),
		h2header(":authority", "localhost"), h2header("content-type", "application/json"),
	}, more...)...)
}

// h2 opens a client that speaks HTTP/2, and says what it is set to.
func (s *stack) h2(t *testing.T, settings ...[]byte) *client {
	t.Helper()
	c := s.newClient(t, tcpOpen, callPath)
	config := c.tlsConfig()
	config.NextProtos = []string{"h2"}
	config.Certificates = append(config.Certificates, s.good)
	if c.handshakeWith(config); c.err != nil {
		t.Fatal(c.err)
	}
	c.send(join([]byte(h2Preface), h2frame(h2Settings, 0, 0, settings...)))
	return c
}

// streams are the numbers of a client's streams.
type streams uint32

func (n *streams) next() uint32 {
	*n += 2
	return uint32(*n) - 1
}

// TestHTTP2Floods are clients that make the server work as much as frames can.
// Whoever floods is cut off, or costs nobody else anything.
func TestHTTP2Floods(t *testing.T) {
	const limit = pace + 10*time.Second
	for _, flood := range []struct {
		name  string
		piece func(n *streams) []byte // sent again and again
		once  func(n *streams) []byte // sent before that
		deaf  bool                    // reads nothing
		lives bool                    // need not be cut off
	}{
		{name: "requests that are taken back", piece: func(n *streams) []byte {
			id := n.next()
			return join(h2frame(h2Headers, h2EndHeaders|h2EndStream, id, h2post("/ping")), h2frame(h2Reset, 0, id, make([]byte, 4)))
		}, lives: true}, // as long as the server keeps up with it

		{name: "more requests than there may be", piece: func(n *streams) []byte {
			return h2frame(h2Headers, h2EndHeaders, n.next(), h2post("/shout"))
		}, deaf: true, lives: true},
		{name: "a header without an end", once: func(n *streams) []byte {
			return h2frame(h2Headers, 0, n.next(), h2post("/ping"))
		}, piece: func(*streams) []byte {
			return h2frame(h2Continued, 0, 1, h2header("x", "yyyyyyyyyyyyyyyy"))
		}},
		{name: "a header of empty frames", once: func(n *streams) []byte {
			return h2frame(h2Headers, 0, n.next(), h2post("/ping"))
		}, piece: func(*streams) []byte { return h2frame(h2Continued, 0, 1) }, lives: true},
		{name: "settings", piece: func(*streams) []byte { return h2frame(h2Settings, 0, 0, setting(4, 65535)) }, deaf: true},
		{name: "pings", piece: func(*streams) []byte { return h2frame(h2Ping, 0, 0, make([]byte, 8)) }, deaf: true},
		{name: "empty data", once: func(n *streams) []byte {
			return h2frame(h2Headers, h2EndHeaders, n.next(), h2post("/shout"))
		}, piece: func(*streams) []byte { return h2frame(h2Data, 0, 1) }, lives: true},
		{name: "data that nobody asked for", piece: func(n *streams) []byte {
			return h2frame(h2Data, 0, n.next(), make([]byte, 1024))
		}},
		{name: "data beyond the window", once: func(n *streams) []byte {
			return h2frame(h2Headers, h2EndHeaders, n.next(), h2post("/stay"))
		}, piece: func(*streams) []byte { return h2frame(h2Data, 0, 1, make([]byte, 16<<10)) }},
	} {
		t.Run(flood.name, func(t *testing.T) {
			s := newStack(t)
			g := measure(t)
			c := s.h2(t)
			var n streams
			if flood.once != nil {
				c.send(flood.once(&n))
			}
			ended := make(chan error, 1)
			go func() { ended <- floods(c.conn, func() []byte { return flood.piece(&n) }) }()
			if !flood.deaf {
				go func() { _, _ = io.Copy(io.Discard, c.conn) }() // ends with the connection
			}
			wait := limit
			if flood.lives {
				wait = 3 * time.Second
			}
			cut := false
			select {
			case <-ended:
				cut = true
			case <-time.After(wait):
			}
			if !cut && !flood.lives {
				t.Errorf("it goes on for %v", wait)
			}
			s.probe(t)
			g.holds(16 << 20)
			_ = c.raw.Close()
			if !cut {
				<-ended
			}
			g.returns(64 << 20)
		})
	}
}

// floods sends pieces until the connection ends.
func floods(c net.Conn, piece func() []byte) error {
	var b []byte
	for {
		b = b[:0]
		for len(b) < 16<<10 {
			b = append(b, piece()...)
		}
		_ = c.SetWriteDeadline(time.Now().Add(pace + 9*time.Second))
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
}

// TestHTTP2Stalls are clients that ask for much and take nothing, or promise bodies
// that do not come: their requests end, and what is kept for them is bounded.
func TestHTTP2Stalls(t *testing.T) {
	s := newStack(t)
	g := measure(t)
	var work sync.WaitGroup
	for name, ask := range map[string]func(n *streams) []byte{
		"downloads of which nothing is taken": func(n *streams) []byte {
			id := n.next()
			return join(h2frame(h2Headers, h2EndHeaders, id, h2post("/fetch", h2header("accept", "application/octet-stream"))),
				h2frame(h2Data, h2EndStream, id, []byte("[]")))
		},
		"bodies that do not come": func(n *streams) []byte {
			id := n.next()
			return join(h2frame(h2Headers, h2EndHeaders, id, h2post("/shout", h2header("content-length", "100000"))),
				h2frame(h2Data, 0, id, make([]byte, 2000)))
		},
	} {
		c := s.h2(t, setting(4, 0)) // no window for answers
		var n streams
		for range 100 {
			c.send(ask(&n))
		}
		work.Go(func() {
			_ = c.conn.SetReadDeadline(time.Now().Add(2*pace + 15*time.Second))
			if _, err := io.Copy(io.Discard, c.r); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: the connection stands", name)
			}
		})
	}
	s.probe(t)
	g.holds(48 << 20)
	work.Wait()
	g.returns(96 << 20)
}
