package msgbus_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"busd/access"
	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
	"busd/schema"
)

// A desk answers calls with what its methods' functions say.
type desk struct {
	name    string
	methods map[string]func(ctx context.Context, who string, args []byte) ([]byte, error)
	rules   access.Rules
}

func (d *desk) Name() string        { return d.name }
func (d *desk) Rules() access.Rules { return d.rules }

func (d *desk) Methods() (all []schema.Method) {
	for name := range d.methods {
		all = append(all, schema.Method{Name: name})
	}
	return all
}

func (d *desk) Call(ctx context.Context, c *access.Caller, claim access.Claim, method string, args []byte) ([]byte, error) {
	f := d.methods[method]
	if f == nil {
		return nil, bus.Errorf(bus.CodeUnimplemented, "no such method here")
	}
	return f(ctx, c.Peer.Name+" "+claim.Group, args)
}

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // what cannot be read is missing in the answer
	_, _ = fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
}

// newDesk makes methods for the room.
func newDesk() *desk {
	return &desk{name: "Test/Room", methods: map[string]func(context.Context, string, []byte) ([]byte, error){
		"echo":   func(_ context.Context, _ string, args []byte) ([]byte, error) { return args, nil },
		"whoami": func(_ context.Context, who string, _ []byte) ([]byte, error) { return []byte(who), nil },
		"fail": func(context.Context, string, []byte) ([]byte, error) {
			return nil, bus.Errorf(bus.CodeNotFound, "no such thing")
		},
		"secret": func(context.Context, string, []byte) ([]byte, error) { return nil, errors.New("secret") },
		"panic":  func(context.Context, string, []byte) ([]byte, error) { panic("at the disco") },
		"exit":   func(context.Context, string, []byte) ([]byte, error) { runtime.Goexit(); return nil, nil },
		"large": func(context.Context, string, []byte) ([]byte, error) {
			return make([]byte, msgbus.DefaultMaxMessage), nil
		},
		"wait": func(ctx context.Context, _ string, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() },
	}}
}

// newOffice is a room with methods.
func newOffice(job jobHandler) *msgbus.Service {
	svc := newRoom(job)
	svc.Methods = newDesk()
	return svc
}

func TestCall(t *testing.T) {
	t.Parallel()
	svc := newOffice(nil)
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	c := srv.Connect(msgclient.Config{})
	tests := []struct {
		method, args, result string
		code                 bus.Code
		reason               string
	}{
		{"echo", `["hi"]`, `["hi"]`, 0, ""},
		{"echo", `{"data": "hi"}`, `{"data": "hi"}`, 0, ""},
		{"echo", ``, ``, 0, ""},
		{"whoami", `[]`, "dns:agent ", 0, ""},
		{"fail", `[]`, "", bus.CodeNotFound, "no such thing"},
		{"secret", `[]`, "", bus.CodeUnknown, "the handler failed"},
		{"panic", `[]`, "", bus.CodeInternal, "the handler panicked"},
		{"exit", `[]`, "", bus.CodeInternal, "the handler panicked"},
		{"nothing", `[]`, "", bus.CodeUnimplemented, "no such method here"},
		{"large", `[]`, "", bus.CodeOutOfRange, "the result takes 262162 bytes: this client takes at most 262144 over a stable connection"},
	}
	for _, tt := range tests {
		result, err := c.Call(t.Context(), tt.method, []byte(tt.args))
		if tt.code == 0 {
			if err != nil || string(result) != tt.result {
				t.Errorf("%s %s: got %q, %v; want %q", tt.method, tt.args, result, err, tt.result)
			}
			continue
		}
		if e := wantCode(t, tt.method, err, tt.code); e.Reason != tt.reason || !e.Remote {
			t.Errorf("%s: got %+v, want reason %q from the service", tt.method, e, tt.reason)
		}
	}
	if got := c.Connects(); got != 1 {
		t.Errorf("it connected %d times: a call that fails must not end its connection", got)
	}
	stats := srv.Stats()[0]
	if stats.Calls != 4 || stats.CallsFailed != 6 || stats.Messages[0].Failed != 0 {
		t.Errorf("counted: %d calls, %d failed; want 4, 6", stats.Calls, stats.CallsFailed)
	}
}

func TestCallBounds(t *testing.T) {
	t.Parallel()
	svc := newOffice(nil)
	svc.MaxMessage = 1000
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	c := srv.Connect(msgclient.Config{Credit: 4 << 10})
	args := make([]byte, 900)
	if result, err := c.Call(t.Context(), "echo", args); err != nil || len(result) != len(args) {
		t.Errorf("900 bytes: got %d, %v", len(result), err)
	}
	_, err := c.Call(t.Context(), "echo", make([]byte, 1000))
	if e := wantCode(t, "1000 bytes of arguments", err, bus.CodeOutOfRange); e.Remote {
		t.Errorf("got %+v, want it to be found before it is sent", e)
	}
	_, err = c.Call(t.Context(), "large", nil)
	wantCode(t, "a result of more than a quarter of the client's credit", err, bus.CodeOutOfRange)
	for _, name := range []string{"", strings.Repeat("n", 65)} {
		_, err = c.Call(t.Context(), name, nil)
		wantCode(t, "a name that is none", err, bus.CodeUnimplemented)
	}
}

