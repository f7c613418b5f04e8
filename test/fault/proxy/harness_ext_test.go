package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
	"time"

	"busd/test/fault/proxy"
)

// patience bounds every wait; a busy machine is slow.
const patience = 30 * time.Second

// moment is how long a test watches that nothing happens.
const moment = 50 * time.Millisecond

// ends are what a proxy stands between.
type ends struct {
	t      *testing.T
	proxy  *proxy.Proxy
	target net.Listener
}

// connect starts a proxy and its target.
func connect(t *testing.T) *ends {
	t.Helper()
	target := listen(t)
	return &ends{t: t, proxy: proxy.Start(t, proxy.Config{Target: target.Addr().String(), Seed: 1}), target: target}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// pair opens a connection and returns its two ends.
func (e *ends) pair() (client, server *net.TCPConn) {
	e.t.Helper()
	client = e.dial()
	return client, accept(e.t, e.target)
}

func (e *ends) dial() *net.TCPConn {
	e.t.Helper()
	c, err := net.Dial("tcp", e.proxy.Addr())
	if err != nil {
		e.t.Fatal(err)
	}
	return prepare(e.t, c)
}

func accept(t *testing.T, l net.Listener) *net.TCPConn {
	t.Helper()
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatalf("the target was not dialed: %v", err)
	}
	return prepare(t, c)
}

func prepare(t *testing.T, c net.Conn) *net.TCPConn {
	t.Helper()
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// await waits for the proxy to have done something.
func (e *ends) await(what string, condition func(proxy.Stats) bool) {
	e.t.Helper()
	ctx, cancel := context.WithTimeoutCause(e.t.Context(), patience, errors.New("no "+what))
	defer cancel()
	if err := e.proxy.Await(ctx, condition); err != nil {
		e.t.Fatal(err)
	}
}

// only returns the one connection that there is.
func (e *ends) only() *proxy.Conn {
	e.t.Helper()
	conns := e.proxy.Conns()
	if len(conns) != 1 {
		e.t.Fatalf("got %d connections, want 1", len(conns))
	}
	return conns[0]
}

// oneEvent returns the one event that there is, of that kind.
func (e *ends) oneEvent(kind proxy.Kind) proxy.Event {
	e.t.Helper()
	events := e.proxy.Events()
	if len(events) != 1 || events[0].Kind != kind {
		e.t.Fatalf("got events %v, want one: %s", events, kind)
	}
	return events[0]
}

// noise is n bytes that are not alike.
func noise(n int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	_, _ = r.Read(b)
	return b
}

func send(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatalf("write: %v", err)
	}
}

// sendInBackground writes what it can, and gives the error once that is over;
// the connection may end meanwhile.
func sendInBackground(t *testing.T, c net.Conn, b []byte) <-chan error {
	t.Helper()
	done, result := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(done)
		_, err := c.Write(b)
		result <- err
	}()
	t.Cleanup(func() {
		c.Close()
		<-done
	})
	return result
}

// receive reads that much and compares.
func receive(t *testing.T, c net.Conn, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil {
		t.Fatalf("read: got %d of %d bytes: %v", n, len(want), err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("got other bytes than were sent")
	}
}

// receiveAll reads to the end, compares and returns how it ended; nil is EOF.
func receiveAll(t *testing.T, c net.Conn, want []byte) error {
	t.Helper()
	got, err := io.ReadAll(c)
	if !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, then %v, want exactly the %d that came before the fault", len(got), err, len(want))
	}
	return err
}

// silent checks that nothing comes.
func silent(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(moment)); err != nil {
		t.Fatal(err)
	}
	var netErr net.Error
	if n, err := c.Read(make([]byte, 1)); !errors.As(err, &netErr) || !netErr.Timeout() {
		t.Errorf("got %d bytes, %v, want silence", n, err)
	}
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
}

// isReset tells a reset from other ends, for one who reads or writes.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
