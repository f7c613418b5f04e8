package msgbus_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/internal/wire"
	"busd/msgbus"
	"busd/msgclient"
)

// moving is the hello by which a client leaves a connection that is still there.
func (r *raw) moving() wire.HelloFrame {
	hello := r.again()
	hello.Move = true
	return hello
}

// A client that moves has its next connection before the last one ends: OnConnect
// comes before OnDrop, nothing is lost meanwhile, and a client that forgets to go
// is shown out.
func TestMove(t *testing.T) {
	t.Parallel()
	for name, goes := range map[string]bool{"and goes": true, "and stays": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := newRoom(nil)
				var s story
				follow(svc, &s)
				srv := bustest.NewServer(t, msgbus.Config{}, svc)
				first := greet(t, srv, svc, nil, aHello("pilot"))
				if err := svc.SendTo(t.Context(), "dns:agent/pilot", Note{ID: 1}); err != nil {
					t.Fatal(err)
				}
				first.until(wire.Data)
				second := greet(t, srv, svc, nil, first.moving())
				second.wantResumed("")
				if err := svc.SendTo(t.Context(), "dns:agent/pilot", Note{ID: 2}); err != nil {
					t.Fatal(err)
				}
				if f := second.until(wire.Data); f.N != 2 {
					t.Errorf("got frame %d on the second connection, want 2", f.N)
				}
				second.send(Job{})
				second.until(wire.Ack)
				if conn := onlyConn(t, svc); string(conn.TRID()) != second.welcome.TRID { // else who sends to all would send twice
					t.Errorf("connection %s is listed, want %s alone", conn.TRID(), second.welcome.TRID)
				}
				want := []string{"0s connect 1", "0s connect 2, resumed", "10s drop 1: unavailable"}
				if goes {
					first.cut()
					want[2] = "0s drop 1: unavailable"
				} else {
					wantCode(t, "the drop of the first", first.drop(first.until(wire.Drop)), bus.CodeUnavailable)
					first.cut()
				}
				synctest.Wait()
				if got := s.soFar(); !slices.Equal(got, want) {
					t.Errorf("got  %v\nwant %v", got, want)
				}
				onlyConn(t, svc)
			})
		})
	}
}

// A move from a connection that is gone already is a resume like others.
func TestMoveFromAConnectionThatIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		var s story
		svc.OnDrop = func(context.Context, *msgbus.Conn, error) { time.Sleep(time.Second) }
		follow(svc, &s)
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		first := greet(t, srv, svc, nil, aHello("pilot"))
		first.cut()
		synctest.Wait()
		greet(t, srv, svc, nil, first.moving()).wantResumed("")
		want := []string{"0s connect 1", "1s drop 1: unavailable", "1s connect 2, resumed"}
		if got := s.soFar(); !slices.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	})
}

// A client that gives a move up and comes again, moving or not, while OnConnect of
// the connection that it has given up runs: the newest has the session, and what
// comes of the older attempt takes nothing from it.
func TestMoveIsOvertaken(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		moves    bool // the third connection is a move too
		stubborn bool // OnConnect of the second does not look at its context
		want     []string
	}{
		"by another move": {
			true, false,
			[]string{"0s connect 1", "0s connect 2, resumed", "1s connect 3, resumed", "11s drop 1: unavailable"},
		},
		"by a resume": {
			false, false,
			[]string{"0s connect 1", "0s connect 2, resumed", "1s drop 1: unavailable", "1s connect 3, resumed"},
		},
		"by another move, for which it does not stop": {
			true, true,
			[]string{"0s connect 1", "0s connect 2, resumed", "6s connect 3, resumed", "8s drop 2: unavailable", "16s drop 1: unavailable"},
		},
		"by a resume, for which it does not stop": {
			false, true,
			[]string{"0s connect 1", "0s connect 2, resumed", "1s drop 1: unavailable", "6s connect 3, resumed", "8s drop 2: unavailable"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := newRoom(nil)
				var s story
				svc.OnConnect = func(ctx context.Context, c *msgbus.Conn) error {
					switch {
					case c.Args()["hang"] != true:
						return nil
					case tt.stubborn:
						time.Sleep(8 * time.Second)
						return nil // whoever it is that has come
					}
					<-ctx.Done()
					return ctx.Err()
				}
				follow(svc, &s)
				srv := bustest.NewServer(t, msgbus.Config{}, svc)
				first := greet(t, srv, svc, nil, aHello("pilot"))
				hangs := first.moving()
				hangs.Args, _ = wire.AppendArgs(map[string]any{"hang": true})
				second := begin(t, srv, svc, nil, hangs)
				go first.ended()
				time.Sleep(time.Second)
				hello := first.moving()
				hello.Move = tt.moves
				third := greet(t, srv, svc, nil, hello)
				third.wantResumed("")
				second.hear()
				wantCode(t, "the refusal of the second", second.refused, bus.CodeUnavailable)
				time.Sleep(time.Minute)
				if got := s.soFar(); !slices.Equal(got, tt.want) {
					t.Errorf("got  %v\nwant %v", got, tt.want)
				}
				third.send(Job{})
				third.until(wire.Ack)
				if conn := onlyConn(t, svc); string(conn.TRID()) != third.welcome.TRID {
					t.Errorf("connection %s is there, want %s", conn.TRID(), third.welcome.TRID)
				}
			})
		})
	}
}

