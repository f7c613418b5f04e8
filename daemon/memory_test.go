package daemon

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"busd/daemon/internal/cli"
)

// While memory is short requests are answered 503, whatever they want, with when to
// come again, and each at another time.
func TestShedding(t *testing.T) {
	t.Parallel()
	var short atomic.Bool
	var refused atomic.Uint64
	h := &shedding{
		short: short.Load, log: zap.NewNop(), refused: &refused,
		next: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }),
	}
	ask := func() *http.Response {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://x/Test/One/add", strings.NewReader("[1,2]")))
		return w.Result()
	}
	if got := ask(); got.StatusCode != http.StatusTeapot {
		t.Errorf("with memory: got %s", got.Status)
	}
	short.Store(true)
	times := map[int]int{}
	for range 200 {
		got := ask()
		body, _ := io.ReadAll(got.Body)
		after, err := strconv.Atoi(got.Header.Get("Retry-After"))
		if got.StatusCode != http.StatusServiceUnavailable || err != nil || after < 2 || after > 9 || got.Header.Get("Connection") != "close" ||
			!strings.Contains(string(body), `"resource_exhausted"`) {
			t.Fatalf("without memory: got %s, %v, %s", got.Status, got.Header, body)
		}
		times[after]++
	}
	if len(times) < 5 || refused.Load() != 200 {
		t.Errorf("%d refused, told to come after (seconds: how many) %v; want 200, spread", refused.Load(), times)
	}
	short.Store(false)
	if got := ask(); got.StatusCode != http.StatusTeapot {
		t.Errorf("with memory again: got %s", got.Status)
	}
}

// What net/http turns away by itself is counted: headers that are too large, too
// slow or none, and connections that never ask.
func TestRequestsNobodySees(t *testing.T) {
	t.Parallel()
	r := start(t, "timeouts: {request: 300ms}\n", cli.ServeOptions{Dev: true}, newService("Test/One", nil))
	want := func(reason string, n int) {
		t.Helper()
		line := fmt.Sprintf(`busd_refused_total{reason="%s",service=""} %d`, reason, n)
		waitFor(t, line, func() bool {
			_, metrics := r.get("/metrics")
			return strings.Contains(metrics, line+"\n")
		})
	}
	conf := r.https("alice").TLSClientConfig
	conf.NextProtos = []string{"http/1.1"}
	say := func(text string) (answer string) {
		t.Helper()
		c, err := tls.Dial("tcp", r.bus, conf)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		line, _ := bufio.NewReader(c).ReadString('\n') // none, if it was closed
		_, _ = io.Copy(io.Discard, c)
		return strings.TrimSpace(line)
	}
	const head = "GET /Test/One HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
	if got := say(head + "\r\n"); got != "HTTP/1.1 200 OK" {
		t.Errorf("a request: got %q", got)
	}
	want("request", 0)
	want("silent", 0)
	if got := say(head + "X: " + strings.Repeat("x", 16<<10) + "\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 431") {
		t.Errorf("a large header: got %q, want 431", got)
	}
	want("request", 1)
	say(head) // and no end
	want("request", 2)
	if got := say("GARBAGE\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 400") {
		t.Errorf("garbage: got %q, want 400", got)
	}
	want("request", 3)
	want("silent", 0)
	say("")
	want("silent", 1)

	// Over HTTP/2 as over HTTP/1.1.
	if status, _ := fetch(t, r.https("alice"), "https://"+r.bus+"/Test/One"); status != http.StatusOK {
		t.Errorf("got %d", status)
	}
	h2 := r.https("alice")
	h2.ForceAttemptHTTP2 = true
	if status, _ := fetch(t, h2, "https://"+r.bus+"/Test/One"); status != http.StatusOK {
		t.Errorf("over HTTP/2: got %d", status)
	}
	h2.CloseIdleConnections()
	waitFor(t, "all connections are closed", func() bool {
		_, metrics := r.get("/metrics")
		return strings.Contains(metrics, "busd_tcp_connections{state=\"all\"} 0\n")
	})
	want("request", 3)
	want("silent", 1)
}

// Who asks the admin listener and does not go on hinders nobody.
func TestSlowOperator(t *testing.T) {
	t.Parallel()
	r := start(t, "", cli.ServeOptions{Dev: true}, newService("Test/One", nil))
	for said, limit := range map[string]time.Duration{
		"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n":                                        adminHeaderTimeout,
		"POST /drain HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n":               adminReadTimeout,
		"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + strings.Repeat("x", 16<<10) + "\r\n\r\n": 0,
	} {
		began := time.Now()
		c, err := net.Dial("tcp", r.admin)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, said); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, c) // to its end
		if took := time.Since(began); took < limit-time.Second || took > limit+5*time.Second {
			t.Errorf("%.40q: closed after %s, want %s", said, took, limit)
		}
	}
}

// The bounds of connections are of the process, however many listeners it has.
func TestListenersShareBounds(t *testing.T) {
	t.Parallel()
	r := start(t, "limits: {connections: 2}\nlisteners: [{address: \"127.0.0.1:0\"}, {address: \"127.0.0.1:0\"}]\n",
		cli.ServeOptions{Dev: true}, newService("Test/One", nil))
	second, _ := r.log.wait(t, "busd serves")["listeners"].([]any)[1].(string)
	conf := r.https("alice").TLSClientConfig
	for _, address := range []string{r.bus, second} {
		c, err := tls.Dial("tcp", address, conf)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	for _, address := range []string{r.bus, second} {
		if c, err := tls.Dial("tcp", address, conf); err == nil {
			t.Errorf("%s: want the third connection refused", address)
			c.Close()
		}
	}
	if _, metrics := r.get("/metrics"); !strings.Contains(metrics, `busd_refused_total{reason="connections",service=""} 2`) ||
		!strings.Contains(metrics, `busd_tcp_connections{state="all"} 2`) {
		t.Errorf("the metrics do not say so:\n%s", metrics)
	}
}
