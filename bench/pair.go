package main

import (
	"context"
)

// A pair is a contender's server and its clients, each in a process of its own.
type pair struct {
	server, client *process
	atStop         []func()
}

// startPair starts both; the server listens.
func (b *bench) startPair(ctx context.Context, c *contender) (*pair, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	r := role{Kind: "server", Contender: c.name, Address: address, Dir: b.dir, KeepAlive: b.scale.KeepAlive}
	p := &pair{}
	if p.server, err = startServer(ctx, r); err != nil {
		return nil, err
	}
	r.Kind, r.Server = "client", p.server.pid()
	if p.client, err = startProcess(ctx, r); err != nil {
		p.stop()
		return nil, err
	}
	if err := b.profile(p); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func startServer(ctx context.Context, r role) (*process, error) {
	p, err := startProcess(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := p.listening(); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

// stop ends both.
func (p *pair) stop() {
	for _, last := range p.atStop {
		last()
	}
	if p.client != nil {
		p.client.kill()
	}
	p.server.kill()
}
