package ws

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"busd/bus"
)

// Control frames are as RFC 6455 has them, from either end, up to the 125 bytes that
// one may have.
func TestControlFrames(t *testing.T) {
	t.Parallel()
	for name, client := range map[string]bool{"of a client": true, "of a server": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, payload := range []string{"", "busd", strings.Repeat("x", maxControl)} {
				for _, kind := range []int{websocket.PingMessage, websocket.PongMessage} {
					mine, theirs := net.Pipe()
					s := &Socket{line: &line{Conn: mine}, client: client}
					go func() {
						defer mine.Close()
						write := s.Ping
						if kind == websocket.PongMessage {
							write = s.Pong
						}
						if err := write(payload); err != nil {
							t.Errorf("writing: %v", err)
						}
					}()
					frame, err := io.ReadAll(theirs)
					if err != nil {
						t.Fatal(err)
					}
					if heard, got := control(frame, client); got != payload || heard != kind {
						t.Errorf("got %d with %q, want %d with %q", heard, got, kind, payload)
					}
				}
			}
		})
	}
}

// control reads a control frame as RFC 6455, section 5.2, has it; kind is -1 if it is
// none, or not the whole of it.
func control(frame []byte, ofClient bool) (kind int, payload string) {
	head := 2
	if ofClient {
		head += maskSize
	}
	if len(frame) < head || frame[0]&0xf0 != finalBit || frame[1]&maskBit != 0 != ofClient || int(frame[1]&^maskBit) != len(frame)-head {
		return -1, ""
	}
	b := bytes.Clone(frame[head:])
	if ofClient {
		for i := range b {
			b[i] ^= frame[2+i%maskSize]
		}
	}
	return int(frame[0] & 0xf), string(b)
}

// What a client sends is masked, with another mask each time, and what a server sends
// is not; it is one write each.
func TestControlFramesAreMasked(t *testing.T) {
	t.Parallel()
	payload := []byte("not to be seen by proxies")
	written := func(client bool) []byte {
		mine, theirs := net.Pipe()
		s := &Socket{line: &line{Conn: mine}, client: client}
		go func() {
			defer mine.Close()
			_ = s.Pong(string(payload)) // what is read tells
		}()
		b := make([]byte, 1<<10)
		n, err := theirs.Read(b) // of one write
		if err != nil {
			t.Errorf("reading: %v", err)
		}
		return b[:n]
	}
	if got := written(false); len(got) != 2+len(payload) || !bytes.Contains(got, payload) {
		t.Errorf("a server wrote %q", got)
	}
	first, second := written(true), written(true)
	if len(first) != 2+maskSize+len(payload) || bytes.Contains(first, payload) || bytes.Equal(first, second) {
		t.Errorf("a client wrote %q and %q", first, second)
	}
}

func TestControlFrameTooLong(t *testing.T) {
	t.Parallel()
	s := &Socket{line: &line{}}
	if err := s.Pong(strings.Repeat("x", maxControl+1)); bus.CodeOf(err) != bus.CodeInternal {
		t.Errorf("got %v, want internal", err)
	}
}
