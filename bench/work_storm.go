package main

import (
	"context"
	"time"
)

func stormWork() *work {
	return &work{
		name: "storm", title: "All clients come back at once",
		about: "The server is killed and started again; all clients notice at the same time and come back by a random pause of up to 0.5 s that doubles " +
			"with each failure (busd's own client; the harness does the same for the others). Times are from when the server listens again. Some of the clients " +
			"are at work: from when they are back they send a message every 20 ms and wait for it; percentiles are theirs.",
		columns: []column{
			{"all", "all are back", seconds}, {"half", "half of them", seconds}, p50Column, p99Column, maxColumn, {"resumed", "TLS resumed", percent},
		},
		takes:  moves,
		quick:  true,
		rounds: 3,
		run:    runStorm,
	}
}

func runStorm(ctx context.Context, b *bench, c *contender) (metrics, error) {
	p, err := b.startPair(ctx, c)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	if err := p.client.ask("storm", stormArgs{Clients: b.scale.Storm, Probes: b.scale.Probes}, nil); err != nil {
		return nil, err
	}
	if err := sleep(ctx, b.scale.Settle); err != nil {
		return nil, err
	}
	p.server.kill() // and its profile is lost
	p.atStop = nil
	again, err := startServer(ctx, p.server.role)
	if err != nil {
		return nil, err
	}
	p.server = again
	var m metrics
	return m, p.client.ask("storm-over", time.Now().UnixNano(), &m)
}
