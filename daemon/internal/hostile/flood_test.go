package hostile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"busd/bus"
	"busd/msgbus"
	"busd/test/hostile/stranger"
)

// crowd opens n connections, and begins with all of them at the same time.
func (s *stack) crowd(t *testing.T, n int, from net.Addr, begin func(c *client)) []*client {
	t.Helper()
	all := make([]*client, n)
	var work sync.WaitGroup
	for i := range all {
		d := net.Dialer{LocalAddr: from, Timeout: 5 * time.Second}
		raw, err := d.Dial("tcp", s.addr)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		t.Cleanup(func() { _ = raw.Close() })
		c := &client{t: t, stack: s, path: pingPath, instance: fmt.Sprintf("i%d", s.instances.Add(1)), raw: raw, conn: raw}
		all[i] = c
		if begin != nil {
			work.Go(func() { begin(c) })
		}
	}
	work.Wait()
	return all
}

// gone waits until the server has ended all of them.
func gone(t *testing.T, all []*client, limit time.Duration) {
	t.Helper()
	end := time.Now().Add(limit)
	left := 0
	for _, c := range all {
		_ = c.raw.SetReadDeadline(end)
		if _, err := io.Copy(io.Discard, c.raw); errors.Is(err, os.ErrDeadlineExceeded) {
			left++
		}
		_ = c.raw.Close()
	}
	if left > 0 {
		t.Errorf("%d of %d connections still stand after %v", left, len(all), limit)
	}
}

func TestFloodOfSilentConnections(t *testing.T) {
	s := newStack(t)
	g := measure(t)
	all := s.crowd(t, 300, s.nextAddress(), nil)
	if !eventually(time.Second, func() bool { return s.gate.Stats().Waiting > 0 }) {
		t.Error("nobody waits: want the bound of an address to hold")
	}
	if n := s.gate.Stats().Unauthenticated; n > 64 {
		t.Errorf("unauthenticated connections of one address: got %d, want at most 64", n)
	}
	s.probe(t)
	g.holds(8 << 20)
	gone(t, all, 10*handshakeTimeout)
	g.returns(24 << 20)
}

func TestFloodOfSilenceAfterTLS(t *testing.T) {
	s := newStack(t)
	g := measure(t)
	all := s.crowd(t, 300, s.nextAddress(), func(c *client) { c.handshake(s.good) })
	s.probe(t)
	g.holds(48 << 20)
	gone(t, all, 5*time.Second)
	g.returns(96 << 20)
}

func TestFloodOfHellosNeverSaid(t *testing.T) {
	s := newStack(t)
	g := measure(t)
	all := s.crowd(t, 300, s.nextAddress(), func(c *client) {
		c.handshake(s.good)
		c.send(upgrade(c.path))
	})
	s.probe(t)
	g.holds(48 << 20)
	gone(t, all, helloTimeout+goodbye+2*time.Second)
	g.returns(96 << 20)
}

