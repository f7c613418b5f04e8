package rpcclient_test

import (
	"bytes"
	_ "embed"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"busd/bus"
	"busd/rpc"
	"busd/rpc/rpcclient"
)

//go:embed testdata/server_bytes.txt
var captured string

// A capture is an answer of the real Tornado server.
type capture struct {
	head  string // status line and header
	body  []byte
	whole bool // the file has all of the body
}

// captures reads the file: sections that begin with their name.
func captures(t *testing.T) map[string]capture {
	t.Helper()
	all := map[string]capture{}
	for section := range strings.SplitSeq(strings.TrimPrefix(captured, "#### "), "\n#### ") {
		name, rest, _ := strings.Cut(section, "\n")
		head, rest, found := strings.Cut(rest, "\nbody (")
		size, literal, _ := strings.Cut(rest, " bytes): b")
		n, err := strconv.Atoi(size)
		if !found || err != nil {
			t.Fatalf("section %q cannot be read", name)
		}
		body, whole := pythonBytes(strings.TrimSpace(literal))
		all[name] = capture{head: head, body: body, whole: whole && len(body) == n}
	}
	if len(all) < 40 {
		t.Fatalf("%d sections", len(all))
	}
	return all
}

// pythonBytes reads a literal 'a\x00\\'; false: its end is cut.
func pythonBytes(s string) ([]byte, bool) {
	inner, whole := strings.CutSuffix(strings.TrimPrefix(s, "'"), "'")
	text, err := strconv.Unquote(`"` + strings.ReplaceAll(inner, `"`, `\"`) + `"`)
	return []byte(text), whole && err == nil
}

// tornado answers as the real server did in a section.
func tornado(t *testing.T, name string) http.HandlerFunc {
	t.Helper()
	c, ok := captures(t)[name]
	if !ok {
		t.Fatalf("there is no section %q", name)
	}
	body := c.body
	if !c.whole { // what is missing is white space here
		_, after, _ := strings.Cut(c.head, "Content-Length: ")
		size, _, _ := strings.Cut(after, "\n")
		n, err := strconv.Atoi(strings.TrimSpace(size))
		if err != nil {
			t.Fatal(err)
		}
		body = append(body, bytes.Repeat([]byte(" "), n-len(body))...)
	}
	return says(strings.ReplaceAll(c.head, "\n", "\r\n") + "\r\n\r\n" + string(body))
}

// What a service of DIRAC's answers is a value.
func TestTornadoAnswers(t *testing.T) {
	t.Parallel()
	t.Run("ping", func(t *testing.T) {
		t.Parallel()
		c := client(t, rpcclient.Config{}, serve(t, tornado(t, "ping")))
		got, err := rpcclient.Call[map[string]any](t.Context(), c, "ping")
		if err != nil || got["name"] != "Framework/Conformance" || got["service uptime"] != int64(741) {
			t.Errorf("got %v, %v", got, err)
		}
	})
	for name, want := range map[string]any{
		"echo":                   "hé",
		"args not a list (dict)": "data",
		"extraCredentials group": "admin",
		"gzip wanted, small":     "a",
		"gzip request body":      "zip",
		"multipart body":         "mp",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := client(t, rpcclient.Config{}, serve(t, tornado(t, name)))
			if got, err := c.Call(t.Context(), "echo"); err != nil || got != want {
				t.Errorf("got %v, %v; want %v", got, err, want)
			}
		})
	}
	t.Run("bytes", func(t *testing.T) {
		t.Parallel()
		c := client(t, rpcclient.Config{}, serve(t, tornado(t, "bytes in S_OK")))
		if got, err := rpcclient.Call[[]byte](t.Context(), c, "b"); err != nil || !bytes.Equal(got, []byte{0, 1, 2}) {
			t.Errorf("got %v, %v", got, err)
		}
	})
	t.Run("raw", func(t *testing.T) {
		t.Parallel()
		c := client(t, rpcclient.Config{}, serve(t, tornado(t, "NaN")))
		if got, err := c.CallRaw(t.Context(), "nan", []byte("[]")); err != nil || string(got) != "NaN" {
			t.Errorf("got %s, %v", got, err)
		}
	})
}

