package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"busd/bus"
	"busd/internal/wire"
	"busd/schema"
)

type framePing struct {
	ID int64      `bus:"id"`
	At *time.Time `bus:"at"`
}

func (framePing) MessageName() string { return "Ping" }

type framePong struct {
	ID int64 `bus:"id"`
}

func (framePong) MessageName() string { return "Pong" }

var frameContract = wire.Compile(schema.MustNew("Test/Frames", schema.Of[framePing](schema.FromClient), schema.Of[framePong](schema.FromBoth)))

func frameMessage(t testing.TB, name string) *wire.Message {
	t.Helper()
	m, ok := frameContract.Message(name)
	if !ok {
		t.Fatalf("the contract has no %s", name)
	}
	return m
}

func fromClient() wire.Decoder {
	return wire.Decoder{Contract: frameContract, From: schema.FromClient, Limit: 200}
}

// summary is a frame in words.
func summary(f *wire.Frame) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s n=%d re=%d", f.Kind, f.N, f.Re)
	if len(f.Name) > 0 {
		fmt.Fprintf(&b, " name=%s", f.Name)
	}
	if f.Message != nil {
		b.WriteString(" known")
	}
	if f.Body != nil {
		fmt.Fprintf(&b, " body=%x", f.Body)
	}
	if f.Timeout != 0 {
		fmt.Fprintf(&b, " timeout=%s", f.Timeout)
	}
	if f.Kind == wire.Ack {
		fmt.Fprintf(&b, " seen=%d released=%d", f.Seen, f.Released)
	}
	if f.AckAtOnce() {
		b.WriteString(" at-once")
	}
	if f.Fault != nil {
		fmt.Fprintf(&b, " fault=%s %s: %s", f.Fault.Code, f.Fault.Path, f.Fault.Reason)
	}
	return b.String()
}

