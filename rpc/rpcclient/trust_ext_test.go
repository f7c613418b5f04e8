package rpcclient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"busd/access"
	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/rpc"
	"busd/rpc/rpcclient"
)

// later is how busd itself refuses a call for now.
func later(code int, word string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", "9")
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"code":%q,"reason":"a reason","request_id":"f00d"}`, word)
	}
}

// A download that ends with its connection is none: a cut would be taken for its end.
func TestReceiveNeedsAnEnd(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1.0", "1.1"} {
		s := serve(t, says("HTTP/"+version+" 200 OK\r\nContent-Type: application/octet-stream\r\n\r\nhalf of it"))
		c := client(t, rpcclient.Config{}, s)
		dir := t.TempDir()
		err := c.Idempotent().ReceiveFile(t.Context(), filepath.Join(dir, "f"), "")
		if bus.CodeOf(err) != bus.CodeProtocolError || errors.Is(err, rpcclient.ErrNotExecuted) {
			t.Errorf("HTTP/%s: got %v", version, err)
		}
		if list := names(t, dir); list != "" {
			t.Errorf("HTTP/%s: there is %s", version, list)
		}
	}
	chunked := says("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n0\r\n\r\n")
	var got bytes.Buffer
	if _, err := client(t, rpcclient.Config{}, serve(t, chunked)).Receive(t.Context(), &got, ""); err != nil || got.String() != "all" {
		t.Errorf("chunked: got %q, %v", got.String(), err)
	}
	h2 := newTown(t).serve(t, nil, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", 1<<20)) })
	c, err := rpcclient.New(rpcclient.Config{URL: h2.URL + service, TLS: h2.Client().Transport.(*http.Transport).TLSClientConfig}) //nolint:forcetypeassert // httptest's
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := c.Receive(t.Context(), io.Discard, ""); err != nil || n != 1<<20 {
		t.Errorf("HTTP/2: got %d bytes, %v", n, err)
	}
}

// An S_ERROR is one whatever stands between: proxies name requests, too.
func TestVerdictBehindAProxy(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "the proxy's")
		answers(`{"OK": false, "Errno": 2, "Message": "no such file"}`)(w, r)
	})
	path := filepath.Join(t.TempDir(), "f")
	err := client(t, rpcclient.Config{}, s).ReceiveFile(t.Context(), path, "")
	if e := failure(t, err); !e.Returned || e.Message != "no such file" {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("it is there as the file")
	}
}

// A file may have any type that its service says.
func TestReceiveOfAnyType(t *testing.T) {
	t.Parallel()
	const body = `{"OK": false, "Errno": 2, "Message": "of the file"}`
	s := rpc.NewService("Framework/Conformance")
	s.Allow = access.Any
	rpc.Export(s, "get", func(kind, name string) *rpc.Stream {
		return &rpc.Stream{Reader: strings.NewReader(body), ContentType: kind, Name: name}
	})
	srv := bustest.NewServer(t, msgbus.Config{}, &msgbus.Service{Methods: s})
	c, err := rpcclient.New(rpcclient.Config{
		URL: strings.Replace(srv.URL(), "wss", "https", 1), TLS: bustest.ClientTLS(t, "agent"), DialContext: srv.DialContext,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, kind := range []string{"", "application/json", "text/html", "text/plain"} {
		for _, name := range []string{"", "a file.json"} {
			var got bytes.Buffer
			if _, err := c.Receive(t.Context(), &got, "get", kind, name); err != nil || got.String() != body {
				t.Errorf("%s, %q: got %q, %v", kind, name, got.String(), err)
			}
		}
	}
}

// That a call was not executed is believed of busd alone: a gateway may say the same
// words after the method has run.
func TestBusyIsBelievedOfBusd(t *testing.T) {
	t.Parallel()
	body := func(code int, kind, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "0")
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(code)
			_, _ = io.WriteString(w, text)
		}
	}
	const json = "application/json"
	for _, tt := range []struct {
		name     string
		first    http.HandlerFunc
		believed bool
	}{
		{"busd", body(503, json, `{"code":"unavailable","reason":"a reason","request_id":"f00d"}`), true},
		{"busd's method", body(429, json, `{"code":"resource_exhausted","reason":"a reason","request_id":"f00d"}`), true},
		{"a gateway", body(503, "text/plain", "try again"), false},
		{"a gateway with a page", body(429, "text/html", "<h1>"), false},
		{"JSON of another", body(503, json, `{"error":"busy"}`), false},
		{"JSON of another, with a code", body(503, json, `{"code":"unavailable"}`), false},
		{"another code", body(503, json, `{"code":"internal","reason":"a reason","request_id":"f00d"}`), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var executed atomic.Int64
			a, b := serve(t, executes(&executed, tt.first)), serve(t, answers(fine))
			_, err := client(t, rpcclient.Config{}, a, b).Call(t.Context(), "f")
			switch {
			case tt.believed && err != nil:
				t.Errorf("got %v, want the other's answer", err)
			case !tt.believed && (err == nil || errors.Is(err, rpcclient.ErrNotExecuted) || b.calls.Load() > 0 || executed.Load() != 1):
				t.Errorf("got %v, executed %d times, the other asked %d times", err, executed.Load(), b.calls.Load())
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if got, err := client(t, rpcclient.Config{}, a, b).Idempotent().Call(ctx, "f"); err != nil || got != "fine" {
				t.Errorf("what may be repeated: got %v, %v", got, err)
			}
		})
	}
}
