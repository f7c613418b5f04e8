package proxy_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"busd/test/fault/proxy"
)

// TestCutAfter: the receiver gets exactly so many bytes, then the end that was
// asked for; the sender gets it too.
func TestCutAfter(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{0, 1, 2, 1000, 16384, 16385, 300_000, 2_000_000} {
		for _, end := range []proxy.End{proxy.RST, proxy.FIN} {
			for _, d := range []proxy.Direction{proxy.Up, proxy.Down} {
				t.Run(end.String()+"/"+d.String()+"/"+strconv.FormatInt(n, 10), func(t *testing.T) {
					t.Parallel()
					cutAfter(t, d, n, end)
				})
			}
		}
	}
}

func cutAfter(t *testing.T, d proxy.Direction, n int64, end proxy.End) {
	e := connect(t)
	sender, receiver := e.pair()
	if d == proxy.Down {
		sender, receiver = receiver, sender
	}
	data := noise(int(n) + 100_000)
	// The count is from now on, whatever passed before.
	send(t, sender, []byte("hello"))
	receive(t, receiver, []byte("hello"))
	c := e.only()
	c.CutAfter(d, n, end)
	sent := sendInBackground(t, sender, data)

	err := receiveAll(t, receiver, data[:n])
	back := receiveAll(t, sender, nil)
	if end == proxy.RST && back == nil {
		back = <-sent // a reset is told once, to who asks first
	}
	switch {
	case end == proxy.RST && (!isReset(err) || !isReset(back)):
		t.Errorf("got %v and %v, want resets", err, back)
	case end == proxy.FIN && (err != nil || back != nil):
		t.Errorf("got %v and %v, want EOF", err, back)
	}
	event := e.oneEvent(proxy.WasCut)
	if event.Offset != n+5 || event.Direction != d || event.End != end || event.Undelivered != 0 {
		t.Errorf("got %v", event)
	}
	receiver.Close()
	sender.Close()
	<-c.Done()
	if got := c.Count(d).Delivered; got != n+5 {
		t.Errorf("delivered: got %d, want %d", got, n+5)
	}
	if c.Cut(end) || c.HalfClose(proxy.Both) {
		t.Error("a connection that has ended could be cut again")
	}
}

