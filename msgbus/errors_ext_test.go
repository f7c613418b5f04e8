package msgbus_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// failures are the ways in which a Job can fail, and what its sender is told.
var failures = map[string]struct {
	fail   func() error
	code   bus.Code
	reason string
	stays  bool // whatever the rule says, the connection goes on
}{
	"a plain error": {
		fail: func() error { return errors.New("internal detail") }, code: bus.CodeUnknown, reason: "the handler failed",
	},
	"an error of the bus": {
		fail: func() error { return bus.Errorf(bus.CodeOutOfRange, "job 7 is from the future") },
		code: bus.CodeOutOfRange, reason: "job 7 is from the future",
	},
	"a wrapped one": {
		fail: func() error {
			return errors.Join(errors.New("internal detail"), bus.Errorf(bus.CodeNotFound, "no such file"))
		},
		code: bus.CodeNotFound, reason: "no such file",
	},
	"its time was over": {
		fail: func() error { return context.DeadlineExceeded }, code: bus.CodeDeadlineExceeded, reason: "the time allowed was over",
	},
	"a panic": {
		fail: func() error { panic("internal detail") }, code: bus.CodeInternal, reason: "the handler panicked",
	},
	"the end of its goroutine": {
		fail: func() error { runtime.Goexit(); return nil }, code: bus.CodeInternal, reason: "the handler panicked",
	},
	"no permission": {
		fail: func() error { return bus.Errorf(bus.CodePermissionDenied, "not for you") },
		code: bus.CodePermissionDenied, reason: "not for you", stays: true,
	},
}

// TestErrorRule walks the rule: what fails in a request is its answer, and the
// connection lives; what fails in a one-way message is told, and the connection
// ends, unless the receiver keeps it.
func TestErrorRule(t *testing.T) {
	t.Parallel()
	for name, f := range failures {
		for _, mode := range []string{"request", "one-way", "one-way, the message keeps", "one-way, the service keeps"} {
			t.Run(mode+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					svc := &msgbus.Service{Schema: room, KeepOnError: mode == "one-way, the service keeps"}
					handler := msgbus.Handle(svc, func(_ context.Context, _ *msgbus.Conn, m Job) error {
						if m.Do == "fail" {
							return f.fail()
						}
						return nil
					})
					if mode == "one-way, the message keeps" {
						handler.KeepOnError()
					}
					msgbus.Handle(svc, func(ctx context.Context, c *msgbus.Conn, m Ping) error { return c.Reply(ctx, Pong(m)) })
					msgbus.Handle(svc, func(context.Context, *msgbus.Conn, Told) error { return nil })
					srv := bustest.NewServer(t, msgbus.Config{}, svc)
					told, dropped := make(chan error, 9), make(chan error, 9)
					c := srv.Client(msgclient.Config{
						OnError: func(_ *msgclient.Client, err error) { told <- err },
						OnDrop:  func(_ context.Context, _ *msgclient.Client, why error) { dropped <- why },
					})
					if err := c.Connect(t.Context()); err != nil {
						t.Fatal(err)
					}
					ping(t, c, 1)

					var failed error
					ends := mode == "one-way" && !f.stays
					if mode == "request" {
						failed = c.SendHandled(t.Context(), Job{Do: "fail"})
					} else {
						if err := c.Send(t.Context(), Job{Do: "fail"}); err != nil {
							t.Fatal(err)
						}
						failed = next(t, told, "the error frame")
					}
					e := wantCode(t, "what the sender is told", failed, f.code)
					if e.Reason != f.reason || !e.Remote {
						t.Errorf("got %v, remote %t; want reason %q, remote", e, e.Remote, f.reason)
					}
					synctest.Wait()
					none(t, told, "a second error")
					if !ends {
						ping(t, c, 2)
						none(t, dropped, "OnDrop")
						return
					}
					why := wantCode(t, "OnDrop", next(t, dropped, "OnDrop"), f.code)
					if why.Retry.When != bus.RetryAfter || !why.Remote {
						t.Errorf("got retry %s, remote %t; want after, true", why.Retry.When, why.Remote)
					}
				})
			})
		}
	}
}

// A message that the service may get and does not handle: as the rule says.
func TestNobodyHandles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
		told, dropped := make(chan error, 1), make(chan error, 1)
		c := srv.Client(msgclient.Config{
			OnError: func(_ *msgclient.Client, err error) { told <- err },
			OnDrop:  func(_ context.Context, _ *msgclient.Client, why error) { dropped <- why },
		})
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		e := wantCode(t, "the request", c.SendHandled(t.Context(), Blob{}), bus.CodeUnimplemented)
		if e.Reason != "nobody handles message Blob here" || !e.Remote {
			t.Errorf("got %v", e)
		}
		ping(t, c, 1)
		// SendAcked says that it was read, checked and queued; not that it was handled.
		if err := c.SendAcked(t.Context(), Blob{}); err != nil && bus.CodeOf(err) != bus.CodeSessionLost {
			t.Errorf("SendAcked: got %v", err)
		}
		wantCode(t, "OnError", next(t, told, "the error frame"), bus.CodeUnimplemented)
		wantCode(t, "OnDrop", next(t, dropped, "the drop"), bus.CodeUnimplemented)
	})
}