// Frames as a client may send them. want is the summary, or an error's text
// after "!".
var decoderTests = []struct{ name, bytes, want string }{
	{"hello", "92 00 81 a1 (a) 01", "hello n=0 re=0 body=81a16101"},
	{"hello without a map", "92 00 90", "!frame hello: offset 2: want a map"},
	{"welcome", "92 01 80", "welcome n=0 re=0 body=80"},
	{"drop", "92 02 80", "drop n=0 re=0 body=80"},
	{"ack", "93 03 05 cd0100", "ack n=0 re=0 seen=5 released=256"},
	{"ack that asks for one", "94 03 05 cd0100 01", "ack n=0 re=0 seen=5 released=256 at-once"},
	{"ack with elements of the future", "95 03 05 cd0100 02 a1 (x)", "ack n=0 re=0 seen=5 released=256"},
	{"ack, too short", "92 03 05", "!protocol_error: frame ack: want at least 3 elements, got 2"},
	{"ack of a negative number", "93 03 ff 00", "!frame ack: offset 2: want a number from 0 to 2^63-1"},
	{"ack of 2^63", "93 03 cf 8000000000000000 00", "!frame ack: offset 2: want a number from 0 to 2^63-1"},
	{"ack of 2^63-1", "93 03 cf 7fffffffffffffff 00", "ack n=0 re=0 seen=9223372036854775807 released=0"},
	{"ack of a float", "93 03 cb 3ff0000000000000 00", "!frame ack: offset 2: want a number"},
	{"ack, cut short", "93 03 05", "!offset 0: the bytes end before the value does"},
	{"goaway", "92 09 80", "goaway n=0 re=0 body=80"},
	{"cancel", "92 08 07", "cancel n=0 re=7"},

	{"data", "94 04 01 a4 (Ping) 81 a2 (id) 07", "data n=1 re=0 name=Ping known body=81a2696407"},
	{"data, long encodings", "dc 0004 cc 04 cd 0001 d9 04 (Ping) de 0001 d9 02 (id) d3 0000000000000007", "data n=1 re=0 name=Ping known body=de0001d9026964d30000000000000007"},
	{"data at once", "95 04 01 a4 (Ping) 81 a2 (id) 07 01", "data n=1 re=0 name=Ping known body=81a2696407 at-once"},
	{"data with flags of the future", "95 04 01 a4 (Ping) 81 a2 (id) 07 06", "data n=1 re=0 name=Ping known body=81a2696407"},
	{"data that replies", "96 04 01 a4 (Ping) 81 a2 (id) 07 00 09", "data n=1 re=9 name=Ping known body=81a2696407"},
	{"data with elements of the future", "98 04 01 a4 (Ping) 81 a2 (id) 07 00 09 c0 81 a1 (x) 92 01 02", "data n=1 re=9 name=Ping known body=81a2696407"},
	{"data with an element that is no msgpack", "97 04 01 a4 (Ping) 81 a2 (id) 07 00 09 c1", "!frame data: offset 0: 0xc1 is no msgpack"},
	{"data, too short", "93 04 01 a4 (Ping)", "!protocol_error: frame data: want at least 4 elements, got 3"},
	{"data without a name", "94 04 01 a0 80", "!frame data: offset 4: want a name of 1 to 64 bytes"},
	{"data with a name as bytes", "94 04 01 c4 04 (Ping) 80", "!frame data: offset 3: want a name"},
	{"data with a long name", "94 04 01 d9 41 (" + strings.Repeat("n", 65) + ") 80", "!frame data: offset 5: want a name of 1 to 64 bytes"},
	{"data with a negative number", "94 04 ff a4 (Ping) 80", "!frame data: offset 2: want a number from 0 to 2^63-1"},
	{"data with a list of attributes", "94 04 01 a4 (Ping) 90", "data n=1 re=0 name=Ping known body=90 fault=invalid_message Ping: want struct, got list"},
	{"data without an attribute", "94 04 01 a4 (Ping) 80", "data n=1 re=0 name=Ping known body=80 fault=invalid_message Ping.id: want int, got nothing"},
	{"data with a wrong attribute", "94 04 01 a4 (Ping) 81 a2 (id) a1 (7)", "data n=1 re=0 name=Ping known body=81a26964a137 fault=invalid_message Ping.id: want int, got string"},
	{"a wrong attribute beside a time", "94 04 01 a4 (Ping) 82 a2 (at) d6ff 00000001 a2 (id) c2", "data n=1 re=0 name=Ping known body=82a26174d6ff00000001a26964c2 fault=invalid_message Ping.id: want int, got bool"},
	{"data that nobody knows", "94 04 01 a4 (Pang) 81 a1 (t) d6ff 00000001", "data n=1 re=0 name=Pang body=81a174d6ff00000001 fault=unimplemented : the contract has no message \"Pang\""},
	{"a name for the log", "94 04 01 a4 (a\x1b\n\") 80", `data n=1 re=0 name=` + "a\x1b\n\"" + ` body=80 fault=unimplemented : the contract has no message "a\x1b\n\""`},
	{"data that nobody knows, and no map", "94 04 01 a4 (Pang) 01", "!frame data: offset 0: want a map"},
	{"data cut short", "94 04 01 a4 (Ping) 81 a2 (id)", "!frame data: offset 4: the bytes end before the value does"},
	{"data too large", "94 04 01 a4 (Pang) 81 a1 (x) c4 c8 (" + strings.Repeat("x", 200) + ")", "data n=1 re=0 name=Pang body=81a178c4c8" + strings.Repeat("78", 200) + ` fault=unimplemented : the contract has no message "Pang"`},
	{"request", "94 05 02 a4 (Pong) 81 a2 (id) 07", "request n=2 re=0 name=Pong known body=81a2696407"},
	{"request with a time", "95 05 02 a4 (Pong) 81 a2 (id) 07 cd 05dc", "request n=2 re=0 name=Pong known body=81a2696407 timeout=1.5s"},
	{"request with all the time there is", "95 05 02 a4 (Pong) 81 a2 (id) 07 cf 7fffffffffffffff", "request n=2 re=0 name=Pong known body=81a2696407 timeout=2562047h47m16.854s"},
	{"answer", "95 06 03 02 a4 (Pong) 81 a2 (id) 07", "answer n=3 re=2 name=Pong known body=81a2696407"},
	{"answer, nothing but handled", "95 06 03 02 c0 c0", "answer n=3 re=2"},
	{"answer to a call", "95 06 03 02 c0 c4 02 (ab)", "answer n=3 re=2 body=6162"},
	{"answer with a name and no attributes", "95 06 03 02 a4 (Pong) c0", "answer n=3 re=2 name=Pong known body=c0 fault=invalid_message Pong: want struct, got nil"},
	{"answer with neither", "95 06 03 02 c0 01", "!frame answer: offset 5: want bytes"},
	{"answer, too short", "94 06 03 02 c0", "!protocol_error: frame answer: want at least 5 elements, got 4"},
	{"error", "94 07 04 02 80", "error n=4 re=2 body=80"},
	{"error without a map", "94 07 04 02 c0", "!frame error: offset 4: want a map"},
	{"call", "94 0a 05 a4 (echo) c4 01 (x)", "call n=5 re=0 name=echo body=78"},
	{"call with a time", "95 0a 05 a4 (echo) c4 01 (x) 0a", "call n=5 re=0 name=echo body=78 timeout=10ms"},
	{"call with text", "94 0a 05 a4 (echo) a1 (x)", "!frame call: offset 8: want bytes"},

	{"part", "93 0b 01 02", "!protocol_error: unknown frame kind 11"},
	{"kind 12", "92 0c 80", "!protocol_error: unknown frame kind 12"},
	{"kind 2^63-1", "92 cf 7fffffffffffffff 80", "!protocol_error: unknown frame kind 9223372036854775807"},
	{"kind -1", "92 ff 80", "!offset 1: want a number from 0 to 2^63-1"},
	{"kind as text", "92 a1 (a) 80", "!offset 1: want a number"},
	{"an empty list", "90", "!offset 1: the bytes end before the value does"},
	{"an empty list, then more", "90 04", "!protocol_error: frame data: want at least 4 elements, got 0"},
	{"no list", "81 00 00", "!offset 0: want a list"},
	{"nothing", "", "!offset 0: the bytes end before the value does"},
	{"five hostile bytes", "dd ffffffff", "!offset 0: the bytes end before the value does"},
	{"more elements than bytes", "dd 00000010 04 01", "!offset 0: the bytes end before the value does"},
}

