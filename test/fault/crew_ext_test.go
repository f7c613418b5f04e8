//go:build linux

package fault_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"busd/bus"
	"busd/msgclient"
	"busd/test/fault/ledger"
)

// A crew is many agents that talk all the time.
type crew struct {
	t      testing.TB
	agents []*agent
	rest   func() // stops the talking, and waits for it

	mu sync.Mutex
	// Guarded by mu.
	took []took
}

// took is how long a message and a request took, that began at a moment.
type took struct {
	at   time.Time
	time time.Duration
}

// newCrew makes n agents, and waits until they are welcomed.
func newCrew(t testing.TB, h *host, n int, cfg msgclient.Config) *crew {
	t.Helper()
	c := &crew{t: t}
	for i := range n {
		c.agents = append(c.agents, newAgent(t, h, fmt.Sprint("crew-", i), cfg))
	}
	for _, a := range c.agents {
		a.welcomed(1)
	}
	t.Cleanup(c.stop) // all at once: each waits for its own goodbye
	return c
}

func (c *crew) stop() {
	var stopping sync.WaitGroup
	for _, a := range c.agents {
		stopping.Go(a.stop)
	}
	stopping.Wait()
}

// talk lets each agent send a message that is echoed and make a request, again and
// again, until the crew rests. failed is told what did not succeed.
func (c *crew) talk(every time.Duration, failed func(a *agent, err error)) {
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	var talking sync.WaitGroup
	for _, a := range c.agents {
		talking.Go(func() {
			for {
				pause := time.NewTimer(rand.N(2*every + 1))
				select {
				case <-pause.C:
				case <-over:
					pause.Stop()
					return
				}
				began := time.Now()
				if err := a.up(ctx, true, 0); err != nil && ctx.Err() == nil {
					failed(a, err)
				}
				if err := a.ask(ctx, 0); err != nil {
					if ctx.Err() == nil {
						failed(a, err)
					}
					continue
				}
				c.mu.Lock()
				c.took = append(c.took, took{began, time.Since(began)})
				c.mu.Unlock()
			}
		})
	}
	c.rest = sync.OnceFunc(func() {
		close(over)
		if c.t.Failed() { // then the server may be gone, and nothing is answered any more
			cancel()
		}
		talking.Wait()
		cancel()
	})
	c.t.Cleanup(c.rest)
}

// answered waits for so many more answers.
func (c *crew) answered(n int) {
	c.t.Helper()
	count := func() int { c.mu.Lock(); defer c.mu.Unlock(); return len(c.took) }
	from := count()
	eventually(c.t, fmt.Sprint(n, " more answers"), func() bool { return count() >= from+n })
}

// times says how long requests took that were under way at any time from one
// moment to another.
func (c *crew) times(from, to time.Time) (all []time.Duration, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, each := range c.took {
		if each.at.Before(to) && each.at.Add(each.time).After(from) {
			all = append(all, each.time)
		}
	}
	if len(all) == 0 {
		return nil, "no requests"
	}
	slices.Sort(all)
	at := func(share float64) time.Duration {
		return all[int(share*float64(len(all)-1))].Round(100 * time.Microsecond)
	}
	return all, fmt.Sprintf("%d requests, p50 %s, p99 %s, max %s", len(all), at(0.5), at(0.99), at(1))
}

// whole is that of each agent: all that was sent either way came, once and in
// order.
func (c *crew) whole(h *host) {
	c.t.Helper()
	for _, a := range c.agents {
		a.got(a.ups)
	}
	handled, asked := h.lines(ledger.Handled), h.lines(ledger.Asked)
	for _, a := range c.agents {
		a.wholeNow(handled, asked, a.ups)
	}
}

// noErrors checks that nobody was told of a failure or of a loss.
func (c *crew) noErrors() {
	c.t.Helper()
	for _, a := range c.agents {
		a.mu.Lock()
		for i, w := range a.welcomes {
			if w.Lost > 0 {
				c.t.Errorf("%s: %d lost at welcome %d (%s)", a.Identity(), w.Lost, i+1, w.Reason)
			}
		}
		for _, err := range a.errs {
			c.t.Errorf("%s: %v", a.Identity(), err)
		}
		if a.ended != nil {
			c.t.Errorf("%s has ended: %v", a.Identity(), a.ended)
		}
		a.mu.Unlock()
	}
}

// noDrops checks that nobody was ever without a connection.
func (c *crew) noDrops() {
	c.t.Helper()
	for _, a := range c.agents {
		a.mu.Lock()
		if len(a.drops) > 0 {
			c.t.Errorf("%s: %d drops: %v", a.Identity(), len(a.drops), a.drops[0])
		}
		a.mu.Unlock()
	}
}

// chart draws how many of the moments came in each second since another one.
func chart(since time.Time, all []time.Time) (seconds []int, text string) {
	for _, at := range all {
		second := max(0, int(at.Sub(since)/time.Second))
		for len(seconds) <= second {
			seconds = append(seconds, 0)
		}
		seconds[second]++
	}
	var b strings.Builder
	for at, n := range seconds {
		fmt.Fprintf(&b, "%4d s %5d %s\n", at, n, strings.Repeat("#", 60*n/max(1, len(all))))
	}
	return seconds, b.String()
}

// isLost tells whether a request failed as it may when a session ends.
func isLost(err error) bool {
	return bus.CodeOf(err) == bus.CodeSessionLost && !errors.Is(err, context.DeadlineExceeded)
}
