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

// Lines are cut while messages go both ways: each is handled once and in order,
// at both ends, and requests are answered.
func TestCutsAreNotNoticed(t *testing.T) {
	t.Parallel()
	const messages, cuts = 2000, 10
	atService, atClient := newLedger(), newLedger()
	svc := &msgbus.Service{Schema: pingpong.Schema}
	msgbus.Handle(svc, func(ctx context.Context, c *msgbus.Conn, p pingpong.Ping) error {
		if p.ID >= 0 {
			atService.note(p.ID)
		}
		return c.Reply(ctx, pingpong.Pong{ID: p.ID})
	})
	s := bustest.NewServer(t, msgbus.Config{}, svc)
	c := s.Client(msgclient.Config{MinWait: time.Millisecond, MaxWait: 5 * time.Millisecond})
	msgclient.On(c, func(_ context.Context, _ *msgclient.Client, p pingpong.Pong) error {
		atClient.note(p.ID)
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
	atService.wantAll(t, "at the service", messages)
	atClient.wantAll(t, "at the client", messages)
	if err := c.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
}
