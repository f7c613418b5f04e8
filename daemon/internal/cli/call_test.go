package cli

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"busd/bus"
	"busd/rpc/jencode"
	"busd/rpc/rpcclient"
)

func TestArgument(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]any{
		"1":                    jencode.Raw("1"),
		"-1.5e3":               jencode.Raw("-1.5e3"),
		"18446744073709552282": jencode.Raw("18446744073709552282"),
		"true":                 jencode.Raw("true"),
		"null":                 jencode.Raw("null"),
		`"1"`:                  jencode.Raw(`"1"`),
		`{"a": [1]}`:           jencode.Raw(`{"a": [1]}`),
		"hello":                "hello",
		"":                     "",
		"1 2":                  "1 2",
		"True":                 "True",
		"{a: 1}":               "{a: 1}",
		"[1":                   "[1",
		"-":                    "-",
	} {
		got := argument(text)
		raw, isRaw := got.(jencode.Raw)
		wanted, wantRaw := want.(jencode.Raw)
		if isRaw != wantRaw || string(raw) != string(wanted) || !isRaw && got != want {
			t.Errorf("%q: got %#v, want %#v", text, got, want)
		}
	}
}

func TestCallAddress(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, base, want string }{
		{"A/B", "", "https://localhost:8443/A/B"},
		{"A/B", "wss://bus:1", "https://bus:1/A/B"},
		{"A/B", "https://bus:1", "https://bus:1/A/B"},
		{"bus:1/A/B", "wss://other", "https://bus:1/A/B"},
		{"https://bus/A/B", "", "https://bus:8443/A/B"},
		{"wss://bus/A/B", "", "wss://bus:8443/A/B"},
	} {
		if got, err := callAddress(test.text, test.base); err != nil || got != test.want {
			t.Errorf("%s at %q: got %q, %v, want %q", test.text, test.base, got, err, test.want)
		}
	}
}

// Of standard input nothing is lost: what is too much is an error.
func TestArgumentFromInput(t *testing.T) {
	t.Parallel()
	for size, fine := range map[int]bool{0: true, maxArgument: true, maxArgument + 1: false} {
		a, err := readArguments(strings.NewReader(strings.Repeat("x", size)), []string{"-"}, nil)
		if fine && (err != nil || len(a.list[0].(string)) != size) {
			t.Errorf("%d bytes: got %v, want all of it", size, err)
		}
		if !fine && (exitOf(err) != exitUsage || !strings.Contains(err.Error(), "standard input has more than 1.0 MiB")) {
			t.Errorf("%d bytes: got %v, want an error of usage", size, err)
		}
	}
}

// A result is for people to read, or for programs: then exactly one line of JSON.
func TestPrintResult(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		value        any
		people, line string
	}{
		{"a\nb", "a\nb\n", `"a\nb"` + "\n"},
		{nil, "null\n", "null\n"},
		{int64(1<<53 + 1), "9007199254740993\n", "9007199254740993\n"},
		{1.0, "1.0\n", "1.0\n"},
		{[]byte("hi"), "\"aGk=\"\n", "\"aGk=\"\n"},
		{at, "\"2026-03-01T12:00:00Z\"\n", "\"2026-03-01T12:00:00Z\"\n"},
		{[]any{}, "[]\n", "[]\n"},
		{map[string]any{"b": int64(1), "a": []any{"x"}}, "{\n  \"a\": [\n    \"x\"\n  ],\n  \"b\": 1\n}\n", `{"a":["x"],"b":1}` + "\n"},
	} {
		for asJSON, want := range map[bool]string{false: test.people, true: test.line} {
			var out strings.Builder
			p := &app{out: &out}
			if err := p.printResult(test.value, asJSON); err != nil || out.String() != want {
				t.Errorf("%#v, json %t: got %q, %v, want %q", test.value, asJSON, out.String(), err, want)
			}
		}
	}
}