// A service that does not take a client that moves keeps the connection that it
// has.
func TestMoveIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		var s story
		svc.OnConnect = func(_ context.Context, c *msgbus.Conn) error {
			if c.Resumed() {
				return bus.Errorf(bus.CodeFailedPrecondition, "not now")
			}
			return nil
		}
		follow(svc, &s)
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		first := greet(t, srv, svc, nil, aHello("pilot"))
		for range 3 { // its token stays good
			if second := greet(t, srv, svc, nil, first.moving()); second.refused == nil {
				t.Fatal("it was not refused")
			}
		}
		first.send(Job{})
		first.until(wire.Ack)
		time.Sleep(time.Minute)
		ok := onlyConn(t, svc).Context().Err() == nil
		want := []string{"0s connect 1", "0s connect 2, resumed", "0s connect 3, resumed", "0s connect 4, resumed"}
		if got := s.soFar(); !ok || !slices.Equal(got, want) {
			t.Errorf("the connection lives %t\ngot  %v\nwant %v", ok, got, want)
		}
	})
}

// A client moves back and forth under load, in both directions: each message is
// handled once and in order, no OnDrop runs at the client, and one for each
// connection at the service.
func TestMovesAreNotNoticed(t *testing.T) {
	t.Parallel()
	const messages, moves = 3000, 10
	atService, atClient := newLedger(), newLedger()
	svc := newRoom(func(_ context.Context, _ *msgbus.Conn, m Job) error { atService.note(m.ID); return nil })
	var s story
	follow(svc, &s)
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	c := srv.Client(msgclient.Config{
		Instance: "pilot",
		OnDrop:   func(_ context.Context, _ *msgclient.Client, why error) { t.Errorf("OnDrop: %v", why) },
	})
	msgclient.On(c, func(_ context.Context, _ *msgclient.Client, m Note) error { atClient.note(m.ID); return nil })
	bustest.Run(t, c)
	sent := make(chan error, 2)
	go func() {
		for id := range int64(messages) {
			if err := c.Send(t.Context(), Job{ID: id}); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	go func() {
		for id := range int64(messages) {
			if err := svc.SendTo(t.Context(), "dns:agent/pilot", Note{ID: id}); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for range moves {
		if err := c.Reconnect(t.Context()); err != nil {
			t.Fatalf("Reconnect: %v", err)
		}
	}
	for range 2 {
		if err := next(t, sent, "the end of sending"); err != nil {
			t.Error(err)
		}
	}
	atService.wantAll(t, "at the service", messages)
	atClient.wantAll(t, "at the client", messages)
	if c.Connects() != moves+1 {
		t.Errorf("got %d connections, want %d", c.Connects(), moves+1)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	srv.Stop() // every callback has been called
	connects, drops, gone := 0, 0, 0
	for _, event := range s.soFar() {
		switch _, what, _ := strings.Cut(event, " "); {
		case strings.HasPrefix(what, "connect"):
			connects++
		case strings.HasPrefix(what, "drop"):
			drops++
		case strings.HasPrefix(what, "gone"):
			gone++
		}
	}
	if connects != moves+1 || drops != moves+1 || gone != 1 {
		t.Errorf("got %d connects, %d drops, %d gone; want %d, %d and 1", connects, drops, gone, moves+1, moves+1)
	}
}
