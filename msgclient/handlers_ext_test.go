package msgclient_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
	"busd/schema"
)

// TestErrorRuleOfTheClient walks the rule at this end: what fails in a request
// is its answer; what fails in a one-way message is told, and the connection
// ends, unless the client keeps it.
func TestErrorRuleOfTheClient(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]struct {
		fail   func() error // nil: nobody handles it
		code   bus.Code
		reason string
		stays  bool
	}{
		"a plain error":            {fail: func() error { return errors.New("internal detail") }, code: bus.CodeUnknown, reason: "the handler failed"},
		"an error of the bus":      {fail: func() error { return bus.Errorf(bus.CodeOutOfRange, "too far") }, code: bus.CodeOutOfRange, reason: "too far"},
		"a panic":                  {fail: func() error { panic("internal detail") }, code: bus.CodeInternal, reason: "the handler panicked"},
		"the end of its goroutine": {fail: func() error { runtime.Goexit(); return nil }, code: bus.CodeInternal, reason: "the handler panicked"},
		"no permission":            {fail: func() error { return bus.Errorf(bus.CodePermissionDenied, "no") }, code: bus.CodePermissionDenied, reason: "no", stays: true},
		"nobody handles it":        {code: bus.CodeUnimplemented, reason: "the client does not handle message Ask"},
	} {
		for _, mode := range []string{"request", "one-way", "one-way, kept"} {
			t.Run(mode+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					svc := newRoom(nil)
					gone := make(chan error, 1)
					svc.OnDrop = func(_ context.Context, _ *msgbus.Conn, why error) { gone <- why }
					srv := bustest.NewServer(t, msgbus.Config{}, svc)
					reported, dropped := make(chan error, 9), make(chan error, 9)
					c := srv.Client(msgclient.Config{
						Strict: true, KeepOnError: mode == "one-way, kept",
						OnError: func(_ *msgclient.Client, err error) { reported <- err },
						OnDrop:  func(_ context.Context, _ *msgclient.Client, why error) { dropped <- why },
					})
					if f.fail != nil {
						msgclient.On(c, func(context.Context, *msgclient.Client, Ask) error { return f.fail() })
					}
					if err := c.Connect(t.Context()); err != nil {
						t.Fatal(err)
					}
					conn := svc.Conns()[0]
					ends := mode == "one-way" && !f.stays
					if mode == "request" {
						err := conn.SendHandled(t.Context(), Ask{})
						if e := wantCode(t, "the answer", err, f.code); !e.Remote || e.Reason != f.reason {
							t.Errorf("got %v, remote %t; want reason %q, remote", e, e.Remote, f.reason)
						}
					} else if err := conn.Send(t.Context(), Ask{}); err != nil {
						t.Fatal(err)
					}
					if e := wantCode(t, "OnError", next(t, reported, "the report"), f.code); e.Remote {
						t.Errorf("OnError: got %v from the service", e)
					}
					synctest.Wait()
					none(t, reported, "a second report")
					if !ends {
						ping(t, c, 1)
						none(t, dropped, "OnDrop")
						return
					}
					why := wantCode(t, "OnDrop", next(t, dropped, "OnDrop"), f.code)
					if why.Retry.When != bus.RetryAfter || why.Remote {
						t.Errorf("OnDrop: got retry %s, remote %t; want after, false", why.Retry.When, why.Remote)
					}
					e := wantCode(t, "OnDrop of the service", next(t, gone, "OnDrop of the service"), f.code)
					if !e.Remote || e.Reason != f.reason {
						t.Errorf("OnDrop of the service: got %v, remote %t; want reason %q", e, e.Remote, f.reason)
					}
				})
			})
		}
	}
}

// A client that is not strict ignores, and counts, what it has no handler for.
func TestIgnored(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	c := srv.Connect(msgclient.Config{})
	conn := svc.Conns()[0]
	for range 3 {
		if err := conn.Send(t.Context(), Note{}); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, "a request that nobody handles", conn.SendHandled(t.Context(), Ask{}), bus.CodeUnimplemented)
	ping(t, c, 1)
	if got := c.Ignored(); got != 4 {
		t.Errorf("got %d ignored, want 4", got)
	}
}

