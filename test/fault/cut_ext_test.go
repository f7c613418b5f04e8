//go:build linux

package fault_test

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"busd/msgclient"
	"busd/test/fault/ledger"
	"busd/test/fault/process"
	"busd/test/fault/proxy"
)

// through makes an agent behind a proxy, which comes back at once.
func through(t *testing.T, h *host, p *proxy.Proxy, name string) *agent {
	t.Helper()
	return newAgent(t, h, name, msgclient.Config{
		URL: "wss://" + p.Addr() + "/" + ledger.Name, MinWait: time.Millisecond, MaxWait: 20 * time.Millisecond,
	})
}

// offset is after how many bytes a line is cut: as likely in a greeting as in the
// messages behind it.
func offset(r *rand.Rand, most float64) int64 {
	return int64(math.Exp(r.Float64() * math.Log(most)))
}

// talk is traffic of all sorts: n messages each way, and a twentieth as many
// requests.
func (a *agent) talk(n int64) {
	a.t.Helper()
	each := func(do func(context.Context) error) error { // all of it takes as long as the machine needs
		ctx, cancel := context.WithTimeout(a.t.Context(), patience)
		defer cancel()
		return do(ctx)
	}
	var talking sync.WaitGroup
	talking.Go(func() { // requests wait for their answers beside it
		for range n / 20 {
			if err := each(func(ctx context.Context) error { return a.ask(ctx, 0) }); err != nil {
				a.t.Errorf("request: %v", err)
				return
			}
		}
	})
	talking.Go(func() {
		for range n {
			if err := each(func(ctx context.Context) error { return a.up(ctx, false, 16) }); err != nil {
				a.t.Errorf("send: %v", err)
				return
			}
		}
	})
	a.push(n, 16)
	talking.Wait()
	a.got(n)
}

// A line that is cut at random, in greetings and in messages, in both directions,
// by resets and by ends of stream, is not noticed: what is sent is handled once and
// in order, requests are answered.
func TestRandomCuts(t *testing.T) {
	t.Parallel()
	h := serve(t, process.ServerConfig{Env: crowd})
	for _, end := range []proxy.End{proxy.RST, proxy.FIN} {
		t.Run(end.String(), func(t *testing.T) {
			t.Parallel()
			for range sized(1, 20) {
				randomCuts(t, h, end, rand.Uint64())
			}
		})
	}
}

func randomCuts(t *testing.T, h *host, end proxy.End, seed uint64) {
	const messages = 10_000
	t.Logf("seed %d", seed)
	p := proxy.Start(t, proxy.Config{Target: h.Addr(), Seed: seed})
	p.OnConn(func(c *proxy.Conn) {
		const most = 64 << 10
		c.CutAfter(proxy.Up, offset(c.Rand(), most), end)
		c.CutAfter(proxy.Down, offset(c.Rand(), most), end)
	})
	a := through(t, h, p, "cut-"+end.String()+"-"+word(seed))
	a.talk(messages)
	if err := p.Calm(); err != nil {
		t.Fatal(err)
	}
	a.whole(h, messages)
	a.stop()
	n := p.Stats()
	t.Logf("%d connections, of which %d were cut, %d were welcomed", n.Accepted, n.Cuts, a.Connects())
	if n.Cuts < 20 || a.Connects() < 10 {
		t.Errorf("%d cuts and %d welcomes: want more to believe it", n.Cuts, a.Connects())
	}
	h.alternates()
}

// word writes a seed as part of a name.
func word(seed uint64) string {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	var b []byte
	for ; seed > 0; seed /= 26 {
		b = append(b, letters[seed%26])
	}
	return string(b)
}

// A bit that flips below TLS ends the connection, and never becomes a message.
func TestCorruptedBytes(t *testing.T) {
	t.Parallel()
	const messages = 300
	h := serve(t, process.ServerConfig{Env: append([]string{"BUSD_KEEP_ALIVE__INTERVAL=1s", "BUSD_KEEP_ALIVE__IDLE=3s"}, crowd...)})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	p := proxy.Start(t, proxy.Config{Target: h.Addr(), Seed: seed})
	r := rand.New(rand.NewPCG(seed, seed))
	p.OnConn(func(c *proxy.Conn) { // some greetings
		if c.Rand().IntN(4) == 0 {
			c.Corrupt(proxy.Up<<c.Rand().IntN(2), offset(c.Rand(), 3000))
		}
	})
	a := through(t, h, p, "corrupted")
	wanted, rounds := sized(15, 300), int64(0)
	for ; p.Stats().Corruptions < wanted; rounds++ {
		if rounds > 10*int64(wanted) {
			t.Fatalf("void: %d corruptions in %d rounds", p.Stats().Corruptions, rounds)
		}
		for _, c := range p.Conns() {
			c.Corrupt(proxy.Up<<r.IntN(2), offset(r, 10_000))
		}
		for range messages {
			if err := a.up(within(t, patience), true, 16); err != nil {
				t.Fatal(err)
			}
		}
		a.got((rounds + 1) * messages)
	}
	if err := p.Calm(); err != nil {
		t.Fatal(err)
	}
	a.whole(h, a.ups)
	a.stop()
	t.Logf("%d corruptions, %d welcomes", p.Stats().Corruptions, a.Connects())
}

// Lines that are slow, or that slice what passes, are no faults: nobody is dropped.
func TestBadLines(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		line     proxy.Line
		messages int64
	}{
		"latency":       {proxy.Line{Latency: 500 * time.Millisecond, Jitter: 400 * time.Millisecond, Slice: 1 << 10}, 100},
		"one byte":      {proxy.Line{Slice: 1}, 2000},
		"8 kB a second": {proxy.Line{Bandwidth: 8000, Slice: 1400}, 300},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := serve(t, process.ServerConfig{})
			p := proxy.Start(t, proxy.Config{Target: h.Addr()})
			p.Set(proxy.Both, tt.line)
			a := through(t, h, p, "bad")
			a.talk(tt.messages)
			a.whole(h, tt.messages)
			if n := a.Connects(); n != 1 {
				t.Errorf("%d connections, want one: %v", n, a.drops)
			}
			if n := p.Stats(); n.Up.Delayed == 0 && n.Up.Pieces < n.Up.Delivered {
				t.Errorf("void: %+v", n)
			}
			a.stop()
		})
	}
}

// The one who reads too slowly is waited for: the service sends no more than there
// is room for, until it reads again.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	const messages, size = 5000, 1000
	h := serve(t, process.ServerConfig{})
	p := proxy.Start(t, proxy.Config{Target: h.Addr()})
	a := through(t, h, p, "slow")
	a.welcomed(1)
	p.Set(proxy.Down, proxy.Line{Bandwidth: 50_000, Window: 64 << 10})
	a.push(messages, size)
	const queue = `busd_queue_bytes_max{service="Test/Ledger"}`
	eventually(t, "the queue is full", func() bool { return h.metric(queue) > 900<<10 })
	for range 20 {
		if n := h.metric(queue); n > 1<<20+size+100 {
			t.Errorf("%v bytes are queued, want 1 MiB at most", n)
		}
	}
	if err := p.Calm(); err != nil {
		t.Fatal(err)
	}
	a.whole(h, messages)
	if n := a.Connects(); n != 1 {
		t.Errorf("%d connections, want one: %v", n, a.drops)
	}
	a.stop()
}
