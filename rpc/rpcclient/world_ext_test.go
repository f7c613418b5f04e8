package rpcclient_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"busd/bus"
	"busd/bustest"
	"busd/rpc/rpcclient"
)

const service = "/Framework/Conformance"

// A server is one that does as a test says.
type server struct {
	*bustest.Listener

	url   string
	calls atomic.Int64 // requests that arrived
	conns atomic.Int64 // connections, from TCP on
	down  atomic.Bool  // nobody listens

	mu   sync.Mutex
	open map[net.Conn]struct{} // guarded by mu
}

// CloseConns ends what is open, as a server does that has had enough.
func (s *server) CloseConns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		_ = c.Close() // it may have ended
	}
}

func (s *server) follow(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.open[c] = struct{}{}
	case http.StateClosed, http.StateHijacked:
		delete(s.open, c)
	}
}

var servers atomic.Int64

// serve runs a server in memory until the test ends.
func serve(t *testing.T, handler http.HandlerFunc) *server {
	t.Helper()
	s := &server{Listener: bustest.Listen(t), url: fmt.Sprintf("https://s%d.test%s", servers.Add(1), service), open: map[net.Conn]struct{}{}}
	var handlers sync.WaitGroup
	under := &http.Server{
		ErrorLog: log.New(io.Discard, "", 0), ConnState: s.follow,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.calls.Add(1)
			handlers.Add(1)
			defer handlers.Done()
			handler(w, r)
		}),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = under.Serve(s.Listener) // it ends with the test
	}()
	t.Cleanup(func() { _ = under.Close(); <-done; handlers.Wait() })
	return s
}

// dial connects to whichever server has the address.
func dial(all []*server) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		for _, s := range all {
			if u, err := url.Parse(s.url); err == nil && u.Host+":8443" == address && !s.down.Load() {
				s.conns.Add(1)
				return s.DialContext(ctx, network, address)
			}
		}
		return nil, &net.OpError{Op: "dial", Err: errors.New("nobody listens there")}
	}
}

// client makes a client of servers, which are tried in order: each is a fail-over of
// the first.
func client(t *testing.T, cfg rpcclient.Config, all ...*server) *rpcclient.Client {
	t.Helper()
	cfg.URL = all[0].url
	for _, s := range all[1:] {
		cfg.FailoverURLs = append(cfg.FailoverURLs, s.url)
	}
	if cfg.TLS == nil {
		cfg.TLS = bustest.ClientTLS(t, "agent")
	}
	if cfg.DialContext == nil {
		cfg.DialContext = dial(all)
	}
	c, err := rpcclient.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

// answers is a handler that reads the request and answers with a result.
func answers(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	}
}

// says is a handler that reads the request and answers with bytes, of HTTP or not; then
// the connection ends.
func says(raw string) http.HandlerFunc {
	return hijack(func(_ *bufio.Reader, c net.Conn) { _, _ = io.WriteString(c, raw) })
}

// forever is a handler that reads the request and never answers.
func forever(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// hijack is a handler that reads the request and leaves the connection to f.
func hijack(f func(r *bufio.Reader, c net.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		f(rw.Reader, c)
	}
}

// failure returns a call's error as an *Error.
func failure(t *testing.T, err error) *rpcclient.Error {
	t.Helper()
	var e *rpcclient.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v (%T), want an *Error", err, err)
	}
	if got := bus.CodeOf(err); got != e.Err.Code {
		t.Errorf("bus.CodeOf says %s, the error %s", got, e.Err.Code)
	}
	return e
}

// logged collects what a server was asked.
type logged struct {
	mu  sync.Mutex
	all []string
}

func (l *logged) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, s)
}

func (l *logged) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) == 0 {
		return ""
	}
	return l.all[len(l.all)-1]
}
