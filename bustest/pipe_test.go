package bustest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestPipeCarriesBothWays(t *testing.T) {
	t.Parallel()
	a, b := pipe(address("a"), address("b"))
	if a.LocalAddr().String() != "a" || a.RemoteAddr().String() != "b" || b.LocalAddr().String() != "b" || b.LocalAddr().Network() != "memory" {
		t.Errorf("got addresses %s, %s, %s", a.LocalAddr(), a.RemoteAddr(), b.LocalAddr())
	}
	var all sync.WaitGroup
	for _, ends := range [][2]net.Conn{{a, b}, {b, a}} {
		from, to := ends[0], ends[1]
		sent := make([]byte, 5*pipeBuffer+17)
		for i := range sent {
			sent[i] = byte(rand.N(256))
		}
		all.Go(func() {
			for rest := sent; len(rest) > 0; {
				n, err := from.Write(rest[:min(len(rest), 1+rand.N(2*pipeBuffer))])
				if err != nil {
					t.Error(err)
					return
				}
				rest = rest[n:]
			}
		})
		all.Go(func() {
			got := make([]byte, len(sent))
			if _, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("got %d bytes, equal %t, %v", len(got), bytes.Equal(got, sent), err)
			}
		})
	}
	all.Wait()
}

func TestPipeHoldsABuffer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(address("a"), address("b"))
		if n, err := a.Write(make([]byte, pipeBuffer)); n != pipeBuffer || err != nil {
			t.Fatalf("without a reader: wrote %d, %v; want the whole buffer", n, err)
		}
		wrote := make(chan error, 1)
		go func() {
			_, err := a.Write([]byte("more"))
			wrote <- err
		}()
		synctest.Wait()
		select {
		case err := <-wrote:
			t.Fatalf("a write beyond the buffer returned %v", err)
		default:
		}
		if n, err := b.Read(make([]byte, 10)); n != 10 || err != nil {
			t.Fatalf("read %d, %v", n, err)
		}
		if err := <-wrote; err != nil {
			t.Error(err)
		}
	})
}

func TestPipeDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(address("a"), address("b"))
		begin := time.Now()
		set := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		late := func(what string, err error, after time.Duration) {
			t.Helper()
			if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != after {
				t.Errorf("%s: got %v after %s, want a deadline after %s", what, err, time.Since(begin), after)
			}
		}
		one := make([]byte, 1)
		set(a.SetReadDeadline(begin.Add(time.Second)))
		_, err := a.Read(one)
		late("read", err, time.Second)
		_, err = a.Read(one)
		late("read again", err, time.Second)
		set(a.SetDeadline(begin.Add(3 * time.Second)))
		n, err := a.Write(make([]byte, 2*pipeBuffer))
		if late("write", err, 3*time.Second); n != pipeBuffer {
			t.Errorf("wrote %d bytes before the deadline, want %d", n, pipeBuffer)
		}
		set(a.SetWriteDeadline(time.Time{})) // none any more
		set(a.SetReadDeadline(begin))        // past
		_, err = a.Read(one)
		late("read after a past deadline", err, 3*time.Second)
		set(a.SetReadDeadline(begin.Add(10 * time.Second)))
		time.AfterFunc(time.Second, func() { _, _ = b.Write(one) }) // seen by the read
		if _, err := a.Read(one); err != nil || time.Since(begin) != 4*time.Second {
			t.Errorf("a read in time: got %v after %s", err, time.Since(begin))
		}
		moved := make(chan error, 1)
		go func() {
			_, err := a.Read(one)
			moved <- err
		}()
		synctest.Wait()
		set(a.SetReadDeadline(begin.Add(5 * time.Second))) // while a read waits
		late("a deadline moved meanwhile", <-moved, 5*time.Second)
		set(a.Close())
		set(a.SetReadDeadline(begin.Add(time.Hour))) // harmless
	})
}

func TestPipeCloses(t *testing.T) {
	t.Parallel()
	a, b := pipe(address("a"), address("b"))
	if _, err := a.Write([]byte("last")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := io.ReadAll(b); string(got) != "last" || err != nil {
		t.Errorf("the other end read %q, %v; want what was written, then the end", got, err)
	}
	if _, err := b.Write([]byte("x")); err == nil {
		t.Error("a write to a closed pipe succeeded")
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a read of the closed end: got %v, want net.ErrClosed", err)
	}
	if _, err := a.Write([]byte("x")); err == nil {
		t.Error("a write of the closed end succeeded")
	}
}

func TestListener(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newListener()
		accepted := make(chan net.Conn, 1)
		go func() {
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
			}
			accepted <- c
		}()
		c, err := l.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		served := <-accepted
		if _, err := c.Write([]byte("lost")); err != nil {
			t.Fatal(err)
		}
		l.cut() // what was on its way is lost at both ends
		for who, conn := range map[string]net.Conn{"the client": c, "the server": served} {
			if n, err := conn.Read(make([]byte, 9)); n != 0 || err == nil {
				t.Errorf("%s read %d bytes, %v after the cut", who, n, err)
			}
		}
		if err := served.Close(); err != nil {
			t.Error(err)
		}
		if len(l.open) != 0 {
			t.Errorf("got %d lines that are still tracked", len(l.open))
		}
		refused := make(chan error, 1)
		go func() { _, err := l.dial(t.Context()); refused <- err }() // nobody accepts
		synctest.Wait()
		for range 2 {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := <-refused; !errors.Is(err, net.ErrClosed) {
			t.Errorf("dial: got %v, want net.ErrClosed", err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: got %v, want net.ErrClosed", err)
		}
	})
}
