package msgbus_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// audience connects n clients that hand over the notes they get.
func audience(t *testing.T, srv *bustest.Server, n int) (clients []*msgclient.Client, notes []chan int64) {
	t.Helper()
	conf := bustest.ClientTLS(t, bustest.DefaultPeer)
	for i := range n {
		c := srv.Client(msgclient.Config{TLS: conf, Instance: fmt.Sprint("listener-", i)})
		heard := make(chan int64, 1000)
		msgclient.On(c, func(_ context.Context, _ *msgclient.Client, m Note) error { heard <- m.ID; return nil })
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		clients, notes = append(clients, c), append(notes, heard)
	}
	return clients, notes
}

func TestBroadcast(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	other := newPingPong()
	srv := bustest.NewServer(t, msgbus.Config{}, svc, other)
	_, notes := audience(t, srv, 20)
	stranger := srv.Client(msgclient.Config{URL: "wss://" + bustest.Host + "/Framework/PingPong", Strict: true})
	if err := stranger.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	for id := range int64(5) {
		if err := svc.Broadcast(t.Context(), Note{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	for i, heard := range notes {
		for id := range int64(5) {
			if got := next(t, heard, "a note"); got != id {
				t.Errorf("listener %d: got note %d, want %d", i, got, id)
			}
		}
	}
	ping(t, stranger, 1) // another service's client heard nothing
	wantCode(t, "Broadcast of what clients send", svc.Broadcast(t.Context(), Ping{}), bus.CodeUnimplemented)
	wantCode(t, "Broadcast of what the contract has not", other.Broadcast(t.Context(), Note{}), bus.CodeUnimplemented)
}

func TestGroups(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(func(_ context.Context, c *msgbus.Conn, m Job) error {
			group := c.Service().Group("even")
			switch m.Do {
			case "join":
				group.Add(c)
				group.Add(c)
			case "leave":
				group.Remove(c)
			}
			return nil
		})
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		clients, notes := audience(t, srv, 4)
		group := svc.Group("even")
		if group.Name() != "even" || len(group.Conns()) != 0 {
			t.Errorf("got group %q with %d members", group.Name(), len(group.Conns()))
		}
		tell := func(id int64, want ...int) {
			t.Helper()
			if err := group.Broadcast(t.Context(), Note{ID: id}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if n := len(group.Conns()); n != len(want) {
				t.Errorf("note %d: got %d members, want %d", id, n, len(want))
			}
			for _, i := range want {
				if got := next(t, notes[i], "a note for a member"); got != id {
					t.Errorf("member %d: got %d, want %d", i, got, id)
				}
			}
			for i := range notes {
				none(t, notes[i], fmt.Sprintf("a second note %d, or one for %d, who is no member", id, i))
			}
		}
		do := func(i int, what string) {
			t.Helper()
			if err := clients[i].SendHandled(t.Context(), Job{Do: what}); err != nil {
				t.Fatal(err)
			}
		}
		tell(1)
		do(0, "join")
		do(2, "join")
		tell(2, 0, 2)
		do(2, "leave")
		do(3, "leave")
		tell(3, 0)
		do(2, "join")
		first, _ := clients[0].TRID()
		conn, _ := svc.Conn(first)
		if err := clients[0].Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		tell(4, 2) // membership ended with the connection
		group.Add(conn)
		tell(5, 2) // and does not come back
		wantCode(t, "Broadcast to a group of what clients send", group.Broadcast(t.Context(), Ping{}), bus.CodeUnimplemented)
	})
}

// One listener does not read. The others hear everything; it is dropped as a
// slow consumer, and what is kept for it is bounded.
//
//nolint:paralleltest // it measures memory
func TestBroadcastWithOneStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		dropped := make(chan error, 9)
		svc.OnDrop = func(_ context.Context, _ *msgbus.Conn, why error) { dropped <- why }
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		_, notes := audience(t, srv, 3)
		dial, taps := tapped(srv.DialContext)
		stalled := srv.Client(msgclient.Config{DialContext: dial, Instance: "stalled"})
		if err := stalled.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		next(t, taps, "the line").turn(true)

		text := strings.Repeat("x", 10<<10)
		heap := heapInUse()
		begin := time.Now()
		var most int
		for id := range int64(500) { // 5 MB; credit and buffer are 1 MiB each
			if err := svc.Broadcast(t.Context(), Note{ID: id, Text: text}); err != nil {
				t.Fatal(err)
			}
			for i, heard := range notes {
				if got := next(t, heard, "a note"); got != id {
					t.Fatalf("listener %d: got note %d, want %d", i, got, id)
				}
			}
			most = max(most, srv.Stats()[0].QueuedMax)
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("the others waited %s", took)
		}
		if most > 1<<20 {
			t.Errorf("up to %d bytes were kept for one connection, want at most 1 MiB", most)
		}
		if grown := heapInUse() - heap; grown > 20<<20 {
			t.Errorf("memory grew by %d bytes", grown)
		}
		wantCode(t, "OnDrop", next(t, dropped, "the drop of the stalled one"), bus.CodeSlowConsumer)
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("it was gone after %s, want at most 10s", took)
		}
		if n := len(svc.Conns()); n != 3 {
			t.Errorf("got %d connections, want 3", n)
		}
	})
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

