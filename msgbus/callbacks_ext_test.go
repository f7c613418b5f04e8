package msgbus_test

import (
	"context"
	"runtime"
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

// OnConnect of a connection that resumes waits for OnDrop of the one before, but
// not for ever. One that hangs takes nothing from the session.
func TestResumeWaitsForOnDrop(t *testing.T) {
	t.Parallel()
	for takes, want := range map[time.Duration][]string{
		3 * time.Second: {"0s connect 1", "3s drop 1: unavailable", "3s connect 2, resumed", "3s drop 2: unavailable", "2m3s gone: session_lost"},
		time.Minute:     {"0s connect 1", "5s connect 2, resumed", "5s drop 2: unavailable", "1m0s drop 1: unavailable", "2m5s gone: session_lost"},
	} {
		t.Run(takes.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := newRoom(nil)
				var s story
				svc.OnDrop = func(_ context.Context, c *msgbus.Conn, _ error) {
					if !c.Resumed() {
						time.Sleep(takes)
					}
				}
				follow(svc, &s)
				srv := bustest.NewServer(t, msgbus.Config{}, svc)
				r := greet(t, srv, svc, nil, aHello("pilot"))
				r.cut()
				again := greet(t, srv, svc, nil, r.again())
				again.wantResumed("")
				again.cut()
				time.Sleep(time.Hour)
				if got := s.soFar(); !slices.Equal(got, want) {
					t.Errorf("got  %v\nwant %v", got, want)
				}
			})
		})
	}
}

// OnGone comes before OnConnect of the identity's next session, even if that comes
// while OnDrop or OnGone of the last runs; for which it waits as for OnDrop.
func TestNextSessionWaitsForOnGone(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		drop, gone time.Duration // what they take
		come       time.Duration // when the next session's client comes
		want       []string
	}{
		"during OnDrop":      {3 * time.Second, time.Second, time.Second, []string{"0s connect 1", "3s drop 1: going_away", "4s gone: going_away", "4s connect 2"}},
		"during OnGone":      {0, 4 * time.Second, time.Second, []string{"0s connect 1", "0s drop 1: going_away", "4s gone: going_away", "4s connect 2"}},
		"OnGone never comes": {0, time.Hour, time.Second, []string{"0s connect 1", "0s drop 1: going_away", "6s connect 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := newRoom(nil)
				var s story
				svc.OnDrop = func(_ context.Context, _ *msgbus.Conn, why error) {
					time.Sleep(tt.drop)
				}
				follow(svc, &s)
				gone := svc.OnGone
				svc.OnGone = func(ctx context.Context, i bus.Identity, why error) {
					time.Sleep(tt.gone)
					gone(ctx, i, why)
				}
				srv := bustest.NewServer(t, msgbus.Config{}, svc)
				c := srv.Client(msgclient.Config{Instance: "pilot"})
				if err := c.Connect(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := c.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(tt.come)
				greet(t, srv, svc, nil, aHello("pilot")).wantNew()
				if got := s.soFar(); !slices.Equal(got, tt.want) {
					t.Errorf("got  %v\nwant %v", got, tt.want)
				}
				time.Sleep(2 * time.Hour)
			})
		})
	}
}

// An OnConnect that accepts whom the service did not wait for sees him dropped,
// and gone.
func TestOnConnectAcceptsTooLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		var s story
		svc.OnConnect = func(context.Context, *msgbus.Conn) error { time.Sleep(12 * time.Second); return nil }
		follow(svc, &s)
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		r := greet(t, srv, svc, nil, aHello("pilot"))
		wantCode(t, "the refusal", r.refused, bus.CodeDeadlineExceeded)
		time.Sleep(time.Minute)
		want := []string{"0s connect 1", "12s drop 1: deadline_exceeded", "12s gone: deadline_exceeded"}
		if got := s.soFar(); !slices.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	})
}

// A callback that ends its goroutine, as a test's FailNow does, is as one that
// panicked: everybody else goes on, places come free, and a stop is not held up.
func TestCallbacksThatEndTheirGoroutine(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"OnConnect", "OnDrop", "OnGone"} {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := newRoom(nil)
				var s story
				var good atomic.Bool
				exit := func(here string) {
					s.tell(here)
					if here == where && !good.Load() {
						runtime.Goexit()
					}
				}
				svc.OnConnect = func(context.Context, *msgbus.Conn) error { exit("OnConnect"); return nil }
				svc.OnDrop = func(context.Context, *msgbus.Conn, error) { exit("OnDrop") }
				svc.OnGone = func(context.Context, bus.Identity, error) { exit("OnGone") }
				srv := bustest.NewServer(t, msgbus.Config{MaxConns: 1}, svc)
				begin := time.Now()
				err := srv.Client(msgclient.Config{Instance: "pilot"}).Connect(t.Context())
				if where == "OnConnect" {
					wantCode(t, "Connect", err, bus.CodeInternal)
				} else if err != nil {
					t.Fatal(err)
				}
				srv.Cut()
				time.Sleep(msgbus.DefaultWindow)
				good.Store(true)
				c := srv.Client(msgclient.Config{Instance: "pilot"})
				if err := c.Connect(t.Context()); err != nil {
					t.Fatalf("the next one: %v", err)
				}
				ping(t, c, 1)
				if took := time.Since(begin); took != msgbus.DefaultWindow {
					t.Errorf("it took %s, want %s", took, msgbus.DefaultWindow)
				}
				if err := c.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := srv.Shutdown(t.Context()); err != nil {
					t.Errorf("Shutdown: %v", err)
				}
				want := []string{"OnConnect", "OnDrop", "OnGone", "OnConnect", "OnDrop", "OnGone"}
				if where == "OnConnect" {
					want = slices.Delete(want, 1, 3)
				}
				if got := s.soFar(); !slices.Equal(got, want) {
					t.Errorf("got  %v\nwant %v", got, want)
				}
			})
		})
	}
}
