package msgclient_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// While there is no connection Send goes on, and Request and SendAcked wait on.
// When the client is back, everything has happened once and in order.
func TestWorkGoesOnDuringACut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got ids
		var at place
		svc := newRoom(func(_ context.Context, _ *msgbus.Conn, m Job) error { got.add(m.ID); return nil })
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		at.opens(srv)
		var tale story
		c := srv.Connect(msgclient.Config{
			DialContext: at.DialContext, MaxWait: time.Second,
			OnConnect: func(context.Context, *msgclient.Client) { tale.tell("connect") },
			OnDrop:    func(context.Context, *msgclient.Client, error) { tale.tell("drop") },
			OnError:   func(_ *msgclient.Client, err error) { t.Errorf("OnError: %v", err) },
		})
		wantResumption(t, c, msgclient.Resumption{})
		trid, _ := c.TRID()
		name := c.Identity()
		send(t, c, 1)
		synctest.Wait() // it has arrived; its ack has not
		at.opens(nil)
		srv.Cut()
		synctest.Wait()
		if c.Connected() {
			t.Fatal("connected after the cut")
		}
		for id := int64(2); id <= 10; id++ {
			send(t, c, id)
		}
		acked, answered := make(chan error, 1), make(chan error, 1)
		go func() { acked <- c.SendAcked(t.Context(), Job{ID: 11}) }()
		synctest.Wait()
		go func() {
			pong, err := msgclient.Request[Pong](t.Context(), c, Ping{ID: 12})
			if err == nil && pong.ID != 12 {
				err = fmt.Errorf("got Pong %d", pong.ID)
			}
			answered <- err
		}()
		time.Sleep(20 * time.Second)
		none(t, acked, "SendAcked during the cut")
		none(t, answered, "Request during the cut")
		at.opens(srv)
		for what, ch := range map[string]chan error{"SendAcked": acked, "Request": answered} {
			if err := next(t, ch, what); err != nil {
				t.Errorf("%s over the cut: %v", what, err)
			}
		}
		if !slices.Equal(got.so(), upTo(11)) {
			t.Errorf("the service got %v, want 1 to 11", got.so())
		}
		synctest.Wait() // for OnConnect
		wantResumption(t, c, msgclient.Resumption{Resumed: true})
		if now, _ := c.TRID(); now == trid || c.Identity() != name {
			t.Errorf("got TRID %s after %s, identity %s after %s; want a new one, the same", now, trid, c.Identity(), name)
		}
		if got := fmt.Sprint(tale.soFar()); got != "[connect drop connect]" {
			t.Errorf("got %s, want connect, drop, connect", got)
		}
	})
}

// Each welcome says what became of the session.
func TestResumption(t *testing.T) {
	t.Parallel()
	fill := func(t *testing.T, svc *msgbus.Service) { // more than is kept for a client
		for range 3 * (1 << 20) / (100 << 10) {
			_ = svc.Broadcast(t.Context(), Blob{Data: make([]byte, 100<<10)}) // the last ones find nobody
		}
	}
	at := func(t *testing.T, node string) *bustest.Server {
		return bustest.NewServer(t, msgbus.Config{Node: node}, newRoom(nil))
	}
	for name, tt := range map[string]struct {
		window time.Duration
		away   func(t *testing.T, svc *msgbus.Service) *bustest.Server // whom it comes back to; nil: the same
		want   msgclient.Resumption
	}{
		"a cut": {
			want: msgclient.Resumption{Resumed: true},
		},
		"a cut almost as long as the window": {
			away: func(*testing.T, *msgbus.Service) *bustest.Server {
				time.Sleep(msgbus.DefaultWindow - msgclient.DefaultMaxWait - time.Second)
				return nil
			},
			want: msgclient.Resumption{Resumed: true},
		},
		"longer than the window": {
			away: func(*testing.T, *msgbus.Service) *bustest.Server { time.Sleep(msgbus.DefaultWindow); return nil },
			want: msgclient.Resumption{Reason: "expired"},
		},
		"longer than a window of the service's own": {
			window: time.Second,
			away:   func(*testing.T, *msgbus.Service) *bustest.Server { time.Sleep(time.Second); return nil },
			want:   msgclient.Resumption{Reason: "expired"},
		},
		"too much for the client meanwhile": {
			away: func(t *testing.T, svc *msgbus.Service) *bustest.Server { fill(t, svc); return nil },
			want: msgclient.Resumption{Reason: "overflowed"},
		},
		"another life of the node": {
			away: func(t *testing.T, _ *msgbus.Service) *bustest.Server { return at(t, "one") },
			want: msgclient.Resumption{Reason: "restarted"},
		},
		"another node": {
			away: func(t *testing.T, _ *msgbus.Service) *bustest.Server { return at(t, "two") },
			want: msgclient.Resumption{Reason: "unknown"},
		},
		"a service without sessions": {window: -1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var here place
				svc := newRoom(nil)
				svc.Window = tt.window
				srv := bustest.NewServer(t, msgbus.Config{Node: "one"}, svc)
				here.opens(srv)
				c := srv.Connect(msgclient.Config{DialContext: here.DialContext})
				ping(t, c, 1)
				wantResumption(t, c, msgclient.Resumption{})
				here.opens(nil)
				srv.Cut()
				synctest.Wait()
				if tt.away != nil {
					if other := tt.away(t, svc); other != nil {
						srv = other
					}
				}
				here.opens(srv)
				ping(t, c, 2)
				wantResumption(t, c, tt.want)

				srv.Cut() // whatever there was, the next cut is resumed
				synctest.Wait()
				ping(t, c, 3)
				wantResumption(t, c, msgclient.Resumption{Resumed: tt.window >= 0})
			})
		})
	}
}

// A server that stops in good order ends its sessions. When it is back the client
// is told that it was restarted; nothing was lost.
func TestRestartInGoodOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got ids
		newServer := func() *bustest.Server {
			return bustest.NewServer(t, msgbus.Config{Node: "one"},
				newRoom(func(_ context.Context, _ *msgbus.Conn, m Job) error { got.add(m.ID); return nil }))
		}
		var here place
		srv := newServer()
		here.opens(srv)
		c := srv.Connect(msgclient.Config{
			DialContext: here.DialContext,
			OnError:     func(_ *msgclient.Client, err error) { t.Errorf("OnError: %v", err) },
		})
		send(t, c, 1)
		srv.Stop()
		here.opens(newServer())
		send(t, c, 2)
		ping(t, c, 1)
		wantResumption(t, c, msgclient.Resumption{Reason: "restarted"})
		if !slices.Equal(got.so(), upTo(2)) {
			t.Errorf("the service got %v, want 1, 2", got.so())
		}
	})
}
