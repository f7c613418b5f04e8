package msgbus_test

import (
	"context"
	"errors"
	"fmt"
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
// messages waiting: OnDrop comes once, with the cause, after the handler. Where
// the session goes on the handler is left in peace, and what is sent waits; where
// it ends, or there is none, both end with the connection.
func TestOnDrop(t *testing.T) {
	t.Parallel()
	for name, tt := range ends {
		for _, window := range []time.Duration{-1, msgbus.DefaultWindow} {
			t.Run(fmt.Sprintf("%s/window=%s", name, window), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { tt.play(t, window) })
			})
		}
	}
}

// A stage is a connection with a handler at work.
type stage struct {
	t    *testing.T
	srv  *bustest.Server
	c    *msgclient.Client
	conn *msgbus.Conn
	tap  *tap
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// An end is a way in which a connection ends, and what comes of it.
type end struct {
	end    func(s *stage)
	code   bus.Code
	reason string
	remote bool
	// handled: the message in hand is finished in peace, though there is no
	// session.
	handled bool
	over    bool // a session ends too
}

var ends = map[string]end{
	"the client closes": {
		end:  func(s *stage) { s.must(s.c.Close(s.t.Context())) },
		code: bus.CodeGoingAway, reason: "the client was closed", remote: true, handled: true, over: true,
	},
	"the line is cut": {
		end:  func(s *stage) { s.srv.Cut() },
		code: bus.CodeUnavailable, reason: "the line broke",
	},
	"the server drops": {
		end:  func(s *stage) { s.conn.Drop(bus.CodeAborted, "enough"); s.conn.Drop(bus.CodeInternal, "too late") },
		code: bus.CodeAborted, reason: "enough",
	},
	"the server has had enough": {
		end:  func(s *stage) { s.conn.Drop(bus.CodeSlowConsumer, "too slow") },
		code: bus.CodeSlowConsumer, reason: "too slow", over: true,
	},
	"a handler fails": {
		end:  func(s *stage) { s.must(s.c.Send(s.t.Context(), Job{Do: "fail"})) },
		code: bus.CodeDataLoss, reason: "the disk is gone", handled: true,
	},
	"a handler panics": {
		end:  func(s *stage) { s.must(s.c.Send(s.t.Context(), Job{Do: "panic"})) },
		code: bus.CodeInternal, reason: "the handler panicked", handled: true,
	},
	"a newer connection comes": {
		end: func(s *stage) {
			s.must(s.srv.Client(msgclient.Config{Instance: "pilot"}).Connect(s.t.Context()))
		},
		code: bus.CodeSuperseded, reason: "the same identity connected again", over: true,
	},
	"the server shuts down": {
		end:  func(s *stage) { s.must(s.srv.Shutdown(s.t.Context())) },
		code: bus.CodeGoingAway, reason: "all that was begun is finished", handled: true, over: true,
	},
	"the client falls silent": {
		end:  func(s *stage) { s.tap.turn(true); time.Sleep(90 * time.Second) },
		code: bus.CodeKeepaliveTimeout, reason: "no answer to a ping within 15s", remote: true, handled: true,
	},
}

func (e *end) play(t *testing.T, window time.Duration) {
	lives := window > 0 && !e.over
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
	svc.Window = window
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
	s := &stage{t: t, srv: srv, c: c}
	s.must(c.Connect(t.Context()))
	s.must(c.Send(t.Context(), Job{}))
	synctest.Wait()
	s.conn, s.tap = next(t, conns, "the connection"), next(t, taps, "the line")
	e.end(s)

	err := next(t, why, "OnDrop")
	got := wantCode(t, "OnDrop", err, e.code)
	if got.Reason != e.reason || got.Remote != e.remote || !errors.Is(err, bus.ErrDropped) {
		t.Errorf("got %v, remote %t; want reason %q, remote %t, and one that is dropped", err, got.Remote, e.reason, e.remote)
	}
	synctest.Wait() // what is counted is counted after OnDrop
	mu.Lock()
	if (handled > 0) != (e.handled || lives) || drops != 1 {
		t.Errorf("got %d messages handled in peace, %d drops; want %t and 1", handled, drops, e.handled || lives)
	}
	mu.Unlock()
	if n := srv.Stats()[0].Dropped[e.code]; n != 1 {
		t.Errorf("got %d drops counted under %s, want 1", n, e.code)
	}
	if _, ok := svc.Conn(s.conn.TRID()); ok {
		t.Error("the dropped connection is still found")
	}
	s.sendsAfter(lives)
}

// sendsAfter sends on a connection that has ended.
func (s *stage) sendsAfter(lives bool) {
	for what, send := range map[string]func(context.Context) error{
		"Send":        func(ctx context.Context) error { return s.conn.Send(ctx, Note{}) },
		"SendAcked":   func(ctx context.Context) error { return s.conn.SendAcked(ctx, Note{}) },
		"SendHandled": func(ctx context.Context) error { return s.conn.SendHandled(ctx, Ask{}) },
	} {
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
		err := send(ctx)
		cancel()
		switch {
		case !lives:
			if !errors.Is(err, bus.ErrDropped) {
				s.t.Errorf("%s after the end of the session: got %v, want one that is dropped", what, err)
			}
		case what == "Send": // it waits for the next connection
			s.must(err)
		default:
			wantCode(s.t, what+" while the client is away", err, bus.CodeDeadlineExceeded)
		}
	}
}

// What the service drops with is what the client sees. What had come before is
// handled all the same: at once where there is no session, else on the next
// connection.
func TestDropIsSeenByTheClient(t *testing.T) {
	t.Parallel()
	for _, window := range []time.Duration{-1, msgbus.DefaultWindow} {
		t.Run(window.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := newRoom(nil)
				svc.Window = window
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
				if window > 0 {
					if err := c.Connect(t.Context()); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
				}
				if len(notes) != 10 {
					t.Errorf("got %d of the 10 notes that were sent before the drop", len(notes))
				}
				for want := range int64(len(notes)) {
					if got := <-notes; got != want {
						t.Errorf("got note %d, want %d", got, want)
					}
				}
			})
		})
	}
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
