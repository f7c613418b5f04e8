package bench

import (
	"context"
	"sync/atomic"
	"time"

	"busd/bus"
	"busd/daemon/internal/histogram"
	"busd/msgclient"
	"busd/schema"
)

const (
	// probeTime is how long the first message has to come to anybody, and roundTime
	// every message to come to all.
	probeTime = time.Second
	roundTime = 5 * time.Second
)

// fanOut lets connections listen, while another one sends the message again and
// again, each time once all have got what the service sends them for the last.
func (b *bench) fanOut(ctx context.Context) {
	n := b.options.connections(ManyConnections)
	r := Result{Test: FanOut, Way: Delivery, Message: messageName(b.message), Connections: n, InFlight: 1}
	why := b.alone()
	if b.message == nil {
		why = bus.Errorf(bus.CodeUnimplemented, "it wants a message that the service sends on to all")
	}
	if why != nil {
		r.skip(why)
		b.add(ctx, r)
		return
	}
	t := &tally{}
	a := &audience{tally: t}
	f := b.gather(ctx, n, t, a.listener)
	defer f.close()
	speaker := b.gather(ctx, 1, t, plain)
	defer speaker.close()
	a.size = int64(len(f.clients))
	if a.size == 0 || len(speaker.clients) == 0 {
		t.into(&r, 0, "", false)
		b.add(ctx, r)
		return
	}
	r.Connections = len(f.clients)
	if why := a.probe(ctx, speaker.clients[0], b.message); why != nil {
		t.into(&r, 0, "", false)
		r.skip(why)
		b.add(ctx, r)
		return
	}
	b.rounds(ctx, a, speaker.clients[0], r)
}

// rounds measures until the time is over, ctx ends, or a round fails.
func (b *bench) rounds(ctx context.Context, a *audience, speaker *msgclient.Client, r Result) {
	began, before := time.Now(), cpuTime()
	stop := b.follow(r, a.tally, func() (float64, time.Time) {
		return float64(time.Since(began)) / float64(b.options.Duration), began
	})
	d := &Delivered{Message: *a.message.Load()}
	last := &tally{}
	for time.Since(began) < b.options.Duration && ctx.Err() == nil {
		took, missing, err := a.round(ctx, speaker, b.message, roundTime)
		if err != nil && interrupted(ctx) {
			break
		}
		d.Rounds++
		d.Missing += uint64(missing)
		if err != nil || missing > 0 {
			if err != nil {
				a.tally.fail(err)
			}
			a.tally.failed(bus.CodeDeadlineExceeded, uint64(missing), "not delivered within "+roundTime.String())
			break // what is late would be taken for the next round's
		}
		last.done(took)
	}
	elapsed := time.Since(began)
	stop()
	d.Extra = a.extra.Load()
	a.tally.into(&r, elapsed, "sent", b.options.Histogram)
	r.Delivered, r.CPUSeconds = d, round((cpuTime()-before).Seconds(), 1000)
	b.add(ctx, r)
	if d.Missing == 0 && last.operations.Load() > 0 {
		all := Result{Test: r.Test, Way: Last, Message: r.Message, Connections: r.Connections, InFlight: r.InFlight}
		last.into(&all, elapsed, "sent", b.options.Histogram)
		b.add(ctx, all)
	}
}

// An audience is the connections that listen.
type audience struct {
	tally *tally

	size    int64                      // how many there are; set before the first round
	message atomic.Pointer[string]     // what came first: the others are not counted
	current atomic.Pointer[delivering] // nil: nothing is expected
	extra   atomic.Uint64
}

// delivering is one round.
type delivering struct {
	began time.Time
	into  *histogram.Histogram
	count *atomic.Uint64
	left  atomic.Int64
	all   chan struct{} // closed when it came to all
}

// listener makes a client that listens.
func (a *audience) listener(_ int, cfg msgclient.Config) (*msgclient.Client, error) {
	c, err := msgclient.New(cfg)
	if err != nil {
		return nil, err
	}
	var got *delivering // the last round that it came in; handlers run one at a time
	c.OnAny(func(_ context.Context, _ *msgclient.Client, m *schema.Record) error {
		now := time.Now()
		d := a.current.Load()
		if name := m.MessageName(); a.message.Load() == nil && d != nil {
			a.message.CompareAndSwap(nil, &name)
		}
		if name := a.message.Load(); name == nil || *name != m.MessageName() {
			return nil
		}
		if d == nil || d == got {
			a.extra.Add(1)
			return nil
		}
		got = d
		d.into.Add(now.Sub(d.began))
		d.count.Add(1)
		if d.left.Add(-1) == 0 {
			close(d.all)
		}
		return nil
	})
	return c, nil
}

// probe finds out whether the service sends the message on, and to all.
func (a *audience) probe(ctx context.Context, speaker *msgclient.Client, m *schema.Record) error {
	counted := a.tally
	a.tally = &tally{}
	defer func() { a.tally = counted }()
	_, missing, err := a.round(ctx, speaker, m, probeTime)
	switch {
	case err != nil:
		return err
	case a.message.Load() == nil:
		return bus.Errorf(bus.CodeUnimplemented, "nothing came to the other %d connections within %s of %s: the service does not send it on", a.size, probeTime, m.MessageName())
	case missing > 0:
		return bus.Errorf(bus.CodeUnimplemented, "%s came to %d of %d connections within %s of %s", *a.message.Load(), a.size-missing, a.size, probeTime, m.MessageName())
	}
	return nil
}

// round sends the message and waits until it has come to all, and has been handled,
// or the time is over. It returns how long it took to the last, and to how many it
// did not come.
func (a *audience) round(ctx context.Context, speaker *msgclient.Client, m *schema.Record, limit time.Duration) (took time.Duration, missing int64, err error) {
	limited, cancel := context.WithTimeoutCause(ctx, limit, errStalled)
	defer cancel()
	d := &delivering{began: time.Now(), into: &a.tally.latency, count: &a.tally.operations, all: make(chan struct{})}
	d.left.Store(a.size)
	a.current.Store(d)
	if err := speaker.SendHandled(limited, m); err != nil {
		a.current.Store(nil)
		return 0, d.left.Load(), err
	}
	select {
	case <-d.all:
		return time.Since(d.began), 0, nil
	case <-limited.Done():
	}
	a.current.Store(nil)
	if ctx.Err() != nil {
		return 0, d.left.Load(), ctx.Err()
	}
	return 0, d.left.Load(), nil
}
