package msgbus_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/internal/wire"
	"busd/msgbus"
)

// follow lets a service's callbacks tell their story, with the time since now.
func follow(svc *msgbus.Service, s *story) {
	begin := time.Now()
	var mu sync.Mutex
	numbers := map[bus.TRID]int{}
	number := func(c *msgbus.Conn) int {
		mu.Lock()
		defer mu.Unlock()
		if numbers[c.TRID()] == 0 {
			numbers[c.TRID()] = len(numbers) + 1
		}
		return numbers[c.TRID()]
	}
	tell := func(format string, a ...any) {
		s.tell(time.Since(begin).Round(time.Second).String() + " " + fmt.Sprintf(format, a...))
	}
	connect, drop := svc.OnConnect, svc.OnDrop
	svc.OnConnect = func(ctx context.Context, c *msgbus.Conn) error {
		tell("connect %d%s", number(c), resumedOr(c, ""))
		if connect != nil {
			return connect(ctx, c)
		}
		return nil
	}
	svc.OnDrop = func(ctx context.Context, c *msgbus.Conn, why error) {
		if drop != nil {
			drop(ctx, c, why)
		}
		tell("drop %d: %s", number(c), bus.CodeOf(why))
	}
	svc.OnGone = func(_ context.Context, _ bus.Identity, why error) { tell("gone: %s", bus.CodeOf(why)) }
}

// A scene is what happens to a session, and the story of its callbacks.
type scene struct {
	window time.Duration
	play   func(t *testing.T, srv *bustest.Server, svc *msgbus.Service, r *raw)
	story  []string // that begins with the connection of r
}

var scenes = map[string]scene{
	"it is cut, and comes back": {
		play: func(t *testing.T, srv *bustest.Server, svc *msgbus.Service, r *raw) {
			r.cut()
			time.Sleep(time.Minute)
			again := greet(t, srv, svc, nil, r.again())
			again.wantResumed("")
			again.cut()
			time.Sleep(time.Minute + 59*time.Second) // a window of its own
			greet(t, srv, svc, nil, again.again()).wantResumed("")
		},
		story: []string{"0s drop 1: unavailable", "1m0s connect 2, resumed", "1m0s drop 2: unavailable", "2m59s connect 3, resumed"},
	},
	"it is cut, and nobody comes": {
		play: func(_ *testing.T, _ *bustest.Server, _ *msgbus.Service, r *raw) {
			r.cut()
			time.Sleep(time.Hour)
		},
		story: []string{"0s drop 1: unavailable", "2m0s gone: session_lost"},
	},
	"it is cut, and nobody comes within the service's own window": {
		window: 7 * time.Second,
		play: func(t *testing.T, srv *bustest.Server, svc *msgbus.Service, r *raw) {
			r.cut()
			time.Sleep(8 * time.Second)
			greet(t, srv, svc, nil, r.again()).wantResumed("expired")
		},
		story: []string{"0s drop 1: unavailable", "7s gone: session_lost", "8s connect 2"},
	},
	"it says goodbye": {
		play: func(t *testing.T, srv *bustest.Server, svc *msgbus.Service, r *raw) {
			r.write(wire.AppendDrop(nil, bus.Errorf(bus.CodeGoingAway, "that is all")))
			r.ended()
			r.cut()
			greet(t, srv, svc, nil, r.again()).wantResumed("unknown")
		},
		story: []string{"0s drop 1: going_away", "0s gone: going_away", "0s connect 2"},
	},
	"it is dropped, and comes back": {
		play: func(t *testing.T, srv *bustest.Server, svc *msgbus.Service, r *raw) {
			onlyConn(t, svc).Drop(bus.CodeCertificateExpired, "renew it")
			wantCode(t, "the drop", r.drop(r.until(wire.Drop)), bus.CodeCertificateExpired)
			r.cut()
			greet(t, srv, svc, nil, r.again()).wantResumed("")
		},
		story: []string{"0s drop 1: certificate_expired", "0s connect 2, resumed"},
	},
	"it is dropped for good": {
		play: func(t *testing.T, srv *bustest.Server, svc *msgbus.Service, r *raw) {
			onlyConn(t, svc).Drop(bus.CodeCertificateRevoked, "the key was stolen")
			wantCode(t, "the drop", r.drop(r.until(wire.Drop)), bus.CodeCertificateRevoked)
			r.cut()
			greet(t, srv, svc, nil, r.again()).wantResumed("unknown")
		},
		story: []string{"0s drop 1: certificate_revoked", "0s gone: certificate_revoked", "0s connect 2"},
	},
	"its client comes without it": {
		play: func(t *testing.T, srv *bustest.Server, svc *msgbus.Service, r *raw) {
			newer := begin(t, srv, svc, nil, aHello("pilot"))
			wantCode(t, "the drop", r.drop(r.until(wire.Drop)), bus.CodeSuperseded)
			r.ended()
			newer.hear()
			newer.wantNew()
		},
		story: []string{"0s drop 1: superseded", "0s gone: superseded", "0s connect 2"},
	},
	"its client comes without it, and the old line is dead": {
		play: func(t *testing.T, srv *bustest.Server, svc *msgbus.Service, r *raw) {
			r.line.turn(true)
			greet(t, srv, svc, nil, aHello("pilot")).wantNew()
		},
		story: []string{"2s drop 1: superseded", "2s gone: superseded", "2s connect 2"},
	},
	"its client is away, and comes without it": {
		play: func(t *testing.T, srv *bustest.Server, svc *msgbus.Service, r *raw) {
			r.cut()
			time.Sleep(10 * time.Second)
			greet(t, srv, svc, nil, aHello("pilot"))
		},
		story: []string{"0s drop 1: unavailable", "10s gone: superseded", "10s connect 2"},
	},
	"the server stops": {
		play: func(_ *testing.T, srv *bustest.Server, _ *msgbus.Service, r *raw) {
			go r.ended()
			srv.Stop()
		},
		story: []string{"0s drop 1: going_away", "0s gone: going_away"},
	},
	"the server stops while its client is away": {
		play: func(_ *testing.T, srv *bustest.Server, _ *msgbus.Service, r *raw) {
			r.cut()
			time.Sleep(time.Second)
			srv.Stop()
		},
		story: []string{"0s drop 1: unavailable", "1s gone: going_away"},
	},
	"it is sent more than there is room for": {
		play: func(t *testing.T, _ *bustest.Server, svc *msgbus.Service, r *raw) {
			r.cut()
			time.Sleep(time.Second)
			for range 20 {
				if err := svc.Broadcast(t.Context(), Blob{Data: make([]byte, 64<<10)}); err != nil {
					t.Fatal(err)
				}
			}
		},
		story: []string{"0s drop 1: unavailable", "1s gone: slow_consumer"},
	},
}

