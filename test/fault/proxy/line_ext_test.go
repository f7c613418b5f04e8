package proxy_test

import (
	"bytes"
	"errors"
	"io"
	"math/bits"
	"os"
	"testing"
	"time"

	"busd/test/fault/proxy"
)

// TestStall: bytes, an end and a reset stay in the hole until it is over; the
// other direction lives.
func TestStall(t *testing.T) {
	t.Parallel()
	for _, d := range []proxy.Direction{proxy.Up, proxy.Down} {
		e := connect(t)
		sender, receiver := e.pair()
		if d == proxy.Down {
			sender, receiver = receiver, sender
		}
		c := e.only()
		c.Stall(d)
		if s := e.proxy.Stats(); s.Stalls != 0 {
			t.Errorf("a stall that withheld nothing was counted")
		}
		send(t, sender, noise(1000))
		e.await("stall", func(s proxy.Stats) bool { return s.Stalls == 1 && c.Count(d).Read == 1000 })
		silent(t, receiver)
		send(t, receiver, []byte("the other way"))
		receive(t, sender, []byte("the other way"))
		if err := sender.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		silent(t, receiver)
		if n := c.Count(d); n.Delivered != 0 {
			t.Errorf("in the stall: got %+v", n)
		}
		c.Resume(d)
		if err := receiveAll(t, receiver, noise(1000)); err != nil {
			t.Errorf("after the stall: got %v, want EOF", err)
		}
		if event := e.oneEvent(proxy.WasStalled); event.Direction != d || event.Offset != 0 {
			t.Errorf("got %v", event)
		}
	}
}

// TestStallHidesReset: a machine that is gone sends no reset that arrives.
func TestStallHidesReset(t *testing.T) {
	t.Parallel()
	e := connect(t)
	client, server := e.pair()
	e.proxy.Stall(proxy.Up)
	if err := client.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	client.Close()
	e.await("stall", func(s proxy.Stats) bool { return s.Stalls == 1 })
	silent(t, server)
	send(t, server, []byte("into the void")) // taken, as by a line that leads nowhere
	e.await("discarding", func(s proxy.Stats) bool { return s.Down.Discarded > 0 })
	silent(t, server)
	e.proxy.Resume(proxy.Up)
	if err := receiveAll(t, server, nil); !isReset(err) {
		t.Errorf("after the stall: got %v, want a reset", err)
	}
}

// TestStallAll: also connections to come, which are accepted.
func TestStallAll(t *testing.T) {
	t.Parallel()
	e := connect(t)
	e.proxy.Stall(proxy.Both)
	client, server := e.pair()
	send(t, client, []byte("up"))
	send(t, server, []byte("down"))
	e.await("stalls", func(s proxy.Stats) bool { return s.Stalls == 2 })
	silent(t, client)
	silent(t, server)
	e.proxy.Resume(proxy.Both)
	receive(t, client, []byte("down"))
	receive(t, server, []byte("up"))
}

// TestWindow: what the proxy does not hold stays with the sender, which in the
// end can write no more.
func TestWindow(t *testing.T) {
	t.Parallel()
	e := connect(t)
	e.proxy.Set(proxy.Up, proxy.Line{Window: 1000})
	e.proxy.Stall(proxy.Up)
	client, server := e.pair()
	data := noise(64 << 20)
	if err := client.SetWriteDeadline(time.Now().Add(moment)); err != nil {
		t.Fatal(err)
	}
	n, err := client.Write(data)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("write: got %d bytes, %v, want that it waits", n, err)
	}
	if read := e.only().Count(proxy.Up).Read; read != 1000 {
		t.Errorf("held: got %d bytes, want the window of 1000", read)
	}
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	e.proxy.Resume(proxy.Up)
	if err := receiveAll(t, server, data[:n]); err != nil {
		t.Errorf("after the stall: got %v, want EOF", err)
	}
}

// TestDrip: each byte comes alone, and time passes between two.
func TestDrip(t *testing.T) {
	t.Parallel()
	e := connect(t)
	const bytes, pause = 40, 5 * time.Millisecond
	e.proxy.Set(proxy.Down, proxy.Line{Slice: 1, Pause: pause})
	client, server := e.pair()
	began := time.Now()
	send(t, server, noise(bytes))
	// Who is late, the proxy or the reader, waits less or gets two at once.
	var alone int
	for got := 0; got < bytes; {
		n, err := client.Read(make([]byte, bytes))
		if err != nil {
			t.Fatal(err)
		}
		if got += n; n == 1 {
			alone++
		}
	}
	if took := time.Since(began); took < (bytes-1)*pause {
		t.Errorf("took %v, want at least %v", took, (bytes-1)*pause)
	}
	if n := e.proxy.Stats().Down; n.Pieces != bytes || n.Delayed == 0 {
		t.Errorf("got %+v", n)
	}
	if alone == 0 {
		t.Errorf("none of %d bytes came alone", bytes)
	}
}

