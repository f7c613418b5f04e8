package msgbus_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

func TestOnConnectRefuses(t *testing.T) {
	t.Parallel()
	secret := errors.New("the password is hunter2")
	for name, tt := range map[string]struct {
		refuse func() error
		code   bus.Code
		reason string
		retry  bus.Retry
	}{
		"a plain error": {
			func() error { return secret },
			bus.CodeUnknown, "the handler failed",
			bus.Retry{},
		},
		"an error of the bus": {
			func() error { return bus.Errorf(bus.CodeFailedPrecondition, "agent-7 is in maintenance") },
			bus.CodeFailedPrecondition, "agent-7 is in maintenance",
			bus.Retry{},
		},
		"one with a cause": {
			func() error { return bus.Wrap(bus.CodeInternal, secret, "no database") },
			bus.CodeInternal, "no database",
			bus.Retry{},
		},
		"unavailable": {
			func() error { return bus.Errorf(bus.CodeUnavailable, "the store is down") },
			bus.CodeUnavailable, "the store is down",
			bus.Retry{},
		},
		"what another peer said": {
			func() error { return &bus.Error{Code: bus.CodeNotFound, Reason: "no such pilot", Remote: true} },
			bus.CodeNotFound, "no such pilot",
			bus.Retry{},
		},
		"with hints": {
			func() error {
				return bus.Errorf(bus.CodeResourceExhausted, "later").
					WithRetry(bus.Retry{When: bus.RetryAfter, After: 90 * time.Second, Spread: 10 * time.Second})
			},
			bus.CodeResourceExhausted, "later",
			bus.Retry{After: 90 * time.Second, Spread: 10 * time.Second},
		},
		"for good": {
			func() error {
				return bus.Errorf(bus.CodePermissionDenied, "not you").WithRetry(bus.Retry{When: bus.RetryNever})
			},
			bus.CodePermissionDenied, "not you",
			bus.Retry{When: bus.RetryNever},
		},
		"a panic": {
			func() error { panic(secret) },
			bus.CodeInternal, "the service failed",
			bus.Retry{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := newRoom(nil)
				refused := make(chan *msgbus.Conn, 1)
				svc.OnConnect = func(_ context.Context, c *msgbus.Conn) error {
					svc.Group("all").Add(c)
					refused <- c
					return tt.refuse()
				}
				svc.OnDrop = func(context.Context, *msgbus.Conn, error) {
					t.Error("OnDrop was called for a connection that was refused")
				}
				srv := bustest.NewServer(t, msgbus.Config{}, svc)

				err := srv.Client(msgclient.Config{}).Connect(t.Context())
				e := wantCode(t, "Connect", err, tt.code)
				if e.Reason != tt.reason || !e.Remote || e.Retry != tt.retry {
					t.Errorf("got reason %q, remote %t, retry %+v; want %q, true, %+v", e.Reason, e.Remote, e.Retry, tt.reason, tt.retry)
				}
				if strings.Contains(err.Error(), "hunter2") {
					t.Errorf("the cause reached the client: %v", err)
				}
				synctest.Wait()
				c := next(t, refused, "the refused connection")
				if n := len(svc.Conns()) + len(svc.Group("all").Conns()); n != 0 {
					t.Errorf("got %d places that the refused connection still holds, want 0", n)
				}
				if c.Context().Err() == nil {
					t.Error("the refused connection's context goes on")
				}
				svc.Group("all").Add(c)
				if n := len(svc.Group("all").Conns()); n != 0 {
					t.Error("a refused connection joined a group")
				}
				if err := c.Send(t.Context(), Note{}); !errors.Is(err, bus.ErrDropped) {
					t.Errorf("Send to a refused connection: got %v, want one that is dropped", err)
				}
				if got := srv.Stats()[0].Refused[tt.code]; got != 1 {
					t.Errorf("got %d refusals counted under %s, want 1", got, tt.code)
				}
			})
		})
	}
}

func TestOnConnectHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		release := make(chan struct{})
		dropped := make(chan error, 1)
		svc.OnConnect = func(context.Context, *msgbus.Conn) error { <-release; return nil }
		svc.OnDrop = func(_ context.Context, _ *msgbus.Conn, why error) { dropped <- why }
		srv := bustest.NewServer(t, msgbus.Config{}, svc)

		begin := time.Now()
		err := srv.Client(msgclient.Config{}).Connect(t.Context())
		wantCode(t, "Connect", err, bus.CodeDeadlineExceeded)
		if took := time.Since(begin); took != msgbus.DefaultHelloTimeout {
			t.Errorf("refused after %s, want %s", took, msgbus.DefaultHelloTimeout)
		}
		synctest.Wait()
		none(t, dropped, "OnDrop while OnConnect has not accepted")
		close(release)
		// It accepted in the end: what it keeps for the connection must go again.
		wantCode(t, "OnDrop", next(t, dropped, "OnDrop"), bus.CodeDeadlineExceeded)
	})
}

func TestConnectedThenMessagesThenDrop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s story
		svc := newRoom(func(_ context.Context, _ *msgbus.Conn, m Job) error {
			time.Sleep(time.Second)
			s.tell(m.Do)
			return nil
		})
		svc.OnConnect = func(context.Context, *msgbus.Conn) error {
			time.Sleep(3 * time.Second) // the first message waits for it
			s.tell("connected")
			return nil
		}
		svc.OnDrop = func(context.Context, *msgbus.Conn, error) { s.tell("dropped") }
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		c := srv.Client(msgclient.Config{OnConnect: func(ctx context.Context, c *msgclient.Client) {
			if err := c.Send(ctx, Job{Do: "first"}); err != nil {
				t.Error(err)
			}
		}})
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := c.Send(t.Context(), Job{Do: "second"}); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		want := []string{"connected", "first", "second", "dropped"}
		if got := s.soFar(); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestOnConnectSendsBeforeTheWelcome(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	svc.OnConnect = func(ctx context.Context, c *msgbus.Conn) error {
		for i := range int64(3) {
			if err := c.Send(ctx, Note{ID: i}); err != nil {
				return err
			}
		}
		return nil
	}
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	notes := make(chan int64, 3)
	c := srv.Client(msgclient.Config{})
	msgclient.On(c, func(_ context.Context, c *msgclient.Client, m Note) error {
		if !c.Connected() {
			t.Error("a message came before the welcome")
		}
		notes <- m.ID
		return nil
	})
	bustest.Run(t, c)
	for i := range int64(3) {
		if got := next(t, notes, "a note"); got != i {
			t.Fatalf("got note %d, want %d", got, i)
		}
	}
}

func TestConnectArguments(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	seen := make(chan map[string]any, 2)
	svc.OnConnect = func(_ context.Context, c *msgbus.Conn) error {
		seen <- c.Args()
		return nil
	}
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	c := srv.Connect(msgclient.Config{Args: map[string]any{
		"site": "CERN", "slots": 200, "few": 3, "minus": -1, "big": int64(1)<<53 + 1, "huge": uint64(1) << 63,
		"load": 1.0, "gpu": true, "none": nil, "raw": []byte{0, 255},
		"tags": []string{"a", "b"}, "more": map[string]any{"x": []any{1, "y"}},
	}})
	want := map[string]any{
		"site": "CERN", "slots": int64(200), "few": int64(3), "minus": int64(-1), "big": int64(1)<<53 + 1, "huge": uint64(1) << 63,
		"load": 1.0, "gpu": true, "none": nil, "raw": []byte{0, 255},
		"tags": []any{"a", "b"}, "more": map[string]any{"x": []any{int64(1), "y"}},
	}
	if got := next(t, seen, "the arguments"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v, want %#v", got, want)
	}
	srv.Cut() // they are sent again with each connection
	if got := next(t, seen, "the arguments of the next connection"); !reflect.DeepEqual(got, want) {
		t.Errorf("after a reconnect: got %#v, want %#v", got, want)
	}
	ping(t, c, 1)
}

func TestConnectArgumentsThatCannotBe(t *testing.T) {
	t.Parallel()
	srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
	for name, tt := range map[string]struct {
		args map[string]any
		code bus.Code
	}{
		"no form on the wire": {map[string]any{"f": func() {}}, bus.CodeInvalidArgument},
		"larger than a hello": {map[string]any{"s": strings.Repeat("x", 20<<10)}, bus.CodeProtocolError},
	} {
		err := srv.Client(msgclient.Config{Args: tt.args}).Connect(t.Context())
		if got := bus.CodeOf(err); got != tt.code {
			t.Errorf("%s: got %v, want %s", name, err, tt.code)
		}
	}
}