func TestDecoder(t *testing.T) {
	t.Parallel()
	for _, tt := range decoderTests {
		b := unhex(t, tt.bytes)
		f, err := fromClient().Next(append(b, 0xc1, 0xc1)[:len(b)])
		got := summary(&f)
		if err != nil {
			got = "!" + err.Error()
		} else if f.Size != len(b) {
			t.Errorf("%s: size: got %d, want %d", tt.name, f.Size, len(b))
		}
		if got != tt.want {
			t.Errorf("%s:\n got %q\nwant %q", tt.name, got, tt.want)
		}
	}
}

func TestDecoderSides(t *testing.T) {
	t.Parallel()
	ping := unhex(t, "94 04 01 a4 (Ping) 81 a2 (id) 07")
	f, err := wire.Decoder{Contract: frameContract, From: schema.FromService}.Next(ping)
	if err != nil || f.Fault == nil || f.Fault.Code != bus.CodeUnimplemented || !strings.Contains(f.Fault.Reason, "by the client only") {
		t.Errorf("the service's Ping: got %v, fault %v; want unimplemented", err, f.Fault)
	}
	call := unhex(t, "94 0a 05 a4 (echo) c4 01 (x)")
	f, err = wire.Decoder{Contract: frameContract, From: schema.FromService}.Next(call)
	if err != nil || f.Fault == nil || f.Fault.Code != bus.CodeUnimplemented {
		t.Errorf("the service's call: got %v, fault %v; want unimplemented", err, f.Fault)
	}
	f, err = wire.Decoder{}.Next(ping)
	if err != nil || f.Fault == nil || f.Fault.Code != bus.CodeUnimplemented {
		t.Errorf("before the contract is known: got %v, fault %v; want unimplemented", err, f.Fault)
	}
}

