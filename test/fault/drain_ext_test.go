//go:build linux

package fault_test

import (
	"testing"
	"time"

	"busd/msgclient"
	"busd/test/fault/ledger"
	"busd/test/fault/process"
)

// everyOf is how often each of many clients says something.
var everyOf = sized(300*time.Millisecond, time.Second)

// failing reports what fails where nothing may.
func failing(t *testing.T) func(*agent, error) {
	return func(a *agent, err error) { t.Errorf("%s: %v", a.Identity(), err) }
}

// A server of two is stopped while everybody talks: its clients go to the other
// one, and none of them notices. Nothing fails, is lost or is doubled.
func TestDrainToAnother(t *testing.T) {
	n := sized(300, 2000)
	one := serve(t, process.ServerConfig{Env: append([]string{"BUSD_NODE__NAME=one"}, crowd...)})
	two := one.second(process.ServerConfig{Env: append([]string{"BUSD_NODE__NAME=two"}, crowd...)})
	two.do(two.Kill()) // until all are with the first
	c := newCrew(t, one, n, msgclient.Config{URLs: []string{two.URL(ledger.Name)}})
	two.do(two.Restart(within(t, patience)))
	c.talk(everyOf, failing(t))
	calm := time.Now()
	c.answered(3 * n)

	began := time.Now()
	code, err := one.Stop(within(t, patience))
	ended := time.Now()
	if err != nil || code != 0 {
		t.Fatalf("the first server ended with %d, %v:\n%s", code, err, one.Process().Output())
	}
	var at []time.Time
	for _, a := range c.agents {
		at = append(at, a.welcomed(2)[1].at)
	}
	_, text := chart(began, at)
	t.Logf("clients that moved in each second:\n%s", text)
	c.answered(2 * n)
	c.rest()
	_, before := c.times(calm, began)
	all, during := c.times(began, ended)
	t.Logf("drained %d clients in %s; before: %s; during: %s", n, ended.Sub(began).Round(time.Millisecond), before, during)
	if len(all) == 0 || all[len(all)-1] > 10*time.Second {
		t.Errorf("requests during the drain: %s", during)
	}
	c.whole(one)
	c.noErrors()
	c.noDrops()
	if got := two.metric(`busd_connections{service="Test/Ledger"}`); got != float64(n) {
		t.Errorf("%v clients are with the second server, want %d", got, n)
	}
}

// A server that is alone is stopped, and started again: its clients come back, and
// of what they said meanwhile nothing fails, is lost or is doubled.
func TestDrainAndRestart(t *testing.T) {
	t.Parallel()
	n := sized(100, 1000)
	h := serve(t, process.ServerConfig{Env: crowd})
	c := newCrew(t, h, n, msgclient.Config{MaxWait: 2 * time.Second})
	c.talk(everyOf, failing(t))
	for round := range sized(2, 10) {
		c.answered(2 * n)
		began := time.Now()
		if code, err := h.Stop(within(t, patience)); err != nil || code != 0 {
			t.Fatalf("the server ended with %d, %v:\n%s", code, err, h.Process().Output())
		}
		stopped := time.Now()
		h.do(h.Restart(within(t, patience)))
		for _, a := range c.agents {
			a.welcomed(round + 2)
		}
		c.answered(2 * n)
		_, during := c.times(began, time.Now())
		t.Logf("stopped in %s; meanwhile: %s", stopped.Sub(began).Round(time.Millisecond), during)
	}
	c.rest()
	c.whole(h)
	c.noErrors()
}
