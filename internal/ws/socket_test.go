package ws

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"busd/bus"
	"busd/internal/link"
	"busd/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// oneConn is a listener of connections that a test hands to it.
type oneConn chan net.Conn

func (l oneConn) Accept() (net.Conn, error) {
	c, ok := <-l
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (l oneConn) Close() error   { return nil }
func (l oneConn) Addr() net.Addr { return &net.TCPAddr{} }

const upgradeRequest = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: test\r\n\r\n"

// A peer is the client's end, spoken by hand.
type peer struct {
	net.Conn
	t  testing.TB
	in *bufio.Reader
}

// accept upgrades server, and returns the socket and its peer on client.
func accept(t testing.TB, server, client net.Conn) (*Socket, *peer) {
	t.Helper()
	sockets := make(chan *Socket, 1)
	l := make(oneConn, 1)
	l <- server
	close(l)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := Accept(w, r, "test")
		if err != nil {
			t.Errorf("Accept: %v", err)
		}
		sockets <- s
	})}
	go func() { _ = srv.Serve(l) }() // ends with the listener
	p := &peer{Conn: client, t: t, in: bufio.NewReader(client)}
	if _, err := io.WriteString(client, upgradeRequest); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := p.in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.TrimSpace(line) == "" {
			break
		}
	}
	s := <-sockets
	t.Cleanup(func() { s.Abort(); _ = client.Close() })
	return s, p
}

// pipes is accept over a pipe without a buffer.
func pipes(t testing.TB) (*Socket, *peer) {
	t.Helper()
	server, client := net.Pipe()
	s, p := accept(t, server, client)
	s.Limit(1<<20, 75*time.Second, time.Time{})
	return s, p
}

// frame writes a WebSocket frame as a client does, masked with zero; length -1
// is the true one.
func (p *peer) frame(head byte, payload []byte) {
	p.t.Helper()
	if _, err := p.Write(append(frameHead(head, uint64(len(payload))), payload...)); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		p.t.Errorf("the peer cannot write: %v", err)
	}
}

func frameHead(head byte, length uint64) []byte {
	b := []byte{head}
	switch {
	case length < 126:
		b = append(b, 0x80|byte(length))
	case length < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(length))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), length)
	}
	return append(b, 0, 0, 0, 0)
}

// hear reads a frame of the server's.
func (p *peer) hear() (head byte, payload []byte, err error) {
	var b [2]byte
	if _, err = io.ReadFull(p.in, b[:]); err != nil {
		return 0, nil, err
	}
	n := int(b[1])
	if n == 126 {
		var long [2]byte
		if _, err = io.ReadFull(p.in, long[:]); err != nil {
			return 0, nil, err
		}
		n = int(binary.BigEndian.Uint16(long[:]))
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(p.in, payload)
	return b[0], payload, err
}

// wantGoodbye reads a drop frame, if there is to be one, and the close frame.
func (p *peer) wantGoodbye(what string, code bus.Code, closeCode int) {
	p.t.Helper()
	head, payload, err := p.hear()
	if err == nil && code != 0 {
		var f wire.Frame
		if f, err = (wire.Decoder{}).Next(payload); err == nil {
			why, _ := wire.DecodeDrop(f.Body)
			if head != 0x82 || f.Kind != wire.Drop || why == nil || why.Code != code {
				p.t.Errorf("%s: got %x %s %v, want a drop with %s", what, head, f.Kind, why, code)
			}
			head, payload, err = p.hear()
		}
	}
	if err != nil || head != 0x88 || len(payload) < 2 || int(binary.BigEndian.Uint16(payload)) != closeCode {
		p.t.Errorf("%s: got frame %x %x, %v; want a close frame with %d", what, head, payload, err, closeCode)
	}
}

// bubble runs f with a clock of its own.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Run("bubble", func(t *testing.T) { synctest.Test(t, f) })
}

