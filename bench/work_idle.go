package main

import (
	"context"
	"time"
)

// firstConns are open before memory is measured for the first time: what a
// program makes once, for its first connections, is not what each of them costs.
const firstConns = 10

func idleWork() *work {
	return &work{
		name: "idle", title: "Idle connections",
		about: "Connections that were opened, each with a certificate of its own, and say nothing but that they are there. What the server holds for " +
			"each: resident memory after it has given back what it can, and before; live heap; stacks. Then the CPU that all of them together take.",
		columns: []column{
			{"rss", "RSS each", kibi},
			{"rss_before", "before giving back", kibi},
			{"heap", "heap", kibi},
			{"stack", "stacks", kibi},
			{"goroutines", "goroutines each", plainNumber},
			{"cpu", "CPU of all, % of a core", percent},
		},
		takes:  moves,
		quick:  true,
		rounds: 2,
		run:    runIdle,
	}
}

func runIdle(ctx context.Context, b *bench, c *contender) (metrics, error) {
	p, err := b.startPair(ctx, c)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	if err := p.client.ask("hold", firstConns, nil); err != nil {
		return nil, err
	}
	var empty, raw, settled memory
	if err := p.server.ask("memory", true, &empty); err != nil {
		return nil, err
	}
	if err := p.client.ask("hold", b.scale.Idle-firstConns, nil); err != nil {
		return nil, err
	}
	if err := sleep(ctx, b.scale.Settle); err != nil {
		return nil, err
	}
	if err := p.server.ask("memory", false, &raw); err != nil {
		return nil, err
	}
	if err := p.server.ask("memory", true, &settled); err != nil {
		return nil, err
	}
	used, err := b.idleCPU(ctx, p.server.pid())
	if err != nil {
		return nil, err
	}
	if err := p.client.ask("still-held", struct{}{}, nil); err != nil {
		return nil, err
	}
	n := float64(b.scale.Idle - firstConns)
	each := func(now, before uint64) float64 { return (float64(now) - float64(before)) / n }
	return metrics{
		"rss": each(settled.RSS, empty.RSS), "rss_before": each(raw.RSS, empty.RSS),
		"heap": each(settled.Heap, empty.Heap), "stack": each(settled.Stack, empty.Stack),
		"goroutines": float64(settled.Goroutines-empty.Goroutines) / n,
		"cpu":        100 * used,
	}, nil
}

// idleCPU returns which part of a core a process takes.
func (b *bench) idleCPU(ctx context.Context, pid int) (float64, error) {
	before, err := processCPU(pid)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := sleep(ctx, b.scale.IdleWindow); err != nil {
		return 0, err
	}
	after, err := processCPU(pid)
	return float64(after-before) / float64(time.Since(began)), err
}

// sleep sleeps, unless ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
