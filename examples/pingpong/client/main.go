// Command client counts up: it sends Ping 1, and with each Pong the next Ping.
// When the line is cut it connects again by itself, and nothing is lost; when the
// server restarts it is told, and asks again. It wants a server and its
// certificates beside the working directory: busd serve --dev.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"busd/bus"
	"busd/examples/pingpong"
	"busd/msgclient"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	c, err := newPlayer(time.Second, msgclient.Config{
		URL:      "wss://localhost:8443/Framework/PingPong",
		CertFile: ".busd/client-alice.crt",
		KeyFile:  ".busd/client-alice.key",
		CAFiles:  []string{".busd/ca.crt"},
	})
	if err == nil {
		err = c.Run(ctx) // connects, and keeps connected until ctrl-C, or the service refuses for good
	}
	if ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

// newPlayer makes a client that waits a while before each next Ping.
func newPlayer(pause time.Duration, cfg msgclient.Config) (*msgclient.Client, error) {
	next := int64(1) // callbacks and handlers run one at a time: no lock is needed

	cfg.OnConnect = func(ctx context.Context, c *msgclient.Client) {
		if c.Resumption().Resumed {
			fmt.Println("connected again, and nothing is lost")
			return
		}
		fmt.Println("connected as", c.Identity())
		if err := c.Send(ctx, pingpong.Ping{ID: next}); err != nil {
			fmt.Println("not sent:", err) // the connection has gone already
		}
	}
	cfg.OnDrop = func(_ context.Context, _ *msgclient.Client, why error) {
		fmt.Println("dropped:", why)
	}
	cfg.OnRetry = func(_ *msgclient.Client, why error, wait time.Duration) {
		fmt.Printf("not connected: %s; again in %s\n", bus.AsError(why).Text(), wait.Round(time.Millisecond))
	}
	c, err := msgclient.New(cfg)
	if err != nil {
		return nil, err
	}
	msgclient.On(c, func(ctx context.Context, c *msgclient.Client, m pingpong.Pong) error {
		if m.ID != next {
			return nil // answers a Ping that was sent twice: what became of the first was not known
		}
		fmt.Println("Pong", m.ID)
		next++
		select {
		case <-time.After(pause):
			return c.Send(ctx, pingpong.Ping{ID: next})
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return c, nil
}
