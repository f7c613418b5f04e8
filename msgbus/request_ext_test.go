package msgbus_test

import (
	"context"
	"errors"
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

// Both ends ask each other inside handlers of the same connection: neither
// blocks its reader.
func TestHandlersAskEachOther(t *testing.T) {
	t.Parallel()
	svc := newRoom(func(ctx context.Context, c *msgbus.Conn, m Job) error {
		told, err := msgbus.Request[Told](ctx, c, Ask{ID: m.ID})
		if err != nil {
			return err
		}
		return c.Reply(ctx, Note{ID: told.ID})
	})
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	c := srv.Client(msgclient.Config{})
	msgclient.On(c, func(ctx context.Context, c *msgclient.Client, m Ask) error {
		return c.Reply(ctx, Told{ID: m.ID * 10})
	})
	deep := make(chan error, 1)
	msgclient.On(c, func(ctx context.Context, c *msgclient.Client, m Pong) error { // a one-way message
		note, err := msgclient.Request[Note](ctx, c, Ping{ID: m.ID})
		_ = note
		deep <- err
		return nil
	})
	bustest.Run(t, c)
	note, err := msgclient.Request[Note](t.Context(), c, Job{ID: 4})
	if err != nil || note.ID != 40 {
		t.Fatalf("got %v, %v; want 40", note, err)
	}
	if err := onlyConn(t, svc).Send(t.Context(), Pong{ID: 1}); err != nil {
		t.Fatal(err)
	}
	// The answer was a Pong, as Ping's is: a reply of another type is an error.
	wantCode(t, "Request[Note] of a Ping", next(t, deep, "the answer inside a handler"), bus.CodeSchemaMismatch)
}

func TestRequestOfTheService(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	c := srv.Client(msgclient.Config{})
	msgclient.On(c, func(ctx context.Context, c *msgclient.Client, m Ask) error {
		switch m.ID {
		case 1:
			return bus.Errorf(bus.CodeOutOfRange, "no")
		case 2:
			return nil
		}
		return c.Reply(ctx, Told(m))
	})
	bustest.Run(t, c)
	conn := onlyConn(t, svc)
	if told, err := msgbus.Request[Told](t.Context(), conn, Ask{ID: 7}); err != nil || told.ID != 7 {
		t.Errorf("got %v, %v", told, err)
	}
	_, err := msgbus.Request[Told](t.Context(), conn, Ask{ID: 1})
	if e := wantCode(t, "an error", err, bus.CodeOutOfRange); !e.Remote || e.Reason != "no" {
		t.Errorf("got %v, remote %t", e, e.Remote)
	}
	_, err = msgbus.Request[Told](t.Context(), conn, Ask{ID: 2})
	wantCode(t, "no reply", err, bus.CodeFailedPrecondition)
	if err := conn.SendHandled(t.Context(), Ask{ID: 2}); err != nil {
		t.Errorf("SendHandled: %v", err)
	}
	if err := conn.SendHandled(t.Context(), Pong{}); bus.CodeOf(err) != bus.CodeUnimplemented {
		t.Errorf("a request that the client does not handle: got %v, want unimplemented", err)
	}
	if err := conn.SendHandled(t.Context(), Ping{}); bus.CodeOf(err) != bus.CodeUnimplemented {
		t.Errorf("a message that only clients send: got %v, want unimplemented", err)
	}
}

func TestSendHandledWaitsForTheHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var handled atomic.Bool
		svc := newRoom(func(context.Context, *msgbus.Conn, Job) error {
			time.Sleep(7 * time.Second)
			handled.Store(true)
			return nil
		})
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		c := srv.Connect(msgclient.Config{})
		begin := time.Now()
		if err := c.SendAcked(t.Context(), Job{}); err != nil {
			t.Fatal(err)
		}
		if handled.Load() || time.Since(begin) > time.Second {
			t.Errorf("SendAcked returned after %s, handled %t; want at once, before the handler", time.Since(begin), handled.Load())
		}
		if err := c.SendHandled(t.Context(), Ping{}); err != nil { // its Pong is thrown away
			t.Fatal(err)
		}
		if !handled.Load() {
			t.Error("a later message was handled before an earlier one")
		}
		_, err := msgclient.Request[Note](t.Context(), c, Job{})
		wantCode(t, "a request without a reply", err, bus.CodeFailedPrecondition)
	})
}

