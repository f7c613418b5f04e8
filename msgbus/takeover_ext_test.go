package msgbus_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/examples/pingpong"
	"busd/msgbus"
	"busd/msgclient"
)

// Two clients that share an identity, and do not take superseded for an answer,
// are stopped: one of them stays, and others notice nothing.
func TestClonesDoNotFightForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var connects, refused atomic.Int64
		svc := &msgbus.Service{Schema: pingpong.Schema, OnConnect: func(_ context.Context, c *msgbus.Conn) error {
			if c.Identity() == "dns:agent/clone" {
				connects.Add(1)
			}
			return nil
		}}
		msgbus.Handle(svc, func(ctx context.Context, c *msgbus.Conn, p pingpong.Ping) error {
			return c.Reply(ctx, pingpong.Pong{ID: p.ID})
		})
		s := bustest.NewServer(t, msgbus.Config{}, svc)
		innocent := s.Connect(msgclient.Config{Instance: "innocent"})
		for range 2 {
			c := s.Client(msgclient.Config{
				Instance: "clone", RetrySuperseded: true, MinWait: 10 * time.Millisecond, MaxWait: 20 * time.Millisecond,
				OnRetry: func(_ *msgclient.Client, why error, _ time.Duration) {
					if bus.CodeOf(why) == bus.CodeResourceExhausted {
						refused.Add(1)
					}
				},
			})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = c.Run(ctx) // ends with ctx
			}()
			t.Cleanup(func() { cancel(); <-done })
		}
		time.Sleep(50 * time.Second)
		if n := connects.Load(); n < 3 || n > 12 {
			t.Errorf("the identity was connected %d times, want a few at first and no more than 12", n)
		}
		if refused.Load() == 0 {
			t.Error("nobody was refused with resource_exhausted")
		}
		if len(svc.Conns()) != 2 {
			t.Errorf("%d connections, want the innocent one and one of the clones", len(svc.Conns()))
		}
		if _, err := msgclient.Request[pingpong.Pong](t.Context(), innocent, pingpong.Ping{ID: 1}); err != nil || innocent.Connects() != 1 {
			t.Errorf("the innocent client: %v, %d connects", err, innocent.Connects())
		}
	})
}
