package msgbus_test

import (
	"context"
	"testing"
	"time"

	"busd/bustest"
	"busd/examples/pingpong"
	"busd/msgbus"
	"busd/msgclient"
)

// BenchmarkOneWay is what one-way messages cost without a session, and with one
// that would survive a cut.
func BenchmarkOneWay(b *testing.B) {
	for name, window := range map[string]time.Duration{"window none": -1, "window 2m": 2 * time.Minute} {
		b.Run(name, func(b *testing.B) {
			svc := &msgbus.Service{Schema: pingpong.Schema, Window: window}
			msgbus.Handle(svc, func(context.Context, *msgbus.Conn, pingpong.Ping) error { return nil })
			c := bustest.NewServer(b, msgbus.Config{}, svc).Connect(msgclient.Config{})
			b.ReportAllocs()
			for i := range b.N {
				if err := c.Send(b.Context(), pingpong.Ping{ID: int64(i)}); err != nil {
					b.Fatal(err)
				}
			}
			if err := c.SendHandled(b.Context(), pingpong.Ping{ID: -1}); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkEcho is what it costs that one-way messages come back, many of them under
// way at a time. With -cpu 1 it is processor time, which is less noisy than a rate.
func BenchmarkEcho(b *testing.B) {
	const window = 256
	svc := &msgbus.Service{Schema: pingpong.Schema}
	msgbus.Handle(svc, func(ctx context.Context, c *msgbus.Conn, m pingpong.Ping) error {
		return c.Reply(ctx, pingpong.Pong(m))
	})
	c := bustest.NewServer(b, msgbus.Config{}, svc).Connect(msgclient.Config{})
	room := make(chan struct{}, window)
	msgclient.On(c, func(context.Context, *msgclient.Client, pingpong.Pong) error {
		<-room
		return nil
	})
	b.ReportAllocs()
	for i := range b.N {
		room <- struct{}{}
		if err := c.Send(b.Context(), pingpong.Ping{ID: int64(i)}); err != nil {
			b.Fatal(err)
		}
	}
	for range window { // until all are back
		room <- struct{}{}
	}
}