func TestConnFacts(t *testing.T) {
	t.Parallel()
	svc := newRoom(func(_ context.Context, c *msgbus.Conn, m Job) error {
		if m.Do == "keep" {
			c.SetState(m.ID)
			return nil
		}
		return bus.Errorf(bus.CodeAborted, "the state is %v", c.State())
	})
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	begin := time.Now()
	c := srv.ClientOf("agent-7", msgclient.Config{Instance: "pilot-17", Name: "pilot", Version: "2.1"})
	if c.Connected() {
		t.Error("connected before Connect")
	}
	if _, ok := c.TRID(); ok {
		t.Error("a TRID before Connect")
	}
	bustest.Run(t, c)
	conn := onlyConn(t, svc)
	trid, _ := c.TRID()
	switch {
	case conn.TRID() != trid:
		t.Errorf("TRID: the service has %s, the client %s", conn.TRID(), trid)
	case conn.Identity() != "dns:agent-7/pilot-17" || c.Identity() != conn.Identity():
		t.Errorf("identity: the service has %s, the client %s, want dns:agent-7/pilot-17", conn.Identity(), c.Identity())
	case conn.Peer().Name != "dns:agent-7" || conn.Peer().Kind != "dns" || conn.Peer().DN != "/CN=agent-7":
		t.Errorf("peer: got %+v", conn.Peer())
	case conn.Program() != msgbus.Program{Name: "pilot", Version: "2.1"}:
		t.Errorf("program: got %+v", conn.Program())
	case conn.Service() != svc || conn.RemoteAddr() == "" || conn.Resumed():
		t.Errorf("got service %s, address %q, resumed %t", conn.Service().Name(), conn.RemoteAddr(), conn.Resumed())
	case conn.Since().Before(begin) || conn.Since().After(time.Now()):
		t.Errorf("since: got %s", conn.Since())
	case !c.Connected():
		t.Error("not connected after Connect")
	case conn.State() != nil:
		t.Errorf("state: got %v, want none", conn.State())
	}
	if got, ok := svc.Conn(trid); !ok || got != conn {
		t.Errorf("Conn(%s): got %v", trid, got)
	}
	if err := c.SendHandled(t.Context(), Job{ID: 5, Do: "keep"}); err != nil {
		t.Fatal(err)
	}
	if e := wantCode(t, "Job", c.SendHandled(t.Context(), Job{}), bus.CodeAborted); e.Reason != "the state is 5" {
		t.Errorf("got %q", e.Reason)
	}
}

func TestServicesOfAServer(t *testing.T) {
	t.Parallel()
	one, two := newRoom(nil), newPingPong()
	two.Aliases = []string{"Framework/Echo"}
	srv := bustest.NewServer(t, msgbus.Config{}, one, two)
	if got := srv.Services(); !slices.Equal(got, []*msgbus.Service{one, two}) {
		t.Errorf("Services: got %v", got)
	}
	for path, want := range map[string]bus.Code{
		"/Test/Room": 0, "/Framework/PingPong": 0, "/Framework/Echo": 0, "/Framework/Nothing": bus.CodeNotFound,
	} {
		err := srv.Client(msgclient.Config{URL: "wss://" + bustest.Host + path}).Connect(t.Context())
		if got := bus.CodeOf(err); got != want {
			t.Errorf("%s: got %v, want %v", path, err, want)
		}
	}
	if len(one.Conns()) != 1 || len(two.Conns()) != 2 {
		t.Errorf("got %d and %d connections, want 1 and 2", len(one.Conns()), len(two.Conns()))
	}
	if _, ok := one.Conn(two.Conns()[0].TRID()); ok {
		t.Error("a service found another's connection")
	}
}

// A nil *bus.Error in an error is none: OnConnect has accepted.
func TestOnConnectReturnsANilError(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	svc.OnConnect = func(context.Context, *msgbus.Conn) error {
		var none *bus.Error
		return none
	}
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	ping(t, srv.Connect(msgclient.Config{}), 1)
}
