package msgclient_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// Close takes with it what was sent, and waits for handlers.
func TestCloseFlushes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		handled := 0
		svc := newRoom(func(ctx context.Context, c *msgbus.Conn, m Job) error {
			if m.ID == 0 {
				time.Sleep(time.Second) // the rest waits for its handler when the client goes
			}
			if ctx.Err() != nil {
				t.Errorf("job %d: its context has ended: %v", m.ID, context.Cause(ctx))
			}
			handled++
			return nil
		})
		gone := make(chan error, 1)
		svc.OnDrop = func(_ context.Context, _ *msgbus.Conn, why error) { gone <- why }
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		inHand, done := make(chan struct{}), false
		c := srv.Client(msgclient.Config{OnDrop: func(context.Context, *msgclient.Client, error) { t.Error("OnDrop of a client that was closed") }})
		msgclient.On(c, func(ctx context.Context, _ *msgclient.Client, _ Note) error {
			close(inHand)
			<-ctx.Done()
			time.Sleep(time.Second)
			done = true
			return nil
		})
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := svc.Broadcast(t.Context(), Note{}); err != nil {
			t.Fatal(err)
		}
		<-inHand
		for i := range int64(1000) {
			if err := c.Send(t.Context(), Job{ID: i}); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
		if !done {
			t.Error("Close returned before the last handler")
		}
		e := wantCode(t, "OnDrop", next(t, gone, "OnDrop"), bus.CodeGoingAway)
		if handled != 1000 || !e.Remote || e.Reason != "the client was closed" {
			t.Errorf("the service handled %d of 1000 messages before %v", handled, e)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Errorf("a second Close: %v", err)
		}
		wantCode(t, "Send", c.Send(t.Context(), Job{}), bus.CodeGoingAway)
	})
}

// A service that takes nothing: Close ends with its context and says that not
// everything arrived.
func TestCloseEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		svc := newRoom(func(context.Context, *msgbus.Conn, Job) error { <-release; return nil })
		svc.Credit = 4 << 10
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		c := srv.Client(msgclient.Config{})
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 200 {
			if err := c.Send(t.Context(), Job{Do: "more than the credit, all together"}); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begin := time.Now()
		wantCode(t, "Close", c.Close(ctx), bus.CodeDeadlineExceeded)
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("took %s, want 5s and what the goodbye takes", took)
		}
		close(release)
	})
}

// Close ends an attempt that is under way, and the pause before the next.
func TestCloseDuringReconnect(t *testing.T) {
	t.Parallel()
	for name, dial := range map[string]func(ctx context.Context, network, address string) (net.Conn, error){
		"an attempt": func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"a pause": func(context.Context, string, string) (net.Conn, error) {
			return nil, bus.Errorf(bus.CodeUnavailable, "nobody").WithRetry(bus.Retry{After: time.Hour})
		},
		"the welcome": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := newRoom(nil)
				svc.OnConnect = func(ctx context.Context, _ *msgbus.Conn) error { <-ctx.Done(); return ctx.Err() }
				srv := bustest.NewServer(t, msgbus.Config{}, svc)
				c := srv.Client(msgclient.Config{DialContext: dial})
				ended, sent := make(chan error, 1), make(chan error, 1)
				go func() { ended <- c.Run(t.Context()) }()
				go func() { sent <- c.Send(t.Context(), Ping{}) }()
				time.Sleep(time.Second)
				begin := time.Now()
				if err := c.Close(t.Context()); err != nil {
					t.Errorf("Close: %v", err)
				}
				wantCode(t, "Run", next(t, ended, "the end of Run"), bus.CodeGoingAway)
				wantCode(t, "the Send that waited", next(t, sent, "the end of Send"), bus.CodeGoingAway)
				if took := time.Since(begin); took > 3*time.Second {
					t.Errorf("took %s, want no more than the goodbye", took)
				}
			})
		})
	}
}

// Close before the first connection.
func TestCloseUnused(t *testing.T) {
	t.Parallel()
	srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
	c := srv.Client(msgclient.Config{})
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	wantCode(t, "Connect", c.Connect(t.Context()), bus.CodeGoingAway)
}

// Close does not wait for an ack that waits for company: it asks for it.
func TestCloseAsksForTheAck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
		c := srv.Client(msgclient.Config{})
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range int64(10) {
			if err := c.Send(t.Context(), Job{ID: i}); err != nil {
				t.Fatal(err)
			}
		}
		begin := time.Now()
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("Close took %s", took)
		}
	})
}

// Others who go on sending do not keep Close from its end: what they send from
// then on fails.
func TestCloseWhileOthersSend(t *testing.T) {
	t.Parallel()
	srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
	c := srv.Client(msgclient.Config{})
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	const senders = 4
	started, ended := make(chan struct{}, senders), make(chan error, senders)
	for range senders {
		go func() {
			err := c.Send(t.Context(), Job{})
			started <- struct{}{}
			for err == nil {
				err = c.Send(t.Context(), Job{})
			}
			ended <- err
		}()
	}
	for range senders {
		next(t, started, "a sender's first message")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
	for range senders {
		wantCode(t, "Send during Close", next(t, ended, "the end of a sender"), bus.CodeGoingAway)
	}
}

// A handler that cannot send any more because of Close does not end the
// connection before Close has delivered what there is.
func TestHandlerFailsDuringClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var handled atomic.Int64
		svc := newRoom(func(context.Context, *msgbus.Conn, Job) error {
			time.Sleep(40 * time.Millisecond)
			handled.Add(1)
			return nil
		})
		svc.Credit = 4 << 10 // the last messages wait for the first to be handled
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		inHand, failed := make(chan struct{}), make(chan error, 1)
		c := srv.Client(msgclient.Config{})
		msgclient.On(c, func(ctx context.Context, c *msgclient.Client, _ Note) error {
			close(inHand)
			time.Sleep(500 * time.Millisecond)
			err := c.Send(ctx, Job{})
			failed <- err
			return err
		})
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := svc.Broadcast(t.Context(), Note{}); err != nil {
			t.Fatal(err)
		}
		next(t, inHand, "the handler")
		const jobs = 100 // more than a second's, less than what may still be handled after the drop
		for i := range int64(jobs) {
			if err := c.Send(t.Context(), Job{ID: i}); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
		wantCode(t, "Send of the handler", next(t, failed, "the outcome of it"), bus.CodeGoingAway)
		time.Sleep(time.Minute)
		if n := handled.Load(); n != jobs {
			t.Errorf("the service handled %d of %d messages", n, jobs)
		}
	})
}
