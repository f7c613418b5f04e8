package msgclient_test

import (
	"context"
	"errors"
	"net"
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

func TestNew(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]msgclient.Config{
		"no URL":              {},
		"another scheme":      {URL: "https://host/System/Component"},
		"no host":             {URL: "wss:///System/Component"},
		"no service":          {URL: "wss://host/"},
		"half a service":      {URL: "wss://host/System"},
		"a password":          {URL: "wss://me:secret@host/System/Component"},
		"a query":             {URL: "wss://host/System/Component?x=1"},
		"no URL at all":       {URL: "wss://host:port/System/Component\x00"},
		"one of several":      {URL: "wss://host/System/Component", URLs: []string{"nothing"}},
		"too little credit":   {URL: "wss://host/System/Component", Credit: 100},
		"waits back to front": {URL: "wss://host/System/Component", MinWait: 2, MaxWait: 1},
		"gives up before":     {URL: "wss://host/System/Component", GiveUpAfter: -1},
	} {
		_, err := msgclient.New(cfg)
		if bus.CodeOf(err) != bus.CodeInvalidArgument {
			t.Errorf("%s: got %v, want invalid_argument", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error shows the password: %v", name, err)
		}
	}
}

func TestDefaultPort(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"wss://agents.example/Test/Room":     "agents.example:8443",
		"wss://agents.example:443/Test/Room": "agents.example:443",
		"wss://[::1]/Test/Room":              "[::1]:8443",
	} {
		var dialed string
		c, err := msgclient.New(msgclient.Config{
			URL: url, TLS: bustest.ClientTLS(t, "agent"),
			DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
				dialed = address
				return nil, errors.New("not today")
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		wantCode(t, "Connect", c.Connect(t.Context()), bus.CodeUnavailable)
		if dialed != want {
			t.Errorf("%s: dialed %s, want %s", url, dialed, want)
		}
	}
}

func TestConnectTwice(t *testing.T) {
	t.Parallel()
	srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
	c := srv.Client(msgclient.Config{})
	var all sync.WaitGroup
	errs := make(chan error, 10)
	for range 10 {
		all.Go(func() { errs <- c.Connect(t.Context()) })
	}
	all.Wait()
	connected := 0
	for range 10 {
		switch err := <-errs; bus.CodeOf(err) {
		case 0:
			connected++
		case bus.CodeAlreadyExists:
		default:
			t.Errorf("got %v", err)
		}
	}
	if connected != 1 || c.Connects() != 1 {
		t.Errorf("%d of 10 calls connected, %d welcomes; want 1 and 1", connected, c.Connects())
	}
	ping(t, c, 1)
}

// Without Run a client that lost its connection may connect again, also from
// inside OnDrop.
func TestConnectAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		outcome := make(chan error, 1)
		inside := false
		c := srv.Client(msgclient.Config{OnDrop: func(_ context.Context, c *msgclient.Client, _ error) {
			if inside {
				outcome <- c.Connect(t.Context())
			} else {
				outcome <- nil
			}
		}})
		for i := range int64(3) {
			if i < 2 {
				if err := c.Connect(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			ping(t, c, i)
			synctest.Wait()
			inside = i == 1
			srv.Cut()
			if err := next(t, outcome, "OnDrop"); err != nil {
				t.Fatalf("Connect inside OnDrop: %v", err)
			}
			synctest.Wait()
		}
		if c.Connects() != 3 || c.Connected() {
			t.Errorf("got %d connections, connected %t; want 3, false", c.Connects(), c.Connected())
		}
		inside = false
	})
}

func TestConnectEndsWithItsContext(t *testing.T) {
	t.Parallel()
	hangs := func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	silent := func(context.Context, string, string) (net.Conn, error) {
		c, _ := net.Pipe()
		return c, nil
	}
	for name, dial := range map[string]func(context.Context, string, string) (net.Conn, error){
		"the service thinks": nil, "TCP hangs": hangs, "TLS hangs": silent,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := newRoom(nil)
				svc.OnConnect = func(ctx context.Context, _ *msgbus.Conn) error { <-ctx.Done(); return nil }
				srv := bustest.NewServer(t, msgbus.Config{}, svc)
				c := srv.Client(msgclient.Config{DialContext: dial})
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				begin := time.Now()
				wantCode(t, "Connect", c.Connect(ctx), bus.CodeDeadlineExceeded)
				if took := time.Since(begin); took != 3*time.Second {
					t.Errorf("took %s, want 3s", took)
				}
				ctx, cancel = context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				wantCode(t, "Connect", c.Connect(ctx), bus.CodeCanceled)
			})
		})
	}
}

