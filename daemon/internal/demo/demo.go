package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"busd/bus"
	"busd/daemon/internal/histogram"
)

// Summary is what came of it.
type Summary struct {
	Agents     int     `json:"agents"`
	Seconds    float64 `json:"seconds"`
	RoundTrips int64   `json:"round_trips"`
	Errors     int64   `json:"errors"`
	// Reconnects are connections after one that was lost, Resumed those of them
	// whose session went on, and Repeated the messages that were then written
	// again by the service. Moved are connections that took the place of one
	// before it ended.
	Reconnects int64 `json:"reconnects"`
	Resumed    int64 `json:"resumed"`
	Repeated   int64 `json:"repeated"`
	Moved      int64 `json:"moved"`
	// Lost are messages, of either side, that were never handled, Doubled those
	// that were handled twice or in another order.
	Lost    int64   `json:"lost"`
	Doubled int64   `json:"doubled"`
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
}

// Run plays until its time or ctx ends, stops everything, and returns what
// came of it. A game with a time goes on until what it shows is over: the session
// of the agent whose line is cut has gone on, and all agents have moved to the
// second server. The error says which agents did not do their work: each must
// have made round trips without an error, nothing may be lost or doubled, and
// the one whose line was cut must have gone on with its session. The summary is
// good beside such an error.
func Run(ctx context.Context, o Options) (Summary, error) {
	if err := o.complete(); err != nil {
		return Summary{}, err
	}
	t, err := newSite()
	if err != nil {
		return Summary{}, err
	}
	g := &game{options: o, site: t, stop: make(chan struct{})}
	defer g.stopServers()
	first, err := t.serve("demo-1")
	if err != nil {
		return Summary{}, err
	}
	g.servers = append(g.servers, first)
	if err := g.gather(); err != nil {
		return Summary{}, err
	}
	return g.run(ctx)
}

// A game is one run with its agents.
type game struct {
	// Fixed before it begins.
	options Options
	site    *site
	view    *view
	agents  []*agent
	stop    chan struct{} // closed when the agents should finish

	acts sync.WaitGroup // what is shown
	done chan struct{}  // closed once all of it is over; nil: it has not begun

	mu      sync.Mutex
	servers []*server // guarded by mu; the last is the one that serves
	failure error     // guarded by mu; why there is no second server
}

func (g *game) gather() error {
	g.view = newView(g.options)
	for i := range g.options.Agents {
		a, err := newAgent(g.site, fmt.Sprintf("agent-%d", i+1), g.stop, g.view.say)
		if err != nil {
			return err
		}
		g.agents = append(g.agents, a)
	}
	g.view.agents = g.agents
	g.view.say("bus on %s, TLS 1.3 with certificates on both sides, %s", g.site.url(), plural(len(g.agents), "agent"))
	return nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// run connects the agents, lets them play, and ends them in good order.
func (g *game) run(ctx context.Context) (Summary, error) {
	var clients sync.WaitGroup
	defer g.acts.Wait()
	defer clients.Wait()
	defer g.leave()
	if err := g.connect(ctx); err != nil {
		return Summary{}, err
	}
	for _, a := range g.agents {
		clients.Go(func() { _ = a.client.Run(context.Background()) }) // ends with leave
	}
	var players sync.WaitGroup
	began := time.Now()
	g.view.begin(began)
	for _, a := range g.agents {
		players.Go(a.play)
	}
	g.watch(ctx, began)
	close(g.stop)
	players.Wait()
	sum := g.sum(time.Since(began))
	g.view.end(time.Since(began))
	return sum, g.verdict()
}

// leave ends the agents' connections, all at once.
func (g *game) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	var leaving sync.WaitGroup
	for _, a := range g.agents {
		leaving.Go(func() { _ = a.client.Close(ctx) }) // everything was answered
	}
	leaving.Wait()
}

func (g *game) stopServers() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.servers {
		s.stop()
	}
}

// connect makes the first connections, all at once.
func (g *game) connect(ctx context.Context) error {
	errs := make([]error, len(g.agents))
	var connecting sync.WaitGroup
	for i, a := range g.agents {
		connecting.Go(func() { errs[i] = a.client.Connect(ctx) })
	}
	connecting.Wait()
	return errors.Join(errs...)
}

// watch shows how it goes until the end of the time, and of what is shown
// meanwhile, or until the end of ctx.
func (g *game) watch(ctx context.Context, began time.Time) {
	var end <-chan time.Time
	if g.options.For > 0 {
		end = time.After(g.options.For)
	}
	cutAfter, handOverAfter := g.options.acts()
	act := time.After(cutAfter)
	over := false
	tick := time.NewTicker(g.view.every())
	defer tick.Stop()
	for {
		var done <-chan struct{}
		if over {
			done = g.done
		}
		select {
		case now := <-tick.C:
			g.view.show(now.Sub(began))
		case <-act:
			g.begin(ctx, began.Add(handOverAfter))
		case <-end:
			over = true
		case <-done:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (g *game) sum(played time.Duration) Summary {
	sum := Summary{Agents: len(g.agents), Seconds: round(played.Seconds(), 1000)}
	var all histogram.Counts
	for _, a := range g.agents {
		all.AddFrom(&a.roundTrips)
		sum.Errors += a.errors.Load()
		sum.Resumed += a.resumed.Load()
		sum.Reconnects += a.reconnects()
		sum.Moved += a.moved.Load()
		lost, doubled := a.account(g.pageOf(a))
		sum.Lost += lost
		sum.Doubled += doubled
	}
	sum.Repeated = int64(g.repeated())
	sum.RoundTrips = int64(all.Total())
	sum.P50, sum.P99 = micros(all.Quantile(0.50)), micros(all.Quantile(0.99))
	return sum
}

func (g *game) pageOf(a *agent) *page { return g.site.ledger.of(a.client.Identity()) }

func (g *game) verdict() error {
	g.mu.Lock()
	faults := []error{g.failure}
	g.mu.Unlock()
	for _, a := range g.agents {
		faults = append(faults, a.verdict(g.pageOf(a)))
	}
	return errors.Join(faults...)
}

// failed takes note of why a second server did not take over.
func (g *game) failed(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failure = bus.Wrap(bus.CodeUnavailable, err, "the second server: "+err.Error())
}

func micros(d time.Duration) float64 { return round(float64(d)/float64(time.Microsecond), 10) }

// round keeps 1/parts.
func round(f, parts float64) float64 { return float64(int64(f*parts+0.5)) / parts }