// How a peer may misbehave, and what it is told.
func TestMisbehaviour(t *testing.T) {
	t.Parallel()
	flood := func(op byte) func(*peer) {
		return func(p *peer) {
			for range controlBurst + 1 {
				p.frame(op, nil)
			}
		}
	}
	tests := []struct {
		name  string
		do    func(p *peer)
		code  bus.Code
		close int
		after time.Duration
		drop  bool
	}{
		{"text", func(p *peer) { p.frame(0x81, []byte("hi")) }, bus.CodeProtocolError, bus.CloseUnsupportedData, 0, true},
		{"too large at once", func(p *peer) { p.frame(0x82, make([]byte, 1<<20+1)) }, bus.CodeProtocolError, bus.CloseTooBig, 0, true},
		{"too large in fragments", func(p *peer) {
			p.frame(0x02, make([]byte, 1<<19))
			p.frame(0x00, make([]byte, 1<<19))
			p.frame(0x80, make([]byte, 1))
		}, bus.CodeProtocolError, bus.CloseTooBig, 0, true},
		{"a length of 2^63", func(p *peer) { _, _ = p.Write(frameHead(0x82, 1<<63)) }, bus.CodeProtocolError, bus.CloseTooBig, 0, true},
		{"a length of 2^64-1", func(p *peer) { _, _ = p.Write(frameHead(0x82, 1<<64-1)) }, bus.CodeProtocolError, bus.CloseTooBig, 0, true},
		{"lengths whose sum overflows", func(p *peer) {
			p.frame(0x02, []byte("x"))
			_, _ = p.Write(frameHead(0x80, 1<<63-1))
		}, bus.CodeProtocolError, bus.CloseTooBig, 0, true},
		{"pings without end", flood(0x89), bus.CodeResourceExhausted, bus.ClosePolicy, 0, true},
		{"pongs without end", flood(0x8a), bus.CodeResourceExhausted, bus.ClosePolicy, 0, true},
		{"half a header", func(p *peer) { _, _ = p.Write([]byte{0x82}) }, bus.CodeDeadlineExceeded, bus.ClosePolicy, paceTime, true},
		{"half a message", func(p *peer) { _, _ = p.Write(frameHead(0x82, 100)) }, bus.CodeDeadlineExceeded, bus.ClosePolicy, paceTime, true},
		{"a message, a byte at a time", func(p *peer) {
			p.frame(0x02, []byte("x"))
			for range 3 {
				time.Sleep(4 * time.Second)
				p.frame(0x00, []byte("x"))
			}
		}, bus.CodeDeadlineExceeded, bus.ClosePolicy, paceTime, true},
		{"fragments of nothing without end", func(p *peer) {
			p.frame(0x02, nil)
			for begin := time.Now(); time.Since(begin) < 2*paceTime; {
				time.Sleep(10 * time.Millisecond)
				if _, err := p.Write(bytes.Repeat(frameHead(0x00, 0), 100)); err != nil {
					return
				}
			}
		}, bus.CodeDeadlineExceeded, bus.ClosePolicy, paceTime, true},
		{"silence", func(*peer) {}, bus.CodeKeepaliveTimeout, bus.CodeKeepaliveTimeout.CloseCode(), 75 * time.Second, true},
		{"no mask", func(p *peer) { _, _ = p.Write([]byte{0x82, 1, 'x'}) }, bus.CodeProtocolError, bus.CloseProtocolError, 0, false},
		{"a reserved bit", func(p *peer) { p.frame(0xc2, []byte("x")) }, bus.CodeProtocolError, bus.CloseProtocolError, 0, false},
		{"a fragment of nothing begun", func(p *peer) { p.frame(0x80, []byte("x")) }, bus.CodeProtocolError, bus.CloseProtocolError, 0, false},
	}
	for _, tt := range tests {
		bubble(t, func(t *testing.T) {
			s, p := pipes(t)
			begin := time.Now()
			acted, heard := make(chan struct{}), make(chan struct{})
			go func() { defer close(acted); tt.do(p) }()
			go func() {
				defer close(heard)
				code := tt.code
				if !tt.drop {
					code = 0
				}
				p.wantGoodbye(tt.name, code, tt.close)
				_ = p.Close()
			}()
			_, err := s.Read()
			took := time.Since(begin)
			if bus.CodeOf(err) != tt.code {
				t.Errorf("%s: got %v, want %s", tt.name, err, tt.code)
			}
			if took > tt.after || took < tt.after-tt.after/16 {
				t.Errorf("%s: it took %s, want %s", tt.name, took, tt.after)
			}
			link.Refuse(s, err)
			<-heard
			<-acted
		})
	}
}

