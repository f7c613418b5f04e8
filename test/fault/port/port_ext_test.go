package port_test

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"busd/test/fault/port"
)

// TestHold: one listener after another at the same address, and refusals
// between them.
func TestHold(t *testing.T) {
	t.Parallel()
	p, err := port.Hold()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	for range 3 {
		if c, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("dial while nobody listens: got %v, %v, want refused", c, err)
		}
		l, err := net.Listen("tcp", p.Addr())
		if err != nil {
			t.Fatalf("listen on the held port: %v", err)
		}
		c, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatalf("dial while somebody listens: %v", err)
		}
		// Closed by the listening end first, its connection stays in TIME_WAIT.
		served, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		served.Close()
		l.Close()
		c.Close()
	}
}
