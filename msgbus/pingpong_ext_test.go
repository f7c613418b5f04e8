package msgbus_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
	"busd/schema"
)

var pingPong = schema.MustNew("Framework/PingPong", schema.Of[Ping](schema.FromClient), schema.Of[Pong](schema.FromService))

func newPingPong() *msgbus.Service {
	svc := &msgbus.Service{Schema: pingPong}
	msgbus.Handle(svc, func(ctx context.Context, c *msgbus.Conn, m Ping) error {
		return c.Reply(ctx, Pong(m))
	})
	return svc
}

func TestPingPong(t *testing.T) {
	t.Parallel()
	srv := bustest.NewServer(t, msgbus.Config{}, newPingPong())
	c := srv.Connect(msgclient.Config{})
	for i := range int64(100) {
		ping(t, c, i)
	}
	// The documented example of the framework whose idea this is: a client that
	// counts up through Pong. There it died after a median of 130 round trips.
	const rounds = 2000
	done := make(chan int64, 1)
	msgclient.On(c, func(ctx context.Context, c *msgclient.Client, m Pong) error {
		if m.ID == rounds {
			done <- m.ID
			return nil
		}
		return c.Send(ctx, Ping{ID: m.ID + 1})
	})
	if err := c.Send(t.Context(), Ping{ID: 1}); err != nil {
		t.Fatal(err)
	}
	next(t, done, "the last Pong")
}

// Many goroutines write at both ends at once: one writer for each connection
// keeps their frames whole.
func TestManyWritersOnOneConnection(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	c := srv.Client(msgclient.Config{})
	var seen sync.WaitGroup
	const writers, each = 16, 50
	seen.Add(writers * each)
	msgclient.On(c, func(_ context.Context, _ *msgclient.Client, m Note) error {
		if m.Text != strings.Repeat("n", int(m.ID)) {
			t.Errorf("a note of %d letters came as %q", m.ID, m.Text)
		}
		seen.Done()
		return nil
	})
	bustest.Run(t, c)
	conn := onlyConn(t, svc)
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				if err := conn.Send(t.Context(), Note{ID: int64(w + i), Text: strings.Repeat("n", w+i)}); err != nil {
					t.Error(err)
				}
				if _, err := msgclient.Request[Pong](t.Context(), c, Ping{ID: int64(i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writing.Wait()
	seen.Wait()
}

func BenchmarkRequest(b *testing.B) {
	srv := bustest.NewServer(b, msgbus.Config{}, newPingPong())
	c := srv.Connect(msgclient.Config{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := msgclient.Request[Pong](b.Context(), c, Ping{ID: 1}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBroadcast(b *testing.B) {
	for _, conns := range []int{1000} {
		b.Run(fmt.Sprintf("conns=%d", conns), func(b *testing.B) { benchmarkBroadcast(b, conns) })
	}
}

// benchmarkBroadcast measures a broadcast until every client has handled it.
func benchmarkBroadcast(b *testing.B, conns int) {
	svc := newPingPong()
	srv := bustest.NewServer(b, msgbus.Config{}, svc)
	conf := bustest.ClientTLS(b, bustest.DefaultPeer)
	var seen sync.WaitGroup
	for range conns {
		c := srv.Client(msgclient.Config{TLS: conf})
		msgclient.On(c, func(context.Context, *msgclient.Client, Pong) error { seen.Done(); return nil })
		if err := c.Connect(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		seen.Add(conns)
		if err := svc.Broadcast(b.Context(), Pong{ID: 1}); err != nil {
			b.Fatal(err)
		}
		seen.Wait()
	}
}
