package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"busd/access"
	"busd/bus"
	"busd/rpc"
)

// logged gives a service to a server whose log can be read.
func logged(t *testing.T, s *rpc.Service) *observer.ObservedLogs {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	if _, err := rpc.NewServer(rpc.Config{Logger: zap.New(core)}, s); err != nil {
		t.Fatal(err)
	}
	return logs
}

// TestErrors: what a method returns, and what its caller hears.
func TestErrors(t *testing.T) {
	t.Parallel()
	var next error
	s := rpc.NewService("Test/Fail")
	rpc.Export(s, "fail", func() (int, error) { return 7, next })
	logged(t, s)
	inner := bus.Wrap(bus.CodeNotFound, errors.New("password=hunter2"), "no such job")
	inner.Path = "jobs[3]"
	for _, c := range []struct {
		err  error
		code bus.Code
		text string
		// errno is what the client makes of it.
		errno int
	}{
		{&rpc.Error{Message: "no luck"}, bus.CodeUnknown, "no luck", 0},
		{&rpc.Error{Errno: 2, Message: "no luck"}, bus.CodeNotFound, "no luck", 2},
		{&rpc.Error{Message: "no luck", Code: bus.CodeAborted}, bus.CodeAborted, "no luck", 85},
		{&rpc.Error{Errno: 1234, Message: "no luck"}, bus.CodeUnknown, "Unknown error 1234 ( 1234 : no luck)", 1234},
		{&rpc.Error{Errno: 28, Message: "no luck", Code: bus.CodeResourceExhausted}, bus.CodeResourceExhausted, "No space left on device ( 28 : no luck)", 28},
		{rpc.Errno(0, "no luck"), bus.CodeUnknown, "no luck", 0},
		{rpc.Errno(2, "no luck"), bus.CodeNotFound, "No such file or directory ( 2 : no luck)", 2},
		{rpc.Errno(1111, "no luck"), bus.CodePermissionDenied, "Unauthorized query ( 1111 : no luck)", 1111},
		{rpc.Errno(1234, "no luck"), bus.CodeUnknown, "Unknown error 1234 ( 1234 : no luck)", 1234},
		{fmt.Errorf("find: %w", rpc.Errno(2, "no luck")), bus.CodeNotFound, "No such file or directory ( 2 : no luck)", 2},
		{bus.Errorf(bus.CodePermissionDenied, "not yours"), bus.CodePermissionDenied, "not yours", 13},
		{bus.Errorf(bus.CodeUnimplemented, "later"), bus.CodeUnimplemented, "later", 38},
		{bus.Errorf(bus.CodeSlowConsumer, "later"), bus.CodeSlowConsumer, "later", 0},
		{inner, bus.CodeNotFound, "jobs[3]: no such job", 2},
		{fmt.Errorf("find: %w", inner), bus.CodeNotFound, "jobs[3]: no such job", 2},
		{&fs.PathError{Op: "open", Path: "/etc/secret", Err: fs.ErrNotExist}, bus.CodeUnknown, "the method failed (request ID)", 0},
		{context.DeadlineExceeded, bus.CodeDeadlineExceeded, "the method gave up: something took too long (request ID)", 110},
		{context.Canceled, bus.CodeCanceled, "the method was canceled (request ID)", 125},
	} {
		next = c.err
		_, err := ask(t, s, "fail", "")
		var b *bus.Error
		if !errors.As(err, &b) {
			t.Errorf("%v: got %v, want a *bus.Error", c.err, err)
			continue
		}
		text := b.Text()
		if i := strings.Index(text, "(request "); i >= 0 {
			text = text[:i] + "(request ID)"
		}
		if b.Code != c.code || text != c.text {
			t.Errorf("%v: got %s: %s, want %s: %s", c.err, b.Code, text, c.code, c.text)
		}
		if got := rpc.ErrorOf(b); got.Errno != c.errno || got.Code != c.code || got.Message != b.Text() {
			t.Errorf("%v: a client makes %+v of it, want errno %d", c.err, got, c.errno)
		}
		if got := bus.CodeOf(rpc.ErrorOf(b)); got != c.code {
			t.Errorf("%v: a client finds code %s, want %s", c.err, got, c.code)
		}
	}
}

// TestTypedNil: a nil *Error in an error is none.
func TestTypedNil(t *testing.T) {
	t.Parallel()
	s := rpc.NewService("Test/Nil")
	rpc.Export(s, "own", func() (int, error) { var e *rpc.Error; return 1, e })
	rpc.Export(s, "bus", func() (int, error) { var e *bus.Error; return 2, e })
	for method, want := range map[string]string{"own": "1", "bus": "2"} {
		if got, err := ask(t, s, method, ""); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", method, got, err, want)
		}
	}
}