// OnConnect, OnDrop and OnGone run once each and in order, whatever becomes of a
// session.
func TestLifeOfASession(t *testing.T) {
	t.Parallel()
	for name, tt := range scenes {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := newRoom(nil)
				svc.Window = tt.window
				var s story
				follow(svc, &s)
				srv := bustest.NewServer(t, msgbus.Config{}, svc)
				r := greet(t, srv, svc, nil, aHello("pilot"))
				if want := max(tt.window, msgbus.DefaultWindow*time.Duration(1-min(1, tt.window))); r.welcome.WindowMS != want.Milliseconds() {
					t.Errorf("the welcome says a window of %d ms, want %s", r.welcome.WindowMS, want)
				}
				tt.play(t, srv, svc, r)
				synctest.Wait()
				if got, want := s.soFar(), append([]string{"0s connect 1"}, tt.story...); !slices.Equal(got, want) {
					t.Errorf("got  %v\nwant %v", got, want)
				}
			})
		})
	}
}

// An OnConnect that does not take a client back leaves its session as it was: it
// can be resumed later, within the window that runs since the cut.
func TestOnConnectRefusesAResume(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		refuse func(ctx context.Context) error
		ends   time.Duration // the session, if it is refused 115 s after the cut, and never comes again
	}{
		"an error": {func(context.Context) error { return bus.Errorf(bus.CodeFailedPrecondition, "not now") }, 120 * time.Second},
		"for good": {func(context.Context) error {
			return bus.Errorf(bus.CodePermissionDenied, "not you").WithRetry(bus.Retry{When: bus.RetryNever})
		}, 120 * time.Second},
		"a panic":      {func(context.Context) error { panic("ouch") }, 120 * time.Second},
		"it is slow":   {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, 125 * time.Second},
		"it is slower": {func(context.Context) error { time.Sleep(time.Minute); return bus.Errorf(bus.CodeAborted, "no") }, 175 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := newRoom(nil)
				gone := make(chan time.Time, 9)
				svc.OnGone = func(context.Context, bus.Identity, error) { gone <- time.Now() }
				var refuses atomic.Bool
				svc.OnConnect = func(ctx context.Context, _ *msgbus.Conn) error {
					if refuses.Load() {
						return tt.refuse(ctx)
					}
					return nil
				}
				svc.OnDrop = func(_ context.Context, _ *msgbus.Conn, why error) {
					if bus.CodeOf(why) != bus.CodeUnavailable {
						t.Errorf("OnDrop: got %v, want only those that were cut", why)
					}
				}
				srv := bustest.NewServer(t, msgbus.Config{}, svc)
				r := greet(t, srv, svc, nil, aHello("pilot"))
				r.cut()
				for range 2 { // the token stays good
					synctest.Wait()
					refuses.Store(true)
					if got := greet(t, srv, svc, nil, r.again()); got.refused == nil {
						t.Fatal("it was not refused")
					}
					if err := svc.SendTo(t.Context(), "dns:agent/pilot", Note{ID: 7}); err != nil {
						t.Errorf("SendTo to the session that waits: %v", err)
					}
					time.Sleep(time.Minute)
					refuses.Store(false)
					again := greet(t, srv, svc, nil, r.again())
					again.wantResumed("")
					if f := again.until(wire.Data); string(f.Name) != "Note" {
						t.Errorf("got %s, want the note that waited", f.Name)
					}
					again.send(Job{})
					again.until(wire.Ack)
					again.cut()
					r = again
				}
				synctest.Wait()
				refuses.Store(true)
				cut := time.Now()
				time.Sleep(115 * time.Second)
				greet(t, srv, svc, nil, r.again())
				time.Sleep(time.Hour)
				if at := next(t, gone, "OnGone").Sub(cut); at != tt.ends {
					t.Errorf("the session was gone %s after the cut, want %s", at, tt.ends)
				}
				none(t, gone, "a second OnGone")
			})
		})
	}
}

// A session whose first connection was refused never was: there is no OnGone,
// and nothing to come back to.
func TestOnConnectRefusesTheFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		svc.OnConnect = func(context.Context, *msgbus.Conn) error { return bus.Errorf(bus.CodeAborted, "no") }
		svc.OnGone = func(context.Context, bus.Identity, error) { t.Error("OnGone of a session that nobody was welcomed to") }
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		if r := greet(t, srv, svc, nil, aHello("pilot")); r.refused == nil {
			t.Fatal("it was not refused")
		}
		wantCode(t, "SendTo", svc.SendTo(t.Context(), "dns:agent/pilot", Note{}), bus.CodeNotFound)
		time.Sleep(time.Hour)
		if n := srv.Stats()[0].Sessions; n != 0 {
			t.Errorf("got %d sessions, want none", n)
		}
	})
}
