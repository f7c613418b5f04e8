package msgclient_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// A handler that runs at the cut keeps its context, and its answer is sent once
// the session is resumed; what comes after it waits for it and for OnConnect.
func TestHandlerRunsOverACut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var here place
		svc := newRoom(nil)
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		here.opens(srv)
		var tale story
		release := make(chan struct{})
		c := srv.Client(msgclient.Config{
			DialContext: here.DialContext, MaxWait: time.Second,
			OnConnect: func(context.Context, *msgclient.Client) {
				time.Sleep(time.Second)
				tale.tell("connect")
			},
			OnDrop: func(context.Context, *msgclient.Client, error) { tale.tell("drop") },
		})
		msgclient.On(c, func(ctx context.Context, c *msgclient.Client, m Ask) error {
			tale.tell("asked")
			<-release
			if ctx.Err() != nil {
				t.Errorf("the handler's context ended: %v", context.Cause(ctx))
			}
			tale.tell("answers")
			return c.Reply(ctx, Told(m))
		})
		msgclient.On(c, func(context.Context, *msgclient.Client, Note) error { tale.tell("note"); return nil })
		bustest.Run(t, c)
		conn := svc.Conns()[0]
		answered := make(chan error, 1)
		go func() {
			told, err := msgbus.Request[Told](t.Context(), conn, Ask{ID: 5})
			if err == nil && told.ID != 5 {
				err = fmt.Errorf("got Told %d", told.ID)
			}
			answered <- err
		}()
		synctest.Wait()
		if err := conn.Send(t.Context(), Note{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		here.opens(nil)
		srv.Cut()
		time.Sleep(10 * time.Second)
		close(release) // while nothing carries the session
		synctest.Wait()
		here.opens(srv)
		if err := next(t, answered, "the answer"); err != nil {
			t.Errorf("the service's request over the cut: %v", err)
		}
		ping(t, c, 1)
		time.Sleep(2 * time.Second) // OnConnect takes one
		if got := fmt.Sprint(tale.soFar()); got != "[connect asked drop answers connect note]" {
			t.Errorf("got %s; want connect, asked, drop, answers, connect, note", got)
		}
	})
}

// A handler of a session that ended has no context any more. One that does not
// care keeps the next session's messages waiting: handlers run one at a time. And
// Close waits for it, though the connection that brought its message is long gone.
func TestHandlerOutlivesItsSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var here place
		svc := newRoom(nil)
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		here.opens(srv)
		c := srv.Client(msgclient.Config{DialContext: here.DialContext})
		blocked, ended := make(chan struct{}), make(chan error, 1)
		release := sync.OnceFunc(func() { close(blocked) })
		defer release()
		handled := make(chan int64, 2)
		msgclient.On(c, func(ctx context.Context, _ *msgclient.Client, m Note) error {
			if m.ID == 1 {
				<-ctx.Done()
				ended <- context.Cause(ctx)
				<-blocked
			}
			handled <- m.ID
			return nil
		})
		bustest.Run(t, c)
		note := func(svc *msgbus.Service, id int64) {
			t.Helper()
			if err := svc.Broadcast(t.Context(), Note{ID: id}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		note(svc, 1)
		other := newRoom(nil)
		here.opens(bustest.NewServer(t, msgbus.Config{}, other))
		srv.Cut()
		synctest.Wait()
		none(t, ended, "the end of the handler's context, before the session is known to be over")
		ping(t, c, 1)
		wantCode(t, "the handler's context", next(t, ended, "the end of its context"), bus.CodeUnavailable)
		note(other, 2)
		none(t, handled, "a handled message while the last session's handler runs")
		closed := make(chan error, 1)
		go func() { closed <- c.Close(t.Context()) }()
		time.Sleep(time.Minute)
		none(t, closed, "the end of Close before the last handler")
		release()
		if err := next(t, closed, "the end of Close"); err != nil {
			t.Errorf("Close: %v", err)
		}
		if id := next(t, handled, "the first"); id != 1 {
			t.Errorf("handled %d first, want 1", id)
		}
	})
}

// A service that ends a session in good order knows that what it sent has arrived.
// That is handled, before anything of the next session.
func TestWhatArrivedBeforeTheGoodbye(t *testing.T) {
	t.Parallel()
	for name, window := range map[string]time.Duration{"a session": 0, "no session": -1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var here place
				newServer := func() (*bustest.Server, *msgbus.Service) {
					svc := newRoom(nil)
					svc.Window = window
					return bustest.NewServer(t, msgbus.Config{Node: "one"}, svc), svc
				}
				srv, svc := newServer()
				here.opens(srv)
				var got ids
				c := srv.Client(msgclient.Config{DialContext: here.DialContext})
				msgclient.On(c, func(ctx context.Context, _ *msgclient.Client, m Note) error {
					time.Sleep(100 * time.Millisecond)
					if ctx.Err() != nil {
						t.Errorf("note %d: its context has ended: %v", m.ID, context.Cause(ctx))
					}
					got.add(m.ID)
					return nil
				})
				bustest.Run(t, c)
				const notes = 20 // two seconds' work; five are allowed after the goodbye
				for id := range int64(notes) {
					if err := svc.Conns()[0].SendAcked(t.Context(), Note{ID: id + 1}); err != nil {
						t.Fatal(err)
					}
				}
				srv.Stop()
				if n := len(got.so()); n >= notes {
					t.Fatalf("the server waited for all %d notes", n)
				}
				next, svc := newServer()
				here.opens(next)
				ping(t, c, 1)
				if err := svc.Conns()[0].SendHandled(t.Context(), Note{ID: notes + 1}); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got.so(), upTo(notes+1)) {
					t.Errorf("got %v, want 1 to %d", got.so(), notes+1)
				}
			})
		})
	}
}
