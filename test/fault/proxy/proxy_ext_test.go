package proxy_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"

	"busd/test/fault/proxy"
)

// TestForward: without faults the proxy is not noticed, and counts.
func TestForward(t *testing.T) {
	t.Parallel()
	e := connect(t)
	client, server := e.pair()
	up, down := noise(5<<20), noise(3<<20)
	sendInBackground(t, client, up)
	sendInBackground(t, server, down)
	var both sync.WaitGroup
	both.Go(func() { receive(t, server, up) })
	receive(t, client, down)
	both.Wait()

	s := e.proxy.Stats()
	if s.Accepted != 1 || s.Open != 1 || s.Up.Delivered != int64(len(up)) || s.Down.Delivered != int64(len(down)) || s.Up.Discarded != 0 {
		t.Errorf("got %+v", s)
	}
	if c := e.only(); c.Count(proxy.Both).Read != int64(len(up)+len(down)) {
		t.Errorf("got %+v", c.Count(proxy.Both))
	}
	if events := e.proxy.Events(); len(events) > 0 {
		t.Errorf("got faults that nobody asked for: %v", events)
	}
}

// TestForwardEnds: an end of one direction passes and leaves the other one; a
// reset passes, behind what came before it.
func TestForwardEnds(t *testing.T) {
	t.Parallel()
	e := connect(t)
	client, server := e.pair()
	send(t, client, []byte("last"))
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := receiveAll(t, server, []byte("last")); err != nil {
		t.Errorf("the client's end: got %v, want EOF", err)
	}
	send(t, server, []byte("answer"))
	receive(t, client, []byte("answer"))
	c := e.only()
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := receiveAll(t, client, nil); err != nil {
		t.Errorf("the server's end: got %v, want EOF", err)
	}
	<-c.Done()

	client, server = e.pair()
	send(t, client, []byte("last"))
	receive(t, server, []byte("last"))
	if err := client.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if err := receiveAll(t, server, nil); !isReset(err) {
		t.Errorf("the client's reset: got %v, want a reset", err)
	}
	// A reset after the end is told to who goes on writing.
	client, server = e.pair()
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := receiveAll(t, server, nil); err != nil {
		t.Errorf("the client's end: got %v, want EOF", err)
	}
	if err := client.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	for err == nil {
		_, err = server.Write(noise(1000))
	}
	if !isReset(err) {
		t.Errorf("a reset after the end: got %v, want a reset", err)
	}
	if events := e.proxy.Events(); len(events) > 0 {
		t.Errorf("got faults that nobody asked for: %v", events)
	}
}

// TestRefuse: whoever dials is refused, whoever is there stays, and the address
// stays the same.
func TestRefuse(t *testing.T) {
	t.Parallel()
	e := connect(t)
	client, server := e.pair()
	for range 3 {
		e.proxy.Refuse()
		e.proxy.Refuse() // twice is once
		if c, err := net.Dial("tcp", e.proxy.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("dial: got %v, %v, want refused", c, err)
		}
		send(t, client, []byte("still"))
		receive(t, server, []byte("still"))
		if err := e.proxy.Admit(); err != nil {
			t.Fatal(err)
		}
		if err := e.proxy.Admit(); err != nil { // twice is once
			t.Fatal(err)
		}
		again, served := e.pair()
		send(t, served, []byte("here"))
		receive(t, again, []byte("here"))
	}
	if s := e.proxy.Stats(); s.Accepted != 4 {
		t.Errorf("accepted: got %d, want 4", s.Accepted)
	}
}

// TestTarget: connections to come go where they are sent; a target that does
// not answer is a reset.
func TestTarget(t *testing.T) {
	t.Parallel()
	e := connect(t)
	client, server := e.pair()

	other := listen(t)
	e.proxy.SetTarget(other.Addr().String())
	second := e.dial()
	served := accept(t, other)
	send(t, second, []byte("to the other"))
	receive(t, served, []byte("to the other"))
	send(t, client, []byte("to the first"))
	receive(t, server, []byte("to the first"))

	other.Close()
	if err := receiveAll(t, e.dial(), nil); !isReset(err) {
		t.Errorf("a target that refuses: got %v, want a reset", err)
	}
	if event := e.oneEvent(proxy.WasUnreachable); event.Conn != 3 || !errors.Is(event.Err, syscall.ECONNREFUSED) {
		t.Errorf("got %v", event)
	}
}

// TestOnConn: each connection's faults are planned before its first byte, with
// random numbers that the seed decides.
func TestOnConn(t *testing.T) {
	t.Parallel()
	target := listen(t)
	plan := func(seed uint64) (numbers []int64) {
		drawn := make(chan int64, 3)
		p := proxy.Start(t, proxy.Config{Target: target.Addr().String(), Seed: seed})
		p.OnConn(func(c *proxy.Conn) {
			n := c.Rand().Int64N(1 << 20)
			drawn <- n
			c.CutAfter(proxy.Down, n, proxy.RST)
		})
		for range 3 {
			c, err := net.Dial("tcp", p.Addr())
			if err != nil {
				t.Fatal(err)
			}
			client, server := prepare(t, c), accept(t, target)
			sendInBackground(t, server, noise(2<<20))
			n := <-drawn
			numbers = append(numbers, n)
			if err := receiveAll(t, client, noise(2 << 20)[:n]); !isReset(err) {
				t.Errorf("got %v, want a reset", err)
			}
		}
		if s := p.Stats(); s.Cuts != 3 {
			t.Errorf("cuts: got %d, want 3", s.Cuts)
		}
		return numbers
	}
	first, again, other := plan(1), plan(1), plan(2)
	if !slices.Equal(first, again) || slices.Equal(first, other) || first[0] == first[1] {
		t.Errorf("seed 1 gave %v, then %v, seed 2 %v", first, again, other)
	}
}

// TestAwait: waiting ends with its context, and says what there was.
func TestAwait(t *testing.T) {
	t.Parallel()
	e := connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.proxy.Await(ctx, func(proxy.Stats) bool { return false }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
}

// TestClose ends everything, whatever it is at: main_test.go looks for what is
// left.
func TestClose(t *testing.T) {
	t.Parallel()
	dialing := make(chan struct{})
	target := listen(t)
	p, err := proxy.New(proxy.Config{Target: target.Addr().String(), Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == "never" {
			close(dialing)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}})
	if err != nil {
		t.Fatal(err)
	}
	e := &ends{t: t, proxy: p, target: target}
	client, server := e.pair() // stalled, with bytes held and a sender that waits
	p.Set(proxy.Up, proxy.Line{Window: 10})
	p.Stall(proxy.Up)
	sendInBackground(t, client, noise(1<<20))
	sendInBackground(t, server, noise(20<<20)) // nobody reads: the proxy waits in a write
	e.await("stall", func(s proxy.Stats) bool { return s.Stalls == 1 && s.Down.Delivered > 0 })
	p.SetTarget("never")
	lonely := e.dial()
	<-dialing

	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if s := p.Stats(); s.Open != 0 || s.Accepted != 2 || s.Unreachable != 0 || s.Cuts != 0 {
		t.Errorf("after Close: got %+v", s)
	}
	if err := receiveAll(t, lonely, nil); !isReset(err) {
		t.Errorf("a client without a target: got %v, want a reset", err)
	}
	if c, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial after Close: got %v, %v, want refused", c, err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("another Close: %v", err)
	}
	if err := p.Admit(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Admit after Close: got %v, want closed", err)
	}
}
