package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Summary is what came of it.
type Summary struct {
	Agents     int     `json:"agents"`
	Seconds    float64 `json:"seconds"`
	RoundTrips int64   `json:"round_trips"`
	Errors     int64   `json:"errors"`
	Reconnects int64   `json:"reconnects"`
	P50        float64 `json:"p50_us"`
	P99        float64 `json:"p99_us"`
}

// Run plays until its time or ctx ends, stops everything, and returns what
// came of it. The error says which agents did not do their work: each must
// have made round trips without an error, and the one whose line was cut must
// have connected again. What the cut interrupted is sent again and is no
// error. The summary is good beside such an error.
func Run(ctx context.Context, o Options) (Summary, error) {
	if err := o.complete(); err != nil {
		return Summary{}, err
	}
	s, err := newServer()
	if err != nil {
		return Summary{}, err
	}
	defer s.stop()
	g := game{options: o, stop: make(chan struct{})}
	if err := g.gather(s); err != nil {
		return Summary{}, err
	}
	return g.run(ctx)
}

// A game is one run with its agents.
type game struct {
	options Options
	view    *view
	agents  []*agent
	stop    chan struct{} // closed when the agents should finish
}

func (g *game) gather(s *server) error {
	g.view = newView(g.options)
	for i := range g.options.Agents {
		a, err := newAgent(s, fmt.Sprintf("agent-%d", i+1), g.stop, g.view.say)
		if err != nil {
			return err
		}
		g.agents = append(g.agents, a)
	}
	g.view.agents = g.agents
	agents := "1 agent"
	if n := len(g.agents); n > 1 {
		agents = fmt.Sprintf("%d agents", n)
	}
	g.view.say("bus on %s, TLS 1.3 with certificates on both sides, %s", s.url, agents)
	return nil
}

// run connects the agents, lets them play, and ends them in good order.
func (g *game) run(ctx context.Context) (Summary, error) {
	var clients sync.WaitGroup
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
	cut := g.watch(ctx, began)
	close(g.stop)
	players.Wait()
	sum := g.sum(time.Since(began))
	g.view.end(time.Since(began))
	return sum, g.verdict(cut)
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

// watch shows how it goes until the end of the time or of ctx, cuts a line
// half-way, and returns the agent whose it was, if it came to that.
func (g *game) watch(ctx context.Context, began time.Time) (cut *agent) {
	var end <-chan time.Time
	if g.options.For > 0 {
		end = time.After(g.options.For)
	}
	half := time.After(g.options.cutAfter())
	tick := time.NewTicker(g.view.every())
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			g.view.show(now.Sub(began))
		case <-half:
			cut = g.agents[len(g.agents)/2]
			cut.cut()
		case <-end:
			return cut
		case <-ctx.Done():
			return cut
		}
	}
}

func (g *game) sum(played time.Duration) Summary {
	sum := Summary{Agents: len(g.agents), Seconds: round(played.Seconds(), 1000)}
	var all counts
	for _, a := range g.agents {
		all.addFrom(&a.roundTrips)
		sum.Errors += a.errors.Load()
		sum.Reconnects += a.reconnects()
	}
	sum.RoundTrips = int64(all.total())
	sum.P50, sum.P99 = micros(all.quantile(0.50)), micros(all.quantile(0.99))
	return sum
}

func (g *game) verdict(cut *agent) error {
	var faults []error
	for _, a := range g.agents {
		if err := a.verdict(a == cut); err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

func micros(d time.Duration) float64 { return round(float64(d)/float64(time.Microsecond), 10) }

// round keeps 1/parts.
func round(f, parts float64) float64 { return float64(int64(f*parts+0.5)) / parts }
