package ws

import (
	"errors"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// wrapped is a connection in another one, as listeners make them.
type wrapped struct{ net.Conn }

func (w wrapped) NetConn() net.Conn { return w.Conn }

// A socket knows whether more has come than it has read, where its connection is one
// of the system's.
func TestMore(t *testing.T) {
	tests := map[string]struct {
		wrap  func(net.Conn) net.Conn
		knows bool
	}{
		"TCP":          {func(c net.Conn) net.Conn { return c }, runtime.GOOS == "linux"},
		"in another":   {func(c net.Conn) net.Conn { return wrapped{wrapped{c}} }, runtime.GOOS == "linux"},
		"in a strange": {func(c net.Conn) net.Conn { return struct{ net.Conn }{c} }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, client := loopback(t)
			s, p := accept(t, tt.wrap(server), client)
			s.Limit(1<<20, 10*time.Second, time.Time{})
			if s.More() {
				t.Error("before anything was written there is more")
			}
			p.frame(0x82, []byte("message"))
			for begin := time.Now(); tt.knows && !s.More() && time.Since(begin) < 10*time.Second; {
				time.Sleep(time.Millisecond)
			}
			if more := s.More(); more != tt.knows {
				t.Errorf("after a message was written More is %v, want %v", more, tt.knows)
			}
			if b, err := s.Read(); err != nil || string(b) != "message" {
				t.Errorf("read %q, %v", b, err)
			}
			if s.More() {
				t.Error("after it was read there is more")
			}
			_ = p.Close()
			if _, err := s.Read(); err == nil {
				t.Error("a closed line is read")
			}
			if s.More() {
				t.Error("a closed line has more")
			}
		})
	}
}

// To look whether there is more does not take the error of a broken line away.
func TestMoreLeavesErrors(t *testing.T) {
	t.Parallel()
	server, client := loopback(t)
	s, p := accept(t, server, client)
	s.Limit(1<<20, 10*time.Second, time.Time{})
	if err := p.Conn.(*net.TCPConn).SetLinger(0); err != nil { // made above
		t.Fatal(err)
	}
	_ = p.Close()
	for range 1000 { // the reset comes meanwhile, if it has not come yet
		if s.More() {
			t.Error("a line that was reset has more")
		}
	}
	if _, err := s.Read(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after a look it is read as %v, want that it was reset", err)
	}
}

// loopback makes a connection of the system's.
func loopback(t *testing.T) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return server, client
}
