package msgclient_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// A request in OnConnect, with its context, ends with the connection: OnConnect
// returns, and the client comes back.
func TestRequestInOnConnectOverACut(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 100)
	returned := make(chan error, 1)
	svc := newRoom(func(ctx context.Context, _ *msgbus.Conn, _ Job) error {
		asked <- struct{}{}
		<-ctx.Done()
		return nil
	})
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	again := make(chan struct{}, 100)
	c := srv.Client(msgclient.Config{
		MinWait: time.Millisecond, MaxWait: 5 * time.Millisecond,
		OnConnect: func(ctx context.Context, c *msgclient.Client) {
			if c.Connects() == 1 {
				returned <- c.SendHandled(ctx, Job{ID: 1})
			} else {
				again <- struct{}{}
			}
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	next(t, asked, "the request")
	srv.Cut()
	if err := next(t, returned, "the end of OnConnect's request"); err == nil {
		t.Error("the request: got nil, want that its context ended")
	}
	next(t, again, "OnConnect of the next connection")
	ping(t, c, 1)
}

// A handler of a session that has ended, and whose context is over with it, does
// not ask the next service.
func TestRequestInAHandlerThatIsOverdue(t *testing.T) {
	t.Parallel()
	var here place
	svc := newRoom(nil)
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	here.opens(srv)
	again := make(chan msgclient.Resumption, 9)
	c := srv.Client(msgclient.Config{
		DialContext: here.DialContext, MinWait: time.Millisecond, MaxWait: 5 * time.Millisecond,
		OnConnect: func(_ context.Context, c *msgclient.Client) {
			if r := c.Resumption(); r.Reason != "" {
				again <- r
			}
		},
	})
	began, welcomed, returned := make(chan struct{}, 1), make(chan struct{}), make(chan error, 1)
	msgclient.On(c, func(ctx context.Context, c *msgclient.Client, _ Note) error {
		began <- struct{}{}
		<-ctx.Done()
		<-welcomed
		returned <- c.SendHandled(ctx, Job{ID: 7})
		return nil
	})
	bustest.Run(t, c)
	if err := svc.Broadcast(t.Context(), Note{ID: 1}); err != nil {
		t.Fatal(err)
	}
	next(t, began, "the handler")
	var jobs atomic.Int64
	other := newRoom(func(context.Context, *msgbus.Conn, Job) error { jobs.Add(1); return nil })
	here.opens(bustest.NewServer(t, msgbus.Config{}, other))
	srv.Cut()
	next(t, again, "the next session")
	close(welcomed)
	if err := next(t, returned, "the end of the handler's request"); err == nil || jobs.Load() != 0 {
		t.Errorf("the request: got %v, and %d jobs at the next service; want an error and none", err, jobs.Load())
	}
}

// A move that the service refuses costs nothing, also not the token of a client
// that had not said anything yet.
func TestRefusedMoveKeepsTheToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		svc := newRoom(nil)
		svc.OnConnect = func(context.Context, *msgbus.Conn) error {
			if full.Load() {
				return bus.Errorf(bus.CodePermissionDenied, "no more")
			}
			return nil
		}
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		c := srv.Connect(msgclient.Config{})
		full.Store(true)
		wantCode(t, "the move", c.Reconnect(t.Context()), bus.CodePermissionDenied)
		full.Store(false)
		ping(t, c, 1) // the first frame on the first connection
		srv.Cut()
		time.Sleep(time.Minute)
		ping(t, c, 2)
		wantResumption(t, c, msgclient.Resumption{Resumed: true})
	})
}

// OnError may wait for the service, also over the drop that follows.
func TestRequestInOnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(func(context.Context, *msgbus.Conn, Job) error { return bus.Errorf(bus.CodeInternal, "no") })
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		returned := make(chan error, 9)
		c := srv.Connect(msgclient.Config{OnError: func(c *msgclient.Client, _ error) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			time.Sleep(time.Second)
			_, err := msgclient.Request[Pong](ctx, c, Ping{ID: 1})
			returned <- err
		}})
		send(t, c, 1)
		time.Sleep(time.Minute)
		select {
		case err := <-returned:
			if err != nil {
				t.Errorf("the request: %v", err)
			}
		default:
			t.Error("the client is not connected while OnError waits for it")
		}
	})
}

// A connection comes only once OnDrop of the last has returned, whoever asks for
// it.
func TestReconnectDuringOnDrop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
		var connects, overlap atomic.Int64
		in := make(chan struct{}, 1)
		c := srv.Connect(msgclient.Config{
			OnConnect: func(context.Context, *msgclient.Client) { connects.Add(1) },
			OnDrop: func(context.Context, *msgclient.Client, error) {
				before := connects.Load()
				in <- struct{}{}
				time.Sleep(time.Second)
				overlap.Add(connects.Load() - before)
			},
		})
		synctest.Wait() // it runs
		srv.Cut()
		<-in
		if err := c.Reconnect(t.Context()); err != nil && bus.CodeOf(err) != bus.CodeAlreadyExists {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if overlap.Load() != 0 || connects.Load() != 2 {
			t.Errorf("%d connections, %d of them while OnDrop ran; want 2 and none", connects.Load(), overlap.Load())
		}
	})
}
