package demo

import (
	"context"
	"time"
)

// drainTime bounds how long a server may take to let its agents go, on a busy
// machine; they begin to within a second or two.
const drainTime = 15 * time.Second

// begin cuts the line of an agent, and when that is mended, and the time has
// come, lets a second server take over. It returns at once.
func (g *game) begin(ctx context.Context, handOver time.Time) {
	g.done = make(chan struct{})
	a := g.agents[len(g.agents)/2]
	mended := make(chan struct{})
	a.scissors <- func() { // its room is for this one
		defer close(mended)
		a.cutMidstream(g.repeated)
	}
	g.acts.Go(func() {
		defer close(g.done)
		select {
		case <-mended:
		case <-g.stop:
			return
		}
		timer := time.NewTimer(time.Until(handOver))
		defer timer.Stop()
		select {
		case <-timer.C:
			g.handOver()
		case <-ctx.Done():
		case <-g.stop:
		}
	})
}

// handOver drains the server while a second one takes its address, as a restart
// of a program does.
func (g *game) handOver() {
	began := time.Now()
	g.mu.Lock()
	old := g.servers[0]
	g.mu.Unlock()
	for _, a := range g.agents {
		select {
		case <-a.came: // of the past
		default:
		}
	}
	old.deaf()
	next, err := g.site.serve("demo-2")
	if err != nil {
		g.view.say("no second server: %v", err)
		g.failed(err)
		return
	}
	g.mu.Lock()
	g.servers = append(g.servers, next)
	g.mu.Unlock()
	g.view.say("the server is drained: it asks its agents to move; a second one listens at its address")
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if err := old.bus.Drain(ctx, ""); err != nil {
		g.view.say("the first server has ended after %s: %v", ago(began), err)
		return
	}
	moved := int64(0)
	for _, a := range g.agents {
		select {
		case <-a.came:
		case <-g.stop:
		case <-ctx.Done():
		}
		moved += a.moved.Load()
	}
	g.view.say("the first server has ended after %s: %d of %s moved, and none was cut off", ago(began), moved, plural(len(g.agents), "agent"))
}

// repeated counts what both servers have written again.
func (g *game) repeated() (n uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.servers {
		n += s.repeated()
	}
	return n
}