// TestFloodOfHandshakes is as many handshakes as eight clients can begin.
func TestFloodOfHandshakes(t *testing.T) {
	s := newStack(t)
	g := measure(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var work sync.WaitGroup
	var shaken, refused atomic.Int64
	for range 8 {
		work.Go(func() {
			for ctx.Err() == nil {
				raw, err := (&net.Dialer{LocalAddr: s.nextAddress(), Timeout: time.Second}).Dial("tcp", s.addr)
				if err != nil {
					continue
				}
				c := &client{raw: raw, stack: s}
				if c.handshake(s.good); c.err == nil {
					shaken.Add(1)
				} else {
					refused.Add(1)
				}
				_ = raw.Close()
			}
		})
	}
	for ctx.Err() == nil {
		s.probe(t)
		<-time.After(50 * time.Millisecond)
	}
	work.Wait()
	t.Logf("%d handshakes, %d refused", shaken.Load(), refused.Load())
	if shaken.Load() == 0 {
		t.Error("no handshake succeeded")
	}
	g.returns(32 << 20)
}

// TestFloodOfReconnects is one identity that connects 300 times at once.
func TestFloodOfReconnects(t *testing.T) {
	s := newPatientStack(t, msgbus.Config{})
	g := measure(t)
	all := s.crowd(t, 300, s.nextAddress(), func(c *client) {
		c.handshake(s.good)
		c.send(upgrade(c.path))
		if _, err := http.ReadResponse(c.r, nil); err != nil {
			t.Errorf("upgrade: %v", err)
		}
	})
	for _, c := range all {
		c.message(hello("the-same"))
	}
	// Ten of them take the identity from each other, then it is enough: one lives
	// on, and the others are refused.
	const takeovers = 10
	counts := func() (superseded, refused, conns uint64) {
		for _, st := range s.bus.Stats() {
			superseded += st.Dropped[bus.CodeSuperseded] + st.Refused[bus.CodeSuperseded]
			refused += st.Refused[bus.CodeResourceExhausted]
			conns += uint64(st.Conns)
		}
		return superseded, refused, conns
	}
	done := func() bool {
		superseded, refused, conns := counts()
		return superseded == takeovers && superseded+refused == 299 && conns == 2
	}
	if !eventually(20*time.Second, done) {
		superseded, refused, conns := counts()
		t.Errorf("got %d superseded, %d refused and %d connections, want %d, 299 together, and 2 with the innocent one",
			superseded, refused, conns, takeovers)
	}
	s.probe(t)
	for _, c := range all {
		_ = c.raw.Close()
	}
	g.returns(128 << 20)
}

// TestFloodsThatReadNothing are clients that send what is answered, and never
// read.
func TestFloodsThatReadNothing(t *testing.T) {
	s := newStack(t)
	g := measure(t)
	floods := map[string]func(c *client) []byte{
		"requests":       func(c *client) []byte { return c.request("Ping", ping(1)) },
		"bad requests":   func(c *client) []byte { return c.request("Ping", dict()) },
		"calls":          func(c *client) []byte { return c.numbered(kindCall, str("m"), bin(nil)) },
		"data":           func(c *client) []byte { return c.data("Ping", ping(1)) },
		"acks asked for": func(c *client) []byte { return c.numbered(kindData, str("Everything"), dict(), num(1)) },
		"large requests": func(c *client) []byte { return c.request("Everything", dict(str("bytes"), bin(make([]byte, 100<<10)))) },
		"error frames": func(c *client) []byte {
			return c.numbered(kindError, num(1), dict(str("code"), num(1), str("reason"), str(strings.Repeat("x", 100<<10))))
		},
	}
	var all []*client
	var work sync.WaitGroup
	for name, flood := range floods {
		c := s.newClient(t, welcomed, bytePath)
		all = append(all, c)
		if name == "error frames" { // they must be about something
			c.message(c.request("Ping", ping(1)))
			_, _, _ = stranger.ReadFrame(c.r)
			c.message(c.data("Stay", dict())) // and what comes then waits
		}
		work.Go(func() {
			var sent int
			for {
				var b []byte
				for len(b) < 32<<10 {
					b = append(b, flood(c)...)
				}
				if _, err := c.conn.Write(frame(fin|opBinary, b)); err != nil {
					t.Logf("%s: %s sent", name, mib(uint64(sent)))
					return
				}
				sent += len(b)
			}
		})
	}
	// Whoever exceeds his credit is dropped. Who happens to keep to it is not:
	// what is kept for him is bounded.
	<-time.After(3 * time.Second)
	s.probe(t)
	g.holds(uint64(len(all)) * (5 << 20)) // 4 MiB here; the rest is the clients' own
	for _, c := range all {
		_ = c.raw.Close()
	}
	work.Wait()
	all = nil //nolint:ineffassign // so that their memory can go
	g.returns(7 * (16 << 20))
}

// TestFloodOfBroadcasts fills a client that never reads, beside one that does.
func TestFloodOfBroadcasts(t *testing.T) {
	s := newStack(t)
	g := measure(t)
	deaf := s.newClient(t, welcomed, bytePath)
	ears := s.newClient(t, welcomed, bytePath)
	heard := make(chan int)
	go func() { // ends with the connection
		n := 0
		defer func() { heard <- n }()
		for {
			op, b, err := stranger.ReadFrame(ears.r)
			if err != nil {
				return
			}
			if op != opBinary {
				continue
			}
			for len(b) > 0 {
				v, rest, err := stranger.Unpack(b)
				if err != nil {
					return
				}
				if f := v.([]any); f[0] == int64(kindData) {
					n++
					ears.message(packed(kindAck, num(uint64(f[1].(int64))), num(uint64(n)*(1<<10+20))))
				}
				b = rest
			}
		}
	}()
	for i := 0; i < 20_000 && len(s.bytes.Conns()) == 2; i++ {
		if err := s.bytes.Broadcast(t.Context(), Noise{Pad: make([]byte, 1<<10)}); err != nil {
			t.Fatal(err)
		}
		if i%20 == 0 {
			<-time.After(time.Millisecond) // the other one reads as fast as it can
		}
	}
	if !eventually(5*time.Second, func() bool { return len(s.bytes.Conns()) == 1 }) {
		t.Errorf("connections: got %d, want the deaf one dropped", len(s.bytes.Conns()))
	}
	s.probe(t)
	g.holds(8 << 20)
	_ = ears.raw.Close()
	if n := <-heard; n == 0 {
		t.Error("the one that reads heard nothing")
	}
	gone(t, []*client{deaf}, pace)
	g.returns(24 << 20)
}

// TestFloodsThatCostNothing are frames without credit, as fast as the line
// takes them, from a client that keeps every rule. Their connections live on.
func TestFloodsThatCostNothing(t *testing.T) {
	s := newStack(t)
	g := measure(t)
	floods := map[string]func(c *client) []byte{
		"acks":            func(*client) []byte { return packed(kindAck, num(0), num(0)) },
		"cancels":         func(*client) []byte { return packed(kindCancel, num(9999)) },
		"cancels in vain": func(*client) []byte { return packed(kindCancel, num(1<<40)) },
	}
	var all []*client
	var work sync.WaitGroup
	for name, flood := range floods {
		c := s.newClient(t, welcomed, bytePath)
		all = append(all, c)
		if strings.HasPrefix(name, "cancels") { // among as many requests as the credit allows
			c.message(c.data("Stay", dict()), repeatRequests(c, 1<<20/64-2))
		}
		work.Go(func() {
			begin, b := time.Now(), frame(fin|opBinary, repeat(flood(c), 8<<10))
			sent := 0
			for time.Since(begin) < 2*time.Second {
				if _, err := c.conn.Write(b); err != nil {
					t.Errorf("%s: %v after %s", name, err, mib(uint64(sent)))
					return
				}
				sent += len(b)
			}
			t.Logf("%s: %s in 2 s", name, mib(uint64(sent)))
		})
	}
	work.Wait()
	s.probe(t)
	if n := len(s.bytes.Conns()); n != len(all) {
		t.Errorf("connections: got %d, want all %d to live on", n, len(all))
	}
	g.holds(16 << 20)
	for _, c := range all {
		_ = c.raw.Close()
	}
	all = nil //nolint:ineffassign // so that their memory can go
	g.returns(64 << 20)
}

// repeatRequests are n requests of 64 bytes of credit each.
func repeatRequests(c *client, n int) []byte {
	var b []byte
	for range n {
		b = append(b, c.request("Stay", dict())...)
	}
	return b
}

// TestFloodNeverAcknowledged is a client that reads every answer and
// acknowledges none: what is kept for it is bounded, and then it waits.
func TestFloodNeverAcknowledged(t *testing.T) {
	s := newStack(t)
	g := measure(t)
	c := s.newClient(t, welcomed, pingPath)
	var answered atomic.Int64
	var released atomic.Uint64
	done := make(chan struct{})
	go func() { // ends with the connection
		defer close(done)
		for {
			op, b, err := stranger.ReadFrame(c.r)
			if err != nil {
				return
			}
			for op == opBinary && len(b) > 0 {
				v, rest, err := stranger.Unpack(b)
				if err != nil {
					return
				}
				switch f := v.([]any); f[0] {
				case int64(kindAnswer):
					answered.Add(1)
				case int64(kindAck):
					released.Store(uint64(f[2].(int64)))
				}
				b = rest
			}
		}
	}()
	stalled := false
	for sent := uint64(0); sent < 400_000 && !stalled; {
		stalled = !eventually(time.Second, func() bool { return sent*64 < released.Load()+1<<19 })
		var b []byte
		for range 512 {
			b = append(b, c.request("Ping", ping(1))...)
			sent++
		}
		c.message(b)
	}
	if !stalled {
		t.Errorf("%d answers were kept and not acknowledged: want the server to stop at its buffer", answered.Load())
	}
	s.probe(t)
	g.holds(16 << 20)
	_ = c.raw.Close()
	<-done
	g.returns(48 << 20)
}
