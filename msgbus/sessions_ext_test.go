package msgbus_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/internal/wire"
	"busd/msgbus"
	"busd/msgclient"
)

// A client that comes back after a cut has a new connection of the same session:
// both ends are told, and what belongs to the session is still there.
func TestResumeAfterACut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		conns := make(chan *msgbus.Conn, 9)
		svc.OnConnect = func(_ context.Context, c *msgbus.Conn) error {
			if !c.Resumed() {
				c.SetState("mine")
				svc.Group("all").Add(c)
			}
			conns <- c
			return nil
		}
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		c := srv.Client(msgclient.Config{Instance: "pilot"})
		notes := make(chan int64, 99)
		msgclient.On(c, func(_ context.Context, _ *msgclient.Client, m Note) error { notes <- m.ID; return nil })
		bustest.Run(t, c)
		first := next(t, conns, "the first connection")
		srv.Cut()
		second := next(t, conns, "the second connection")
		ping(t, c, 1)

		if first.Resumed() || !second.Resumed() || c.Resumption() != (msgclient.Resumption{Resumed: true}) {
			t.Errorf("got resumed %t, then %t, the client says %+v; want false, true, and true", first.Resumed(), second.Resumed(), c.Resumption())
		}
		if first.TRID() == second.TRID() || first.Identity() != second.Identity() || first.Context().Err() == nil || second.Context().Err() != nil {
			t.Errorf("got %s and %s of %s and %s", first.TRID(), second.TRID(), first.Identity(), second.Identity())
		}
		if second.State() != "mine" || !slices.Equal(svc.Group("all").Conns(), []*msgbus.Conn{second}) {
			t.Errorf("got state %v, in the group %v; want both as they were", second.State(), svc.Group("all").Conns())
		}
		// All ways to send reach it, those to the first connection too.
		for id, err := range []error{
			first.Send(t.Context(), Note{ID: 0}), second.Send(t.Context(), Note{ID: 1}), svc.Send(t.Context(), second.TRID(), Note{ID: 2}),
			svc.SendTo(t.Context(), "dns:agent/pilot", Note{ID: 3}), svc.Broadcast(t.Context(), Note{ID: 4}), svc.Group("all").Broadcast(t.Context(), Note{ID: 5}),
		} {
			if err != nil {
				t.Errorf("note %d: %v", id, err)
			}
			if got := next(t, notes, "a note"); got != int64(id) {
				t.Errorf("got note %d, want %d", got, id)
			}
		}
		if st := srv.Stats()[0]; st.Resumed != 1 || st.Connects != 2 || st.Sessions != 1 || len(st.NotResumed) != 0 {
			t.Errorf("counted: %d resumed, %d connects, %d sessions, not resumed %v; want 1, 2, 1, none", st.Resumed, st.Connects, st.Sessions, st.NotResumed)
		}
	})
}