func TestDecoderLimit(t *testing.T) {
	t.Parallel()
	ping := unhex(t, "94 04 01 a4 (Ping) 81 a2 (id) 07")
	d := fromClient()
	d.Limit = len(ping)
	if f, err := d.Next(ping); err != nil || f.Fault != nil {
		t.Errorf("a message of the limit: got %v, fault %v", err, f.Fault)
	}
	d.Limit--
	f, err := d.Next(ping)
	if err != nil || f.Fault == nil || f.Fault.Code != bus.CodeInvalidMessage || f.Size != len(ping) {
		t.Errorf("a larger one: got %v, fault %v; want invalid_message, and its whole size", err, f.Fault)
	}
	call := unhex(t, "94 0a 05 a4 (echo) c4 20 ("+strings.Repeat("x", 32)+")")
	f, err = d.Next(call)
	if err != nil || f.Fault == nil || f.Fault.Code != bus.CodeOutOfRange || f.Size != len(call) {
		t.Errorf("a larger call: got %v, fault %v; want out_of_range, and its whole size", err, f.Fault)
	}
}

// What a sender finds too large is what its receiver would.
func TestCheckSize(t *testing.T) {
	t.Parallel()
	data, err := wire.AppendData(nil, frameMessage(t, "Ping"), framePing{ID: 7}, wire.DataOptions{})
	if err != nil {
		t.Fatal(err)
	}
	call, result := wire.AppendCall(nil, "echo", []byte("x"), 0), wire.AppendResult(nil, 1, []byte("x"))
	for _, tt := range []struct {
		name  string
		frame []byte
		check func([]byte, int) error
		want  bus.Code
	}{
		{"data", data, wire.CheckSize, bus.CodeInvalidMessage},
		{"call", call, wire.CheckSize, bus.CodeOutOfRange},
		{"result", result, wire.CheckResult, bus.CodeOutOfRange},
	} {
		size := len(wire.AppendNumber(nil, tt.frame, math.MaxUint64))
		if err := tt.check(tt.frame, size); err != nil {
			t.Errorf("%s of the limit: %v", tt.name, err)
		}
		if err := tt.check(tt.frame, size-1); bus.CodeOf(err) != tt.want {
			t.Errorf("%s beyond it: got %v, want %s", tt.name, err, tt.want)
		}
	}
	if n := len(wire.AppendCall(nil, "echo", nil, math.MaxInt64)); n > len("echo")+wire.AroundCall {
		t.Errorf("a call takes %d bytes beside its arguments", n)
	}
	if n := len(wire.AppendResult(nil, math.MaxUint64, make([]byte, 1<<20))) - 1<<20; n > wire.AroundResult {
		t.Errorf("an answer takes %d bytes beside its result", n)
	}
}

// What the Append functions write is what the decoder reads.
func TestFramesRoundTrip(t *testing.T) {
	t.Parallel()
	ping, pong := frameMessage(t, "Ping"), frameMessage(t, "Pong")
	must := func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	e := &bus.Error{Code: bus.CodeNotFound, Reason: "no such thing", Path: "Ping.id"}
	for _, n := range []uint64{1, 127, 128, 255, 256, 65535, 65536, math.MaxUint32, math.MaxUint32 + 1, math.MaxInt64} {
		frames := map[string][]byte{
			"data n=%d re=0 name=Ping known body=81a2696401":         must(wire.AppendData(nil, ping, framePing{ID: 1}, wire.DataOptions{})),
			"data n=%d re=0 name=Ping known body=81a2696401 at-once": must(wire.AppendData(nil, ping, framePing{ID: 1}, wire.DataOptions{AckAtOnce: true})),
			"data n=%d re=300 name=Ping known body=81a2696401":       must(wire.AppendData(nil, ping, framePing{ID: 1}, wire.DataOptions{Re: 300})),
			"request n=%d re=0 name=Ping known body=81a2696401":      must(wire.AppendRequest(nil, ping, framePing{ID: 1}, 0)),
			"answer n=%d re=9 name=Pong known body=81a2696402":       must(wire.AppendAnswer(nil, 9, pong, framePong{ID: 2})),
			"answer n=%d re=9":                                              must(wire.AppendAnswer(nil, 9, nil, nil)),
			"call n=%d re=0 name=echo body=5b5d":                            wire.AppendCall(nil, "echo", []byte("[]"), 0),
			"call n=%d re=0 name=echo body= timeout=2ms":                    wire.AppendCall(nil, "echo", nil, 1500*time.Microsecond),
			"answer n=%d re=9 body=5b5d":                                    wire.AppendResult(nil, 9, []byte("[]")),
			"answer n=%d re=9 body=":                                        wire.AppendResult(nil, 9, nil),
			"request n=%d re=0 name=Ping known body=81a2696401 timeout=2ms": must(wire.AppendRequest(nil, ping, framePing{ID: 1}, 1500*time.Microsecond)),
		}
		for want, frame := range frames {
			b := wire.AppendNumber(nil, frame, n)
			if len(b) != len(frame)+wire.NumberSize(n) {
				t.Errorf("number %d takes %d bytes, NumberSize says %d", n, len(b)-len(frame), wire.NumberSize(n))
			}
			f, err := fromClient().Next(b)
			if want := fmt.Sprintf(want, n); err != nil || summary(&f) != want {
				t.Errorf("got %q, %v; want %q", summary(&f), err, want)
			}
		}
		f, err := fromClient().Next(wire.AppendNumber(nil, wire.AppendError(nil, 9, e), n))
		if err != nil || f.N != n || f.Re != 9 {
			t.Fatalf("error: got %q, %v", summary(&f), err)
		}
		got, err := wire.DecodeError(f.Body)
		if err != nil || got.Code != e.Code || got.Reason != e.Reason || got.Path != e.Path || !got.Remote {
			t.Errorf("error: got %+v, %v; want %+v", got, err, e)
		}
	}
}