// The time and the cancel of a request reach its handler, whether it runs, waits
// in the queue, or has not been written.
func TestRequestTimeoutAndCancel(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		end  func(context.Context) (context.Context, context.CancelFunc)
		code bus.Code
	}{
		"timeout": {
			func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, 5*time.Second)
			}, bus.CodeDeadlineExceeded,
		},
		"cancel": {
			func(ctx context.Context) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(ctx)
				time.AfterFunc(5*time.Second, cancel)
				return ctx, cancel
			}, bus.CodeCanceled,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ends := make(chan error, 9)
				svc := newRoom(func(ctx context.Context, _ *msgbus.Conn, m Job) error {
					if m.Do == "busy" {
						time.Sleep(8 * time.Second)
						return nil
					}
					if _, ok := ctx.Deadline(); !ok {
						t.Error("the handler's context has no deadline: a client's request always has one")
					}
					<-ctx.Done()
					ends <- context.Cause(ctx)
					return ctx.Err()
				})
				srv := bustest.NewServer(t, msgbus.Config{}, svc)
				c := srv.Connect(msgclient.Config{OnError: func(_ *msgclient.Client, err error) {
					t.Errorf("OnError: %v: it is for one-way messages", err)
				}})
				for _, busy := range []bool{false, true} {
					if busy { // two waiting behind it: one in the batch with it, one later
						if err := c.Send(t.Context(), Job{Do: "busy"}); err != nil {
							t.Fatal(err)
						}
					}
					ctx, cancel := tt.end(t.Context())
					begin := time.Now()
					var all sync.WaitGroup
					for range 2 {
						all.Go(func() {
							err := c.SendHandled(ctx, Job{})
							if took := time.Since(begin); bus.CodeOf(err) != tt.code || took != 5*time.Second {
								t.Errorf("busy %t: got %v after %s, want %s after 5s", busy, err, took, tt.code)
							}
						})
						if !busy {
							break
						}
						synctest.Wait()
					}
					all.Wait()
					cancel()
					for range map[bool]int{false: 1, true: 2}[busy] {
						// When time is over at both ends in the same moment, the
						// client's cancel may come first.
						err := next(t, ends, "the end of the handler's context")
						if code := bus.CodeOf(err); code != tt.code && code != bus.CodeCanceled {
							t.Errorf("busy %t: the handler's context ended with %v, want %s", busy, err, tt.code)
						}
					}
					want := 5 * time.Second
					if busy {
						want = 8 * time.Second
					}
					if took := time.Since(begin).Round(100 * time.Millisecond); took != want {
						t.Errorf("busy %t: handlers ended after %s, want %s", busy, took, want)
					}
				}
				ping(t, c, 1)
			})
		})
	}
}

// A request that was given up before it was written is never written, and
// gives the room back that it took.
func TestRequestWithdrawnBeforeItIsWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		svc := newRoom(func(context.Context, *msgbus.Conn, Job) error { <-release; return nil })
		svc.Credit = 64 << 10
		withdrawn, last := 0, 0
		msgbus.Handle(svc, func(_ context.Context, _ *msgbus.Conn, m Blob) error {
			if m.Data[0] == 0 {
				withdrawn++
			} else {
				last++
			}
			return nil
		})
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		c := srv.Connect(msgclient.Config{})
		if err := c.Send(t.Context(), Job{}); err != nil { // keeps the service busy
			t.Fatal(err)
		}
		// 96 blobs of 15 KiB are more than the credit and the buffer together.
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		blob := make([]byte, 15<<10)
		for range 96 {
			all.Go(func() {
				if err := c.SendHandled(ctx, Blob{Data: blob}); bus.CodeOf(err) != bus.CodeCanceled {
					t.Errorf("got %v, want canceled", err)
				}
			})
		}
		synctest.Wait()
		sent := make(chan error, 1)
		go func() { sent <- c.Send(t.Context(), Blob{Data: append([]byte{1}, blob...)}) }()
		synctest.Wait()
		none(t, sent, "the last message while there is no room")
		cancel()
		all.Wait()
		if err := next(t, sent, "the last message, though the service is still busy"); err != nil {
			t.Error(err)
		}
		close(release)
		if err := c.SendHandled(t.Context(), Job{}); err != nil {
			t.Fatal(err)
		}
		if last != 1 || withdrawn > 4 {
			t.Errorf("the service handled the last %d times and %d withdrawn ones; want 1, and at most those that had credit", last, withdrawn)
		}
	})
}

