package bus_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"busd/bus"
)

func TestCodes(t *testing.T) {
	t.Parallel()
	names := map[string]bus.Code{}
	for _, c := range bus.Codes() {
		name := c.String()
		if strings.HasPrefix(name, "code_") || names[name] != 0 {
			t.Errorf("code %d: name %q is missing, or is that of code %d", uint16(c), name, uint16(names[name]))
		}
		names[name] = c
		if got, ok := bus.ParseCode(name); !ok || got != c {
			t.Errorf("ParseCode(%q): got %d, %v, want %d", name, uint16(got), ok, uint16(c))
		}
		if got, want := c.CloseCode(), 4000+int(c); got != want {
			t.Errorf("%s: close code: got %d, want %d", c, got, want)
		}
		if got, want := c.Temporary(), c.Retry() != bus.RetryNever; got != want {
			t.Errorf("%s: temporary: got %v, want %v", c, got, want)
		}
	}
	for c := bus.Code(1); c <= 16; c++ { // gRPC's numbers have gRPC's meanings, and all of them a name
		if strings.HasPrefix(c.String(), "code_") {
			t.Errorf("code %d has no name", uint16(c))
		}
	}
	if _, ok := bus.ParseCode("no_such_code"); ok {
		t.Error("ParseCode takes a name that there is not")
	}
	if got := bus.Code(999).String(); got != "code_999" {
		t.Errorf("a code without a name: got %q, want code_999", got)
	}
}

func TestFinalCodes(t *testing.T) {
	t.Parallel()
	for _, c := range []bus.Code{bus.CodeSuperseded, bus.CodeCertificateRevoked} {
		if c.Temporary() {
			t.Errorf("%s must be final", c)
		}
	}
	if !bus.Code(999).Temporary() {
		t.Error("an unknown code must be temporary: a newer peer may know more")
	}
}

func TestWhen(t *testing.T) {
	t.Parallel()
	for _, w := range []bus.When{bus.RetryAfter, bus.RetryNow, bus.RetryNever} {
		if got := bus.ParseWhen(w.String()); got != w {
			t.Errorf("ParseWhen(%q): got %v", w.String(), got)
		}
	}
	if got := bus.ParseWhen("tomorrow"); got != bus.RetryAfter {
		t.Errorf("an unknown word: got %v, want after", got)
	}
}

func TestError(t *testing.T) {
	t.Parallel()
	e := bus.Wrap(bus.CodeInternal, io.ErrUnexpectedEOF, "the store failed")
	if got, want := e.Error(), "internal: the store failed: unexpected EOF"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	e.Path = "Ping.id"
	if got, want := e.Error(), "internal: Ping.id: the store failed: unexpected EOF"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(e, io.ErrUnexpectedEOF) {
		t.Error("the cause is not found")
	}
	if errors.Is(e, bus.ErrDropped) {
		t.Error("not every error says why a connection ended")
	}
	d := e.Dropped()
	if !errors.Is(fmt.Errorf("send: %w", d), bus.ErrDropped) || errors.Is(e, bus.ErrDropped) {
		t.Error("Dropped must mark its copy, and nothing else")
	}
	hint := bus.Retry{When: bus.RetryNever, After: time.Second}
	if got := e.WithRetry(hint).Retry; got != hint || e.Retry == hint {
		t.Errorf("WithRetry: got %v on the copy, %v on the original", got, e.Retry)
	}
}

func TestCodeOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want bus.Code
	}{
		{nil, 0},
		{io.EOF, bus.CodeUnknown},
		{context.Canceled, bus.CodeCanceled},
		{fmt.Errorf("read: %w", context.DeadlineExceeded), bus.CodeDeadlineExceeded},
		{fmt.Errorf("read: %w", bus.Errorf(bus.CodeNotFound, "no")), bus.CodeNotFound},
	} {
		if got := bus.CodeOf(c.err); got != c.want {
			t.Errorf("CodeOf(%v): got %v, want %v", c.err, got, c.want)
		}
	}
}

// TestAsError: what a foreign error says stays on this side.
func TestAsError(t *testing.T) {
	t.Parallel()
	if bus.AsError(nil) != nil {
		t.Error("nil must stay nil")
	}
	own := bus.Errorf(bus.CodeAborted, "no")
	if got := bus.AsError(fmt.Errorf("handler: %w", own)); got != own {
		t.Errorf("got %v, want the bus error inside", got)
	}
	secret := errors.New("password=hunter2")
	got := bus.AsError(secret)
	if got.Code != bus.CodeUnknown || strings.Contains(got.Reason, "hunter2") || !errors.Is(got, secret) {
		t.Errorf("got %v with reason %q", got.Code, got.Reason)
	}
	if got := bus.AsError(context.DeadlineExceeded); got.Code != bus.CodeDeadlineExceeded {
		t.Errorf("got %v, want %v", got.Code, bus.CodeDeadlineExceeded)
	}
}

func TestTRID(t *testing.T) {
	t.Parallel()
	seen := map[bus.TRID]bool{}
	for range 1000 {
		id := bus.NewTRID()
		if seen[id] {
			t.Fatalf("%s came twice", id)
		}
		seen[id] = true
		if got, err := bus.ParseTRID(string(id)); err != nil || got != id {
			t.Fatalf("ParseTRID(%s): got %s, %v", id, got, err)
		}
	}
	for _, bad := range []string{"", "x", "6F1C8A52-3D3B-4B8E-9A55-0D6A3C5B9F10", "{6f1c8a52-3d3b-4b8e-9a55-0d6a3c5b9f10}", "6f1c8a523d3b4b8e9a550d6a3c5b9f10"} {
		if _, err := bus.ParseTRID(bad); bus.CodeOf(err) != bus.CodeInvalidArgument {
			t.Errorf("ParseTRID(%q): got %v, want %v", bad, err, bus.CodeInvalidArgument)
		}
	}
}

func TestCheckInstance(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "pilot-17", "A.b_c-9", strings.Repeat("x", bus.MaxInstance)} {
		if err := bus.CheckInstance(good); err != nil {
			t.Errorf("CheckInstance(%q): %v", good, err)
		}
	}
	for _, bad := range []string{"", "a/b", "a b", "a\n", "é", "*", ">", "a\x00", strings.Repeat("x", bus.MaxInstance+1)} {
		if bus.CheckInstance(bad) == nil {
			t.Errorf("CheckInstance(%q) takes it", bad)
		}
	}
}

func TestPeerKeepsItsDetails(t *testing.T) {
	t.Parallel()
	p := bus.Peer{Name: "dns:agent-7", Serial: "c0ffee"}
	if got := fmt.Sprint(p); got != "dns:agent-7" {
		t.Errorf("got %q, want the name", got)
	}
	if got := fmt.Sprintf("%#v", p); strings.Contains(got, "c0ffee") {
		t.Errorf("debug output shows the certificate: %s", got)
	}
}