// What is sent to a client that is away waits for it, in order, whoever sends.
// Requests and SendAcked wait on.
func TestSendToAClientThatIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		c := srv.Client(msgclient.Config{Instance: "pilot"})
		notes := make(chan int64, 99)
		msgclient.On(c, func(_ context.Context, _ *msgclient.Client, m Note) error { notes <- m.ID; return nil })
		msgclient.On(c, func(ctx context.Context, c *msgclient.Client, m Ask) error { return c.Reply(ctx, Told(m)) })
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		conn := onlyConn(t, svc)
		svc.Group("all").Add(conn)
		srv.Cut()
		synctest.Wait()
		if len(svc.Conns()) != 0 || len(svc.Group("all").Conns()) != 0 {
			t.Fatalf("got %d connections, %d in the group; want none", len(svc.Conns()), len(svc.Group("all").Conns()))
		}
		wantCode(t, "Send to the connection that is gone", svc.Send(t.Context(), conn.TRID(), Note{}), bus.CodeNotFound)
		for id, err := range []error{
			conn.Send(t.Context(), Note{ID: 0}), svc.SendTo(t.Context(), "dns:agent/pilot", Note{ID: 1}),
			svc.Broadcast(t.Context(), Note{ID: 2}), svc.Group("all").Broadcast(t.Context(), Note{ID: 3}),
			srv.Deliver(msgbus.Delivery{Service: svc.Name(), Identity: "dns:agent/pilot", Frame: relayed(t, Note{ID: 4})}),
		} {
			if err != nil {
				t.Errorf("note %d: %v", id, err)
			}
		}
		acked, asked := make(chan error, 1), make(chan error, 1)
		go func() { acked <- conn.SendAcked(t.Context(), Note{ID: 5}) }()
		go func() { _, err := msgbus.Request[Told](t.Context(), conn, Ask{ID: 1}); asked <- err }()
		time.Sleep(20 * time.Second)
		none(t, notes, "a note for a client that is away")
		none(t, acked, "its ack")
		none(t, asked, "its answer")
		if sessions, bytes := srv.SessionsAtRest(); sessions != 1 || bytes == 0 {
			t.Errorf("at rest: %d sessions with %d bytes, want 1 with some", sessions, bytes)
		}

		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		for id := range int64(6) {
			if got := next(t, notes, "a note"); got != id {
				t.Errorf("got note %d, want %d", got, id)
			}
		}
		if err := next(t, acked, "the ack"); err != nil {
			t.Errorf("SendAcked: %v", err)
		}
		if err := next(t, asked, "the answer"); err != nil {
			t.Errorf("Request: %v", err)
		}
		if sessions, bytes := srv.SessionsAtRest(); sessions != 0 || bytes != 0 {
			t.Errorf("at rest: %d sessions with %d bytes, want none", sessions, bytes)
		}
	})
}

// relayed is a message as another node's relay brings it.
func relayed(t *testing.T, m Note) []byte {
	t.Helper()
	found, _ := wire.Compile(room).Message(m.MessageName())
	frame, err := wire.AppendData(nil, found, m, wire.DataOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

// A handler that runs when the line is cut notices nothing: its context lives,
// its requests are answered, its reply arrives, though on another connection.
func TestHandlerRunsThroughACut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun, goOn := make(chan struct{}), make(chan struct{})
		svc := newRoom(func(ctx context.Context, c *msgbus.Conn, m Job) error {
			close(begun)
			<-goOn
			if ctx.Err() != nil || c.Context().Err() == nil {
				t.Errorf("the handler's context: %v, the connection's: %v; want only the second to have ended", ctx.Err(), c.Context().Err())
			}
			told, err := msgbus.Request[Told](ctx, c, Ask{ID: m.ID})
			if err != nil {
				return err
			}
			return c.Reply(ctx, Note{ID: told.ID})
		})
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		c := srv.Client(msgclient.Config{})
		msgclient.On(c, func(ctx context.Context, c *msgclient.Client, m Ask) error { return c.Reply(ctx, Told{ID: m.ID * 10}) })
		bustest.Run(t, c)
		answer := make(chan Note, 1)
		go func() {
			note, err := msgclient.Request[Note](t.Context(), c, Job{ID: 4})
			if err != nil {
				t.Errorf("Request: %v", err)
			}
			answer <- note
		}()
		next(t, begun, "the handler")
		for range 3 {
			srv.Cut()
			time.Sleep(5 * time.Second) // it is back
			onlyConn(t, svc)
		}
		close(goOn)
		if got := next(t, answer, "the answer"); got.ID != 40 {
			t.Errorf("got %v, want 40", got)
		}
	})
}

