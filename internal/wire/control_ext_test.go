package wire_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

// Maps of a hello frame: want is an error's reason, empty for none.
var controlTests = []struct{ name, bytes, want string }{
	{"nothing", "80", ""},
	{"unknown keys", "83 a1 (x) 01 a6 (future) 92 01 80 a6 (credit) 05", ""},
	{"an unknown key in client", "81 a6 (client) 82 a4 (name) a1 (n) a3 (new) 01", ""},
	{"nil for a key", "82 a6 (credit) c0 a8 (features) c0", ""},
	{"credit as text", "81 a6 (credit) a1 (5)", "credit is of the wrong type"},
	{"credit as a float", "81 a6 (credit) cb 4014000000000000", "credit is of the wrong type"},
	{"negative credit", "81 a6 (credit) ff", "must not be negative"},
	{"credit of 2^63", "81 a6 (credit) cf 8000000000000000", "credit is of the wrong type"},
	{"negative seen", "81 a4 (seen) d3 8000000000000000", "must not be negative"},
	{"instance as bytes", "81 a8 (instance) c4 01 (a)", "instance is of the wrong type"},
	{"instance as a number", "81 a8 (instance) 01", "instance is of the wrong type"},
	{"token as text", "81 a5 (token) a1 (a)", "token is of the wrong type"},
	{"token as a list", "81 a5 (token) 91 01", "token is of the wrong type"},
	{"features as text", "81 a8 (features) a1 (a)", "features is of the wrong type"},
	{"features of numbers", "81 a8 (features) 91 01", "features is of the wrong type"},
	{"client as a list", "81 a6 (client) 92 a1 (n) a1 (v)", "client is of the wrong type"},
	{"client with a number", "81 a6 (client) 81 a4 (name) 01", "client is of the wrong type"},
	{"args as a list", "81 a4 (args) 91 01", "args is of the wrong type"},
}

func TestDecodeHello(t *testing.T) {
	t.Parallel()
	for _, tt := range controlTests {
		_, err := wire.DecodeHello(unhex(t, tt.bytes))
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: got %v", tt.name, err)
		case tt.want != "" && (bus.CodeOf(err) != bus.CodeProtocolError || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: got %v, want protocol_error … %q", tt.name, err, tt.want)
		}
	}
}

func TestControlRoundTrip(t *testing.T) {
	t.Parallel()
	args, err := wire.AppendArgs(map[string]any{"site": "north", "n": 1<<53 + 1})
	if err != nil {
		t.Fatal(err)
	}
	hello := &wire.HelloFrame{
		Instance: "pilot-17", Args: args, Fingerprint: "sha256:00", Session: "s", Token: []byte{0, 255}, Seen: 7, Credit: 1 << 20,
		Features: []string{"a", "b"}, Client: wire.Program{Name: "busd", Version: "1"},
	}
	f, err := wire.Decoder{}.Next(wire.AppendHello(nil, hello))
	if err != nil || f.Kind != wire.Hello {
		t.Fatalf("hello: %v, %v", f.Kind, err)
	}
	if got, err := wire.DecodeHello(f.Body); err != nil || !reflect.DeepEqual(got, hello) {
		t.Errorf("hello: got %+v, %v; want %+v", got, err, hello)
	}
	if got, err := wire.DecodeArgs(hello.Args); err != nil || got["n"] != int64(1<<53+1) || got["site"] != "north" {
		t.Errorf("args: got %v, %v", got, err)
	}

	welcome := &wire.WelcomeFrame{
		TRID: "t", Identity: "alice/a", Session: "s", Token: []byte{1}, Resumed: true, ResumeReason: "expired", Seen: 3, Credit: 9,
		KeepAliveMS: 30000, IdleMS: 75000, Limits: wire.Limits{Message: 1, Batch: 2, Depth: 3, Values: 4}, Features: []string{"f"},
		Node: "n", Fingerprint: "sha256:11", Contract: "{}",
	}
	if f, err = (wire.Decoder{}).Next(wire.AppendWelcome(nil, welcome)); err != nil || f.Kind != wire.Welcome {
		t.Fatalf("welcome: %v, %v", f.Kind, err)
	}
	if got, err := wire.DecodeWelcome(f.Body); err != nil || !reflect.DeepEqual(got, welcome) {
		t.Errorf("welcome: got %+v, %v; want %+v", got, err, welcome)
	}

	why := &bus.Error{Code: bus.CodeGoingAway, Reason: "a restart", Retry: bus.Retry{When: bus.RetryNow, After: 2 * time.Second, Spread: time.Minute}}
	if f, err = (wire.Decoder{}).Next(wire.AppendDrop(nil, why)); err != nil || f.Kind != wire.Drop {
		t.Fatalf("drop: %v, %v", f.Kind, err)
	}
	want := *why
	want.Remote = true
	if got, err := wire.DecodeDrop(f.Body); err != nil || *got != want {
		t.Errorf("drop: got %+v, %v; want %+v", got, err, want)
	}
	why.Path = "Ping.id"
	f, _ = wire.Decoder{}.Next(wire.AppendDrop(nil, why))
	if got, _ := wire.DecodeDrop(f.Body); got == nil || got.Reason != "Ping.id: a restart" {
		t.Errorf("a drop with a path: got %+v", got)
	}
}

func TestDecodeWelcomeRefusesNegatives(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"a4 (seen)", "a6 (credit)", "ad (keep_alive_ms)", "a7 (idle_ms)"} {
		if _, err := wire.DecodeWelcome(unhex(t, "81 "+key+" ff")); bus.CodeOf(err) != bus.CodeProtocolError {
			t.Errorf("%s: got %v, want protocol_error", key, err)
		}
	}
	if _, err := wire.DecodeWelcome(unhex(t, "81 a6 (limits) 81 a7 (message) ff")); bus.CodeOf(err) != bus.CodeProtocolError {
		t.Errorf("limits: got %v, want protocol_error", err)
	}
}

func TestDecodeDrop(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, bytes string
		want        bus.Error
	}{
		{"nothing said", "80", bus.Error{Code: bus.CodeUnknown}},
		{"a code of the future", "81 a4 (code) cd 0315", bus.Error{Code: 789}},
		{"a code that is none", "81 a4 (code) cd 2710", bus.Error{Code: bus.CodeUnknown}},
		{"a negative code", "81 a4 (code) ff", bus.Error{Code: bus.CodeUnknown}},
		{"a word of the future", "81 a5 (retry) a6 (sooner)", bus.Error{Code: bus.CodeUnknown}},
		{"negative times", "82 a8 (after_ms) ff a9 (spread_ms) d3 8000000000000000", bus.Error{Code: bus.CodeUnknown}},
		{"all the time there is", "81 a8 (after_ms) cf 7fffffffffffffff", bus.Error{Code: bus.CodeUnknown, Retry: bus.Retry{After: 9223372036854 * time.Millisecond}}},
	}
	for _, tt := range tests {
		got, err := wire.DecodeDrop(unhex(t, tt.bytes))
		tt.want.Remote = true
		if err != nil || *got != tt.want {
			t.Errorf("%s: got %+v, %v; want %+v", tt.name, got, err, tt.want)
		}
	}
}

func TestAppendArgs(t *testing.T) {
	t.Parallel()
	if b, err := wire.AppendArgs(nil); b != nil || err != nil {
		t.Errorf("none: got %x, %v", b, err)
	}
	if _, err := wire.AppendArgs(map[string]any{"at": time.Now()}); err == nil {
		t.Error("a time among the args: got no error")
	}
}
