package msgbus_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// SendAcked returns when the peer has read, checked and queued, in either
// direction: a handler that waits holds it up for 10 ms at most, once at each end.
func TestSendAckedBothWays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		svc := newRoom(func(context.Context, *msgbus.Conn, Job) error { <-release; return nil })
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		c := srv.Client(msgclient.Config{})
		msgclient.On(c, func(context.Context, *msgclient.Client, Note) error { <-release; return nil })
		bustest.Run(t, c)
		conn := onlyConn(t, svc)
		begin := time.Now()
		for range 10 {
			var all sync.WaitGroup
			for range 20 { // each waits for its own ack
				all.Go(func() {
					if err := c.SendAcked(t.Context(), Job{}); err != nil {
						t.Error(err)
					}
				})
				all.Go(func() {
					if err := conn.SendAcked(t.Context(), Note{}); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
		}
		if took := time.Since(begin); took > 20*time.Millisecond {
			t.Errorf("took %s, want 20ms at most", took)
		}
		close(release)
	})
}

// A peer that reads nothing lets SendAcked wait as long as its context says, and
// the connection stays.
func TestSendAckedTimesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		dial, taps := tapped(srv.DialContext)
		c := srv.Connect(msgclient.Config{DialContext: dial})
		line := next(t, taps, "the line")
		line.turn(true)
		conn := onlyConn(t, svc)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begin := time.Now()
		wantCode(t, "SendAcked", conn.SendAcked(ctx, Note{}), bus.CodeDeadlineExceeded)
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("took %s, want 3s", took)
		}
		line.turn(false)
		ping(t, c, 1)
	})
}

// Without a deadline either end waits 30 s for an ack or an answer.
func TestDefaultTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(func(ctx context.Context, _ *msgbus.Conn, _ Job) error {
			<-ctx.Done()
			time.Sleep(time.Second)
			return nil
		})
		srv := bustest.NewServer(t, msgbus.Config{KeepAlive: 10 * time.Minute, Idle: time.Hour}, svc)
		dial, taps := tapped(srv.DialContext)
		c := srv.Client(msgclient.Config{DialContext: dial})
		msgclient.On(c, func(ctx context.Context, _ *msgclient.Client, _ Ask) error {
			<-ctx.Done()
			time.Sleep(time.Second)
			return nil
		})
		bustest.Run(t, c)
		conn := onlyConn(t, svc)
		wait := func(what string, do func() error) {
			t.Helper()
			begin := time.Now()
			wantCode(t, what, do(), bus.CodeDeadlineExceeded)
			if took := time.Since(begin); took != msgclient.DefaultTimeout {
				t.Errorf("%s took %s, want %s", what, took, msgclient.DefaultTimeout)
			}
		}
		wait("the client's request", func() error { return c.SendHandled(t.Context(), Job{}) })
		wait("the service's request", func() error { _, err := msgbus.Request[Told](t.Context(), conn, Ask{}); return err })
		wait("the service's SendHandled", func() error { return conn.SendHandled(t.Context(), Ask{}) })
		ping(t, c, 1)
		next(t, taps, "the line").turn(true)
		wait("the service's SendAcked", func() error { return conn.SendAcked(t.Context(), Note{}) })
	})
}

// An ack that cannot come any more is not waited for: with sessions that is so
// once the session has ended.
func TestAckWhenThePeerDies(t *testing.T) {
	t.Parallel()
	for _, window := range []time.Duration{-1, 20 * time.Second} {
		t.Run(window.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := newRoom(nil)
				svc.Window = window
				srv := bustest.NewServer(t, msgbus.Config{}, svc)
				dial, taps := tapped(srv.DialContext)
				c := srv.Client(msgclient.Config{DialContext: dial})
				if err := c.Connect(t.Context()); err != nil {
					t.Fatal(err)
				}
				next(t, taps, "the line").swallow()
				conn := onlyConn(t, svc)
				const waiters = 10
				ends := make(chan error, 2*waiters)
				for range waiters {
					go func() { ends <- conn.SendAcked(t.Context(), Note{}) }()
					go func() { ends <- c.SendAcked(t.Context(), Job{}) }()
				}
				synctest.Wait()
				begin := time.Now()
				srv.Cut()
				if window > 0 {
					time.Sleep(window)
					_ = c.Close(t.Context()) // it does not run, and has no connection: only this ends its session
				}
				for range 2 * waiters {
					wantCode(t, "SendAcked", next(t, ends, "the end of SendAcked"), bus.CodeSessionLost)
				}
				if took := time.Since(begin); took != max(0, window) {
					t.Errorf("it took %s, want %s", took, max(0, window))
				}
			})
		})
	}
}
