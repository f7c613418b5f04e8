package rpcclient_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/rpc/rpcclient"
)

// What a server sends without end costs its client no more than its bounds.
func TestHostileServer(t *testing.T) {
	t.Parallel()
	endless := func(head, piece string) http.HandlerFunc {
		return hijack(func(_ *bufio.Reader, c net.Conn) {
			_, err := io.WriteString(c, head)
			for err == nil {
				_, err = io.WriteString(c, piece)
			}
		})
	}
	ok := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	filler := strings.Repeat("x", 1000)
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		code    bus.Code
		text    string
	}{
		{"endless header", endless(ok, "X-Filler: "+filler+"\r\n"), bus.CodeProtocolError, "exceeded 65536 bytes"},
		{"endless line of a header", endless(ok+"X: ", filler), bus.CodeProtocolError, "exceeded 65536 bytes"},
		{"endless 1xx", endless("", "HTTP/1.1 103 Early Hints\r\nLink: "+filler+"\r\n\r\n"), bus.CodeProtocolError, "exceeded 65536 bytes"},
		{"endless body", endless(ok+"\r\n", filler), bus.CodeOutOfRange, "MaxAnswer"},
		{"endless chunks", endless(ok+"Transfer-Encoding: chunked\r\n\r\n", "3e8\r\n"+filler+"\r\n"), bus.CodeOutOfRange, "MaxAnswer"},
		{"a body said to be large", says(ok + "Content-Length: 99999999999\r\n\r\n{}"), bus.CodeOutOfRange, "MaxAnswer"},
		{"endless refusal", endless("HTTP/1.1 500 No\r\nContent-Type: text/plain\r\n\r\n", filler), bus.CodeInternal, "xxx"},
		{"a bomb", bomb, bus.CodeOutOfRange, "MaxAnswer"},
		{"no gzip", says(ok + "Content-Encoding: gzip\r\nContent-Length: 10\r\n\r\n0123456789"), bus.CodeProtocolError, "gzip"},
		{"redirect", says("HTTP/1.1 302 Found\r\nLocation: https://evil.test/\xc2\x9b31m\r\nContent-Length: 0\r\n\r\n"), bus.CodeUnavailable, "not followed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, tt.handler)
			c := client(t, rpcclient.Config{MaxAnswer: 1 << 20}, s)
			_, err := c.Call(t.Context(), "f")
			e := failure(t, err)
			if e.Err.Code != tt.code || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %s and %q", err, tt.code, tt.text)
			}
			if strings.Contains(err.Error(), "\x1b") || len(err.Error()) > 2000 {
				t.Errorf("the error is not fit for a terminal: %q", err)
			}
			if s.calls.Load() != 1 || errors.Is(err, rpcclient.ErrNotExecuted) {
				t.Errorf("asked %d times", s.calls.Load())
			}
		})
	}
}

// bomb answers with a gigabyte in a megabyte.
func bomb(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	zeros := make([]byte, 1<<20)
	for range 1 << 10 {
		if _, err := z.Write(zeros); err != nil {
			return
		}
	}
	_ = z.Close() // the client has long gone
}

// An answer that is compressed is what it was.
func TestGzip(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long ", 1000)
	c := client(t, rpcclient.Config{}, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		fmt.Fprintf(z, `{"OK": true, "Value": %q}`, long)
		_ = z.Close() // the test reads it
	}))
	if got, err := c.Call(t.Context(), "f"); err != nil || got != long {
		t.Errorf("got %v, %v", got, err)
	}
}

// A service that does not answer costs the time that the context or the client
// allows, and the error says so.
func TestTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		drip := hijack(func(_ *bufio.Reader, c net.Conn) {
			_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n[")
			for err == nil {
				time.Sleep(time.Second)
				_, err = io.WriteString(c, " ")
			}
		})
		for _, handler := range []http.HandlerFunc{forever, drip} {
			s := serve(t, handler)
			c := client(t, rpcclient.Config{}, s)
			limited := client(t, rpcclient.Config{Timeout: time.Minute}, s)
			within := func(d time.Duration) context.Context {
				ctx, cancel := context.WithTimeout(t.Context(), d)
				t.Cleanup(cancel)
				return ctx
			}
			canceled, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(3*time.Second, func() { cancel(errors.New("enough")) })
			for _, tt := range []struct {
				c    *rpcclient.Client
				ctx  context.Context
				want time.Duration
				is   error
			}{
				{c, canceled, 3 * time.Second, context.Canceled},
				{c, t.Context(), rpcclient.DefaultTimeout, context.DeadlineExceeded},
				{limited, t.Context(), time.Minute, context.DeadlineExceeded},
				{limited.Idempotent(), within(2*time.Hour + 11*time.Minute), time.Hour, context.DeadlineExceeded},
			} {
				began := time.Now()
				_, err := tt.c.Call(tt.ctx, "f")
				took := time.Since(began)
				if !errors.Is(err, tt.is) || bus.CodeOf(err) != bus.CodeOf(tt.is) || took < tt.want || tt.want < time.Hour && took > tt.want+time.Second {
					t.Errorf("got %v after %s, want %v after %s", err, took, tt.is, tt.want)
				}
				if errors.Is(err, rpcclient.ErrNotExecuted) {
					t.Errorf("it was asked: %v", err)
				}
			}
		}
	})
}
