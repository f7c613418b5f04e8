package msgclient_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// What the service sends at once waits for OnConnect, and what OnConnect asks does not
// wait for that.
func TestOnConnectAsksBehindMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		svc.OnConnect = func(ctx context.Context, c *msgbus.Conn) error {
			for range 3 {
				if err := c.Send(ctx, Note{Text: "hello"}); err != nil {
					return err
				}
			}
			return nil
		}
		asked := make(chan time.Duration, 1)
		c := bustest.NewServer(t, msgbus.Config{}, svc).Client(msgclient.Config{OnConnect: func(ctx context.Context, c *msgclient.Client) {
			begin := time.Now()
			if _, err := msgclient.Request[Pong](ctx, c, Ping{ID: 1}); err != nil {
				t.Error(err)
			}
			asked <- time.Since(begin)
		}})
		msgclient.On(c, func(context.Context, *msgclient.Client, Note) error { return nil })
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := <-asked; took != 0 {
			t.Errorf("a request in OnConnect took %s, want no time", took)
		}
	})
}

// A client that floods a service whose handlers take some time is not dropped.
func TestFloodOfSlowHandlers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(func(context.Context, *msgbus.Conn, Job) error {
			time.Sleep(5 * time.Millisecond)
			return nil
		})
		dropped := make(chan error, 1)
		c := bustest.NewServer(t, msgbus.Config{}, svc).Connect(msgclient.Config{OnDrop: func(_ context.Context, _ *msgclient.Client, why error) {
			dropped <- why
		}})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		for ctx.Err() == nil {
			if err := c.Send(ctx, Job{}); err != nil && ctx.Err() == nil {
				t.Fatal(err)
			}
		}
		select {
		case why := <-dropped:
			t.Errorf("dropped: %v", why)
		default:
		}
	})
}
