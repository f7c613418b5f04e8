package msgclient_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// What OnDrop sends with its context does not wait for the next connection,
// which waits for OnDrop: it is queued in the session, or, where that has ended
// with the connection, it fails.
func TestSendInOnDrop(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		window time.Duration
		fails  bool
	}{
		"a session":  {},
		"no session": {window: -1, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := make(chan int64, 1)
				svc := newRoom(func(_ context.Context, _ *msgbus.Conn, m Job) error { got <- m.ID; return nil })
				svc.Window = tt.window
				srv := bustest.NewServer(t, msgbus.Config{}, svc)
				sent := make(chan error, 1)
				c := srv.Connect(msgclient.Config{OnDrop: func(ctx context.Context, c *msgclient.Client, _ error) {
					sent <- c.Send(ctx, Job{ID: 7})
				}})
				srv.Cut()
				if err := next(t, sent, "the outcome of Send"); errors.Is(err, bus.ErrDropped) != tt.fails || (err == nil) == tt.fails {
					t.Errorf("Send inside OnDrop: got %v, want a failure: %t", err, tt.fails)
				}
				ping(t, c, 1)
				if tt.fails {
					none(t, got, "what OnDrop could not send")
				} else if id := next(t, got, "what OnDrop sent"); id != 7 {
					t.Errorf("got %d, want 7", id)
				}
			})
		})
	}
}

// Only a client that was closed has no OnDrop: a handler may well return the
// same code. It is another connection's that it passes on, and does not end this
// session.
func TestOnDropAfterAHandlerSaidGoingAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		dropped := make(chan error, 1)
		c := srv.Client(msgclient.Config{OnDrop: func(_ context.Context, _ *msgclient.Client, why error) { dropped <- why }})
		msgclient.On(c, func(context.Context, *msgclient.Client, Note) error {
			return bus.Errorf(bus.CodeGoingAway, "the store that I write to is shutting down")
		})
		bustest.Run(t, c)
		if err := svc.Broadcast(t.Context(), Note{}); err != nil {
			t.Fatal(err)
		}
		wantCode(t, "OnDrop", next(t, dropped, "OnDrop"), bus.CodeAborted)
		ping(t, c, 1)
		if !c.Resumption().Resumed {
			t.Errorf("got %+v, want the session to go on", c.Resumption())
		}
	})
}

// Connections that are dropped soon after their welcome, one after the other,
// make the pauses double, whichever end drops them; one that lives resets them.
func TestDropsInARow(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		client error // of the client's handler
		drop   bus.Code
		least  uint64 // connections in ten minutes
		most   uint64
	}{
		"the client's handler fails":          {client: errors.New("no"), least: 20, most: 90},
		"it fails with the code of the line":  {client: bus.Errorf(bus.CodeUnavailable, "no store"), least: 20, most: 90},
		"the service drops":                   {drop: bus.CodeInvalidMessage, least: 20, most: 90},
		"the service drops with another code": {drop: bus.CodeGoingAway, least: 20, most: 90},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var cured atomic.Bool
				svc := newRoom(func(_ context.Context, c *msgbus.Conn, _ Job) error {
					c.Drop(tt.drop, "go")
					return nil
				})
				svc.OnConnect = func(ctx context.Context, c *msgbus.Conn) error {
					if cured.Load() {
						return nil
					}
					return c.Send(ctx, Note{})
				}
				srv := bustest.NewServer(t, msgbus.Config{}, svc)
				c := srv.Client(msgclient.Config{})
				msgclient.On(c, func(ctx context.Context, c *msgclient.Client, _ Note) error {
					if tt.client != nil {
						return tt.client
					}
					return c.Send(ctx, Job{})
				})
				bustest.Run(t, c)
				time.Sleep(10 * time.Minute)
				if n := c.Connects(); n < tt.least || n > tt.most {
					t.Errorf("got %d connections in ten minutes, want %d to %d", n, tt.least, tt.most)
				}
				cured.Store(true)
				time.Sleep(2 * msgclient.DefaultMaxWait) // it is back, and stays
				svc.Conns()[0].Drop(bus.CodeInternal, "once")
				time.Sleep(msgclient.DefaultMinWait + time.Millisecond)
				if !c.Connected() {
					t.Error("a connection that lived did not reset the bound")
				}
			})
		})
	}
}
