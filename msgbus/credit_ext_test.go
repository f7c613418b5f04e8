package msgbus_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// Send waits for room, as long as its context says; other connections, and
// control on the same one, notice nothing.
func TestSendWaitsForRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var handled []int64
		svc := newRoom(nil)
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		slow := srv.Client(msgclient.Config{})
		msgclient.On(slow, func(_ context.Context, _ *msgclient.Client, m Note) error {
			<-release
			handled = append(handled, m.ID)
			return nil
		})
		bustest.Run(t, slow)
		conn := onlyConn(t, svc)
		good := srv.Connect(msgclient.Config{})

		text := strings.Repeat("x", 64<<10)
		sent := int64(0)
		for {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			begin := time.Now()
			err := conn.Send(ctx, Note{ID: sent, Text: text})
			cancel()
			if err == nil {
				sent++
				if sent > 40 {
					t.Fatal("40 messages of 64 KiB found room in 2 MiB")
				}
				continue
			}
			wantCode(t, "Send", err, bus.CodeDeadlineExceeded)
			if took := time.Since(begin); took != 5*time.Second {
				t.Errorf("waited %s, want 5s", took)
			}
			break
		}
		if sent < 16 {
			t.Errorf("only %d messages of 64 KiB found room, want at least the credit of 1 MiB", sent)
		}
		ping(t, good, 1)
		ping(t, slow, 2) // its answer passes what waits for credit
		if !slow.Connected() {
			t.Error("the slow one was dropped by a Send that waits")
		}
		waiting := make(chan error, 1)
		go func() { waiting <- conn.Send(t.Context(), Note{ID: sent, Text: text}) }()
		synctest.Wait()
		none(t, waiting, "the message without room")
		close(release)
		if err := next(t, waiting, "the message, when there is room"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		for i, id := range handled {
			if id != int64(i) {
				t.Fatalf("message %d was handled as number %d", id, i)
			}
		}
		if len(handled) != int(sent)+1 {
			t.Errorf("handled %d messages, want %d", len(handled), sent+1)
		}
	})
}

// A waiting Send ends with its session, which without a window is its connection.
func TestSendThatWaitsEndsWithTheSession(t *testing.T) {
	t.Parallel()
	for window, code := range map[time.Duration]bus.Code{-1: bus.CodeAborted, 10 * time.Second: bus.CodeSessionLost} {
		t.Run(window.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := newRoom(nil)
				svc.Window = window
				srv := bustest.NewServer(t, msgbus.Config{}, svc)
				c := srv.Client(msgclient.Config{})
				msgclient.On(c, func(ctx context.Context, _ *msgclient.Client, _ Note) error { <-ctx.Done(); return nil })
				if err := c.Connect(t.Context()); err != nil {
					t.Fatal(err)
				}
				conn := onlyConn(t, svc)
				ends := make(chan error, 1)
				go func() {
					for {
						if err := conn.Send(t.Context(), Note{Text: strings.Repeat("x", 100<<10)}); err != nil {
							ends <- err
							return
						}
					}
				}()
				synctest.Wait()
				begin := time.Now()
				conn.Drop(bus.CodeAborted, "enough")
				wantCode(t, "Send", next(t, ends, "the end of Send"), code)
				if took := time.Since(begin); took != max(0, window) {
					t.Errorf("it ended after %s, want %s", took, max(0, window))
				}
			})
		})
	}
}

// With the least credit there is, a conversation is slow, not stuck.
func TestSmallCredit(t *testing.T) {
	t.Parallel()
	const n = 300
	done := make(chan struct{})
	count := 0
	svc := newRoom(func(_ context.Context, _ *msgbus.Conn, m Job) error {
		if count++; count == n {
			close(done)
		}
		return nil
	})
	svc.Credit = 4 << 10
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	c := srv.Client(msgclient.Config{Credit: 4 << 10})
	back := make(chan struct{})
	heard := 0
	msgclient.On(c, func(_ context.Context, _ *msgclient.Client, m Note) error {
		if heard++; heard == n {
			close(back)
		}
		return nil
	})
	bustest.Run(t, c)
	conn := onlyConn(t, svc)
	sent := make(chan error, 1)
	go func() {
		for i := range int64(n) {
			if err := conn.Send(t.Context(), Note{ID: i, Text: strings.Repeat("x", 900)}); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range int64(n) {
		if err := c.Send(t.Context(), Job{ID: i, Do: strings.Repeat("x", 900)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := next(t, sent, "the service's sends"); err != nil {
		t.Fatal(err)
	}
	next(t, done, "the last job")
	next(t, back, "the last note")
}
