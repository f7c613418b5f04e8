package msgclient_test

import (
	"context"
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

// A client that moves again and again while messages go both ways: each is handled
// once and in order, requests are answered, and nobody is told of a drop.
func TestReconnectUnderTraffic(t *testing.T) {
	t.Parallel()
	const messages, moves = 3000, 20
	var atService, atClient ids
	gone := make(chan error, 1)
	svc := newRoom(func(_ context.Context, _ *msgbus.Conn, m Job) error { atService.add(m.ID); return nil })
	svc.OnGone = func(_ context.Context, _ bus.Identity, why error) { gone <- why }
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	trids := map[bus.TRID]bool{}
	c := srv.Client(msgclient.Config{
		OnConnect: func(_ context.Context, c *msgclient.Client) {
			trid, _ := c.TRID()
			trids[trid] = true
		},
		OnDrop:  func(_ context.Context, _ *msgclient.Client, why error) { t.Errorf("OnDrop: %v", why) },
		OnError: func(_ *msgclient.Client, err error) { t.Errorf("OnError: %v", err) },
	})
	msgclient.On(c, func(_ context.Context, _ *msgclient.Client, m Note) error { atClient.add(m.ID); return nil })
	bustest.Run(t, c)
	name, conn := c.Identity(), svc.Conns()[0]
	var all sync.WaitGroup
	all.Go(func() {
		for id := range int64(messages) {
			if err := c.Send(t.Context(), Job{ID: id + 1}); err != nil {
				t.Errorf("Job %d: %v", id+1, err)
				return
			}
		}
	})
	all.Go(func() {
		for id := range int64(messages) { // on the first connection, which is soon gone
			if err := conn.Send(t.Context(), Note{ID: id + 1}); err != nil {
				t.Errorf("Note %d: %v", id+1, err)
				return
			}
		}
	})
	stop := make(chan struct{})
	all.Go(func() {
		for id := int64(0); ; id++ {
			select {
			case <-stop:
				return
			default:
			}
			if pong, err := msgclient.Request[Pong](t.Context(), c, Ping{ID: id}); err != nil || pong.ID != id {
				t.Errorf("Ping %d: got %v, %v", id, pong, err)
				return
			}
		}
	})
	for i := range moves {
		if err := c.Reconnect(t.Context()); err != nil {
			t.Errorf("move %d: %v", i, err)
		}
		wantResumption(t, c, msgclient.Resumption{Resumed: true})
	}
	close(stop)
	all.Wait()
	if c.Identity() != name || c.Connects() != moves+1 {
		t.Errorf("got identity %s, %d connections; want %s, %d", c.Identity(), c.Connects(), name, moves+1)
	}
	none(t, gone, "OnGone")
	if err := conn.SendHandled(t.Context(), Note{ID: messages + 1}); err != nil {
		t.Error(err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	wantCode(t, "OnGone", next(t, gone, "OnGone"), bus.CodeGoingAway)
	if !slices.Equal(atService.so(), upTo(messages)) {
		t.Errorf("the service got %d messages, want 1 to %d in order", len(atService.so()), messages)
	}
	if !slices.Equal(atClient.so(), upTo(messages+1)) {
		t.Errorf("the client got %d messages, want 1 to %d in order", len(atClient.so()), messages+1)
	}
	if len(trids) != moves+1 {
		t.Errorf("got %d TRIDs, want %d", len(trids), moves+1)
	}
}

// Where the service keeps no sessions a client that moves finishes here what it has
// begun, and goes on there. Nothing is lost or doubled either, and what there was no
// credit for goes there.
func TestReconnectWithoutSessions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got ids
		svc := newRoom(func(_ context.Context, _ *msgbus.Conn, m Job) error {
			time.Sleep(20 * time.Millisecond)
			got.add(m.ID)
			return nil
		})
		svc.Window, svc.Credit = -1, 4<<10
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		c := srv.Connect(msgclient.Config{
			OnDrop:  func(_ context.Context, _ *msgclient.Client, why error) { t.Errorf("OnDrop: %v", why) },
			OnError: func(_ *msgclient.Client, err error) { t.Errorf("OnError: %v", err) },
		})
		trid, _ := c.TRID()
		answered := make(chan error, 1)
		for id := range int64(100) { // credit is for 64
			send(t, c, id+1)
			if id == 10 {
				go func() {
					_, err := msgclient.Request[Pong](t.Context(), c, Ping{})
					answered <- err
				}()
				synctest.Wait()
			}
		}
		moved := make(chan error, 1)
		go func() { moved <- c.Reconnect(t.Context()) }()
		synctest.Wait()
		send(t, c, 101) // while it leaves
		if err := next(t, moved, "the end of Reconnect"); err != nil {
			t.Errorf("Reconnect: %v", err)
		}
		if err := next(t, answered, "the answer"); err != nil {
			t.Errorf("a request under way: %v", err)
		}
		if now, _ := c.TRID(); now == trid || c.Connects() != 2 {
			t.Errorf("got TRID %s after %s, %d connections; want a new one, 2", now, trid, c.Connects())
		}
		ping(t, c, 1)
		if !slices.Equal(got.so(), upTo(101)) {
			t.Errorf("the service got %v, want 1 to 101", got.so())
		}
		wantResumption(t, c, msgclient.Resumption{})
	})
}

