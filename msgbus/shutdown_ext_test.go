package msgbus_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// A graceful stop lets handlers finish what was begun, and refuses who comes; a
// client that has nowhere to go begins nothing more once it was asked to leave.
func TestShutdown(t *testing.T) {
	t.Parallel()
	for _, window := range []time.Duration{-1, msgbus.DefaultWindow} {
		t.Run(window.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { playShutdown(t, window) })
		})
	}
}

func playShutdown(t *testing.T, window time.Duration) {
	handled := make(chan int64, 9)
	svc := newRoom(func(ctx context.Context, c *msgbus.Conn, m Job) error {
		select {
		case <-time.After(4 * time.Second):
		case <-ctx.Done():
			t.Errorf("job %d: the handler's context ended: %v", m.ID, context.Cause(ctx))
		}
		handled <- m.ID
		return c.Reply(ctx, Note{ID: m.ID})
	})
	svc.Window = window
	drops := 0
	svc.OnDrop = func(context.Context, *msgbus.Conn, error) { drops++ }
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	dropped := make(chan error, 2)
	onDrop := func(_ context.Context, _ *msgclient.Client, why error) { dropped <- why }
	busy, idle := srv.Client(msgclient.Config{OnDrop: onDrop}), srv.Client(msgclient.Config{OnDrop: onDrop})
	for _, c := range []*msgclient.Client{busy, idle} {
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := busy.Send(t.Context(), Job{ID: 1}); err != nil {
		t.Fatal(err)
	}
	request := func(id int64) <-chan error {
		answered := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
			defer cancel()
			note, err := msgclient.Request[Note](ctx, busy, Job{ID: id})
			if err == nil && note.ID != id {
				t.Errorf("job %d: got %v", id, note)
			}
			answered <- err
		}()
		return answered
	}
	answered := request(2)
	synctest.Wait()
	begin := time.Now()
	stopped := make(chan error, 1)
	go func() { stopped <- srv.Shutdown(t.Context()) }()
	synctest.Wait()
	if e := wantCode(t, "Connect meanwhile", srv.Client(msgclient.Config{}).Connect(t.Context()), bus.CodeResourceExhausted); e.Retry.After == 0 {
		t.Error("503 without Retry-After")
	}
	if e := wantCode(t, "OnDrop of the idle one", next(t, dropped, "OnDrop of the idle one"), bus.CodeGoingAway); !e.Remote {
		t.Errorf("got %v from the client's own side", e)
	}
	time.Sleep(2*time.Second - time.Since(begin)) // longer than those two are spread
	late := request(3)
	if err := next(t, answered, "the answer"); err != nil {
		t.Errorf("the request that had arrived: %v", err)
	}
	wantCode(t, "OnDrop of the busy one", next(t, dropped, "OnDrop of the busy one"), bus.CodeGoingAway)
	if err := next(t, stopped, "the end of Shutdown"); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if took := time.Since(begin); took < 8*time.Second || took > 12*time.Second {
		t.Errorf("Shutdown took %s, want what two handlers of 4 s take", took)
	}
	if len(handled) != 2 || drops != 2 {
		t.Errorf("got %d jobs handled, %d drops; want 2 and 2", len(handled), drops)
	}
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Errorf("a second Shutdown: %v", err)
	}
	// It would have gone on with the next connection, which did not come.
	wantCode(t, "the request that came too late", next(t, late, "the end of it"), bus.CodeDeadlineExceeded)
}

// Handlers that hang: Shutdown ends with its context and says how many.
func TestShutdownWithHungHandlers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		ended := make(chan error, 1)
		svc := newRoom(func(ctx context.Context, _ *msgbus.Conn, m Job) error {
			if m.Do == "listen" {
				<-ctx.Done()
				ended <- context.Cause(ctx)
				return ctx.Err()
			}
			<-release
			return nil
		})
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		for _, do := range []string{"listen", "hang", ""} {
			c := srv.Client(msgclient.Config{})
			if err := c.Connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			if do == "" {
				continue
			}
			if err := c.Send(t.Context(), Job{Do: do}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		begin := time.Now()
		e := wantCode(t, "Shutdown", srv.Shutdown(ctx), bus.CodeDeadlineExceeded)
		if e.Reason != "2 connections had not finished" || time.Since(begin) != 30*time.Second {
			t.Errorf("got %v after %s, want 2 connections after 30s", e, time.Since(begin))
		}
		wantCode(t, "the end of the handler's context", next(t, ended, "the end of the handler's context"), bus.CodeGoingAway)
		close(release)
	})
}

