package bench

import (
	"context"
	"crypto/tls"
	"sync"
	"sync/atomic"
	"time"

	"busd/msgclient"
)

// resumptions are the TLS sessions kept: one for each address of the server.
const resumptions = 16

// full opens connections as clients do that the server has never seen.
func (b *bench) full(ctx context.Context) {
	conf := b.tls.Clone()
	conf.ClientSessionCache = nil
	b.connect(ctx, FullTLS, conf)
}

// resumed opens connections as clients do that come back: with a TLS session.
func (b *bench) resumed(ctx context.Context) {
	conf := b.tls.Clone()
	conf.ClientSessionCache = tls.NewLRUClientSessionCache(resumptions)
	if b.alone() == nil {
		cfg := b.config(&tally{})
		cfg.TLS = conf
		if c, err := msgclient.New(cfg); err == nil && c.Connect(ctx) == nil { // else those that follow fail, too
			farewell([]*msgclient.Client{c})
		}
	}
	b.connect(ctx, Resumed, conf)
}

// connect opens connections, some at a time, each from TCP to welcome, and closes
// them once all are open.
func (b *bench) connect(ctx context.Context, way Way, conf *tls.Config) {
	n := b.options.connections(ManyConnections)
	r := Result{Test: Connections, Way: way, Connections: n, InFlight: min(n, b.options.inFlight(DefaultDialing))}
	if why := b.alone(); why != nil {
		r.skip(why)
		b.add(ctx, r)
		return
	}
	t, opened := &tally{}, &Opened{}
	countResumed(conf, &opened.TLSResumed)
	began, before := time.Now(), cpuTime()
	stop := b.follow(r, t, func() (float64, time.Time) { return float64(t.operations.Load()) / float64(r.Connections), began })
	var mu sync.Mutex // guards clients
	var clients []*msgclient.Client
	parallel(ctx, r.Connections, r.InFlight, func(int) {
		cfg := b.config(t)
		cfg.TLS = conf
		from := time.Now()
		c, err := msgclient.New(cfg)
		if err == nil {
			err = c.Connect(ctx)
		}
		if err != nil {
			if !interrupted(ctx) {
				t.fail(err)
			}
			return
		}
		t.done(time.Since(from))
		mu.Lock()
		defer mu.Unlock()
		clients = append(clients, c)
	})
	elapsed, used := time.Since(began), cpuTime()-before
	stop()
	defer farewell(clients)
	t.into(&r, elapsed, "sent", b.options.Histogram)
	r.Opened, r.CPUSeconds = opened, round(used.Seconds(), 1000)
	b.add(ctx, r)
}

// countResumed lets a configuration count the handshakes that resumed a session.
func countResumed(conf *tls.Config, n *uint64) {
	verify := conf.VerifyConnection
	conf.VerifyConnection = func(state tls.ConnectionState) error {
		if state.DidResume {
			atomic.AddUint64(n, 1)
		}
		if verify == nil {
			return nil
		}
		return verify(state)
	}
}
