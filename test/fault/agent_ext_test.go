//go:build linux

package fault_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"busd/bus"
	"busd/msgclient"
	"busd/test/fault/ledger"
)

// An agent is a client of the ledger, and what it has seen.
type agent struct {
	*msgclient.Client

	t    testing.TB
	stop func() // ends Run, and waits for it

	mu sync.Mutex
	// Guarded by mu.
	downs    []int64
	ups      int64 // sent
	asks     int64 // begun
	errs     []error
	drops    []error
	welcomes []welcome
	ended    error // what Run returned
	changed  chan struct{}
}

// A welcome is one that an agent got.
type welcome struct {
	at time.Time
	msgclient.Resumption
}

// newAgent makes alice's client of a server, which runs until it is stopped or the
// test ends.
func newAgent(t testing.TB, h *host, name string, cfg msgclient.Config) *agent {
	t.Helper()
	a := &agent{t: t, changed: make(chan struct{})}
	if cfg.URL == "" {
		cfg.URL = h.URL(ledger.Name)
	}
	if cfg.CertFile == "" {
		var ca string
		cfg.CertFile, cfg.KeyFile, ca = h.Credentials("alice")
		cfg.CAFiles = []string{ca}
	}
	cfg.Instance = name
	cfg.OnConnect = func(_ context.Context, c *msgclient.Client) {
		a.change(func() { a.welcomes = append(a.welcomes, welcome{time.Now(), c.Resumption()}) })
	}
	cfg.OnDrop = func(_ context.Context, _ *msgclient.Client, why error) {
		a.change(func() { a.drops = append(a.drops, why) })
	}
	cfg.OnError = func(_ *msgclient.Client, err error) { a.change(func() { a.errs = append(a.errs, err) }) }
	c, err := msgclient.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	a.Client = c
	msgclient.On(c, func(_ context.Context, _ *msgclient.Client, m ledger.Down) error {
		a.change(func() { a.downs = append(a.downs, m.N) })
		return nil
	})
	a.run()
	return a
}

func (a *agent) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		err := a.Run(ctx)
		a.change(func() { a.ended = err })
	})
	a.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	a.t.Cleanup(a.stop)
}

func (a *agent) change(how func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	how()
	close(a.changed)
	a.changed = make(chan struct{})
}

// await waits until something holds of what the agent has seen.
func (a *agent) await(what string, holds func() bool) {
	a.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		a.mu.Lock()
		ok, changed := holds(), a.changed
		a.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-late.C:
			a.mu.Lock()
			defer a.mu.Unlock()
			a.t.Fatalf("%s: not within %s: %s; %d welcomes, %d messages came; errors %v; the last drop: %v; Run: %v",
				a.Identity(), patience, what, len(a.welcomes), len(a.downs), a.errs, a.drops[max(0, len(a.drops)-1):], a.ended)
		}
	}
}

// welcomed waits for so many welcomes, and returns them.
func (a *agent) welcomed(n int) []welcome {
	a.t.Helper()
	a.await(fmt.Sprint(n, " welcomes"), func() bool { return len(a.welcomes) >= n })
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.welcomes)
}

// got waits until so many messages have come, and returns them. It is patient as
// long as one comes after the other.
func (a *agent) got(n int64) []int64 {
	a.t.Helper()
	for came := int64(-1); came < n; {
		a.await(fmt.Sprint(n, " messages"), func() bool {
			more := int64(len(a.downs)) > came
			came = int64(len(a.downs))
			return more
		})
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.downs)
}

// dropped waits for so many drops, and returns them.
func (a *agent) dropped(n int) []error {
	a.t.Helper()
	a.await(fmt.Sprint(n, " drops"), func() bool { return len(a.drops) >= n })
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.drops)
}

// up sends the next numbered message.
func (a *agent) up(ctx context.Context, echo bool, size int) error {
	a.mu.Lock()
	n := a.ups + 1
	a.mu.Unlock()
	if err := a.Send(ctx, ledger.Up{N: n, Echo: echo, Pad: make([]byte, size)}); err != nil {
		return err
	}
	a.mu.Lock()
	a.ups = n
	a.mu.Unlock()
	return nil
}

// ask makes the next numbered request.
func (a *agent) ask(ctx context.Context, wait time.Duration) error {
	a.mu.Lock()
	a.asks++
	n := a.asks
	a.mu.Unlock()
	got, err := msgclient.Request[ledger.Got](ctx, a.Client, ledger.Ask{N: n, Wait: wait.Milliseconds()})
	if err == nil && got.N != n {
		err = fmt.Errorf("the answer to %d was %d", n, got.N)
	}
	return err
}

// push lets the service send numbered messages.
func (a *agent) push(count, size int64) {
	a.t.Helper()
	if _, err := msgclient.Request[ledger.Got](within(a.t, patience), a.Client, ledger.Push{Count: count, Size: size}); err != nil {
		a.t.Fatalf("push: %v", err)
	}
}

// failures are what an agent was told that should not have been: drops are none.
func (a *agent) failures() []error {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := slices.Clone(a.errs)
	for i, w := range a.welcomes {
		if i > 0 && !w.Resumed && w.Reason != "" {
			all = append(all, fmt.Errorf("welcome %d: not resumed (%s), %d lost", i+1, w.Reason, w.Lost))
		}
	}
	return all
}

// whole checks that all that was sent either way came, once and in order, and that
// nothing else was told. pushed is how many messages the service sent.
func (a *agent) whole(h *host, pushed int64) {
	a.t.Helper()
	a.got(pushed)
	eventually(a.t, fmt.Sprintf("all %d handled", a.ups), func() bool { return int64(len(h.lines(ledger.Handled)[a.Identity()])) >= a.ups })
	a.wholeNow(h.lines(ledger.Handled), h.lines(ledger.Asked), pushed)
	for _, err := range a.failures() {
		a.t.Errorf("%s: %v", a.Identity(), err)
	}
}

// wholeNow is whole of what was written down, for many agents.
func (a *agent) wholeNow(handled, asked map[bus.Identity][]int64, pushed int64) {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	who := a.Identity()
	wantRun(a.t, fmt.Sprintf("%s: messages of the service", who), a.downs, pushed)
	wantRun(a.t, fmt.Sprintf("%s: messages of the client", who), handled[who], a.ups)
	wantOnce(a.t, fmt.Sprintf("%s: requests", who), asked[who], a.asks)
}

// wantOnce checks that numbers are 1 to n, each once. Requests that wait together
// may be sent in any order.
func wantOnce(t testing.TB, what string, got []int64, n int64) {
	t.Helper()
	sorted := slices.Clone(got)
	slices.Sort(sorted)
	wantRun(t, what, sorted, n)
}

// alternates checks that of each identity connections began and ended in turn.
func (h *host) alternates() {
	h.t.Helper()
	all, err := ledger.Read(h.file)
	if err != nil {
		h.t.Fatal(err)
	}
	open := map[bus.Identity]bool{}
	for i, l := range all {
		if l.Kind != ledger.Connected && l.Kind != ledger.Dropped {
			continue
		}
		if open[l.Identity] == (l.Kind == ledger.Connected) {
			h.t.Fatalf("line %d of the ledger: %s of %s, who was %v before", i+1, l.Kind, l.Identity,
				map[bool]string{true: "connected", false: "not connected"}[open[l.Identity]])
		}
		open[l.Identity] = l.Kind == ledger.Connected
	}
}