// Who keeps the pace is read, however long it takes.
func TestPace(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s, p := pipes(t)
		go func() {
			p.frame(0x02, []byte("x"))
			for range 10 {
				time.Sleep(9 * time.Second)
				p.frame(0x00, make([]byte, paceBytes))
				p.frame(0x89, nil) // control may come between
			}
			p.frame(0x80, nil)
			for range 5 {
				time.Sleep(60 * time.Second) // less than the silence
				p.frame(0x89, []byte("ping"))
			}
			p.frame(0x82, []byte("next"))
		}()
		b, err := s.Read()
		if err != nil || len(b) != 1+10*paceBytes {
			t.Fatalf("got %d bytes, %v", len(b), err)
		}
		if b, err = s.Read(); err != nil || string(b) != "next" {
			t.Fatalf("got %q, %v", b, err)
		}
	})
}

// Nothing is read past until, whatever comes.
func TestUntil(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(*peer){
		"nothing":        func(*peer) {},
		"pings":          func(p *peer) { time.Sleep(2 * time.Second); p.frame(0x89, nil) },
		"half a message": func(p *peer) { time.Sleep(2 * time.Second); p.frame(0x02, []byte("x")) },
	} {
		bubble(t, func(t *testing.T) {
			s, p := pipes(t)
			begin := time.Now()
			s.Limit(1<<10, 5*time.Second, begin.Add(5*time.Second))
			acted := make(chan struct{})
			go func() { defer close(acted); do(p) }()
			_, err := s.Read()
			<-acted
			if took := time.Since(begin); bus.CodeOf(err) != bus.CodeDeadlineExceeded || took != 5*time.Second {
				t.Errorf("%s: got %v after %s, want deadline_exceeded after 5s", name, err, took)
			}
		})
	}
}

// A new limit counts from now, though the deadline of the old one is set.
func TestLimitChanges(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s, p := pipes(t)
		s.Limit(1<<10, 10*time.Second, time.Now().Add(10*time.Second))
		go p.frame(0x82, []byte("hello"))
		if _, err := s.Read(); err != nil {
			t.Fatal(err)
		}
		s.Limit(1<<20, 0, time.Time{})
		go func() { time.Sleep(24 * time.Hour); p.frame(0x82, []byte("later")) }()
		if b, err := s.Read(); err != nil || string(b) != "later" {
			t.Fatalf("without a limit: got %q, %v", b, err)
		}
		s.Limit(1<<20, time.Minute, time.Time{})
		begin := time.Now()
		if _, err := s.Read(); bus.CodeOf(err) != bus.CodeKeepaliveTimeout || time.Since(begin) != time.Minute {
			t.Errorf("got %v after %s, want keepalive_timeout after 1m", err, time.Since(begin))
		}
	})
}

// A peer that takes nothing is given up after 10 s, whatever there is to write.
func TestWritePace(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s, _ := pipes(t)
		begin := time.Now()
		err := s.Write(make([]byte, 1<<20))
		if bus.CodeOf(err) != bus.CodeUnavailable || time.Since(begin) != paceTime {
			t.Errorf("got %v after %s, want unavailable after %s", err, time.Since(begin), paceTime)
		}
	})
}

