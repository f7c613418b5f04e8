package msgbus_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// TestOnDrop ends a connection in every way, with a handler at work and
// messages waiting: OnDrop comes once, with the cause, after the handler.
func TestOnDrop(t *testing.T) {
	t.Parallel()
	type scene struct {
		t    *testing.T
		srv  *bustest.Server
		svc  *msgbus.Service
		c    *msgclient.Client
		conn *msgbus.Conn
		tap  *tap
	}
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		end     func(s *scene)
		code    bus.Code
		reason  string
		remote  bool
		handled bool // the message in hand is finished in peace
	}{
		"the client closes": {
			end:  func(s *scene) { must(s.t, s.c.Close(s.t.Context())) },
			code: bus.CodeGoingAway, reason: "the client was closed", remote: true, handled: true,
		},
		"the line is cut": {
			end:  func(s *scene) { s.srv.Cut() },
			code: bus.CodeUnavailable, reason: "the line broke",
		},
		"the server drops": {
			end:  func(s *scene) { s.conn.Drop(bus.CodeAborted, "enough"); s.conn.Drop(bus.CodeInternal, "too late") },
			code: bus.CodeAborted, reason: "enough",
		},
		"a handler fails": {
			end:  func(s *scene) { must(s.t, s.c.Send(s.t.Context(), Job{Do: "fail"})) },
			code: bus.CodeDataLoss, reason: "the disk is gone", handled: true,
		},
		"a handler panics": {
			end:  func(s *scene) { must(s.t, s.c.Send(s.t.Context(), Job{Do: "panic"})) },
			code: bus.CodeInternal, reason: "the handler panicked", handled: true,
		},
		"a newer connection comes": {
			end: func(s *scene) {
				must(s.t, s.srv.Client(msgclient.Config{Instance: "pilot"}).Connect(s.t.Context()))
			},
			code: bus.CodeSuperseded, reason: "the same identity connected again",
		},
		"the server shuts down": {
			end:  func(s *scene) { must(s.t, s.srv.Shutdown(s.t.Context())) },
			code: bus.CodeGoingAway, reason: "the server is shutting down", handled: true,
		},
		"the client falls silent": {
			end:  func(s *scene) { s.tap.turn(true); time.Sleep(2 * time.Minute) },
			code: bus.CodeKeepaliveTimeout, reason: "no answer to a ping within 15s", remote: true, handled: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var busy, handled, drops int
				svc := newRoom(func(ctx context.Context, _ *msgbus.Conn, m Job) error {
					mu.Lock()
					busy++
					mu.Unlock()
					defer func() {
						mu.Lock()
						busy--
						mu.Unlock()
					}()
					switch m.Do {
					case "fail":
						return bus.Errorf(bus.CodeDataLoss, "the disk is gone")
					case "panic":
						panic("ouch")
					}
					select {
					case <-time.After(3 * time.Second):
						mu.Lock()
						handled++
						mu.Unlock()
					case <-ctx.Done():
						time.Sleep(time.Second) // OnDrop waits for this too
						return ctx.Err()
					}
					return nil
				})
				conns := make(chan *msgbus.Conn, 2)
				why := make(chan error, 2)
				svc.OnConnect = func(_ context.Context, c *msgbus.Conn) error { conns <- c; return nil }
				svc.OnDrop = func(ctx context.Context, c *msgbus.Conn, err error) {
					mu.Lock()
					defer mu.Unlock()
					if busy != 0 {
						t.Error("OnDrop came while a handler was at work")
					}
					if c.Context().Err() == nil || !errors.Is(context.Cause(c.Context()), bus.ErrDropped) {
						t.Errorf("the connection's context: %v", context.Cause(c.Context()))
					}
					if deadline, ok := ctx.Deadline(); !ok || ctx.Err() != nil || time.Until(deadline) > 30*time.Second {
						t.Error("OnDrop's own context: want 30 s")
					}
					if drops++; drops == 1 {
						why <- err
					}
				}
				srv := bustest.NewServer(t, msgbus.Config{}, svc)
				dial, taps := tapped(srv.DialContext)
				c := srv.Client(msgclient.Config{Instance: "pilot", DialContext: dial})
				must(t, c.Connect(t.Context()))
				must(t, c.Send(t.Context(), Job{}))
				synctest.Wait()
				first := next(t, conns, "the connection")
				tt.end(&scene{t, srv, svc, c, first, next(t, taps, "the line")})

				err := next(t, why, "OnDrop")
				e := wantCode(t, "OnDrop", err, tt.code)
				if e.Reason != tt.reason || e.Remote != tt.remote || !errors.Is(err, bus.ErrDropped) {
					t.Errorf("got %v, remote %t; want reason %q, remote %t, and one that is dropped", err, e.Remote, tt.reason, tt.remote)
				}
				mu.Lock()
				if (handled > 0) != tt.handled || drops != 1 {
					t.Errorf("got %d messages handled in peace, %d drops; want %t and 1", handled, drops, tt.handled)
				}
				mu.Unlock()
				if got := srv.Stats()[0].Dropped[tt.code]; got == 0 {
					synctest.Wait() // it is counted after OnDrop
					if got = srv.Stats()[0].Dropped[tt.code]; got != 1 {
						t.Errorf("got %d drops counted under %s, want 1", got, tt.code)
					}
				}
				if _, ok := svc.Conn(first.TRID()); ok {
					t.Error("the dropped connection is still found")
				}
				for what, err := range map[string]error{
					"Send": first.Send(t.Context(), Note{}), "SendAcked": first.SendAcked(t.Context(), Note{}), "SendHandled": first.SendHandled(t.Context(), Ask{}),
				} {
					if !errors.Is(err, bus.ErrDropped) {
						t.Errorf("%s after the drop: got %v, want one that is dropped", what, err)
					}
				}
			})
		})
	}
}

// What the service drops with is what the client sees.
func TestDropIsSeenByTheClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		dropped := make(chan error, 1)
		notes := make(chan int64, 100)
		c := srv.Client(msgclient.Config{OnDrop: func(_ context.Context, _ *msgclient.Client, why error) { dropped <- why }})
		msgclient.On(c, func(_ context.Context, _ *msgclient.Client, m Note) error { notes <- m.ID; return nil })
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		conn := onlyConn(t, svc)
		for i := range int64(10) {
			if err := conn.Send(t.Context(), Note{ID: i}); err != nil {
				t.Fatal(err)
			}
		}
		conn.Drop(bus.CodeFailedPrecondition, "upgrade first")
		e := wantCode(t, "OnDrop", next(t, dropped, "OnDrop"), bus.CodeFailedPrecondition)
		if e.Reason != "upgrade first" || !e.Remote || !errors.Is(e, bus.ErrDropped) {
			t.Errorf("got %v, remote %t", e, e.Remote)
		}
		if len(notes) != 10 {
			t.Errorf("got %d of the 10 notes that were sent before the drop", len(notes))
		}
	})
}

// An OnDrop that panics harms nobody.
func TestOnDropPanics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		svc.OnDrop = func(context.Context, *msgbus.Conn, error) { panic("ouch") }
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		conf := msgclient.Config{Instance: "pilot"}
		for range 3 {
			c := srv.Client(conf)
			if err := c.Connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			ping(t, c, 1)
		}
		srv.Cut()
		synctest.Wait()
		if n := len(svc.Conns()); n != 0 {
			t.Errorf("got %d connections, want 0", n)
		}
	})
}
