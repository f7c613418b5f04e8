package rpc_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"busd/access"
	"busd/rpc"
)

// panicking gives so many bytes, and then panics, or does what else it must not.
type panicking struct {
	left int
	end  func(p []byte) int
}

func (r *panicking) Read(p []byte) (int, error) {
	if r.left == 0 {
		return r.end(p), nil
	}
	n := min(r.left, len(p))
	r.left -= n
	return n, nil
}

// TestDownloadPanics: a reader that panics is the service's fault, and nobody
// takes a part for the whole.
func TestDownloadPanics(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func([]byte) int{
		"a panic":       func([]byte) int { panic("canary") },
		"a wrong count": func(p []byte) int { return len(p) + 1 },
	} {
		for _, sent := range []int{0, 100_000} {
			for _, http2 := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s after %d bytes, http2=%t", name, sent, http2), func(t *testing.T) {
					t.Parallel()
					svc := rpc.NewService("Test/Files")
					svc.Allow = access.Any
					rpc.Export(svc, "get", func() io.Reader { return &panicking{sent, end} })
					core, logged := observer.New(zap.ErrorLevel)
					w := serve(t, serverOf(t, rpc.Config{Logger: zap.New(core)}, svc), "h2", "http/1.1")
					resp, body, err := fetch(t, w.client("", http2), "get")
					switch {
					case sent > 0 && (resp.StatusCode != http.StatusOK || err == nil):
						t.Errorf("got %d, %d bytes, and no error", resp.StatusCode, len(body))
					case sent == 0 && (resp.StatusCode != http.StatusInternalServerError || !strings.Contains(body, resp.Header.Get("X-Request-Id")) || strings.Contains(body, "canary")):
						t.Errorf("got %d %q, want 500 with the request's ID", resp.StatusCode, body)
					}
					wantCrash(t, svc, "get", logged)
				})
			}
		}
	}
	for _, c := range []struct {
		name   string
		reader io.Reader
		status int
	}{
		{"a nil pointer", (*bytes.Buffer)(nil), 500},
		{"in Close", &brokenCloser{strings.NewReader("all of it")}, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			svc := rpc.NewService("Test/Files")
			svc.Allow = access.Any
			rpc.Export(svc, "get", func() io.Reader { return c.reader })
			core, logged := observer.New(zap.ErrorLevel)
			w := serve(t, serverOf(t, rpc.Config{Logger: zap.New(core)}, svc))
			if resp, body, err := fetch(t, w.client("", false), "get"); err != nil || resp.StatusCode != c.status {
				t.Errorf("got %d %q, %v; want %d", resp.StatusCode, body, err, c.status)
			}
			wantCrash(t, svc, "get", logged)
		})
	}
}

type brokenCloser struct{ io.Reader }

func (*brokenCloser) Close() error { panic("canary") }

// wantCrash waits until a call is over, and wants it counted as internal, and one
// line in the log with the stack.
func wantCrash(t *testing.T, svc *rpc.Service, method string, logged *observer.ObservedLogs) {
	t.Helper()
	calls := map[string]uint64{}
	for len(calls) == 0 {
		for _, m := range svc.Stats().Methods {
			if m.Method == method {
				calls = m.Calls
			}
		}
	}
	if len(calls) != 1 || calls["internal"] != 1 {
		t.Errorf("counted %v, want one internal", calls)
	}
	if lines := logged.All(); len(lines) != 1 || !strings.Contains(fmt.Sprint(lines[0].ContextMap()["stack"]), "panic(") {
		t.Errorf("the log has %v, want one line with the stack", lines)
	}
}

// TestDownloadOverOldHTTP: the end of a connection tells an HTTP/1.0 client nothing
// of whether it has the whole, so it gets no download.
func TestDownloadOverOldHTTP(t *testing.T) {
	t.Parallel()
	svc := downloads(t)
	w := serve(t, serverOf(t, rpc.Config{}, svc))
	for method, want := range map[string]int{"broken": 505, "pipe": 505, "memory": 505, "ping": 200} {
		body := "method=" + method
		a := w.say("", fmt.Sprintf("POST /Test/Files HTTP/1.0\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", urlencoded, len(body), body))
		if a.StatusCode != want || want == 505 && !strings.Contains(a.body, "HTTP/1.1") {
			t.Errorf("%s: got %d %.80q, want %d", method, a.StatusCode, a.body, want)
		}
	}
	for _, m := range svc.Stats().Methods {
		if m.Calls["ok"] > 0 && m.Method != "ping" {
			t.Errorf("%s was executed", m.Method)
		}
	}
}

// TestDownloadFailsWithAnEnd: an error that is about somebody else's end is no end
// of the file.
func TestDownloadFailsWithAnEnd(t *testing.T) {
	t.Parallel()
	svc := rpc.NewService("Test/Files")
	svc.Allow = access.Any
	rpc.Export(svc, "get", func() io.Reader {
		return io.MultiReader(strings.NewReader(strings.Repeat("x", 100_000)), iotest.ErrReader(fmt.Errorf("upstream: %w", io.EOF)))
	})
	w := serve(t, serverOf(t, rpc.Config{}, svc), "h2", "http/1.1")
	for _, http2 := range []bool{false, true} {
		if resp, body, err := fetch(t, w.client("", http2), "get"); err == nil {
			t.Errorf("http2=%t: got %s, %d bytes, and no error", http2, resp.Status, len(body))
		}
	}
}