// TestCutFirst: a plan made for a connection that is not yet joined holds.
func TestCutFirst(t *testing.T) {
	t.Parallel()
	for _, end := range []proxy.End{proxy.RST, proxy.FIN} {
		for name, plan := range map[string]func(*proxy.Conn){
			"now":   func(c *proxy.Conn) { c.Cut(end) },
			"after": func(c *proxy.Conn) { c.CutAfter(proxy.Up, 0, end) },
		} {
			t.Run(end.String()+"/"+name, func(t *testing.T) {
				t.Parallel()
				e := connect(t)
				e.proxy.OnConn(plan)
				client, err := net.Dial("tcp", e.proxy.Addr())
				if isReset(err) {
					e.oneEvent(proxy.WasCut) // so early that the dial is not over
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				prepare(t, client)
				if err := receiveAll(t, client, nil); (end == proxy.FIN) != (err == nil) || err != nil && !isReset(err) {
					t.Errorf("got %v, want %v", err, end)
				}
				e.oneEvent(proxy.WasCut)
				client.Close()
				e.await("end", func(s proxy.Stats) bool { return s.Open == 0 })
			})
		}
	}
}

// TestCutWhileDialing: the target that is reached too late is told.
func TestCutWhileDialing(t *testing.T) {
	t.Parallel()
	for _, end := range []proxy.End{proxy.RST, proxy.FIN} {
		dialed, cut := make(chan struct{}), make(chan struct{})
		target := listen(t)
		p := proxy.Start(t, proxy.Config{Target: target.Addr().String(), Dial: func(_ context.Context, network, address string) (net.Conn, error) {
			c, err := net.Dial(network, address)
			close(dialed)
			<-cut
			return c, err
		}})
		e := &ends{t: t, proxy: p, target: target}
		client, server := e.pair()
		<-dialed
		c := e.only()
		if !c.Cut(end) {
			t.Error("not cut")
		}
		close(cut)
		for _, conn := range []net.Conn{client, server} {
			if err := receiveAll(t, conn, nil); (end == proxy.FIN) != (err == nil) || err != nil && !isReset(err) {
				t.Errorf("got %v, want %v", err, end)
			}
			conn.Close()
		}
		<-c.Done()
		e.oneEvent(proxy.WasCut)
	}
}

// TestCut cuts one, then all.
func TestCut(t *testing.T) {
	t.Parallel()
	for _, end := range []proxy.End{proxy.RST, proxy.FIN} {
		e := connect(t)
		var clients, servers []*net.TCPConn
		for range 5 {
			client, server := e.pair()
			send(t, client, []byte("hello"))
			receive(t, server, []byte("hello"))
			clients, servers = append(clients, client), append(servers, server)
		}
		check := func(c *net.TCPConn) {
			if err := receiveAll(t, c, nil); (end == proxy.FIN) != (err == nil) || err != nil && !isReset(err) {
				t.Errorf("got %v, want %v", err, end)
			}
		}
		if one := e.proxy.Conns()[2]; one.Number() != 3 || !one.Cut(end) || one.Cut(end) {
			t.Error("the third connection could not be cut, or twice")
		}
		check(clients[2])
		check(servers[2])
		send(t, servers[3], []byte("still"))
		receive(t, clients[3], []byte("still"))
		if n := e.proxy.Cut(end); n != 4 {
			t.Errorf("cut of all: got %d, want 4", n)
		}
		for i := range clients {
			if i != 2 {
				check(clients[i])
				check(servers[i])
			}
		}
		if s := e.proxy.Stats(); s.Cuts != 5 {
			t.Errorf("cuts: got %d, want 5", s.Cuts)
		}
	}
}

// TestCutByFINEnds: who goes on writing after the end is cut off in time.
func TestCutByFINEnds(t *testing.T) {
	t.Parallel()
	e := connect(t)
	client, server := e.pair()
	c := e.only()
	if !c.Cut(proxy.FIN) {
		t.Fatal("not cut")
	}
	var err error
	for err == nil { // its first bytes go nowhere
		_, err = client.Write(noise(1000))
	}
	if !isReset(err) {
		t.Errorf("writing on: got %v, want a reset", err)
	}
	<-c.Done()
	if c.Count(proxy.Up).Discarded == 0 {
		t.Error("nothing was discarded")
	}
	if err := receiveAll(t, server, nil); err != nil {
		t.Errorf("the server: got %v, want EOF", err)
	}
}

// TestCutUndelivered: a receiver that takes nothing does not keep a cut from
// coming, and the event says that it lost bytes.
func TestCutUndelivered(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 5 s")
	}
	e := connect(t)
	client, server := e.pair()
	if err := server.SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	const n = 1 << 20 // what fits into the proxy's own buffer, but not the receiver's
	e.only().CutAfter(proxy.Up, n, proxy.RST)
	sendInBackground(t, client, noise(n))
	e.await("cut", func(s proxy.Stats) bool { return s.Cuts == 1 })
	lost := e.oneEvent(proxy.WasCut).Undelivered
	if got, err := io.ReadAll(server); !isReset(err) || len(got) > n-lost || !bytes.HasPrefix(noise(n), got) || lost == 0 {
		t.Errorf("got %d bytes and %v, with %d undelivered of %d", len(got), err, lost, n)
	}
}

// TestHalfClose: one direction ends, the other lives.
func TestHalfClose(t *testing.T) {
	t.Parallel()
	for _, d := range []proxy.Direction{proxy.Up, proxy.Down} {
		e := connect(t)
		sender, receiver := e.pair()
		if d == proxy.Down {
			sender, receiver = receiver, sender
		}
		send(t, sender, []byte("before"))
		receive(t, receiver, []byte("before"))
		c := e.only()
		if !c.HalfClose(d) || c.HalfClose(d) {
			t.Error("could not be half-closed, or twice")
		}
		send(t, sender, noise(3<<20)) // more than any buffer holds: it is taken and thrown away
		if err := receiveAll(t, receiver, nil); err != nil {
			t.Errorf("%v: got %v, want EOF", d, err)
		}
		send(t, receiver, []byte("the other way"))
		receive(t, sender, []byte("the other way"))
		e.await("discarding", func(proxy.Stats) bool { return c.Count(d).Discarded == 3<<20 })
		if event := e.oneEvent(proxy.WasHalfClosed); event.Direction != d || event.Offset != 6 {
			t.Errorf("got %v", event)
		}
		// The rest of its life is a connection's.
		if err := sender.SetLinger(0); err != nil {
			t.Fatal(err)
		}
		sender.Close()
		if err := receiver.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		<-c.Done()
	}
}

