package msgbus_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

func TestOrderOfTenThousand(t *testing.T) {
	t.Parallel()
	const n = 10_000
	var want int64
	atWork := make(chan struct{}, 1)
	done := make(chan struct{})
	svc := newRoom(func(_ context.Context, _ *msgbus.Conn, m Job) error {
		select {
		case atWork <- struct{}{}:
		default:
			t.Error("two messages of one connection are handled at once")
		}
		if m.ID != want {
			t.Errorf("got message %d, want %d", m.ID, want)
		}
		want++
		<-atWork
		if want == n {
			close(done)
		}
		return nil
	})
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	back := make(chan struct{})
	c := srv.Client(msgclient.Config{})
	var wantNote int64
	msgclient.On(c, func(_ context.Context, _ *msgclient.Client, m Note) error {
		if m.ID != wantNote {
			t.Errorf("got note %d, want %d", m.ID, wantNote)
		}
		if wantNote++; wantNote == n {
			close(back)
		}
		return nil
	})
	bustest.Run(t, c)
	conn := onlyConn(t, svc)
	var sending sync.WaitGroup
	sending.Go(func() {
		for i := range int64(n) {
			if err := conn.Send(t.Context(), Note{ID: i, Text: "some text to fill the buffers"}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range int64(n) {
		if err := c.Send(t.Context(), Job{ID: i, Do: "some text to fill the buffers"}); err != nil {
			t.Fatal(err)
		}
	}
	sending.Wait()
	next(t, done, "the last message")
	next(t, back, "the last note")
}

// One-way messages, requests and their answers keep the order of sending too.
func TestOrderOfMessagesAndRequests(t *testing.T) {
	t.Parallel()
	var got []int64
	svc := newRoom(func(_ context.Context, _ *msgbus.Conn, m Job) error { got = append(got, m.ID); return nil })
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	c := srv.Connect(msgclient.Config{})
	for i := int64(0); i < 300; i += 3 {
		if err := c.Send(t.Context(), Job{ID: i}); err != nil {
			t.Fatal(err)
		}
		if err := c.SendHandled(t.Context(), Job{ID: i + 1}); err != nil {
			t.Fatal(err)
		}
		if err := c.SendAcked(t.Context(), Job{ID: i + 2}); err != nil {
			t.Fatal(err)
		}
	}
	ping(t, c, 1) // all before it has been handled
	for i, id := range got {
		if id != int64(i) {
			t.Fatalf("message %d was handled as number %d", id, i)
		}
	}
	if len(got) != 300 {
		t.Errorf("got %d messages, want 300", len(got))
	}
}

func TestAtOnce(t *testing.T) {
	t.Parallel()
	const most = 3
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		busy, peak := 0, 0
		var begun []int64
		svc := &msgbus.Service{Schema: room}
		msgbus.Handle(svc, func(_ context.Context, _ *msgbus.Conn, m Job) error {
			mu.Lock()
			begun = append(begun, m.ID)
			busy++
			peak = max(peak, busy)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			busy--
			mu.Unlock()
			return nil
		}).AtOnce(most)
		msgbus.Handle(svc, func(ctx context.Context, c *msgbus.Conn, m Ping) error { return c.Reply(ctx, Pong(m)) })
		msgbus.Handle(svc, func(context.Context, *msgbus.Conn, Told) error { return nil })
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		c := srv.Connect(msgclient.Config{})

		begin := time.Now()
		for i := range int64(12) { // each comes alone: between them nothing waits
			if err := c.Send(t.Context(), Job{ID: i}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		time.Sleep(3500 * time.Millisecond)
		mu.Lock()
		if peak != most || len(begun) != 12 || busy != most {
			t.Errorf("after %s: got %d at once, %d begun, %d at work; want %d, 12, %d", time.Since(begin), peak, len(begun), busy, most, most)
		}
		mu.Unlock()
		time.Sleep(time.Second)

		begin = time.Now()
		var all sync.WaitGroup
		for i := range int64(12) {
			all.Go(func() {
				if err := c.SendHandled(t.Context(), Job{ID: i}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if took := time.Since(begin); took != 4*time.Second || peak != most {
			t.Errorf("12 requests of 1 s took %s with %d at once, want 4s and %d", took, peak, most)
		}
		for i, id := range begun[:12] {
			if off := id - int64(i); off <= -most || off >= most { // those begun at one moment race
				t.Errorf("began %v, want the order of sending", begun[:12])
				break
			}
		}
	})
}

// Connections run concurrently: one that hangs keeps no other waiting.
func TestConnectionsRunConcurrently(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	svc := newRoom(func(context.Context, *msgbus.Conn, Job) error { <-release; return nil })
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	hanging, other := srv.Connect(msgclient.Config{}), srv.Connect(msgclient.Config{})
	if err := hanging.SendAcked(t.Context(), Job{}); err != nil {
		t.Fatal(err)
	}
	ping(t, other, 1)
	close(release)
	ping(t, hanging, 2)
}

// What a handler is given is its own: no later message shows through it.
func TestMessagesBelongToTheirHandler(t *testing.T) {
	t.Parallel()
	var kept []Blob
	svc := newRoom(nil)
	msgbus.Handle(svc, func(_ context.Context, _ *msgbus.Conn, m Blob) error { kept = append(kept, m); return nil })
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	c := srv.Connect(msgclient.Config{})
	for i := range byte(200) {
		if err := c.Send(t.Context(), Blob{Data: []byte{i, i, i}}); err != nil {
			t.Fatal(err)
		}
	}
	ping(t, c, 1)
	for i, m := range kept {
		if string(m.Data) != string([]byte{byte(i), byte(i), byte(i)}) {
			t.Fatalf("message %d has become %v", i, m.Data)
		}
	}
	if len(kept) != 200 {
		t.Errorf("got %d messages, want 200", len(kept))
	}
}