// A failed message ends its own connection and no other.
func TestFailureHurtsNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(func(context.Context, *msgbus.Conn, Job) error { panic("ouch") })
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		bad, good := srv.Client(msgclient.Config{}), srv.Client(msgclient.Config{})
		for _, c := range []*msgclient.Client{bad, good} {
			if err := c.Connect(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := bad.Send(t.Context(), Job{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if bad.Connected() {
			t.Error("the connection of the failed message goes on")
		}
		ping(t, good, 1)
		failed := 0
		for _, m := range srv.Stats()[0].Messages {
			failed += int(m.Failed)
		}
		if failed != 1 {
			t.Errorf("got %d failures counted, want 1", failed)
		}
	})
}

// The program's own mistakes are found as it starts.
func TestMistakesOfTheProgram(t *testing.T) {
	t.Parallel()
	handle := func(context.Context, *msgbus.Conn, Job) error { return nil }
	for name, mistake := range map[string]func(){
		"no schema":             func() { msgbus.Handle(new(msgbus.Service), handle) },
		"not in the contract":   func() { msgbus.Handle(&msgbus.Service{Schema: pingPong}, handle) },
		"two handlers":          func() { msgbus.Handle(newRoom(nil), handle) },
		"clients never send it": func() { msgbus.HandleRecord(newRoom(nil), "Pong", nil) },
		"does not fit": func() {
			msgbus.Handle(newRoom(nil), func(context.Context, *msgbus.Conn, misfit) error { return nil })
		},
		"none at once": func() { msgbus.Handle(&msgbus.Service{Schema: room}, handle).AtOnce(0) },
		"too late": func() {
			svc := newRoom(nil)
			if _, err := msgbus.NewServer(msgbus.Config{}, svc); err != nil {
				t.Error(err)
			}
			msgbus.HandleRecord(svc, "Blob", nil)
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			mistake()
		}()
	}
	used := newRoom(nil)
	if _, err := msgbus.NewServer(msgbus.Config{}, used); err != nil {
		t.Fatal(err)
	}
	aliased := newRoom(nil)
	aliased.Aliases = []string{"not a name"}
	greedy := newRoom(nil)
	greedy.MaxMessage = 1 << 20
	huge := newRoom(nil)
	huge.Credit, huge.MaxMessage = 8<<20, 512<<10+1
	failing := newRoom(nil)
	failing.Init = func(context.Context) error { return errors.New("no database") }
	for name, tt := range map[string]struct {
		cfg  msgbus.Config
		svcs []*msgbus.Service
	}{
		"no schema":                {svcs: []*msgbus.Service{{}}},
		"no handler":               {svcs: []*msgbus.Service{{Schema: pingPong}}},
		"two of a name":            {svcs: []*msgbus.Service{newRoom(nil), newRoom(nil)}},
		"an alias that is no name": {svcs: []*msgbus.Service{aliased}},
		"a message over a quarter": {svcs: []*msgbus.Service{greedy}},
		"a message over 512 KiB":   {svcs: []*msgbus.Service{huge}},
		"another server's":         {svcs: []*msgbus.Service{used}},
		"Init fails":               {svcs: []*msgbus.Service{failing}},
		"a peer name of no kind":   {cfg: msgbus.Config{PeerName: []string{"nickname"}}},
		"idle before keep-alive":   {cfg: msgbus.Config{KeepAlive: 10, Idle: 20}},
		"fewer than none":          {cfg: msgbus.Config{MaxConns: -1}},
		"before it began":          {cfg: msgbus.Config{HelloTimeout: -1}},
	} {
		if _, err := msgbus.NewServer(tt.cfg, tt.svcs...); err == nil {
			t.Errorf("%s: a server was made", name)
		}
	}
}

// misfit calls itself Blob and is not.
type misfit struct {
	Data int64 `bus:"data"`
}

func (misfit) MessageName() string { return "Blob" }

func TestInitRunsOnceAndMaySend(t *testing.T) {
	t.Parallel()
	runs := 0
	svc := newRoom(nil)
	svc.Init = func(ctx context.Context) error {
		runs++
		if err := svc.SendTo(ctx, "dns:nobody/x", Note{}); bus.CodeOf(err) != bus.CodeNotFound {
			t.Errorf("SendTo inside Init: got %v, want not_found", err)
		}
		return svc.Broadcast(ctx, Note{})
	}
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	for range 3 {
		ping(t, srv.Connect(msgclient.Config{}), 1)
	}
	if runs != 1 {
		t.Errorf("Init ran %d times, want 1", runs)
	}
}

// Before it has a server a service reaches nobody, and says so.
func TestServiceWithoutAServer(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	if _, ok := svc.Conn(bus.NewTRID()); ok || len(svc.Conns()) != 0 {
		t.Error("a service without a server has connections")
	}
	for what, err := range map[string]error{
		"Send":      svc.Send(t.Context(), bus.NewTRID(), Note{}),
		"SendTo":    svc.SendTo(t.Context(), "dns:x/y", Note{}),
		"Broadcast": svc.Broadcast(t.Context(), Note{}),
		"a group's": svc.Group("g").Broadcast(t.Context(), Note{}),
	} {
		wantCode(t, what, err, bus.CodeNotFound)
	}
}

// A server whose service could not begin may be made again, of the same
// services.
func TestNewServerAgain(t *testing.T) {
	t.Parallel()
	first, second := newRoom(nil), newPingPong()
	broken := errors.New("no database")
	second.Init = func(context.Context) error { return broken }
	if _, err := msgbus.NewServer(msgbus.Config{}, first, second); !errors.Is(err, broken) {
		t.Fatalf("got %v, want Init's error", err)
	}
	broken = nil
	srv := bustest.NewServer(t, msgbus.Config{}, first, second)
	ping(t, srv.Connect(msgclient.Config{}), 1)
}