// Both goodbyes: nobody waits for anything more.
func TestCloseHandshake(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s, p := pipes(t)
		go func() {
			p.wantGoodbye("Close", 0, 4065)
			p.frame(0x82, []byte("on its way"))
			p.frame(0x88, []byte{0x03, 0xe8})
		}()
		begin := time.Now()
		if err := s.Close(4065, "bye"); err != nil {
			t.Fatal(err)
		}
		s.Drain()
		if took := time.Since(begin); took != 0 {
			t.Errorf("it took %s, though the peer answered at once", took)
		}
	})
	bubble(t, func(t *testing.T) {
		s, _ := pipes(t)
		begin := time.Now()
		s.Drain()
		if took := time.Since(begin); took != closeWait {
			t.Errorf("without the peer's goodbye it took %s, want %s", took, closeWait)
		}
	})
}

// A close reason must be short and UTF-8, or the peer would take the close
// frame for a fault.
func TestCloseReason(t *testing.T) {
	t.Parallel()
	for reason, want := range map[string]string{
		"bye": "bye", strings.Repeat("x", 123): strings.Repeat("x", 123), strings.Repeat("x", 124): "", "\xff": "",
	} {
		bubble(t, func(t *testing.T) {
			s, p := pipes(t)
			go func() {
				if err := s.Close(4065, reason); err != nil {
					t.Errorf("%q: %v", reason, err)
				}
			}()
			if _, payload, err := p.hear(); err != nil || string(payload[2:]) != want {
				t.Errorf("%q: got %q, %v; want %q", reason, payload, err, want)
			}
		})
	}
}

func TestCloseFramesFromThePeer(t *testing.T) {
	t.Parallel()
	tests := []struct {
		payload []byte
		want    bus.Code
		remote  bool
	}{
		{nil, bus.CodeGoingAway, true},
		{[]byte{0x03, 0xe8}, bus.CodeGoingAway, true},
		{[]byte{0x03, 0xf1}, bus.CodeProtocolError, true},
		{[]byte{0x03, 0xf5}, bus.CodeResourceExhausted, true},
		{[]byte{0x0f, 0xe1, 'b', 'y', 'e'}, bus.CodeGoingAway, true}, // 4065
		{[]byte{0x0b, 0xb8}, bus.CodeUnknown, true},                  // 3000
		{[]byte{0x03, 0xee}, bus.CodeProtocolError, false},           // 1006 must not be sent
		{[]byte{0x03, 0xe8, 0xff}, bus.CodeProtocolError, false},     // not UTF-8
	}
	for _, tt := range tests {
		bubble(t, func(t *testing.T) {
			s, p := pipes(t)
			go p.frame(0x88, tt.payload)
			go func() { _, _, _ = p.hear() }() // what the library says by itself
			_, err := s.Read()
			var e *bus.Error
			if !errors.As(err, &e) || e.Code != tt.want || e.Remote != tt.remote {
				t.Errorf("%x: got %v, remote %t; want %s, %t", tt.payload, err, e != nil && e.Remote, tt.want, tt.remote)
			}
		})
	}
}

func TestLineEnds(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s, p := pipes(t)
		_ = p.Close()
		if _, err := s.Read(); bus.CodeOf(err) != bus.CodeUnavailable {
			t.Errorf("Read: got %v, want unavailable", err)
		}
		if err := s.Write([]byte("x")); bus.CodeOf(err) != bus.CodeUnavailable {
			t.Errorf("Write: got %v, want unavailable", err)
		}
	})
}

// A message is good until the next Read; a socket that waits holds no buffer.
func TestReadBuffers(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s, p := pipes(t)
		sizes := []int{1, 1 << 19, 0, 4096, 20_000, 7}
		go func() {
			for i, n := range sizes {
				p.frame(0x82, bytes.Repeat([]byte{byte(i)}, n))
			}
		}()
		for i, n := range sizes {
			b, err := s.Read()
			if err != nil || len(b) != n || bytes.Count(b, []byte{byte(i)}) != n {
				t.Fatalf("message %d: got %d bytes, %v; want %d", i, len(b), err, n)
			}
		}
		go func() { _, _ = s.Read() }() // until the end of the test
		synctest.Wait()
		if s.buf != nil {
			t.Errorf("a socket that waits holds %d bytes", cap(*s.buf))
		}
	})
}