// TestSlice: many small writes instead of one.
func TestSlice(t *testing.T) {
	t.Parallel()
	e := connect(t)
	e.proxy.Set(proxy.Up, proxy.Line{Slice: 100})
	client, server := e.pair()
	send(t, client, noise(100_000))
	receive(t, server, noise(100_000))
	if n := e.proxy.Stats().Up.Pieces; n < 1500 || n > 2500 { // about one for each 50 bytes
		t.Errorf("pieces: got %d, want about 2000", n)
	}
}

// TestLatency: at least so long, in order, and the end of the stream too.
func TestLatency(t *testing.T) {
	t.Parallel()
	e := connect(t)
	client, server := e.pair()
	const latency = 60 * time.Millisecond
	e.proxy.Set(proxy.Both, proxy.Line{Latency: latency, Jitter: latency / 2})
	for range 3 {
		began := time.Now()
		send(t, client, []byte("ping"))
		receive(t, server, []byte("ping"))
		send(t, server, []byte("pong"))
		receive(t, client, []byte("pong"))
		if took := time.Since(began); took < latency {
			t.Errorf("a round trip took %v, want at least %v", took, latency)
		}
	}
	if s := e.proxy.Stats(); s.Up.Delayed == 0 || s.Down.Delayed == 0 {
		t.Errorf("got %+v", s)
	}
	for i := range 200 {
		send(t, client, noise(200)[i:i+1])
	}
	receive(t, server, noise(200))
	began := time.Now()
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := receiveAll(t, server, nil); err != nil || time.Since(began) < latency/2 {
		t.Errorf("the end: got %v after %v, want EOF after at least %v", err, time.Since(began), latency/2)
	}
}

// TestBandwidth: no more than so much in a second, and changed while it runs.
func TestBandwidth(t *testing.T) {
	t.Parallel()
	e := connect(t)
	e.proxy.Set(proxy.Down, proxy.Line{Bandwidth: 100_000})
	client, server := e.pair()
	began := time.Now()
	send(t, server, noise(50_000))
	receive(t, client, noise(50_000))
	if took := time.Since(began); took < 450*time.Millisecond { // the first piece goes at once
		t.Errorf("took %v, want about 500 ms", took)
	}
	if n := e.proxy.Stats().Down; n.Delayed == 0 {
		t.Errorf("got %+v", n)
	}
	e.proxy.Set(proxy.Down, proxy.Line{Bandwidth: 1})
	send(t, server, noise(1<<20)) // would take 12 days
	e.proxy.Set(proxy.Down, proxy.Line{})
	receive(t, client, noise(1<<20))
}

// TestCorrupt: one bit of one byte, and no other.
func TestCorrupt(t *testing.T) {
	t.Parallel()
	for _, d := range []proxy.Direction{proxy.Up, proxy.Down} {
		e := connect(t)
		sender, receiver := e.pair()
		if d == proxy.Down {
			sender, receiver = receiver, sender
		}
		send(t, sender, []byte("hello"))
		receive(t, receiver, []byte("hello"))
		const at = 77_777
		e.only().Corrupt(d, at)
		want := noise(100_000)
		sendInBackground(t, sender, want)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(receiver, got); err != nil {
			t.Fatal(err)
		}
		if flipped := bits.OnesCount8(got[at] ^ want[at]); flipped != 1 {
			t.Errorf("byte %d: got %#x for %#x, want one bit to differ", at, got[at], want[at])
		}
		if got[at] = want[at]; !bytes.Equal(got, want) {
			t.Error("other bytes differ too")
		}
		if event := e.oneEvent(proxy.WasCorrupted); event.Offset != at+5 || event.Direction != d {
			t.Errorf("got %v", event)
		}
	}
}

// TestCalm: what was planned does not happen, what was held comes.
func TestCalm(t *testing.T) {
	t.Parallel()
	e := connect(t)
	client, server := e.pair()
	c := e.only()
	e.proxy.Set(proxy.Up, proxy.Line{Latency: time.Hour, Bandwidth: 1})
	e.proxy.Stall(proxy.Up)
	c.CutAfter(proxy.Up, 10, proxy.RST)
	c.Corrupt(proxy.Up, 5)
	e.proxy.OnConn(func(c *proxy.Conn) { c.Cut(proxy.RST) })
	e.proxy.Refuse()
	send(t, client, noise(1000))
	e.await("stall", func(s proxy.Stats) bool { return s.Stalls == 1 })
	if err := e.proxy.Calm(); err != nil {
		t.Fatal(err)
	}
	receive(t, server, noise(1000))
	again, served := e.pair()
	send(t, again, noise(1000))
	receive(t, served, noise(1000))
	e.oneEvent(proxy.WasStalled)
}