func TestRunTwice(t *testing.T) {
	t.Parallel()
	srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
	c := srv.Client(msgclient.Config{})
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { ended <- c.Run(ctx) }()
	ping(t, c, 1) // Run needs no Connect
	wantCode(t, "a second Run", c.Run(t.Context()), bus.CodeFailedPrecondition)
	wantCode(t, "Connect beside Run", c.Connect(t.Context()), bus.CodeAlreadyExists)
	enough := errors.New("enough")
	cancel(enough)
	if err := next(t, ended, "the end of Run"); !errors.Is(err, enough) {
		t.Errorf("Run: got %v, want its context's cause", err)
	}
	for what, err := range map[string]error{
		"Run": c.Run(t.Context()), "Connect": c.Connect(t.Context()), "Send": c.Send(t.Context(), Ping{}),
	} {
		if e := wantCode(t, what+" of a client that has ended", err, bus.CodeGoingAway); e.Remote {
			t.Errorf("%s: got %v", what, e)
		}
	}
	if c.Connected() {
		t.Error("connected after the end")
	}
}

// The end of Run's context says goodbye: the service handles what was sent.
func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		handled := 0
		svc := newRoom(func(context.Context, *msgbus.Conn, Job) error { handled++; return nil })
		why := make(chan error, 1)
		svc.OnDrop = func(_ context.Context, _ *msgbus.Conn, err error) { why <- err }
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		c := srv.Client(msgclient.Config{OnDrop: func(context.Context, *msgclient.Client, error) { t.Error("OnDrop of a client that went by itself") }})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		for range 100 {
			if err := c.Send(t.Context(), Job{}); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		if err := next(t, ended, "the end of Run"); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: got %v", err)
		}
		wantCode(t, "OnDrop of the service", next(t, why, "OnDrop"), bus.CodeGoingAway)
		if handled != 100 {
			t.Errorf("the service handled %d of 100 messages", handled)
		}
	})
}

// A callback that panics ends neither the client nor its connection.
func TestCallbacksPanic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		c := srv.Connect(msgclient.Config{
			OnConnect: func(context.Context, *msgclient.Client) { panic("ouch") },
			OnDrop:    func(context.Context, *msgclient.Client, error) { panic("ouch") },
			OnError:   func(*msgclient.Client, error) { panic("ouch") },
		})
		for i := range int64(3) {
			ping(t, c, i)
			if err := c.Send(t.Context(), Blob{}); err != nil { // which nobody handles
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if c.Connects() != 4 {
			t.Errorf("got %d connections, want 4", c.Connects())
		}
	})
}

// OnConnect comes before any message, and OnDrop after OnConnect, however short
// the connection is. A message that waited for OnConnect then is handled on the
// next connection, after its OnConnect.
func TestClientCallbacksAreInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		svc.OnConnect = func(ctx context.Context, c *msgbus.Conn) error {
			if c.Resumed() {
				return nil
			}
			return c.Send(ctx, Note{})
		}
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		var s story
		c := srv.Client(msgclient.Config{
			OnConnect: func(ctx context.Context, c *msgclient.Client) {
				s.tell("connecting")
				if _, err := msgclient.Request[Pong](ctx, c, Ping{ID: 1}); err != nil {
					t.Error(err)
				}
				if c.Connects() == 1 {
					srv.Cut()
					<-ctx.Done()
				}
				time.Sleep(time.Second)
				s.tell("connected")
			},
			OnDrop: func(context.Context, *msgclient.Client, error) { s.tell("dropped") },
		})
		msgclient.On(c, func(context.Context, *msgclient.Client, Note) error { s.tell("note"); return nil })
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := strings.Join(s.soFar(), ", "); got != "connecting, connected, dropped" {
			t.Errorf("got %s; want connecting, connected, dropped", got)
		}
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := strings.Join(s.soFar()[3:], ", "); got != "connecting, connected, note" {
			t.Errorf("then got %s; want connecting, connected, note", got)
		}
	})
}