// A client that says more than the service takes is told so, and the session goes
// on.
func TestCallTooLargeForTheService(t *testing.T) {
	t.Parallel()
	svc := newOffice(nil)
	svc.MaxMessage = 1000
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	r := greet(t, srv, svc, nil, aHello("raw"))
	for _, size := range []int{900, 1000} {
		e := r.call("echo", make([]byte, size))
		if want := map[int]bus.Code{900: 0, 1000: bus.CodeOutOfRange}[size]; bus.CodeOf(e) != want {
			t.Errorf("%d bytes: got %v, want %s", size, e, want)
		}
	}
}

// A service without methods says so, and the connection lives.
func TestCallWithoutMethods(t *testing.T) {
	t.Parallel()
	srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
	c := srv.Connect(msgclient.Config{})
	_, err := c.Call(t.Context(), "echo", []byte("[]"))
	wantCode(t, "a call", err, bus.CodeUnimplemented)
	ping(t, c, 1)
}

// The result of a call waits for nothing that the service does with messages, and
// is had inside a handler too.
func TestCallBesideMessages(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	svc := newOffice(func(ctx context.Context, c *msgbus.Conn, m Job) error {
		if m.Do == "hold" {
			<-held
			return nil
		}
		return c.Send(ctx, Note{ID: m.ID})
	})
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	c := srv.Client(msgclient.Config{})
	inside := make(chan string, 1)
	msgclient.On(c, func(ctx context.Context, c *msgclient.Client, _ Note) error {
		result, err := c.Call(ctx, "echo", []byte(`["inside"]`))
		inside <- string(result)
		return err
	})
	bustest.Run(t, c)
	if err := c.Send(t.Context(), Job{Do: "note"}); err != nil {
		t.Fatal(err)
	}
	if got := next(t, inside, "a call in a handler"); got != `["inside"]` {
		t.Errorf("inside a handler: got %q", got)
	}
	if err := c.SendAcked(t.Context(), Job{Do: "hold"}); err != nil {
		t.Fatal(err)
	}
	if result, err := c.Call(t.Context(), "echo", []byte(`[1]`)); err != nil || string(result) != `[1]` {
		t.Errorf("while a handler runs: got %q, %v", result, err)
	}
	close(held)
}

// A call ends with its caller's context: the method is told.
func TestCallIsTakenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // in which the method has begun before time goes on
		svc := newOffice(nil)
		ended := make(chan error, 1)
		svc.Methods.(*desk).methods["wait"] = func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
			<-ctx.Done()
			ended <- ctx.Err()
			return nil, ctx.Err()
		}
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		c := srv.Connect(msgclient.Config{})
		for name, tt := range map[string]struct {
			make func(context.Context) (context.Context, context.CancelFunc)
			code bus.Code
		}{
			"canceled": {context.WithCancel, bus.CodeCanceled},
			"timed": {func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, 30*time.Millisecond)
			}, bus.CodeDeadlineExceeded},
		} {
			ctx, stop := tt.make(t.Context())
			if tt.code == bus.CodeCanceled {
				time.AfterFunc(30*time.Millisecond, stop)
			}
			_, err := c.Call(ctx, "wait", nil)
			stop()
			wantCode(t, name, err, tt.code)
			if why := next(t, ended, "the method's end"); !errors.Is(why, context.Canceled) && !errors.Is(why, context.DeadlineExceeded) {
				t.Errorf("%s: the method's context: %v", name, why)
			}
		}
	})
}

// A caller hears his answer though the line is cut while the method runs; it is
// executed once.
func TestCallOverACut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newOffice(nil)
		began, gate := make(chan struct{}, 10), make(chan struct{})
		svc.Methods.(*desk).methods["slow"] = func(ctx context.Context, _ string, args []byte) ([]byte, error) {
			began <- struct{}{}
			select {
			case <-gate:
				return args, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		c := srv.Connect(msgclient.Config{})
		type outcome struct {
			result []byte
			err    error
		}
		done := make(chan outcome, 1)
		go func() {
			result, err := c.Call(t.Context(), "slow", []byte(`["once"]`))
			done <- outcome{result, err}
		}()
		next(t, began, "the method")
		srv.Cut()
		synctest.Wait()
		time.Sleep(5 * time.Second)
		close(gate)
		if got := next(t, done, "the answer"); got.err != nil || string(got.result) != `["once"]` {
			t.Errorf("got %q, %v", got.result, got.err)
		}
		none(t, began, "a second execution")
		if !c.Resumption().Resumed {
			t.Error("the session did not go on")
		}
	})
}

// A call that may or may not have been executed is session_lost; one that was not
// written goes on in the next session.
func TestCallIsLostWithTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newOffice(nil)
		svc.Window = -1
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		c := srv.Connect(msgclient.Config{})
		lost := make(chan error, 1)
		go func() {
			_, err := c.Call(t.Context(), "wait", nil)
			lost <- err
		}()
		synctest.Wait()
		srv.Cut()
		wantCode(t, "a call that was under way", next(t, lost, "the call"), bus.CodeSessionLost)
		if result, err := c.Call(t.Context(), "echo", []byte("[2]")); err != nil || string(result) != "[2]" {
			t.Errorf("the next one, which waits for a connection: got %q, %v", result, err)
		}
	})
}