// TestLogOfCalls: a line for each; what no caller is told is in it, arguments are
// not.
func TestLogOfCalls(t *testing.T) {
	t.Parallel()
	s := rpc.NewService("Test/Logged")
	rpc.Export(s, "fail", func(string) error { return errors.New("the disk is full") })
	logs := logged(t, s)
	_, err := ask(t, s, "fail", `["SECRET"]`)
	if strings.Contains(err.Error(), "disk") && strings.Contains(bus.AsError(err).Text(), "disk") {
		t.Errorf("the caller is told %v", err)
	}
	_, _ = ask(t, s, "echo", `["SECRET"]`)
	_, _ = ask(t, s, strings.Repeat("x", 1000), `["SECRET"]`)
	_, _ = askAs(t.Context(), s, nil, "whoami", "")
	all := logs.FilterMessage("call answered").All()
	if len(all) != 4 {
		t.Fatalf("got %d lines, want 4", len(all))
	}
	for i, want := range []map[string]any{
		{"level": "warn", "service": "Test/Logged", "method": "fail", "code": "unknown", "user": "dns:alice", "group": "visitor", "peer": "dns:alice", "reason": "the disk is full", "in": int64(10)},
		{"level": "info", "method": "echo", "code": "ok", "out": int64(8)},
		{"level": "info", "method": strings.Repeat("x", 64), "code": "unimplemented"},
		{"level": "warn", "method": "whoami", "code": "unauthenticated"},
	} {
		fields := all[i].ContextMap()
		fields["level"] = all[i].Level.String()
		for key, value := range want {
			if fields[key] != value {
				t.Errorf("line %d: %s: got %v, want %v", i, key, fields[key], value)
			}
		}
		if text := fmt.Sprint(fields); strings.Contains(text, "SECRET") {
			t.Errorf("line %d has an argument: %s", i, text)
		}
	}
	if id := all[0].ContextMap()["request"].(string); !strings.Contains(err.Error(), "(request "+id+")") {
		t.Errorf("the caller's %v does not have the ID of the log, %s", err, id)
	}
}

// TestPanics: whatever a method does to its goroutine, its caller is answered, the
// log has the stack, and the service lives.
func TestPanics(t *testing.T) {
	t.Parallel()
	s := rpc.NewService("Test/Panic")
	rpc.Export(s, "panic", func() { panic("hunter2") })
	var none map[string]int
	rpc.Export(s, "nilMap", func(key string) { none[key] = 1 })
	rpc.Export(s, "goexit", func() { runtime.Goexit() })
	rpc.Export(s, "unwritable", func() any { return make(chan int) })
	before := false
	s.Before = func(context.Context, *rpc.Request) error {
		if before {
			panic("before")
		}
		return nil
	}
	logs := logged(t, s)
	for _, method := range []string{"panic", "nilMap", "goexit", "unwritable", "ping"} {
		before = method == "ping"
		_, err := ask(t, s, method, map[string]string{"nilMap": `["x"]`}[method])
		var b *bus.Error
		if !errors.As(err, &b) || b.Code != bus.CodeInternal || !strings.HasPrefix(b.Text(), "the service failed (request ") || len(b.Text()) > 50 {
			t.Errorf("%s: got %v", method, err)
		}
	}
	stacks := logs.FilterMessage("method panicked").All()
	if len(stacks) != 4 {
		t.Fatalf("got %d stacks, want 4", len(stacks))
	}
	if fields := stacks[0].ContextMap(); fields["reason"] != "hunter2" || !strings.Contains(fmt.Sprint(fields["stack"]), "errors_ext_test.go") {
		t.Errorf("got %v", fields)
	}
	before = false
	if _, err := ask(t, s, "echo", "[1]"); err != nil {
		t.Error(err)
	}
	if running := s.Stats().Running; running != 0 {
		t.Errorf("%d calls run, want none", running)
	}
}

// TestWhoMay: the method is looked up first, then access decides, then arguments
// are read.
func TestWhoMay(t *testing.T) {
	t.Parallel()
	s := rpc.NewService("Test/Access")
	s.Allow = access.MustRule("NormalUser")
	rpc.Export(s, "open", func() {}).Allow = access.Any
	rpc.Export(s, "ordinary", func() {})
	for _, c := range []struct {
		who    *access.Caller
		method string
		want   bus.Code
	}{
		{nil, "nosuch", bus.CodeUnimplemented},
		{nil, "open", 0},
		{nil, "ping", 0},
		{nil, "whoami", bus.CodeUnauthenticated},
		{nil, "ordinary", bus.CodeUnauthenticated},
		{&access.Caller{}, "ordinary", bus.CodeUnauthenticated},
		{alice, "ordinary", bus.CodePermissionDenied},
		{alice, "whoami", 0},
		{alice, "open", 0},
	} {
		if _, err := askAs(t.Context(), s, c.who, c.method, ""); bus.CodeOf(err) != c.want {
			t.Errorf("%v asks for %s: got %v, want %v", c.who, c.method, err, c.want)
		}
	}
	_, err := askAs(t.Context(), s, nil, "ordinary", `[1, 2, 3]`)
	if bus.CodeOf(err) != bus.CodeUnauthenticated {
		t.Errorf("who may not call hears of the arguments: %v", err)
	}
	_, err = ask(t, s, "nosuch", "")
	fails(t, err, bus.CodeUnimplemented, `Test/Access has no method "nosuch"`)
}
