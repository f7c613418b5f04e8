package msgbus_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/internal/wire"
	"busd/msgbus"
	"busd/msgclient"
)

// What is broadcast while a client takes its leave is not taken for it. If its
// line breaks then, it cannot go on with the session: the hole would be hidden.
func TestBroadcastDuringAHandOverIsNoHiddenHole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		hello := aHello("pilot")
		hello.Features = append(hello.Features, wire.FeatureMove)
		r := greet(t, srv, svc, nil, hello)
		note := func(id int64) {
			t.Helper()
			if err := svc.Broadcast(t.Context(), Note{ID: id}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		note(1)
		r.until(wire.Data) // it is not acknowledged, so that the service waits
		r.write(wire.AppendGoaway(nil, &wire.GoawayFrame{}))
		synctest.Wait()
		note(2)
		r.cut()
		synctest.Wait()
		greet(t, srv, svc, nil, r.again()).wantResumed("unknown")
	})
}

// A handler may return the error that it got for another client, whose session
// has ended: this one's goes on.
func TestFailureOfAnotherSession(t *testing.T) {
	t.Parallel()
	for _, code := range []bus.Code{bus.CodeInternal, bus.CodeSlowConsumer, bus.CodeSuperseded, bus.CodeGoingAway} {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var handled atomic.Int64
				release := make(chan struct{})
				svc := newRoom(func(_ context.Context, _ *msgbus.Conn, m Job) error {
					if m.ID == 1 {
						<-release
						return bus.Errorf(code, "the client to which this was to be handed on").Dropped()
					}
					handled.Add(1)
					return nil
				})
				c := bustest.NewServer(t, msgbus.Config{}, svc).Connect(msgclient.Config{})
				for i := range 5 {
					if err := c.Send(t.Context(), Job{ID: int64(i + 1)}); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				close(release)
				time.Sleep(time.Minute)
				ping(t, c, 1)
				if r := c.Resumption(); !r.Resumed || handled.Load() != 4 {
					t.Errorf("got %+v, %d of the 4 other messages handled; want the session resumed, and all of them", r, handled.Load())
				}
			})
		})
	}
}
