package bench

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"busd/bus"
	"busd/msgclient"
)

// closeTimeout bounds the goodbye of a connection, and closing is how many say it
// at once.
const (
	closeTimeout = 3 * time.Second
	closing      = 64
)

// A fleet is some connections that are kept until it is closed.
type fleet struct {
	clients []*msgclient.Client // connected
	running sync.WaitGroup
}

// gather opens connections and keeps them; what fails is counted. made makes the
// i-th client of a configuration.
func (b *bench) gather(ctx context.Context, n int, t *tally, made func(i int, cfg msgclient.Config) (*msgclient.Client, error)) *fleet {
	f := &fleet{}
	var mu sync.Mutex // guards f.clients
	parallel(ctx, n, DefaultDialing, func(i int) {
		c, err := made(i, b.config(t))
		if err == nil {
			err = c.Connect(ctx)
		}
		if err != nil {
			if !interrupted(ctx) {
				t.fail(err)
			}
			return
		}
		mu.Lock()
		defer mu.Unlock()
		f.clients = append(f.clients, c)
		f.running.Go(func() { _ = c.Run(context.WithoutCancel(ctx)) }) // ends with close; operations hear of other ends
	})
	return f
}

// plain makes a client as it is.
func plain(_ int, cfg msgclient.Config) (*msgclient.Client, error) { return msgclient.New(cfg) }

// close says goodbye for all, and waits for what runs.
func (f *fleet) close() {
	farewell(f.clients)
	f.running.Wait()
}

// farewell closes clients, a few at a time. Whoever has lost his connection does not
// wait for the next.
func farewell(clients []*msgclient.Client) {
	parallel(context.Background(), len(clients), closing, func(i int) {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if !clients[i].Connected() {
			cancel()
		}
		_ = clients[i].Close(ctx) // what had to arrive was waited for
	})
}

// parallel does n things, at most so many at once, until ctx ends.
func parallel(ctx context.Context, n, atOnce int, do func(i int)) {
	var next atomic.Int64
	var doing sync.WaitGroup
	for range min(n, atOnce) {
		doing.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	doing.Wait()
}

// config is that of one client, whose misfortunes are counted.
func (b *bench) config(t *tally) msgclient.Config {
	o := &b.options.Client
	return msgclient.Config{
		URL: o.URL, URLs: o.URLs, TLS: b.tls, Group: o.Group, Args: o.Args, Credit: o.Credit,
		DialContext: o.DialContext, Name: o.Name, Version: o.Version, Logger: o.Logger,
		OnConnect: func(_ context.Context, c *msgclient.Client) {
			t.failed(bus.CodeSessionLost, uint64(c.Resumption().Lost), "the session ended: of some messages it is not known whether they arrived")
		},
		OnDrop: func(context.Context, *msgclient.Client, error) { t.lost.Add(1) },
		OnError: func(_ *msgclient.Client, err error) {
			if bus.CodeOf(err) != bus.CodeSessionLost { // that was counted above
				t.fail(err)
			}
		},
	}
}
