package msgbus_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"busd/bustest"
	"busd/examples/pingpong"
	"busd/msgbus"
	"busd/msgclient"
)

// Lines are cut while messages go both ways: each is handled once and in order,
// at both ends, and requests are answered.
func TestCutsAreNotNoticed(t *testing.T) {
	t.Parallel()
	const messages, cuts = 2000, 10
	var mu sync.Mutex
	var atService, atClient []int64
	svc := &msgbus.Service{Schema: pingpong.Schema}
	msgbus.Handle(svc, func(ctx context.Context, c *msgbus.Conn, p pingpong.Ping) error {
		mu.Lock()
		atService = append(atService, p.ID)
		mu.Unlock()
		return c.Reply(ctx, pingpong.Pong{ID: p.ID})
	})
	s := bustest.NewServer(t, msgbus.Config{}, svc)
	c := s.Client(msgclient.Config{MinWait: time.Millisecond, MaxWait: 5 * time.Millisecond})
	msgclient.On(c, func(_ context.Context, _ *msgclient.Client, p pingpong.Pong) error {
		mu.Lock()
		defer mu.Unlock()
		atClient = append(atClient, p.ID)
		return nil
	})
	bustest.Run(t, c)
	for i := range int64(messages) {
		if i%(messages/cuts) == 0 {
			s.Cut()
		}
		if err := c.Send(t.Context(), pingpong.Ping{ID: i}); err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 {
			if _, err := msgclient.Request[pingpong.Pong](t.Context(), c, pingpong.Ping{ID: -1}); err != nil {
				t.Fatalf("request: %v", err)
			}
		}
	}
	if err := c.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	var want []int64
	for i := range int64(messages) {
		want = append(want, i)
	}
	atService = slices.DeleteFunc(atService, func(id int64) bool { return id < 0 })
	if !slices.Equal(atService, want) {
		t.Errorf("at the service: %d messages, want %d in order", len(atService), messages)
	}
	if len(atClient) > messages || !slices.IsSorted(atClient) {
		t.Errorf("at the client: %d messages, sorted %t", len(atClient), slices.IsSorted(atClient))
	}
}
