package rpcclient_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/rpc/rpcclient"
)

// executes counts executions, as a method's own would be counted: once the request has
// come whole.
func executes(n *atomic.Int64, then http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			n.Add(1)
		}
		then(w, r)
	}
}

// status answers with one, and what else the header says.
func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, "a reason")
	}
}

const fine = `{"OK": true, "Value": "fine"}`

// A call is tried at the next address when it was surely not executed; one that may
// be repeated, also when it perhaps was. In no case is another one executed more than
// once.
func TestFailover(t *testing.T) {
	t.Parallel()
	whole := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 29\r\n\r\n" + fine
	cutAt := func(n int) http.HandlerFunc { return says(whole[:n]) }
	for _, tt := range []struct {
		name string
		// first is the first address; it executes a call iff it does.
		first    http.HandlerFunc
		down     bool
		executes bool
		// plain and repeated tell whether the second address is tried for a call, and
		// for one that may be repeated.
		plain, repeated bool
		code            bus.Code // of a call that is not tried again
	}{
		{name: "nobody listens", down: true, plain: true, repeated: true},
		{name: "busy", first: later(503, "unavailable"), plain: true, repeated: true},
		{name: "too many calls", first: later(429, "resource_exhausted"), plain: true, repeated: true},
		{name: "not available, without a word of when", first: status(503), repeated: true, code: bus.CodeUnavailable},
		{name: "no answer of a proxy's", first: status(502), executes: true, repeated: true, code: bus.CodeUnavailable},
		{name: "too slow", first: status(504), executes: true, repeated: true, code: bus.CodeDeadlineExceeded},
		{name: "crash", first: status(500), executes: true, repeated: true, code: bus.CodeInternal},
		{name: "no answer", first: cutAt(0), executes: true, repeated: true, code: bus.CodeUnavailable},
		{name: "cut in the status", first: cutAt(10), executes: true, repeated: true, code: bus.CodeProtocolError},
		{name: "cut in the header", first: cutAt(30), executes: true, repeated: true, code: bus.CodeUnavailable},
		{name: "cut in the body", first: cutAt(len(whole) - 3), executes: true, repeated: true, code: bus.CodeUnavailable},
		{name: "nobody", first: status(401), code: bus.CodeUnauthenticated},
		{name: "not allowed", first: status(403), code: bus.CodePermissionDenied},
		{name: "not found", first: status(404), code: bus.CodeNotFound},
		{name: "not implemented", first: status(501), code: bus.CodeUnimplemented},
		{name: "bad call", first: status(400), code: bus.CodeInvalidArgument},
		{name: "too large", first: status(413), code: bus.CodeOutOfRange},
		{name: "elsewhere", first: status(307, "Location", "https://s1.test/"), code: bus.CodeUnavailable},
		{name: "S_ERROR", first: answers(`{"OK": false, "Errno": 11, "Message": "m"}`), executes: true, code: bus.CodeUnavailable},
		{name: "no result", first: answers(``), executes: true, code: bus.CodeProtocolError},
		{name: "no HTTP", first: says("SMTP ready\r\n\r\n"), executes: true, repeated: true, code: bus.CodeProtocolError},
	} {
		for _, idempotent := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, idempotent %t", tt.name, idempotent), func(t *testing.T) {
				t.Parallel()
				var here, there atomic.Int64
				counted := &here
				if !tt.executes {
					counted = new(atomic.Int64) // such an answer says that it did nothing
				}
				first := tt.first
				if first == nil {
					first = answers(fine)
				}
				a, b := serve(t, executes(counted, first)), serve(t, executes(&there, answers(fine)))
				a.down.Store(tt.down)
				c := client(t, rpcclient.Config{}, a, b)
				tried := tt.plain
				if idempotent {
					c, tried = c.Idempotent(), tt.repeated
				}
				got, err := c.Call(t.Context(), "f")
				switch {
				case tried && (err != nil || got != "fine"):
					t.Errorf("got %v, %v; want the other's answer", got, err)
				case !tried && bus.CodeOf(err) != tt.code:
					t.Errorf("got %v, want %s", err, tt.code)
				}
				if (b.calls.Load() == 1) != tried || b.calls.Load() > 1 {
					t.Errorf("the second was asked %d times", b.calls.Load())
				}
				if n := here.Load() + there.Load(); !idempotent && n > 1 {
					t.Errorf("executed %d times", n)
				}
				if errors.Is(err, rpcclient.ErrNotExecuted) && here.Load()+there.Load() > 0 {
					t.Errorf("it says %v, and was executed", err)
				}
			})
		}
	}
}