// A handler at the client that hangs gives no credit back: the same end, though
// the client reads.
func TestSlowHandlerIsASlowConsumer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		dropped := make(chan error, 1)
		c := srv.Client(msgclient.Config{OnDrop: func(_ context.Context, _ *msgclient.Client, why error) { dropped <- why }})
		msgclient.On(c, func(ctx context.Context, _ *msgclient.Client, _ Note) error { <-ctx.Done(); return nil })
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		text := strings.Repeat("x", 100<<10)
		for range 30 {
			if err := svc.Broadcast(t.Context(), Note{Text: text}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		// The choked connection can still be told.
		e := wantCode(t, "OnDrop", next(t, dropped, "the drop"), bus.CodeSlowConsumer)
		if !e.Remote || e.Retry.When != bus.RetryAfter {
			t.Errorf("got %+v, want it from the service, retry after", e)
		}
	})
}

func TestSendToOneOfMany(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	clients, notes := audience(t, srv, 3)
	trid, _ := clients[1].TRID()
	if err := svc.Send(t.Context(), trid, Note{ID: 1}); err != nil {
		t.Fatal(err)
	}
	if err := svc.SendTo(t.Context(), clients[2].Identity(), Note{ID: 2}); err != nil {
		t.Fatal(err)
	}
	if a, b := next(t, notes[1], "by TRID"), next(t, notes[2], "by identity"); a != 1 || b != 2 {
		t.Errorf("got %d and %d, want 1 and 2", a, b)
	}
	none(t, notes[0], "a note for nobody")

	for what, err := range map[string]error{
		"an unknown TRID":      svc.Send(t.Context(), bus.NewTRID(), Note{}),
		"an unknown identity":  svc.SendTo(t.Context(), "dns:nobody/pilot", Note{}),
		"an identity's prefix": svc.SendTo(t.Context(), "dns:agent", Note{}),
	} {
		wantCode(t, what, err, bus.CodeNotFound)
	}
	wantCode(t, "a message that clients send", svc.Send(t.Context(), trid, Ping{}), bus.CodeUnimplemented)
	for i, c := range clients { // a failed send hurts nobody
		ping(t, c, int64(i))
	}
}

// Senders from anywhere, clients coming and going: nothing is lost that was
// accepted for a connection that stays.
func TestBroadcastWhileClientsComeAndGo(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	_, notes := audience(t, srv, 2)
	conf := bustest.ClientTLS(t, bustest.DefaultPeer)
	var churn sync.WaitGroup
	for range 3 {
		churn.Go(func() {
			for range 5 {
				c := srv.Client(msgclient.Config{TLS: conf})
				if err := c.Connect(t.Context()); err != nil {
					t.Error(err)
				}
				_ = c.Close(t.Context()) // what it may miss is not the matter
			}
		})
	}
	const n = 500
	for id := range int64(n) {
		if err := svc.Broadcast(t.Context(), Note{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	churn.Wait()
	for i, heard := range notes {
		for id := range int64(n) {
			if got := next(t, heard, "a note"); got != id {
				t.Fatalf("listener %d: got note %d, want %d", i, got, id)
			}
		}
	}
}
