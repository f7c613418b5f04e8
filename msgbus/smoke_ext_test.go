package msgbus_test

import (
	"context"
	"testing"

	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
	"busd/schema"
)

type Ping struct {
	ID int64 `bus:"id"`
}

func (Ping) MessageName() string { return "Ping" }

type Pong struct {
	ID int64 `bus:"id"`
}

func (Pong) MessageName() string { return "Pong" }

var pingPong = schema.MustNew("Framework/PingPong", schema.Of[Ping](schema.FromClient), schema.Of[Pong](schema.FromService))

func newPingPong() *msgbus.Service {
	svc := &msgbus.Service{Schema: pingPong}
	msgbus.Handle(svc, func(ctx context.Context, c *msgbus.Conn, m Ping) error {
		return c.Reply(ctx, Pong{ID: m.ID})
	})
	return svc
}

func TestSmoke(t *testing.T) {
	srv := bustest.NewServer(t, msgbus.Config{}, newPingPong())
	c := srv.Connect(msgclient.Config{})
	for i := range int64(100) {
		pong, err := msgclient.Request[Pong](t.Context(), c, Ping{ID: i})
		if err != nil || pong.ID != i {
			t.Fatalf("request %d: got %v, %v", i, pong, err)
		}
	}
	got := make(chan Pong, 1)
	msgclient.On(c, func(_ context.Context, _ *msgclient.Client, m Pong) error { got <- m; return nil })
	if err := c.SendAcked(t.Context(), Ping{ID: 1<<53 + 1}); err != nil {
		t.Fatal(err)
	}
	if m := <-got; m.ID != 1<<53+1 {
		t.Fatalf("got %v", m)
	}
}

func BenchmarkRequest(b *testing.B) {
	srv := bustest.NewServer(b, msgbus.Config{}, newPingPong())
	c := srv.Connect(msgclient.Config{})
	for b.Loop() {
		if _, err := msgclient.Request[Pong](b.Context(), c, Ping{ID: 1}); err != nil {
			b.Fatal(err)
		}
	}
}