func TestHandlersComeAndGo(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	c := srv.Connect(msgclient.Config{KeepOnError: true})
	conn := svc.Conns()[0]
	var ran []string
	note := func(name string) func(context.Context, *msgclient.Client, Note) error {
		return func(_ context.Context, got *msgclient.Client, _ Note) error {
			if got != c {
				t.Error("the handler got another client")
			}
			ran = append(ran, name)
			return nil
		}
	}
	any := func(name string, fail error) func(context.Context, *msgclient.Client, *schema.Record) error {
		return func(_ context.Context, got *msgclient.Client, m *schema.Record) error {
			if got != c {
				t.Error("the handler got another client")
			}
			ran = append(ran, name+" "+m.MessageName())
			return fail
		}
	}
	send := func(m schema.Message, want ...string) {
		t.Helper()
		ran = nil
		err := conn.SendHandled(t.Context(), m)
		if !slices.Equal(ran, want) {
			t.Errorf("%s: ran %q, want %q (%v)", m.MessageName(), ran, want, err)
		}
	}
	send(Note{})
	first := c.OnAny(any("first", nil))
	second := c.OnAny(any("second", errors.New("no")))
	third := c.OnAny(any("third", nil))
	send(Note{}, "first Note", "second Note", "third Note")
	one := msgclient.On(c, note("one"))
	send(Note{}, "first Note", "second Note", "third Note", "one")
	send(Pong{}, "first Pong", "second Pong", "third Pong")
	two := msgclient.On(c, note("two")) // the last On wins
	send(Note{}, "first Note", "second Note", "third Note", "two")
	if one.Remove() {
		t.Error("Remove of a handler that was replaced: got true")
	}
	if !second.Remove() || second.Remove() {
		t.Error("Remove: want true, then false")
	}
	send(Note{}, "first Note", "third Note", "two")
	if !two.Remove() || !first.Remove() || !third.Remove() {
		t.Error("Remove: got false")
	}
	send(Note{})

	// A record's handler is a message's own like any other.
	c.OnRecord("Note", func(_ context.Context, _ *msgclient.Client, m *schema.Record) error {
		text, _ := m.Get("text")
		ran = append(ran, "record "+text.(string))
		return nil
	})
	send(Note{Text: "hello"}, "record hello")
	// A handler may change what is registered.
	var self *msgclient.Subscription
	self = msgclient.On(c, func(context.Context, *msgclient.Client, Note) error {
		ran = append(ran, "once")
		self.Remove()
		return nil
	})
	send(Note{}, "once")
	send(Note{})
}

// Handlers of one client run one at a time, in order, across messages of all
// types, and may wait for requests of their own.
func TestClientHandlersAreInOrder(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	c := srv.Client(msgclient.Config{})
	var got []int64
	msgclient.On(c, func(ctx context.Context, c *msgclient.Client, m Note) error {
		if m.ID%10 == 0 {
			if _, err := msgclient.Request[Pong](ctx, c, Ping{ID: m.ID}); err != nil {
				return err
			}
		}
		got = append(got, m.ID)
		return nil
	})
	msgclient.On(c, func(_ context.Context, _ *msgclient.Client, m *Pong) error { got = append(got, m.ID); return nil })
	bustest.Run(t, c)
	conn := svc.Conns()[0]
	for i := int64(0); i < 200; i += 2 {
		if err := conn.Send(t.Context(), Note{ID: i, Text: strings.Repeat("x", 100)}); err != nil {
			t.Fatal(err)
		}
		if err := conn.Send(t.Context(), Pong{ID: i + 1}); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, "the request behind them", conn.SendHandled(t.Context(), Ask{}), bus.CodeUnimplemented)
	for i, id := range got {
		if id != int64(i) {
			t.Fatalf("message %d was handled as number %d", id, i)
		}
	}
	if len(got) != 200 {
		t.Errorf("got %d messages, want 200", len(got))
	}
}
