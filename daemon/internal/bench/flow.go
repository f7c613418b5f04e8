package bench

import (
	"context"
	"sync/atomic"
	"time"

	"busd/msgclient"
	"busd/rpc/rpcclient"
	"busd/schema"
)

// flows are the measurements of latency or throughput.
func (b *bench) flows(test Test) []func(context.Context) {
	connections, inFlight := FlowConnections, DefaultInFlight
	if test == Latency {
		connections, inFlight = LatencyConnections, 1
		if b.options.Rate > 0 {
			inFlight = DefaultInFlight // who waits for an answer cannot begin what is due
		}
	}
	base := Result{Test: test, Connections: b.options.connections(connections), InFlight: b.options.inFlight(inFlight), Rate: b.options.Rate}
	if b.one {
		base.Connections = 1
	}
	calls := base
	calls.Size = b.options.Size
	stable, web := calls, calls
	stable.Way, web.Way, web.InFlight = Stable, HTTPS, 1
	all := []func(context.Context){
		func(ctx context.Context) { b.flow(ctx, stable, b.noStable, b.stableStations) },
		func(ctx context.Context) { b.flow(ctx, web, b.noHTTPS, b.webStations) },
	}
	if b.message == nil {
		return all
	}
	messages := base
	messages.Message = messageName(b.message)
	if test == Latency {
		messages.Way = Request
		return append(all, func(ctx context.Context) { b.flow(ctx, messages, nil, b.requestStations) })
	}
	messages.Way, messages.InFlight = Send, 0
	if class := b.message.Definition().Class; class != schema.Must {
		messages.Class = class.String()
	}
	return append(all, func(ctx context.Context) { b.flow(ctx, messages, nil, b.sendStations) })
}

// A mooring opens connections to put load on; the function that it returns closes
// them. What fails is counted.
type mooring func(ctx context.Context, n int, t *tally) ([]station, func(), error)

// flow puts load on connections and measures what comes of it; why says why it
// cannot.
func (b *bench) flow(ctx context.Context, r Result, why error, moor mooring) {
	if why != nil {
		r.skip(why)
		b.add(ctx, r)
		return
	}
	t := &tally{}
	stations, leave, err := moor(ctx, r.Connections, t)
	defer leave()
	if err != nil || len(stations) == 0 {
		t.into(&r, 0, "", false)
		b.add(ctx, r)
		return
	}
	l := &load{stations: stations, inFlight: max(r.InFlight, 1), duration: b.options.Duration, rate: r.Rate, tally: t}
	var began atomic.Pointer[time.Time]
	stop := b.follow(r, t, func() (float64, time.Time) {
		at := began.Load()
		if at == nil {
			return 0, time.Now()
		}
		return float64(time.Since(*at)) / float64(l.duration), *at
	})
	before := cpuTime()
	elapsed := l.run(ctx, func(at time.Time) {
		before = cpuTime()
		began.Store(&at)
	})
	used := cpuTime() - before
	stop()
	from := "sent"
	if r.Rate > 0 {
		from = "due"
	}
	t.into(&r, elapsed, from, b.options.Histogram)
	r.CPUSeconds = round(used.Seconds(), 1000)
	b.add(ctx, r)
}

// stations are connections of a fleet.
func (b *bench) stations(ctx context.Context, n int, t *tally, of func(c *msgclient.Client) station) ([]station, func(), error) {
	f := b.gather(ctx, n, t, plain)
	all := make([]station, len(f.clients))
	for i, c := range f.clients {
		all[i] = of(c)
	}
	return all, f.close, nil
}

func (b *bench) stableStations(ctx context.Context, n int, t *tally) ([]station, func(), error) {
	return b.stations(ctx, n, t, func(c *msgclient.Client) station {
		return station{do: func(ctx context.Context) error {
			_, err := c.Call(ctx, echoMethod, b.echo)
			return err
		}}
	})
}

func (b *bench) requestStations(ctx context.Context, n int, t *tally) ([]station, func(), error) {
	return b.stations(ctx, n, t, func(c *msgclient.Client) station {
		return station{do: func(ctx context.Context) error { return c.SendHandled(ctx, b.message) }}
	})
}

// sendStations send without waiting; handlers run in order, so that the end of a
// request's is that of all before it.
func (b *bench) sendStations(ctx context.Context, n int, t *tally) ([]station, func(), error) {
	return b.stations(ctx, n, t, func(c *msgclient.Client) station {
		return station{
			do:    func(ctx context.Context) error { return c.Send(ctx, b.message) },
			flush: func(ctx context.Context) error { return c.SendHandled(ctx, b.message) },
		}
	})
}

// webStations are clients of HTTPS with one connection each, since one call is under
// way at a time. They connect as they warm up.
func (b *bench) webStations(_ context.Context, n int, t *tally) ([]station, func(), error) {
	clients := make([]*rpcclient.Client, 0, n)
	leave := func() {
		for _, c := range clients {
			_ = c.Close() // nothing is under way any more
		}
	}
	all := make([]station, 0, n)
	for range n {
		c, err := b.web()
		if err != nil {
			t.fail(err)
			return nil, leave, err
		}
		clients = append(clients, c)
		all = append(all, station{do: func(ctx context.Context) error {
			_, err := c.CallRaw(ctx, echoMethod, b.echo)
			return err
		}})
	}
	return all, leave, nil
}