// All addresses are tried, and the last one's error is told.
func TestAllFail(t *testing.T) {
	t.Parallel()
	a, b := serve(t, answers(fine)), serve(t, answers(fine))
	a.down.Store(true)
	b.down.Store(true)
	_, err := client(t, rpcclient.Config{}, a, b).Call(t.Context(), "f")
	if bus.CodeOf(err) != bus.CodeUnavailable || !errors.Is(err, rpcclient.ErrNotExecuted) {
		t.Errorf("got %v, want unavailable, not executed", err)
	}
}

// An address that failed is left alone for a while.
func TestBan(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := serve(t, answers(`{"OK": true, "Value": "a"}`)), serve(t, answers(`{"OK": true, "Value": "b"}`))
		c := client(t, rpcclient.Config{}, a, b)
		ask := func(want string) {
			t.Helper()
			if got, err := c.Call(t.Context(), "f"); err != nil || got != want {
				t.Errorf("got %v, %v; want %s", got, err, want)
			}
		}
		ask("a")
		a.down.Store(true)
		a.CloseConns()
		ask("b")
		a.down.Store(false)
		ask("b")
		time.Sleep(31 * time.Second) // the ban is over
		ask("a")
		b.down.Store(true)
		a.down.Store(true)
		a.CloseConns()
		b.CloseConns()
		if _, err := c.Call(t.Context(), "f"); bus.CodeOf(err) != bus.CodeUnavailable {
			t.Errorf("got %v", err)
		}
		a.down.Store(false)
		ask("a") // banned, but so are all
	})
}

// A busy service is waited for, as long as it asks for and the context allows.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var busy atomic.Int64
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if busy.Add(-1) >= 0 {
				later(503, "unavailable")(w, r)
				return
			}
			answers(fine)(w, r)
		})
		c := client(t, rpcclient.Config{}, s)
		busy.Store(2)
		began := time.Now()
		if got, err := c.Call(t.Context(), "f"); err != nil || got != "fine" {
			t.Errorf("got %v, %v", got, err)
		}
		if took := time.Since(began); took < 18*time.Second || took > 25*time.Second {
			t.Errorf("it took %s, want twice 9 s and a little", took)
		}

		busy.Store(2)
		short := client(t, rpcclient.Config{Timeout: 5 * time.Second}, s)
		began = time.Now()
		_, err := short.Call(t.Context(), "f")
		e := failure(t, err)
		if e.Err.Code != bus.CodeUnavailable || e.Err.Retry.After != 9*time.Second || !errors.Is(err, rpcclient.ErrNotExecuted) || !strings.Contains(err.Error(), "a reason") {
			t.Errorf("got %v, retry %v; want the service's word", err, e.Err.Retry)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %s to learn that there is no time", took)
		}
	})
}

// A connection that was kept and is gone: what was not written is sent again, what
// was is not, unless it may be.
func TestKeptConnectionIsGone(t *testing.T) {
	t.Parallel()
	for _, idempotent := range []bool{false, true} {
		t.Run(fmt.Sprintf("cut after the request, idempotent %t", idempotent), func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if n.Add(1) == 2 {
					hijack(func(_ *bufio.Reader, _ net.Conn) {})(w, r)
					return
				}
				answers(fine)(w, r)
			})
			c := client(t, rpcclient.Config{}, s)
			if idempotent {
				c = c.Idempotent()
			}
			if _, err := c.Call(t.Context(), "f"); err != nil {
				t.Fatal(err)
			}
			_, err := c.Call(t.Context(), "f")
			if idempotent && (err != nil || n.Load() != 3 || s.conns.Load() != 2) {
				t.Errorf("got %v, %d requests, %d connections", err, n.Load(), s.conns.Load())
			}
			if !idempotent && (bus.CodeOf(err) != bus.CodeUnavailable || errors.Is(err, rpcclient.ErrNotExecuted) || n.Load() != 2) {
				t.Errorf("got %v, %d requests", err, n.Load())
			}
		})
	}
	t.Run("gone before", func(t *testing.T) {
		t.Parallel()
		s := serve(t, answers(fine))
		c := client(t, rpcclient.Config{}, s)
		for range 20 {
			if _, err := c.Call(t.Context(), "f"); err != nil {
				t.Fatal(err)
			}
			s.CloseConns()
		}
		if s.calls.Load() != 20 {
			t.Errorf("%d requests of 20 calls", s.calls.Load())
		}
	})
}