// A client that is being greeted when the server stops is not forgotten.
func TestShutdownWaitsForGreetings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		var s story
		svc.OnConnect = func(context.Context, *msgbus.Conn) error { time.Sleep(5 * time.Second); return nil }
		svc.OnDrop = func(_ context.Context, _ *msgbus.Conn, why error) { s.tell("dropped " + bus.CodeOf(why).String()) }
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		dropped := make(chan error, 1)
		c := srv.Client(msgclient.Config{OnDrop: func(_ context.Context, _ *msgclient.Client, why error) { dropped <- why }})
		connected := make(chan error, 1)
		go func() { connected <- c.Connect(t.Context()) }()
		synctest.Wait()
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := s.soFar(); len(got) != 1 || got[0] != "dropped going_away" {
			t.Errorf("when Shutdown returned: got %v, want one drop", got)
		}
		if err := next(t, connected, "the outcome of Connect"); err != nil {
			t.Errorf("Connect: %v", err)
		}
		wantCode(t, "OnDrop", next(t, dropped, "OnDrop"), bus.CodeGoingAway)
	})
}

// An OnConnect that was left behind has its OnDrop before Shutdown returns.
func TestShutdownWaitsForAnOnConnectLeftBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		begin := time.Now()
		svc.OnConnect = func(context.Context, *msgbus.Conn) error { time.Sleep(20 * time.Second); return nil }
		drops := 0
		svc.OnDrop = func(context.Context, *msgbus.Conn, error) { drops++ }
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		wantCode(t, "Connect", srv.Client(msgclient.Config{}).Connect(t.Context()), bus.CodeDeadlineExceeded)
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); drops != 1 || took != 20*time.Second {
			t.Errorf("Shutdown returned after %s and %d drops, want 20s and 1", took, drops)
		}
	})
}

// Shutdown that waits no longer ends what is being accepted, too.
func TestShutdownEndsOnConnect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		svc.OnConnect = func(ctx context.Context, _ *msgbus.Conn) error { <-ctx.Done(); return ctx.Err() }
		srv := bustest.NewServer(t, msgbus.Config{HelloTimeout: time.Hour}, svc)
		connected := make(chan error, 1)
		go func() { connected <- srv.Client(msgclient.Config{}).Connect(t.Context()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		begin := time.Now()
		wantCode(t, "Shutdown", srv.Shutdown(ctx), bus.CodeDeadlineExceeded)
		wantCode(t, "Connect", next(t, connected, "the outcome of Connect"), bus.CodeGoingAway)
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Errorf("a second Shutdown: %v", err)
		}
		if took := time.Since(begin); took != 2*time.Second {
			t.Errorf("took %s, want 2s", took)
		}
	})
}

// So does who waits for the last connection of its identity to be gone.
func TestShutdownEndsTheWaitForAnOlderConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		svc := newRoom(nil)
		svc.OnDrop = func(context.Context, *msgbus.Conn, error) { <-release }
		accepted := 0
		svc.OnConnect = func(context.Context, *msgbus.Conn) error { accepted++; return nil }
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		if err := srv.Client(msgclient.Config{Instance: "pilot"}).Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		connected := make(chan error, 1)
		go func() { connected <- srv.Client(msgclient.Config{Instance: "pilot"}).Connect(t.Context()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		wantCode(t, "Shutdown", srv.Shutdown(ctx), bus.CodeDeadlineExceeded)
		wantCode(t, "Connect", next(t, connected, "the outcome of Connect"), bus.CodeGoingAway)
		if took := time.Since(begin); took != time.Second || accepted != 1 {
			t.Errorf("the newer was refused after %s with %d calls of OnConnect, want 1s and 1", took, accepted)
		}
		close(release)
	})
}
