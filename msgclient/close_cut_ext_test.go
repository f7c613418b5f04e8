package msgclient_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// Close during a cut, while Run connects again: it takes with it what was sent, in
// the session, or, where that cannot go on, in the next one. What nobody knows of
// it says.
func TestCloseDuringACut(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		restart bool // meanwhile
		written bool // something was, and did not arrive
		window  time.Duration
		want    bus.Code
		got     []int64
	}{
		"resumed":                     {got: upTo(3)},
		"resumed, some were written":  {written: true, got: []int64{-1, 1, 2, 3}},
		"another session":             {restart: true, got: upTo(3)},
		"another session, some lost":  {restart: true, written: true, want: bus.CodeSessionLost, got: upTo(3)},
		"no sessions, some were lost": {window: -1, written: true, want: bus.CodeSessionLost},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got ids
				var here place
				newServer := func() *bustest.Server {
					svc := newRoom(func(_ context.Context, _ *msgbus.Conn, m Job) error { got.add(m.ID); return nil })
					svc.Window = tt.window
					return bustest.NewServer(t, msgbus.Config{Node: "one"}, svc)
				}
				srv := newServer()
				here.opens(srv)
				var deep atomic.Bool
				c := srv.Connect(msgclient.Config{DialContext: sunk(here.DialContext, &deep), MaxWait: time.Second})
				if tt.written {
					deep.Store(true)
					send(t, c, -1)
					synctest.Wait()
				}
				here.opens(nil)
				srv.Cut()
				synctest.Wait()
				if tt.window == 0 {
					for id := range int64(3) {
						send(t, c, id+1)
					}
				}
				closed := make(chan error, 1)
				go func() { closed <- c.Close(t.Context()) }()
				time.Sleep(10 * time.Second)
				if tt.window == 0 {
					none(t, closed, "the end of Close during the cut")
				}
				wantCode(t, "Send during Close", c.Send(t.Context(), Job{}), bus.CodeGoingAway)
				if tt.restart {
					srv = newServer()
				}
				here.opens(srv)
				err := next(t, closed, "the end of Close")
				if bus.CodeOf(err) != tt.want {
					t.Errorf("Close: got %v, want code %d", err, tt.want)
				}
				synctest.Wait() // for the handlers
				if !slices.Equal(got.so(), tt.got) {
					t.Errorf("the services got %v, want %v", got.so(), tt.got)
				}
			})
		})
	}
}

// Close of a client that nobody connects again: it says what it cannot know, at
// once, and fails those who wait.
func TestCloseWithoutAChance(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		sends bool
		want  bus.Code
	}{
		"nothing was sent":          {},
		"something was sent":        {sends: true, want: bus.CodeSessionLost},
		"the line breaks meanwhile": {sends: true, want: bus.CodeSessionLost},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
				var deep atomic.Bool
				c := srv.Client(msgclient.Config{DialContext: sunk(srv.DialContext, &deep)})
				if err := c.Connect(t.Context()); err != nil {
					t.Fatal(err)
				}
				answered := make(chan error, 1)
				deep.Store(true)
				if tt.sends {
					send(t, c, 1)
					go func() {
						_, err := msgclient.Request[Pong](t.Context(), c, Ping{})
						answered <- err
					}()
					synctest.Wait()
				}
				if name == "the line breaks meanwhile" {
					time.AfterFunc(time.Second, srv.Cut)
				} else {
					srv.Cut()
					synctest.Wait()
				}
				begin := time.Now()
				if err := c.Close(t.Context()); bus.CodeOf(err) != tt.want {
					t.Errorf("Close: got %v, want code %d", err, tt.want)
				}
				if took := time.Since(begin); took > time.Second {
					t.Errorf("Close took %s", took)
				}
				if tt.sends {
					wantCode(t, "a request under way", next(t, answered, "the answer"), bus.CodeSessionLost)
				}
			})
		})
	}
}

// Close and Run end with their contexts, also when there is no server any more. Who
// waits for something of the session is told.
func TestCloseGivesUp(t *testing.T) {
	t.Parallel()
	for name, byRun := range map[string]bool{"Close": false, "Run": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var here place
				srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
				here.opens(srv)
				c := srv.Client(msgclient.Config{DialContext: here.DialContext})
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- c.Run(ctx) }()
				ping(t, c, 1)
				here.opens(nil)
				srv.Cut()
				synctest.Wait()
				send(t, c, 1)
				acked := make(chan error, 1)
				go func() { acked <- c.SendAcked(t.Context(), Job{}) }()
				synctest.Wait()
				begin := time.Now()
				want := 5 * time.Second
				if byRun {
					want = 0
					cancel()
				} else {
					limited, stop := context.WithTimeout(t.Context(), want)
					defer stop()
					wantCode(t, "Close", c.Close(limited), bus.CodeDeadlineExceeded)
				}
				wantCode(t, "SendAcked", next(t, acked, "the end of SendAcked"), bus.CodeGoingAway)
				next(t, ended, "the end of Run")
				if took := time.Since(begin); took != want {
					t.Errorf("took %s, want %s", took, want)
				}
				cancel()
			})
		})
	}
}

// Close of a client that somebody moves waits for what was sent, wherever it goes.
func TestCloseDuringAMove(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got ids
		connects, thinking := 0, make(chan struct{})
		svc := newRoom(func(_ context.Context, _ *msgbus.Conn, m Job) error { got.add(m.ID); return nil })
		svc.OnConnect = func(context.Context, *msgbus.Conn) error {
			if connects++; connects == 2 {
				close(thinking)
				time.Sleep(5 * time.Second)
			}
			return nil
		}
		gone := make(chan error, 1)
		svc.OnGone = func(_ context.Context, _ bus.Identity, why error) { gone <- why }
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		var deep atomic.Bool
		c := srv.Client(msgclient.Config{
			DialContext: sunk(srv.DialContext, &deep),
			OnDrop:      func(_ context.Context, _ *msgclient.Client, why error) { t.Errorf("OnDrop: %v", why) },
		})
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		deep.Store(true) // what is sent arrives on the next line only
		for id := range int64(3) {
			send(t, c, id+1)
		}
		synctest.Wait()
		moved, closed := make(chan error, 1), make(chan error, 1)
		go func() { moved <- c.Reconnect(t.Context()) }()
		next(t, thinking, "the move")
		go func() { closed <- c.Close(t.Context()) }()
		if err := next(t, closed, "the end of Close"); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := next(t, moved, "the end of Reconnect"); err != nil {
			t.Errorf("Reconnect: %v", err)
		}
		wantCode(t, "OnGone", next(t, gone, "OnGone"), bus.CodeGoingAway) // after the last handler
		if !slices.Equal(got.so(), upTo(3)) {
			t.Errorf("the service got %v, want 1, 2, 3", got.so())
		}
	})
}
