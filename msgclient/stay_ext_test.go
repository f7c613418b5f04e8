package msgclient_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// A client that cannot move stays where it is, if the service has not moved it.
func TestReconnectFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		refuse func(ctx context.Context) error // what OnConnect says
		closed bool                            // nobody listens
		window time.Duration
		want   bus.Code
	}{
		"nobody listens":      {closed: true, want: bus.CodeUnavailable},
		"the service refuses": {refuse: func(context.Context) error { return bus.Errorf(bus.CodePermissionDenied, "no more") }, want: bus.CodePermissionDenied},
		"the service refuses for good": {refuse: func(context.Context) error {
			return bus.Errorf(bus.CodePermissionDenied, "no more").WithRetry(bus.Retry{When: bus.RetryNever})
		}, want: bus.CodePermissionDenied},
		"nobody listens, and has no sessions":  {closed: true, window: -1, want: bus.CodeUnavailable},
		"the service does not answer in time ": {refuse: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, want: bus.CodeDeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got ids
				var here place
				var full atomic.Bool
				svc := newRoom(func(_ context.Context, _ *msgbus.Conn, m Job) error { got.add(m.ID); return nil })
				svc.Window = tt.window
				svc.OnConnect = func(ctx context.Context, _ *msgbus.Conn) error {
					if full.Load() {
						return tt.refuse(ctx)
					}
					return nil
				}
				srv := bustest.NewServer(t, msgbus.Config{}, svc)
				here.opens(srv)
				c := srv.Connect(msgclient.Config{
					DialContext: here.DialContext,
					OnDrop:      func(_ context.Context, _ *msgclient.Client, why error) { t.Errorf("OnDrop: %v", why) },
				})
				trid, _ := c.TRID()
				if tt.closed {
					here.opens(nil)
				} else {
					full.Store(true)
				}
				send(t, c, 1)
				wantCode(t, "Reconnect", c.Reconnect(t.Context()), tt.want)
				time.Sleep(time.Minute)
				if now, ok := c.TRID(); now != trid || !ok {
					t.Errorf("got TRID %s, connected %t; want %s still", now, ok, trid)
				}
				send(t, c, 2)
				ping(t, c, 1)
				full.Store(false)
				here.opens(srv)
				if err := c.Reconnect(t.Context()); err != nil { // nothing stands in the way of the next
					t.Errorf("Reconnect again: %v", err)
				}
				send(t, c, 3)
				ping(t, c, 2)
				if !slices.Equal(got.so(), upTo(3)) {
					t.Errorf("the service got %v, want 1, 2, 3", got.so())
				}
			})
		})
	}
}

// A deaf line reads nothing any more, once it is told so.
type deafLine struct {
	net.Conn
	deaf   *atomic.Bool
	once   *sync.Once
	closed chan struct{}
}

func (d deafLine) Read(b []byte) (int, error) {
	n, err := d.Conn.Read(b)
	if d.deaf.Load() {
		<-d.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (d deafLine) Close() error {
	d.once.Do(func() { close(d.closed) })
	return d.Conn.Close()
}

// A move that breaks half-way, before the service has moved the client or after it,
// which the client cannot know: it resumes as after a cut. Nothing is lost or
// doubled, and OnDrop runs once.
func TestMoveBreaksHalfWay(t *testing.T) {
	t.Parallel()
	for name, welcomed := range map[string]bool{"before the welcome": false, "after the welcome": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var atService, atClient ids
				var deaf, moving atomic.Bool
				thinking := make(chan struct{})
				svc := newRoom(func(_ context.Context, _ *msgbus.Conn, m Job) error { atService.add(m.ID); return nil })
				svc.OnConnect = func(ctx context.Context, _ *msgbus.Conn) error {
					if !moving.Swap(false) {
						return nil
					}
					deaf.Store(true)
					close(thinking)
					if !welcomed {
						<-ctx.Done()
						return ctx.Err()
					}
					return nil
				}
				srv := bustest.NewServer(t, msgbus.Config{}, svc)
				dials := 0
				drops := make(chan error, 9)
				c := srv.Client(msgclient.Config{
					DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
						conn, err := srv.DialContext(ctx, network, address)
						if dials++; dials == 2 && err == nil {
							conn = deafLine{conn, &deaf, new(sync.Once), make(chan struct{})}
						}
						return conn, err
					},
					OnDrop: func(_ context.Context, _ *msgclient.Client, why error) { drops <- why },
				})
				msgclient.On(c, func(_ context.Context, _ *msgclient.Client, m Note) error { atClient.add(m.ID); return nil })
				bustest.Run(t, c)
				conn := svc.Conns()[0]
				exchange := func(from, to int64) {
					t.Helper()
					for id := from; id <= to; id++ {
						send(t, c, id)
						if err := conn.Send(t.Context(), Note{ID: id}); err != nil {
							t.Fatal(err)
						}
					}
				}
				exchange(1, 5)
				moving.Store(true)
				moved := make(chan error, 1)
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				go func() { moved <- c.Reconnect(ctx) }()
				next(t, thinking, "the hello")
				exchange(6, 10)
				synctest.Wait()
				exchange(11, 15)
				wantCode(t, "Reconnect", next(t, moved, "the end of Reconnect"), bus.CodeDeadlineExceeded)
				exchange(16, 20)
				wantCode(t, "OnDrop", next(t, drops, "OnDrop"), bus.CodeUnavailable)
				ping(t, c, 1)
				if err := conn.SendHandled(t.Context(), Note{ID: 21}); err != nil {
					t.Fatal(err)
				}
				wantResumption(t, c, msgclient.Resumption{Resumed: true})
				if !slices.Equal(atService.so(), upTo(20)) || !slices.Equal(atClient.so(), upTo(21)) {
					t.Errorf("the service got %v, the client %v; want 1 to 20, 1 to 21", atService.so(), atClient.so())
				}
				none(t, drops, "a second OnDrop")
			})
		})
	}
}