// Where that takes too long, what the service may not have got is counted, and
// told.
func TestReconnectLosesWithoutSessions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got ids
		svc := newRoom(func(_ context.Context, _ *msgbus.Conn, m Job) error { got.add(m.ID); return nil })
		svc.Window = -1
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		told := make(chan error, 9)
		var deep atomic.Bool
		c := srv.Connect(msgclient.Config{
			DialContext: sunk(srv.DialContext, &deep),
			OnDrop:      func(_ context.Context, _ *msgclient.Client, why error) { t.Errorf("OnDrop: %v", why) },
			OnError:     func(_ *msgclient.Client, err error) { told <- err },
		})
		if err := c.SendAcked(t.Context(), Job{ID: 1}); err != nil {
			t.Fatal(err)
		}
		deep.Store(true)
		send(t, c, -1)
		send(t, c, -2)
		synctest.Wait()
		moved := make(chan error, 1)
		go func() { moved <- c.Reconnect(t.Context()) }()
		time.Sleep(5 * time.Second)
		send(t, c, 2) // while it leaves
		if err := next(t, moved, "the end of Reconnect"); err != nil {
			t.Errorf("Reconnect: %v", err)
		}
		wantCode(t, "OnError", next(t, told, "what was lost"), bus.CodeSessionLost)
		wantResumption(t, c, msgclient.Resumption{Lost: 2})
		ping(t, c, 1)
		if !slices.Equal(got.so(), upTo(2)) {
			t.Errorf("the service got %v, want 1, 2", got.so())
		}
	})
}

// Two who want the client to move at the same time get what they want from one
// move.
func TestReconnectTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
		slow := make(chan struct{})
		dials := 0
		c := srv.Connect(msgclient.Config{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if dials++; dials > 1 {
				<-slow
			}
			return srv.DialContext(ctx, network, address)
		}})
		moved := make(chan error, 3)
		for range 3 {
			go func() { moved <- c.Reconnect(t.Context()) }()
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantCode(t, "one who does not wait", c.Reconnect(ctx), bus.CodeDeadlineExceeded)
		close(slow)
		for range 3 {
			if err := next(t, moved, "the end of Reconnect"); err != nil {
				t.Errorf("Reconnect: %v", err)
			}
		}
		ping(t, c, 1)
		if c.Connects() != 2 {
			t.Errorf("got %d connections, want 2", c.Connects())
		}
	})
}

// Reconnect of a client that is not connected is an attempt to connect.
func TestReconnectWhileNotConnected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var here place
		srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
		c := srv.Client(msgclient.Config{DialContext: here.DialContext})
		wantCode(t, "before there is a server", c.Reconnect(t.Context()), bus.CodeUnavailable)
		here.opens(srv)
		if err := c.Reconnect(t.Context()); err != nil {
			t.Fatal(err)
		}
		ping(t, c, 1)
		go func() { _ = c.Run(t.Context()) }() // ends with the test
		here.opens(nil)
		srv.Cut()
		time.Sleep(10 * time.Minute) // Run waits for half a minute at a time
		here.opens(srv)
		if err := c.Reconnect(t.Context()); err != nil {
			t.Errorf("while Run waits: %v", err)
		}
		ping(t, c, 2)
		if c.Connects() != 2 {
			t.Errorf("got %d connections, want 2", c.Connects())
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		wantCode(t, "after Close", c.Reconnect(t.Context()), bus.CodeGoingAway)
	})
}
