//go:build linux

package fault_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"busd/bus"
	"busd/msgclient"
	"busd/test/fault/ledger"
	"busd/test/fault/process"
)

const (
	// down is how long a server stays away that was killed. Clients that find one
	// that is there at once come back within their first pause, half a second.
	down = 3 * time.Second
	// back is within what time all are back: no pause between two attempts is
	// longer than 30 s.
	back = 35 * time.Second
)

// A server that is killed under many clients in the midst of everything, and twice
// more while it starts: all of them come back by themselves, as a ramp, with their
// TLS sessions, and are told what became of theirs. Nothing is handled twice, and
// what was answered was handled.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	n := sized(500, 3000)
	h := serve(t, process.ServerConfig{Env: crowd})
	// Whose handshake is cut off has no TLS session any more: crypto/tls forgets it. On
	// a busy machine a server may be ready before it is killed again.
	var interrupted sync.Map
	c := newCrew(t, h, n, msgclient.Config{OnRetry: func(c *msgclient.Client, err error, _ time.Duration) {
		if !errors.Is(err, bus.ErrDropped) && !errors.Is(err, syscall.ECONNREFUSED) {
			interrupted.Store(c, err)
		}
	}})
	var lost atomic.Int64
	c.talk(sized(500*time.Millisecond, 2*time.Second), func(a *agent, err error) {
		if !isLost(err) {
			t.Errorf("%s: %v", a.Identity(), err)
		}
		lost.Add(1)
	})
	c.answered(n)

	h.do(h.Kill())
	killed := time.Now()
	for range 2 { // before it is ready
		h.do(h.Begin())
		h.do(h.Kill())
	}
	time.Sleep(down - time.Since(killed))
	started := time.Now()
	h.do(h.Restart(within(t, patience)))
	t.Logf("ready after %s", time.Since(started).Round(time.Millisecond))

	var at []time.Time
	for _, a := range c.agents {
		w := a.welcomed(2)[1]
		at = append(at, w.at)
		if w.Resumed || w.Reason != "restarted" {
			t.Errorf("%s was told %+v, want that the server was restarted", a.Identity(), w.Resumption)
		}
	}
	c.answered(n)
	c.rest()
	seconds, text := chart(started, at)
	t.Logf("clients that came back in each second:\n%s", text)
	for second, came := range seconds {
		if came > n*3/4 { // a busy machine lets fewer seconds pass for more of them
			t.Errorf("%d of %d came in second %d", came, n, second)
		}
	}
	if len(seconds) > int(back/time.Second) {
		t.Errorf("the last came after %d s, want %s at most", len(seconds)-1, back)
	}
	whole := n
	interrupted.Range(func(any, any) bool { whole--; return true })
	if resumed := h.metric("busd_handshakes_resumed_total"); resumed < float64(whole)*0.95 {
		t.Errorf("%v TLS sessions were resumed, want those of nearly all %d clients", resumed, whole)
	}
	t.Logf("%d clients had no attempt that was cut off", whole)
	c.honest(h)
	t.Logf("%d requests failed: their session was lost", lost.Load())
}

// honest checks what must hold after a server was killed: nothing twice, in order,
// and what was answered is written down.
func (c *crew) honest(h *host) {
	c.t.Helper()
	handled, asked := h.lines(ledger.Handled), h.lines(ledger.Asked)
	var sent, missing int64
	for _, a := range c.agents {
		who := a.Identity()
		for what, got := range map[string][]int64{"messages": handled[who], "requests": asked[who]} {
			for i := 1; i < len(got); i++ {
				if got[i] <= got[i-1] {
					c.t.Errorf("%s: of the %s number %d was handled after %d", who, what, got[i], got[i-1])
				}
			}
		}
		sent += a.ups
		missing += a.ups - int64(len(handled[who]))
	}
	c.mu.Lock()
	answered := len(c.took)
	c.mu.Unlock()
	count := 0
	for _, got := range asked {
		count += len(got)
	}
	if count < answered {
		c.t.Errorf("%d requests were answered, and %d handled", answered, count)
	}
	if missing > sent/2 {
		c.t.Errorf("%d of %d messages are missing", missing, sent)
	}
	c.t.Logf("%d of %d messages went with the session", missing, sent)
}

// The same at random moments, again and again, with few clients.
func TestKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	h := serve(t, process.ServerConfig{Env: crowd})
	c := newCrew(t, h, 10, msgclient.Config{MaxWait: 500 * time.Millisecond})
	c.talk(2*time.Millisecond, func(a *agent, err error) {
		if !isLost(err) {
			t.Errorf("%s: %v", a.Identity(), err)
		}
	})
	for range sized(5, 100) {
		c.answered(300)
		h.do(h.Kill())
		h.do(h.Restart(within(t, patience)))
	}
	c.answered(300)
	c.rest()
	for _, a := range c.agents {
		for _, w := range a.welcomed(1)[1:] {
			if w.Resumed || w.Reason != "restarted" {
				t.Errorf("%s was told %+v, want that the server was restarted", a.Identity(), w.Resumption)
			}
		}
	}
	c.honest(h)
}
