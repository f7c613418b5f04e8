package msgclient_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
	"busd/schema"
)

// A session that cannot be resumed. What was written and not acknowledged is
// counted, and told before OnConnect; a request and a SendAcked of which it is not
// known whether they arrived fail. What had not been written yet, of either kind,
// goes on in the new session, and nobody notices.
func TestWhatIsLostIsTold(t *testing.T) {
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
		var tale story
		var deep atomic.Bool
		c := srv.Connect(msgclient.Config{
			DialContext: sunk(here.DialContext, &deep),
			OnConnect:   func(_ context.Context, c *msgclient.Client) { tale.tell(fmt.Sprintf("connect %+v", c.Resumption())) },
			OnDrop:      func(context.Context, *msgclient.Client, error) { tale.tell("drop") },
			OnError:     func(_ *msgclient.Client, err error) { tale.tell(err.Error()) },
		})
		ask := func(id int64) (acked, answered chan error) {
			acked, answered = make(chan error, 1), make(chan error, 1)
			go func() { acked <- c.SendAcked(t.Context(), Job{ID: id}) }()
			synctest.Wait()
			go func() {
				_, err := msgclient.Request[Pong](t.Context(), c, Ping{ID: id})
				answered <- err
			}()
			synctest.Wait()
			return acked, answered
		}
		deep.Store(true)
		for id := range int64(3) {
			send(t, c, -id)
		}
		acked, answered := ask(-9) // written, and they never arrive
		here.opens(nil)
		srv.Cut()
		synctest.Wait()
		send(t, c, 1)
		send(t, c, 2)
		later, laterAnswered := ask(3) // not written
		here.opens(newServer())
		wantCode(t, "SendAcked that was written", next(t, acked, "SendAcked"), bus.CodeSessionLost)
		wantCode(t, "Request that was written", next(t, answered, "Request"), bus.CodeSessionLost)
		if err := next(t, later, "SendAcked"); err != nil {
			t.Errorf("SendAcked that was not written: %v", err)
		}
		if err := next(t, laterAnswered, "Request"); err != nil {
			t.Errorf("Request that was not written: %v", err)
		}
		synctest.Wait() // for OnConnect, and for the handler of what was acknowledged
		if !slices.Equal(got.so(), upTo(3)) {
			t.Errorf("the services got %v, want 1, 2, 3", got.so())
		}
		want := []string{
			"connect {Resumed:false Reason: Lost:0}",
			"drop",
			"session_lost: the session ended: of 3 messages it is not known whether they arrived",
			"connect {Resumed:false Reason:restarted Lost:3}",
		}
		if !slices.Equal(tale.soFar(), want) {
			t.Errorf("got %q, want %q", tale.soFar(), want)
		}
	})
}

// More is sent during a cut than is kept: Send waits for room. When the session
// cannot go on, it waits no longer, and everything arrives in order.
func TestSendWaitsForRoomInTheNextSession(t *testing.T) {
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
		c := srv.Connect(msgclient.Config{DialContext: here.DialContext})
		here.opens(nil)
		srv.Cut()
		synctest.Wait()
		const jobs = 30 // of 100 KB: 1 MiB is kept
		sent := make(chan error, jobs)
		go func() {
			for id := range int64(jobs) {
				sent <- c.Send(t.Context(), Job{ID: id + 1, Do: strings.Repeat("x", 100_000)})
			}
		}()
		synctest.Wait()
		if n := len(sent); n != 10 {
			t.Errorf("%d messages were taken during the cut, want 10", n)
		}
		here.opens(newServer())
		for range jobs {
			if err := next(t, sent, "the outcome of Send"); err != nil {
				t.Fatal(err)
			}
		}
		ping(t, c, 1)
		wantResumption(t, c, msgclient.Resumption{Reason: "restarted"})
		if !slices.Equal(got.so(), upTo(jobs)) {
			t.Errorf("the service got %v, want 1 to %d", got.so(), jobs)
		}
	})
}

// What was encoded for a contract that is not the service's any more cannot be
// sent: it is lost, and told. A request that nobody has written is encoded anew.
func TestContractChangesBetweenSessions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got ids
		var here place
		srv := bustest.NewServer(t, msgbus.Config{Node: "one"}, newRoom(nil))
		here.opens(srv)
		told := make(chan error, 9)
		c := srv.Connect(msgclient.Config{
			DialContext: here.DialContext,
			OnError:     func(_ *msgclient.Client, err error) { told <- err },
		})
		here.opens(nil)
		srv.Cut()
		synctest.Wait()
		send(t, c, -1)
		send(t, c, -2)
		answered := make(chan error, 1)
		go func() {
			_, err := msgclient.Request[Pong](t.Context(), c, Ping{ID: 1})
			answered <- err
		}()
		synctest.Wait()

		later := &msgbus.Service{Schema: schema.MustNew("Test/Room",
			schema.Of[Ping](schema.FromClient), schema.Of[Pong](schema.FromService), schema.Of[Job](schema.FromClient))}
		msgbus.Handle(later, func(ctx context.Context, c *msgbus.Conn, m Ping) error { return c.Reply(ctx, Pong(m)) })
		msgbus.Handle(later, func(_ context.Context, _ *msgbus.Conn, m Job) error { got.add(m.ID); return nil })
		here.opens(bustest.NewServer(t, msgbus.Config{Node: "one"}, later))
		if err := next(t, answered, "the answer"); err != nil {
			t.Errorf("Request: %v", err)
		}
		wantCode(t, "OnError", next(t, told, "what was lost"), bus.CodeSessionLost)
		wantResumption(t, c, msgclient.Resumption{Reason: "restarted", Lost: 2})
		send(t, c, 1)
		ping(t, c, 2)
		if !slices.Equal(got.so(), upTo(1)) {
			t.Errorf("the new service got %v, want 1", got.so())
		}
		none(t, told, "a second report")
	})
}