// What arrived before the cut and was not handled yet waits for the next
// connection, and for its OnConnect; so do handlers that were running for what
// comes after them.
func TestWhatArrivedIsHandledOnTheNextConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s story
		goOn := make(chan struct{})
		svc := newRoom(func(_ context.Context, c *msgbus.Conn, m Job) error {
			if m.ID == 0 {
				<-goOn
			}
			s.tell("handled " + string('0'+rune(m.ID)) + resumedOr(c, " on the first"))
			return nil
		})
		svc.OnConnect = func(_ context.Context, c *msgbus.Conn) error {
			time.Sleep(time.Second)
			s.tell("connected" + resumedOr(c, ""))
			return nil
		}
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		r := greet(t, srv, svc, nil, aHello("pilot"))
		for id := range int64(3) {
			r.send(Job{ID: id})
			r.until(wire.Ack)
		}
		synctest.Wait() // the first handler runs
		r.cut()
		synctest.Wait()
		close(goOn)
		synctest.Wait()
		again := greet(t, srv, svc, nil, r.again())
		again.wantResumed("")
		if again.welcome.Seen != 3 {
			t.Errorf("the welcome says that frame %d was seen, want 3", again.welcome.Seen)
		}
		synctest.Wait()
		want := []string{"connected", "handled 0 on the first", "connected, resumed", "handled 1, resumed", "handled 2, resumed"}
		if got := s.soFar(); !slices.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	})
}

func resumedOr(c *msgbus.Conn, otherwise string) string {
	if c.Resumed() {
		return ", resumed"
	}
	return otherwise
}

// A client may find out long before its service that a line is dead. Its session
// goes on elsewhere at once, and nobody is superseded.
func TestResumeWhileTheOldLineLooksAlive(t *testing.T) {
	t.Parallel()
	for name, dead := range map[string]bool{"and is": false, "and takes nothing": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := newRoom(nil)
				dropped, gone := make(chan error, 9), make(chan error, 9)
				svc.OnDrop = func(_ context.Context, _ *msgbus.Conn, why error) { dropped <- why }
				svc.OnGone = func(_ context.Context, _ bus.Identity, why error) { gone <- why }
				srv := bustest.NewServer(t, msgbus.Config{}, svc)
				r := greet(t, srv, svc, nil, aHello("pilot"))
				if dead {
					r.line.turn(true)
				}
				begin := time.Now()
				again := greet(t, srv, svc, nil, r.again())
				again.wantResumed("")
				wantCode(t, "OnDrop of the old one", next(t, dropped, "OnDrop"), bus.CodeUnavailable)
				if took := time.Since(begin); took != 0 {
					t.Errorf("it took %s, want no time", took)
				}
				again.send(Job{ID: 1})
				again.until(wire.Ack)
				none(t, gone, "the end of the session")
				onlyConn(t, svc)
			})
		})
	}
}

// A service may keep no sessions, and a client may know of none: then there is
// nothing in the welcome to come back with, and a cut is the end.
func TestNoSessions(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		window   time.Duration
		features []string
	}{
		"the service keeps none":   {-1, []string{wire.FeatureResume}},
		"the client knows of none": {0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := newRoom(nil)
				svc.Window = tt.window
				var s story
				follow(svc, &s)
				srv := bustest.NewServer(t, msgbus.Config{}, svc)
				hello := aHello("pilot")
				hello.Features = tt.features
				r := greet(t, srv, svc, nil, hello)
				if w := r.welcome; w.Session != "" || w.Token != nil || w.WindowMS != 0 || slices.Contains(w.Features, wire.FeatureResume) {
					t.Errorf("the welcome has session %q, a token of %d bytes, a window of %d ms, features %v; want none", w.Session, len(w.Token), w.WindowMS, w.Features)
				}
				r.cut()
				synctest.Wait()
				want := []string{"0s connect 1", "0s drop 1: unavailable", "0s gone: unavailable"}
				if got := s.soFar(); !slices.Equal(got, want) {
					t.Errorf("got  %v\nwant %v", got, want)
				}
				if sessions, _ := srv.SessionsAtRest(); sessions != 0 || srv.Stats()[0].Sessions != 0 {
					t.Errorf("got %d sessions at rest, %d in all; want none", sessions, srv.Stats()[0].Sessions)
				}
			})
		})
	}
}
