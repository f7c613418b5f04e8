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

// An idle connection lives as long as both ends answer.
func TestIdleConnectionLives(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		svc.OnDrop = func(_ context.Context, _ *msgbus.Conn, why error) {
			if bus.CodeOf(why) != bus.CodeGoingAway {
				t.Errorf("dropped: %v", why)
			}
		}
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		c := srv.Connect(msgclient.Config{})
		time.Sleep(24 * time.Hour)
		ping(t, c, 1)
		if c.Connects() != 1 {
			t.Errorf("got %d connections in a day, want 1", c.Connects())
		}
	})
}

// A busy handler keeps no ping unanswered: the reader answers.
func TestKeepAliveIsNotBehindAHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(func(context.Context, *msgbus.Conn, Job) error { time.Sleep(time.Hour); return nil })
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		c := srv.Client(msgclient.Config{})
		msgclient.On(c, func(context.Context, *msgclient.Client, Note) error { time.Sleep(time.Hour); return nil })
		bustest.Run(t, c)
		if err := c.Send(t.Context(), Job{}); err != nil {
			t.Fatal(err)
		}
		if err := onlyConn(t, svc).Send(t.Context(), Note{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		if c.Connects() != 1 {
			t.Errorf("got %d connections, want 1", c.Connects())
		}
	})
}

// The client finds out that its server is dead, by a ping.
func TestClientDropsADeadServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
		dial, taps := tapped(srv.DialContext)
		dropped := make(chan error, 1)
		c := srv.Client(msgclient.Config{
			DialContext: dial,
			OnDrop:      func(_ context.Context, _ *msgclient.Client, why error) { dropped <- why },
		})
		bustest.Run(t, c)
		next(t, taps, "the line").swallow()
		begin := time.Now()
		time.Sleep(time.Minute)
		e := wantCode(t, "OnDrop", next(t, dropped, "OnDrop"), bus.CodeKeepaliveTimeout)
		if e.Remote || e.Retry.When != bus.RetryNow {
			t.Errorf("got remote %t, retry %s; want false, now", e.Remote, e.Retry.When)
		}
		ping(t, c, 1) // it is back
		if took := time.Since(begin); took > 70*time.Second {
			t.Errorf("back after %s, want less: a ping every 30 s is to be answered in 15 s", took)
		}
	})
}

// The server finds out that its client is dead, by its silence.
func TestServerDropsASilentClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		dropped := make(chan time.Time, 1)
		svc.OnDrop = func(_ context.Context, _ *msgbus.Conn, why error) {
			if bus.CodeOf(why) != bus.CodeKeepaliveTimeout {
				t.Errorf("OnDrop: got %v, want keepalive_timeout", why)
			}
			dropped <- time.Now()
		}
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		dial, taps := tapped(srv.DialContext)
		c := srv.Client(msgclient.Config{DialContext: dial})
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		line := next(t, taps, "the line")
		line.swallow()
		line.turn(true)
		begin := time.Now()
		time.Sleep(2 * time.Minute)
		if took := next(t, dropped, "OnDrop").Sub(begin); took < msgbus.DefaultIdle || took > msgbus.DefaultIdle+10*time.Second {
			t.Errorf("dropped after %s of silence, want %s and what its end takes", took, msgbus.DefaultIdle)
		}
	})
}

// A server says in its welcome how often to ping, and after how much silence it
// drops.
func TestKeepAliveIsConfigured(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		dropped := make(chan time.Time, 1)
		svc.OnDrop = func(context.Context, *msgbus.Conn, error) { dropped <- time.Now() }
		srv := bustest.NewServer(t, msgbus.Config{KeepAlive: time.Second, Idle: 5 * time.Second}, svc)
		dial, taps := tapped(srv.DialContext)
		c := srv.Client(msgclient.Config{DialContext: dial})
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // pings come every second: it lives
		ping(t, c, 1)
		begin := time.Now()
		line := next(t, taps, "the line")
		line.swallow()
		line.turn(true)
		time.Sleep(30 * time.Second)
		if took := next(t, dropped, "OnDrop").Sub(begin); took > 15*time.Second {
			t.Errorf("dropped after %s of silence, want 5s and what its end takes", took)
		}
	})
}

// A service may want fewer pings than a client's own bound of silence allows.
func TestLongKeepAlive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := bustest.NewServer(t, msgbus.Config{KeepAlive: 6 * time.Minute, Idle: 13 * time.Minute}, newRoom(nil))
		c := srv.Connect(msgclient.Config{})
		time.Sleep(time.Hour)
		ping(t, c, 1)
		if n := c.Connects(); n != 1 {
			t.Errorf("an idle client connected %d times in an hour, want 1", n)
		}
	})
}
