package main

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"testing"
	"time"
)

// pipeOverTCP returns both ends of a connection on loopback.
func pipeOverTCP(t *testing.T) (one, other net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if one, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if other, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		one.Close()
		other.Close()
	})
	return one, other
}

// countingConn counts writes.
type countingConn struct {
	net.Conn
	mu     sync.Mutex
	writes int
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.writes++
	c.mu.Unlock()
	return c.Conn.Write(p)
}

// TestFloorKeepsOrder: many messages there and back, sent from handlers and from
// elsewhere; all arrive, in order, and far fewer writes than messages.
func TestFloorKeepsOrder(t *testing.T) {
	t.Parallel()
	const messages = 20_000
	near, far := pipeOverTCP(t)
	counted := &countingConn{Conn: far}
	server, client := newFloorConn(counted), newFloorConn(near)
	go func() { _ = server.read(func(p []byte) ([]byte, error) { return p, nil }) }()
	done := make(chan error, 1)
	var next uint32
	go func() {
		_ = client.read(func(p []byte) ([]byte, error) {
			if got := binary.BigEndian.Uint32(p); got != next || len(p) != 100 {
				err := errors.New("a message is not the next one")
				done <- err
				return nil, err
			}
			if next++; next == messages {
				done <- nil
			}
			return nil, nil
		})
	}()
	for i := range uint32(messages) {
		if err := client.Send(binary.BigEndian.AppendUint32(make([]byte, 0, 100), i)[:100]); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("not all came back")
	}
	counted.mu.Lock()
	defer counted.mu.Unlock()
	if counted.writes > messages/5 {
		t.Errorf("%d answers took %d writes: they are not collected", messages, counted.writes)
	}
}

// TestFloorEnds: who waits for room, and who sends later, is told that the
// connection has ended.
func TestFloorEnds(t *testing.T) {
	t.Parallel()
	near, far := pipeOverTCP(t)
	f := newFloorConn(near)
	go func() { _ = f.read(func([]byte) ([]byte, error) { return nil, nil }) }()
	failed := make(chan error, 1)
	go func() {
		for {
			if err := f.Send(make([]byte, 4096)); err != nil {
				failed <- err
				return
			}
		}
	}()
	far.Close() // it has read nothing
	select {
	case <-failed:
	case <-time.After(30 * time.Second):
		t.Fatal("it sends for ever")
	}
	<-f.Done()
}

func TestFloorRefusesWhatIsTooLarge(t *testing.T) {
	t.Parallel()
	near, far := pipeOverTCP(t)
	f := newFloorConn(near)
	if _, err := far.Write([]byte{0x7f, 0xff, 0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	if err := f.read(func([]byte) ([]byte, error) { return nil, nil }); err == nil {
		t.Error("it was read")
	}
}
