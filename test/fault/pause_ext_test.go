//go:build linux

package fault_test

import (
	"regexp"
	"testing"
	"time"

	"busd/bus"
	"busd/msgclient"
	"busd/test/fault/ledger"
	"busd/test/fault/process"
)

// lively is a server that finds dead clients within 3 s.
var lively = append([]string{"BUSD_KEEP_ALIVE__INTERVAL=1s", "BUSD_KEEP_ALIVE__IDLE=3s"}, crowd...)

// A server that stands still for two seconds, twice, is waited for.
func TestServerPausesShortly(t *testing.T) {
	t.Parallel()
	const still = 2 * time.Second
	h := serve(t, process.ServerConfig{Env: crowd})
	c := newCrew(t, h, 20, msgclient.Config{})
	c.talk(20*time.Millisecond, failing(t))
	began := time.Now()
	for range 2 {
		c.answered(100)
		h.do(h.Pause())
		time.Sleep(still)
		h.do(h.Continue())
		time.Sleep(200 * time.Millisecond)
	}
	c.answered(100)
	c.rest()
	all, text := c.times(began, time.Now())
	t.Log(text)
	if all[len(all)-1] < still-100*time.Millisecond {
		t.Error("void: no request had to wait")
	}
	c.whole(h)
	c.noErrors()
	c.noDrops()
}

// A server that stands still for so long that its clients give it up: they come
// back when it goes on, and nothing was lost or doubled.
func TestServerPausesForLong(t *testing.T) {
	t.Parallel()
	h := serve(t, process.ServerConfig{Env: lively})
	c := newCrew(t, h, 20, msgclient.Config{MaxWait: time.Second})
	c.talk(20*time.Millisecond, failing(t))
	c.answered(100)
	h.do(h.Pause())
	for _, a := range c.agents {
		if err := a.dropped(1)[0]; bus.CodeOf(err) != bus.CodeKeepaliveTimeout {
			t.Errorf("%s: got %v, want keepalive_timeout", a.Identity(), err)
		}
	}
	h.do(h.Continue())
	for _, a := range c.agents {
		if w := a.welcomed(2)[1]; !w.Resumed {
			t.Errorf("%s was told %+v, want resumed", a.Identity(), w.Resumption)
		}
	}
	c.answered(100)
	c.rest()
	c.whole(h)
	c.noErrors()
	h.alternates()
}

var downLine = regexp.MustCompile(`"n":\s*(\d+)`)

// A client that stands still, until it is given up, gets all the same what was
// broadcast meanwhile.
func TestClientPauses(t *testing.T) {
	t.Parallel()
	const batch = 10
	h := serve(t, process.ServerConfig{Env: lively})
	caller := newAgent(t, h, "caller", msgclient.Config{})
	caller.welcomed(1)
	listener := process.Start(t, process.Config{
		Path: h.Program(), Dir: h.Dir(), Args: []string{"listen", h.URL(ledger.Name), "--json"},
	})
	match, err := listener.AwaitOutput(within(t, patience), `"event":"connected","identity":"([^"]+)"`)
	if err != nil {
		t.Fatal(err)
	}
	who := bus.Identity(match[1])
	shout := func() {
		t.Helper()
		_, err := msgclient.Request[ledger.Got](within(t, patience), caller.Client, ledger.Shout{Count: batch})
		if err != nil {
			t.Fatal(err)
		}
	}
	shout()
	if err := listener.Pause(); err != nil {
		t.Fatal(err)
	}
	shout()
	eventually(t, "the server gives the listener up", func() bool { return len(h.lines(ledger.Dropped)[who]) > 0 })
	if code := bus.Code(h.lines(ledger.Dropped)[who][0]); code != bus.CodeKeepaliveTimeout {
		t.Errorf("got %s, want keepalive_timeout", code)
	}
	shout()
	if err := listener.Continue(); err != nil {
		t.Fatal(err)
	}
	lines := func() [][]string { return downLine.FindAllStringSubmatch(listener.Output(), -1) }
	eventually(t, "all came", func() bool { return len(lines()) >= 3*batch })
	shout()
	eventually(t, "what came later came, too", func() bool { return len(lines()) >= 4*batch })
	for i, l := range lines() {
		if want := []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"}[i%batch]; l[1] != want {
			t.Fatalf("message %d is %s, want %s:\n%s", i+1, l[1], want, listener.Output())
		}
	}
	if w := h.lines(ledger.Connected)[who]; len(w) != 2 || w[1] != 1 {
		t.Errorf("the listener's connections were %v, want a second one that resumes", w)
	}
}