// Text that is not UTF-8 would make the peer refuse the frame itself.
func TestErrorsAreAlwaysGoodFrames(t *testing.T) {
	t.Parallel()
	e := &bus.Error{Code: bus.CodeInternal, Reason: strings.Repeat("é", 600) + "\xff", Path: "\xff" + strings.Repeat("p", 5000)}
	f, err := fromClient().Next(wire.AppendNumber(nil, wire.AppendError(nil, 1, e), 1))
	if err != nil {
		t.Fatalf("an error frame: %v", err)
	}
	got, err := wire.DecodeError(f.Body)
	if err != nil || len(got.Reason) > 1000 || len(got.Path) > 1000 || !strings.HasPrefix(got.Path, "?ppp") {
		t.Errorf("got %+v, %v; want reason and path cut to 1000 bytes of UTF-8", got, err)
	}
	if f, err = fromClient().Next(wire.AppendDrop(nil, e)); err != nil {
		t.Fatalf("a drop frame: %v", err)
	}
	if got, err := wire.DecodeDrop(f.Body); err != nil || len(got.Reason) > 1000 {
		t.Errorf("got %v, %v; want a reason of at most 1000 bytes", got, err)
	}
}

// A hostile frame must not cost more memory than it has bytes.
func TestDecoderMemory(t *testing.T) {
	hostile := [][]byte{
		unhex(t, "dd ffffffff"),
		unhex(t, "94 04 01 a4 (Ping) df ffffffff"),
		unhex(t, "94 04 01 a4 (Ping) 81 a2 (id) dd ffffffff"),
		unhex(t, "94 0a 01 a4 (Ping) c6 ffffffff"),
		append(unhex(t, "94 04 01 a4 (Ping)"), bytes.Repeat([]byte{0x91}, 1<<20)...),
		append(unhex(t, "dd 000ffff0 04 01 a4 (Ping) 81 a2 (id) 01"), make([]byte, 1<<20)...),
	}
	var before, after runtime.MemStats
	for _, b := range hostile {
		runtime.ReadMemStats(&before)
		_, err := fromClient().Next(b)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
			t.Errorf("%x… (%v): %d bytes were allocated", b[:min(len(b), 12)], err, got)
		}
	}
}