// The connection that a client is moving away from breaks while the service thinks
// about the next one. If that is welcomed nobody is told; otherwise OnDrop runs, and
// the client comes back as after a cut.
func TestCutDuringAMove(t *testing.T) {
	t.Parallel()
	for name, refused := range map[string]bool{"the move succeeds": false, "the move fails": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got ids
				connects := 0
				svc := newRoom(func(_ context.Context, _ *msgbus.Conn, m Job) error { got.add(m.ID); return nil })
				svc.OnConnect = func(context.Context, *msgbus.Conn) error {
					if connects++; connects != 2 {
						return nil
					}
					time.Sleep(5 * time.Second)
					if refused {
						return bus.Errorf(bus.CodeResourceExhausted, "not now")
					}
					return nil
				}
				srv := bustest.NewServer(t, msgbus.Config{}, svc)
				first := make(chan net.Conn, 1)
				drops := make(chan error, 9)
				c := srv.Connect(msgclient.Config{
					DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
						conn, err := srv.DialContext(ctx, network, address)
						select {
						case first <- conn:
						default:
						}
						return conn, err
					},
					OnDrop: func(_ context.Context, _ *msgclient.Client, why error) { drops <- why },
				})
				send(t, c, 1)
				moved := make(chan error, 1)
				go func() { moved <- c.Reconnect(t.Context()) }()
				time.Sleep(time.Second)
				if err := (<-first).Close(); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				send(t, c, 2)
				none(t, drops, "OnDrop before the outcome of the move")
				err := next(t, moved, "the end of Reconnect")
				synctest.Wait()
				if refused {
					wantCode(t, "Reconnect", err, bus.CodeResourceExhausted)
					wantCode(t, "OnDrop", next(t, drops, "OnDrop"), bus.CodeUnavailable)
				} else if err != nil {
					t.Errorf("Reconnect: %v", err)
				}
				send(t, c, 3)
				ping(t, c, 1)
				none(t, drops, "OnDrop")
				wantResumption(t, c, msgclient.Resumption{Resumed: true})
				if !slices.Equal(got.so(), upTo(3)) {
					t.Errorf("the service got %v, want 1, 2, 3", got.so())
				}
			})
		})
	}
}

// Somebody takes the identity while the client is dialing to move: there is nothing
// to move any more, and the client ends. A connection that it has left may say what
// it likes.
func TestSupersededDuringAMove(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
		conf := bustest.ClientTLS(t, "agent")
		dials, dialing := 0, make(chan struct{})
		c := srv.Client(msgclient.Config{
			Instance: "pilot", TLS: conf,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				if dials++; dials == 2 {
					close(dialing)
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return srv.DialContext(ctx, network, address)
			},
		})
		ended := make(chan error, 1)
		go func() { ended <- c.Run(t.Context()) }()
		ping(t, c, 1)
		moved := make(chan error, 1)
		go func() { moved <- c.Reconnect(t.Context()) }()
		next(t, dialing, "the move")
		other := srv.Connect(msgclient.Config{Instance: "pilot", TLS: conf})
		wantCode(t, "Run", next(t, ended, "the end of Run"), bus.CodeSuperseded)
		if err := next(t, moved, "the end of Reconnect"); err == nil || !errors.Is(err, bus.ErrDropped) && bus.CodeOf(err) != bus.CodeUnavailable {
			t.Errorf("Reconnect: got %v", err)
		}
		ping(t, other, 1)
	})
}
