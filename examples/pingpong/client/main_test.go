package main

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"busd/bus"
	"busd/bustest"
	"busd/examples/pingpong"
	"busd/msgbus"
	"busd/msgclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPlayerComesBackAfterARestart(t *testing.T) {
	t.Parallel()
	welcomed, came := make(chan *msgbus.Conn, 2), make(chan int64, 2)
	svc := &msgbus.Service{
		Schema:    pingpong.Schema,
		OnConnect: func(_ context.Context, c *msgbus.Conn) error { welcomed <- c; return nil },
	}
	msgbus.Handle(svc, func(ctx context.Context, c *msgbus.Conn, m pingpong.Ping) error {
		came <- m.ID
		return c.Reply(ctx, pingpong.Pong{ID: m.ID})
	})
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	c, err := newPlayer(100*time.Millisecond, msgclient.Config{
		URL: srv.URL(), TLS: bustest.ClientTLS(t, "alice"), DialContext: srv.DialContext, MinWait: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	bustest.Run(t, c)
	<-came
	<-came // its handler has answered the first Pong, and waits to answer the second
	(<-welcomed).Drop(bus.CodeGoingAway, "the server is shutting down")
	select {
	case <-welcomed:
	case <-time.After(20 * time.Second):
		t.Error("the client did not come back: its handler waits for a connection that waits for it")
	}
}

func TestPlayerGoesOnAfterACut(t *testing.T) {
	t.Parallel()
	var last atomic.Int64
	seen, welcomed := make(chan int64), make(chan struct{}, 2)
	svc := &msgbus.Service{
		Schema:    pingpong.Schema,
		OnConnect: func(context.Context, *msgbus.Conn) error { welcomed <- struct{}{}; return nil },
	}
	msgbus.Handle(svc, func(ctx context.Context, c *msgbus.Conn, m pingpong.Ping) error {
		if before := last.Swap(m.ID); m.ID != before+1 && m.ID != before {
			t.Errorf("Ping %d came after Ping %d", m.ID, before)
		}
		select {
		case seen <- m.ID:
		case <-ctx.Done():
		case <-t.Context().Done():
		}
		return c.Reply(ctx, pingpong.Pong{ID: m.ID})
	})
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	c, err := newPlayer(0, msgclient.Config{
		URL: srv.URL(), TLS: bustest.ClientTLS(t, "alice"), DialContext: srv.DialContext, MinWait: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	bustest.Run(t, c)
	<-welcomed
	for <-seen < 20 {
	}
	srv.Cut()
	<-welcomed
	for <-seen < 40 {
	}
}