// TestHalfCloseFirst: planned before there is a target.
func TestHalfCloseFirst(t *testing.T) {
	t.Parallel()
	e := connect(t)
	e.proxy.OnConn(func(c *proxy.Conn) { c.HalfClose(proxy.Both) })
	client, server := e.pair()
	for _, c := range []*net.TCPConn{client, server} {
		if err := receiveAll(t, c, nil); err != nil {
			t.Errorf("got %v, want EOF", err)
		}
	}
	if s := e.proxy.Stats(); s.HalfCloses != 2 {
		t.Errorf("half-closes: got %d, want 2", s.HalfCloses)
	}
}

// TestMany: faults of all kinds from many goroutines on many connections; when
// they end, the proxy is as new.
func TestMany(t *testing.T) {
	t.Parallel()
	e := connect(t)
	echo(t, e.target)
	e.proxy.OnConn(func(c *proxy.Conn) {
		r := c.Rand()
		c.Set(proxy.Both, proxy.Line{Slice: 1 + r.IntN(2000), Jitter: time.Duration(r.IntN(2)) * time.Millisecond, Window: 1 + r.IntN(10_000)})
		c.CutAfter(proxy.Direction(1+r.IntN(3)), r.Int64N(20_000), proxy.End(1+r.IntN(2)))
		c.Corrupt(proxy.Up, r.Int64N(20_000))
	})
	var faults, clients sync.WaitGroup
	stop := make(chan struct{})
	for i := range 3 {
		faults.Go(func() { torment(e.proxy, uint64(i), stop) })
	}
	for range 10 {
		clients.Go(func() {
			for range 20 {
				visit(e.proxy.Addr())
			}
		})
	}
	clients.Wait()
	close(stop)
	faults.Wait()
	if s := e.proxy.Stats(); s.Cuts < 20 || s.HalfCloses == 0 || s.Corruptions == 0 || s.Stalls == 0 {
		t.Errorf("these are few faults: %+v", s)
	}

	if err := e.proxy.Calm(); err != nil {
		t.Fatal(err)
	}
	before := len(e.proxy.Events())
	c := e.dial()
	sendInBackground(t, c, noise(1<<20))
	receive(t, c, noise(1<<20))
	if after := e.proxy.Events(); len(after) != before {
		t.Errorf("faults after Calm: %v", after[before:])
	}
}

// torment does what it can to whatever is there.
func torment(p *proxy.Proxy, seed uint64, stop <-chan struct{}) {
	r := rand.New(rand.NewPCG(seed, 0))
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		d := proxy.Direction(1 + r.IntN(3))
		switch r.IntN(6) {
		case 0:
			p.Stall(d)
		case 1, 2:
			p.Resume(proxy.Both)
		case 3:
			p.Set(d, proxy.Line{Slice: r.IntN(5000)})
		case 4:
			if conns := p.Conns(); len(conns) > 0 {
				conns[r.IntN(len(conns))].HalfClose(d)
			}
		case 5:
			if conns := p.Conns(); len(conns) > 0 {
				conns[r.IntN(len(conns))].Cut(proxy.End(1 + r.IntN(2)))
			}
		}
	}
}

// visit sends and receives until its connection ends.
func visit(addr string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second)) // a stall may last
	var writing sync.WaitGroup
	writing.Go(func() { _, _ = c.Write(noise(50_000)) })
	_, _ = io.CopyN(io.Discard, c, 50_000)
	_ = c.Close()
	writing.Wait()
}

// echo sends everything back, to everyone, until the listener is closed.
func echo(t *testing.T, l net.Listener) {
	t.Helper()
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		work.Wait()
	})
}