// The exit code says what a program can do about it.
func TestCallFails(t *testing.T) {
	t.Parallel()
	remote := func(c bus.Code, status int) *rpcclient.Error {
		e := bus.Errorf(c, "why")
		e.Remote = true
		return &rpcclient.Error{Err: e, Status: status, RequestID: "4f"}
	}
	returned := func(c bus.Code) *rpcclient.Error {
		e := remote(c, 200)
		e.Returned, e.Message = true, "no luck"
		return e
	}
	cut := &rpcclient.Error{Err: bus.Errorf(bus.CodeUnavailable, "the connection was cut")}
	for _, test := range []struct {
		err  error
		exit int
		want []string
	}{
		{remote(bus.CodeInvalidArgument, 400), exitSchema, []string{"cannot call add: why", "request      4f", "busd schema show"}},
		{remote(bus.CodeUnauthenticated, 401), exitAuth, []string{"--token-file"}},
		{remote(bus.CodePermissionDenied, 403), exitNotAllowed, []string{"whoami", "--group"}},
		{remote(bus.CodeNotFound, 404), exitNotFound, []string{"services"}},
		{remote(bus.CodeUnimplemented, 501), exitNotFound, []string{"busd schema show"}},
		{remote(bus.CodeOutOfRange, 413), exitFailed, nil},
		{remote(bus.CodeResourceExhausted, 429), exitFailed, []string{"again in a while"}},
		{remote(bus.CodeUnavailable, 503), exitFailed, []string{"again in a while"}},
		{remote(bus.CodeDeadlineExceeded, 504), exitTimeout, nil},
		{remote(bus.CodeInternal, 500), exitFailed, []string{"request      4f"}},
		{remote(bus.CodeUnavailable, 0), exitFailed, nil},
		{returned(bus.CodeUnknown), exitFailed, []string{"add failed: "}},
		{returned(bus.CodeInvalidArgument), exitFailed, nil},
		{returned(bus.CodeUnauthenticated), exitFailed, nil},
		{returned(bus.CodeNotFound), exitNotFound, nil},
		{returned(bus.CodePermissionDenied), exitNotAllowed, nil},
		{cut, exitNetwork, []string{"no answer came from add", "nobody knows"}},
		{errInterrupted, exitInterrupted, nil},
	} {
		c := &calling{method: "add", target: target{url: "https://a:1/B/C"}}
		ctx := t.Context()
		if errors.Is(test.err, errInterrupted) {
			interrupted, cancel := context.WithCancelCause(ctx)
			cancel(errInterrupted)
			ctx = interrupted
		}
		err := c.failed(ctx, test.err)
		var out strings.Builder
		report(&out, err, false)
		if got := exitOf(err); got != test.exit {
			t.Errorf("%v: got exit %d, want %d", test.err, got, test.exit)
		}
		for _, want := range test.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%v: got\n%s\nwant %q", test.err, &out, want)
			}
		}
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	now := time.Unix(1000, 0)
	bar := &progress{to: &out, name: "x.bin", began: now, now: func() time.Time { return now }}
	now = now.Add(time.Second)
	bar.moved(1<<20, 4<<20)
	bar.moved(2<<20, 4<<20) // too soon to be drawn
	const want = "\rx.bin  [######------------------]  25%  1.0 MiB of 4.0 MiB  1.0 MiB/s"
	if got := out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	out.Reset()
	now = now.Add(time.Second)
	bar.moved(3<<10, -1) // of which nobody knows how much it is
	if got := strings.TrimRight(out.String(), " "); got != "\rx.bin  3.0 KiB  1.5 KiB/s" {
		t.Errorf("got %q", got)
	}
	if len(out.String()) != len(want) {
		t.Error("what stood there before is not painted over")
	}
	bar.end()
	if !strings.HasSuffix(out.String(), " \r") || bar.done != 3<<10 {
		t.Errorf("after the end: got %q, %d", out.String(), bar.done)
	}

	// What no terminal shows is counted all the same.
	quiet := (&app{err: io.Discard}).newProgress("x")
	quiet.moved(5, 10)
	quiet.end()
	if quiet.done != 5 {
		t.Errorf("got %d, want 5", quiet.done)
	}
}