func TestReply(t *testing.T) {
	t.Parallel()
	handlerCtx := make(chan context.Context, 1)
	svc := newRoom(func(ctx context.Context, c *msgbus.Conn, m Job) error {
		switch m.Do {
		case "twice":
			if err := c.Reply(ctx, Note{ID: 1}); err != nil {
				t.Error(err)
			}
			if err := c.Reply(ctx, Note{ID: 2}); bus.CodeOf(err) != bus.CodeFailedPrecondition {
				t.Errorf("the second reply: got %v, want failed_precondition", err)
			}
			return bus.Errorf(bus.CodeInternal, "after the reply: only logged")
		case "late":
			handlerCtx <- ctx
		case "another":
			for _, other := range c.Service().Conns() {
				if other != c && bus.CodeOf(other.Reply(ctx, Note{})) != bus.CodeFailedPrecondition {
					t.Error("another connection answered this one's request")
				}
			}
		case "not mine":
			if err := c.Reply(ctx, Ping{}); bus.CodeOf(err) != bus.CodeUnimplemented {
				t.Errorf("a reply that only clients send: got %v, want unimplemented", err)
			}
			return c.Reply(ctx, Note{ID: 3})
		default:
			return c.Reply(ctx, Note{ID: m.ID})
		}
		return nil
	})
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	notes := make(chan int64, 1)
	c := srv.Client(msgclient.Config{})
	msgclient.On(c, func(_ context.Context, _ *msgclient.Client, m Note) error { notes <- m.ID; return nil })
	bustest.Run(t, c)
	conn := onlyConn(t, svc)
	srv.Connect(msgclient.Config{})

	if err := conn.Reply(t.Context(), Note{}); bus.CodeOf(err) != bus.CodeFailedPrecondition {
		t.Errorf("outside a handler: got %v, want failed_precondition", err)
	}
	if err := c.Reply(t.Context(), Told{}); bus.CodeOf(err) != bus.CodeFailedPrecondition {
		t.Errorf("outside a client's handler: got %v, want failed_precondition", err)
	}
	for do, want := range map[string]int64{"twice": 1, "not mine": 3} {
		note, err := msgclient.Request[Note](t.Context(), c, Job{Do: do})
		if err != nil || note.ID != want {
			t.Errorf("%s: got %v, %v; want %d", do, note, err, want)
		}
	}
	for _, do := range []string{"another", "late"} {
		if err := c.SendHandled(t.Context(), Job{Do: do}); err != nil {
			t.Errorf("%s: %v", do, err)
		}
	}
	if err := c.Send(t.Context(), Job{Do: "another"}); err != nil {
		t.Fatal(err)
	}
	// The handler has returned, and its request has the empty answer.
	if err := conn.Reply(next(t, handlerCtx, "the handler"), Note{}); bus.CodeOf(err) != bus.CodeFailedPrecondition {
		t.Errorf("after the handler: got %v, want failed_precondition", err)
	}
	// To a one-way message the reply is a message like others.
	if err := c.Send(t.Context(), Job{ID: 9}); err != nil {
		t.Fatal(err)
	}
	if got := next(t, notes, "the reply to a one-way message"); got != 9 {
		t.Errorf("got %d, want 9", got)
	}
}

// Without sessions a request whose peer goes away ends at once, at either side,
// and says that its fate is not known. With one it waits on, and ends with that.
func TestRequestsEndWithTheSession(t *testing.T) {
	t.Parallel()
	for _, window := range []time.Duration{-1, 30 * time.Second} {
		t.Run(window.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := newRoom(func(ctx context.Context, _ *msgbus.Conn, _ Job) error { <-ctx.Done(); return ctx.Err() })
				svc.Window = window
				srv := bustest.NewServer(t, msgbus.Config{}, svc)
				c := srv.Client(msgclient.Config{})
				msgclient.On(c, func(ctx context.Context, _ *msgclient.Client, _ Ask) error { <-ctx.Done(); return ctx.Err() })
				if err := c.Connect(t.Context()); err != nil {
					t.Fatal(err)
				}
				conn := onlyConn(t, svc)
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				atClient, atService := make(chan error, 1), make(chan error, 1)
				go func() { atClient <- c.SendHandled(ctx, Job{}) }()
				go func() { atService <- conn.SendHandled(ctx, Ask{}) }()
				synctest.Wait()
				begin := time.Now()
				srv.Cut()
				if window > 0 {
					time.Sleep(window - time.Second)
					none(t, atClient, "the end of the client's request")
					none(t, atService, "the end of the service's request")
					time.Sleep(time.Second)
					_ = c.Close(t.Context()) // it does not run, and has no connection: only this ends its session
				}
				for who, end := range map[string]chan error{"the client": atClient, "the service": atService} {
					err := next(t, end, "the end of a request of "+who)
					wantCode(t, "a request of "+who, err, bus.CodeSessionLost)
					if !errors.Is(err, bus.ErrDropped) {
						t.Errorf("%s: got %v, want one that is dropped", who, err)
					}
				}
				if took := time.Since(begin); took != max(0, window) {
					t.Errorf("the requests ended after %s, want %s", took, max(0, window))
				}
			})
		})
	}
}