// FuzzDecoder: whatever comes, the decoder reads no further than Size, says
// the same whatever follows, and what it accepts means the same once our own
// functions have written it again.
func FuzzDecoder(f *testing.F) {
	for _, tt := range decoderTests {
		f.Add(unhex(f, tt.bytes), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, service bool) {
		d := fromClient()
		if service {
			d.From = schema.FromService
		}
		frame, err := d.Next(b)
		if err != nil {
			var syntax *wire.SyntaxError
			var protocol *bus.Error
			if !errors.As(err, &syntax) && !errors.As(err, &protocol) {
				t.Fatalf("%x: error of type %T", b, err)
			}
			return
		}
		if frame.Size <= 0 || frame.Size > len(b) {
			t.Fatalf("%x: size %d of %d bytes", b, frame.Size, len(b))
		}
		for _, rest := range [][]byte{nil, {0xc1}, b} {
			again, err := d.Next(append(bytes.Clone(b[:frame.Size]), rest...))
			if err != nil || summary(&again) != summary(&frame) || again.Size != frame.Size {
				t.Fatalf("%x: with %x behind it got %s, %v; want %s", b, rest, summary(&again), err, summary(&frame))
			}
		}
		if out := rewrite(t, &frame); out != nil {
			again, err := d.Next(out)
			if err != nil || summary(&again) != summary(&frame) {
				t.Fatalf("%x: written again as %x: got %s, %v; want %s", b, out, summary(&again), err, summary(&frame))
			}
		}
	})
}

// rewrite writes a frame with our own functions, where they can.
func rewrite(t *testing.T, f *wire.Frame) []byte {
	t.Helper()
	switch f.Kind {
	case wire.Ack:
		if f.AckAtOnce() {
			return wire.AppendAckAsking(nil, f.Seen, f.Released)
		}
		return wire.AppendAck(nil, f.Seen, f.Released)
	case wire.Cancel:
		return wire.AppendCancel(nil, f.Re)
	case wire.Call:
		if f.Fault != nil { // its size
			return nil
		}
		return wire.AppendNumber(nil, wire.AppendCall(nil, string(f.Name), f.Body, f.Timeout), f.N)
	case wire.Answer:
		if f.Message != nil || f.Fault != nil {
			return nil
		}
		if f.Body != nil {
			return wire.AppendNumber(nil, wire.AppendResult(nil, f.Re, f.Body), f.N)
		}
		b, err := wire.AppendAnswer(nil, f.Re, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return wire.AppendNumber(nil, b, f.N)
	}
	return nil
}

// FuzzControl: the maps of control frames, after the scan that the decoder
// does.
func FuzzControl(f *testing.F) {
	for _, tt := range controlTests {
		f.Add(unhex(f, tt.bytes))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := wire.Scan(b)
		if err != nil || n != len(b) || b[0]&0xf0 != 0x80 {
			return
		}
		if h, err := wire.DecodeHello(b); err == nil {
			_, _ = wire.DecodeArgs(h.Args) // no panic
			again, err := fromClient().Next(wire.AppendHello(nil, h))
			if err != nil {
				t.Fatalf("%x: written again: %v", b, err)
			}
			if h2, err := wire.DecodeHello(again.Body); err != nil || fmt.Sprint(h2) != fmt.Sprint(h) {
				t.Fatalf("%x: written again: got %+v, %v; want %+v", b, h2, err, h)
			}
		}
		_, _ = wire.DecodeWelcome(b) // no panic
		if e, err := wire.DecodeDrop(b); err == nil {
			again, err := fromClient().Next(wire.AppendDrop(nil, e))
			if err != nil {
				t.Fatalf("%x: written again: %v", b, err)
			}
			if e2, err := wire.DecodeDrop(again.Body); err != nil || *e2 != *e {
				t.Fatalf("%x: written again: got %+v, %v; want %+v", b, e2, err, e)
			}
		}
		_, _ = wire.DecodeError(b) // no panic
	})
}

// What is good costs no memory.
func TestDecoderDoesNotAllocate(t *testing.T) {
	for _, name := range []string{"ack", "cancel", "data", "request with a time", "answer", "answer, nothing but handled", "call"} {
		for _, tt := range decoderTests {
			if tt.name != name {
				continue
			}
			b := unhex(t, tt.bytes)
			got := testing.AllocsPerRun(100, func() {
				if _, err := fromClient().Next(b); err != nil {
					t.Fatal(err)
				}
			})
			if got != 0 {
				t.Errorf("%s: %v allocations, want 0", name, got)
			}
		}
	}
}

func BenchmarkDecoder(b *testing.B) {
	data := unhex(b, "94 04 01 a4 (Ping) 81 a2 (id) 07")
	d := fromClient()
	b.ReportAllocs()
	for b.Loop() {
		if f, err := d.Next(data); err != nil || f.Fault != nil {
			b.Fatal(err)
		}
	}
}