// What it answers else is an error that says what it was.
func TestTornadoErrors(t *testing.T) {
	t.Parallel()
	const never, perhaps = true, false
	for _, tt := range []struct {
		section  string
		code     bus.Code
		errno    int
		executed bool
		text     string // part of the error
		message  string // what a DIRAC client is told; empty: not compared
	}{
		{"S_ERROR", bus.CodeUnknown, 0, perhaps, "no luck", "no luck"},
		{"S_ERROR with errno", bus.CodeNotFound, 2, perhaps, "No such file", "No such file or directory ( 2 : no luck)"},
		{"no method field", bus.CodeInvalidArgument, 22, never, "does not understand the call", ""},
		{"json body", bus.CodeInvalidArgument, 22, never, "does not understand the call", ""},
		{"not authorised", bus.CodeUnauthenticated, 13, never, "no access to https://", "Permission denied ( 13 : No access to URL)"},
		{"no client certificate", bus.CodeUnauthenticated, 13, never, "no access to https://", "Permission denied ( 13 : No access to URL)"},
		{"unknown path", bus.CodeNotFound, 2, never, "is not found", ""},
		{"GET", bus.CodeUnimplemented, 38, never, "takes no calls", ""},
		{"unknown method", bus.CodeUnimplemented, 38, never, "nosuch is not implemented", "Function not implemented ( 38 : nosuch is not implemented)"},
		{"exception in method", bus.CodeInternal, 5, perhaps, "gives no details", ""},
		{"args not JSON", bus.CodeInternal, 5, perhaps, "gives no details", ""},
		{"str result", bus.CodeProtocolError, 0, perhaps, `it is no object of JSON: "just text"`, ""},
		{"list result", bus.CodeProtocolError, 0, perhaps, `it is a bare list (want S_OK or S_ERROR): "[1, 2, 3]"`, ""},
		{"None result", bus.CodeProtocolError, 0, perhaps, "it is empty, as of a method that returns nothing", ""},
		{"HEAD", bus.CodeUnimplemented, 38, never, "takes no calls", ""},
	} {
		t.Run(tt.section, func(t *testing.T) {
			t.Parallel()
			s := serve(t, tornado(t, tt.section))
			c := client(t, rpcclient.Config{}, s)
			_, err := c.Call(t.Context(), "nosuch")
			e := failure(t, err)
			if e.Err.Code != tt.code || e.Errno != tt.errno || errors.Is(err, rpcclient.ErrNotExecuted) != tt.executed {
				t.Errorf("got %s, errno %d, %v; want %s, %d, not executed %t", e.Err.Code, e.Errno, err, tt.code, tt.errno, tt.executed)
			}
			if !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "<html") {
				t.Errorf("got %q, want %q in it, and no HTML", err, tt.text)
			}
			want := strings.ReplaceAll(tt.message, "URL", strings.Replace(s.url, service, ":8443"+service, 1))
			if want != "" && e.Message != want {
				t.Errorf("message: got %q, want %q", e.Message, want)
			}
			if isOwn := strings.HasPrefix(tt.section, "S_ERROR"); e.Returned != isOwn || errors.As(err, new(*rpc.Error)) != isOwn {
				t.Errorf("returned by the method: got %t", e.Returned)
			}
			if s.calls.Load() != 1 {
				t.Errorf("asked %d times", s.calls.Load())
			}
		})
	}
}

// Answers that no capture has.
func TestOddAnswers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		body, want string
		code       bus.Code
	}{
		{`{"Value": 1}`, `does not say whether it is OK: "{\"Value\": 1}"`, bus.CodeProtocolError},
		{`{"OK": 1, "Value": 1}`, "OK is neither true nor false", bus.CodeProtocolError},
		{`{"OK": true, "Value": }`, "the service's answer is not one", bus.CodeProtocolError},
		{`{"OK": true, "Value": 1} and more`, "the service's answer is not one", bus.CodeProtocolError},
		{`{"OK": false}`, "the service gives no message", bus.CodeUnknown},
		{`{"OK": false, "Errno": "two", "Message": ""}`, "the service gives no message", bus.CodeUnknown},
		{`{"OK": false, "Errno": 13, "Message": [1, 2]}`, "[1, 2]", bus.CodePermissionDenied},
		{`{"OK": false, "Errno": 1, "Errno": 17, "Message": "a", "Message": "there"}`, "there", bus.CodeAlreadyExists},
		{`{"OK": true, "Value": "x"}`, "the result does not fit into int: ", bus.CodeInvalidMessage},
		{`"OK"`, "it is no object of JSON", bus.CodeProtocolError},
		{strings.Repeat("[", 100_000), "it is a bare list", bus.CodeProtocolError},
		{`{"OK": true, "Value": ` + strings.Repeat("[", 100_000), "the service's answer is not one", bus.CodeProtocolError},
	} {
		c := client(t, rpcclient.Config{}, serve(t, answers(tt.body)))
		_, err := rpcclient.Call[int](t.Context(), c, "add", 1, 2)
		e := failure(t, err)
		if e.Err.Code != tt.code || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 1000 {
			t.Errorf("%.60s: got %.1000v, want %s and %q", tt.body, err, tt.code, tt.want)
		}
		if errors.Is(err, rpcclient.ErrNotExecuted) {
			t.Errorf("%.60s: it was executed", tt.body)
		}
	}
	c := client(t, rpcclient.Config{}, serve(t, answers(` {"Value": 1, "OK": true, "rpcStub": [], "Value": 3}`+"\n")))
	if got, err := rpcclient.Call[int](t.Context(), c, "add", 1, 2); err != nil || got != 3 {
		t.Errorf("got %d, %v: of duplicates the last counts", got, err)
	}
	c = client(t, rpcclient.Config{}, serve(t, answers(`{"OK": true}`)))
	if got, err := c.Call(t.Context(), "f"); err != nil || got != nil {
		t.Errorf("S_OK without a value: got %v, %v", got, err)
	}
}
