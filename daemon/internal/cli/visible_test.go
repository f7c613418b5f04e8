package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"busd/bus"
	"busd/msgclient"
	"busd/rpc/rpcclient"
	"busd/schema"
)

// hostile is what a service says to own a terminal: a title, a blank screen, and a line
// that seems to be busd's; a control character of one byte, one that turns the text
// around, and one that is no UTF-8.
const hostile = "\x1b]0;owned\a\x1b[2Jhello\nbusd: it worked\r\u009b31m\u202e\x9b"

// safe tells what of it is left in n lines.
func safe(t *testing.T, what, out string, lines int) {
	t.Helper()
	if strings.ContainsAny(strings.TrimSuffix(out, "\n"), "\x1b\a\r\u009b\u202e") || strings.Contains(out, "\x9b"+"\n") {
		t.Errorf("%s: the terminal is owned: %q", what, out)
	}
	if n := strings.Count(out, "\n"); n != lines || strings.Contains(out, "\nbusd: it worked") {
		t.Errorf("%s: got %d lines, want %d: %q", what, n, lines, out)
	}
	if !strings.Contains(out, `hello\nbusd: it worked\r`) {
		t.Errorf("%s: it does not show what was said: %q", what, out)
	}
}

// What a service says of an error stays text, in the line where it belongs.
func TestHostileError(t *testing.T) {
	t.Parallel()
	said := bus.Errorf(bus.CodeUnknown, "%s", hostile)
	said.Remote = true
	c := &calling{method: "add", target: target{url: "https://a:1/B/C"}}
	for name, err := range map[string]error{
		"returned": c.failed(t.Context(), &rpcclient.Error{Err: said, Message: hostile, Returned: true, Status: 200, RequestID: "4f"}),
		"refused":  c.failed(t.Context(), &rpcclient.Error{Err: said, Status: 500, RequestID: hostile}),
		"dropped":  refused(t.Context(), "the service does not want this client any more", said),
		"plain":    fmt.Errorf("service A/B: %w", said),
	} {
		var out strings.Builder
		report(&out, err, false)
		lines := 1
		if errors.As(err, new(*rpcclient.Error)) {
			lines = 2 // with the request
		}
		safe(t, name, out.String(), lines)
		out.Reset()
		report(&out, err, true)
		if strings.ContainsAny(out.String(), "\x1b\r") || strings.Contains(out.String(), "\nbusd: it worked") {
			t.Errorf("%s, with --debug: %q", name, &out)
		}
	}
}

// So it is for what a line tells of a connection.
func TestHostileDrop(t *testing.T) {
	t.Parallel()
	for _, asJSON := range []bool{false, true} {
		var out strings.Builder
		l := &line{app: &app{err: &out}, asJSON: asJSON}
		l.connected("i", msgclient.Resumption{})
		l.retries(bus.Errorf(bus.CodeUnavailable, "%s", hostile), 0)
		l.dropped(errors.New("cut"))
		l.connected("i", msgclient.Resumption{Reason: hostile})
		safe(t, fmt.Sprintf("json %t", asJSON), strings.ReplaceAll(out.String(), `\\`, `\`), 2)
	}
}

// Data in JSON is the same to programs, and does nothing to a terminal.
func TestHostileData(t *testing.T) {
	t.Parallel()
	valid := strings.ToValidUTF8(hostile, "\ufffd") + "\U000e0001"
	d := schema.Definition{Name: "Note", Doc: valid, Attrs: []schema.Attribute{{Name: "text", Type: schema.Type{Kind: schema.String}, Doc: valid}}}
	record := schema.NewRecord(d)
	if err := record.Set("text", valid); err != nil {
		t.Fatal(err)
	}
	for name, show := range map[string]func(p *app) error{
		"a message":          func(p *app) error { return p.show(record, false) },
		"a message, as JSON": func(p *app) error { return p.show(record, true) },
		"a result":           func(p *app) error { return p.printResult(map[string]any{"text": valid}, false) },
		"a result, as JSON":  func(p *app) error { return p.printResult(valid, true) },
	} {
		var out strings.Builder
		if err := show(&app{out: &out}); err != nil {
			t.Fatal(err)
		}
		lines := 1
		if name == "a result" {
			lines = 3
		}
		safe(t, name, out.String(), lines)
		var back any
		if err := json.Unmarshal([]byte(out.String()), &back); err != nil || !strings.Contains(fmt.Sprint(back), valid) {
			t.Errorf("%s: got %q, %v", name, back, err)
		}
	}
	var out strings.Builder
	if err := printSchema(&out, schema.MustNew("A/B", d)); err != nil {
		t.Fatal(err)
	}
	// Of documentation lines are made one.
	safe(t, "a contract", strings.ReplaceAll(out.String(), "hello busd: it worked", `hello\nbusd: it worked\r`), 5)
}
