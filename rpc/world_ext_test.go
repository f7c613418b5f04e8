package rpc_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"busd/internal/mtls"
	"busd/rpc"
)

// host is the name of test servers.
const host = "bus.test"

// certificates are made once. They are valid from 1999: time bubbles begin in 2000.
var certificates = sync.OnceValue(func() *mtls.Authority {
	a, err := mtls.NewAuthorityAt(time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), "rpc's tests", 90*365*24*time.Hour)
	if err != nil {
		panic(err)
	}
	return a
})

func certificate(t testing.TB, r mtls.Request) tls.Certificate {
	t.Helper()
	r.Validity = 80 * 365 * 24 * time.Hour
	issued, err := certificates().Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	return issued.TLS()
}

// serverTLS asks for client certificates and verifies them.
func serverTLS(t testing.TB, protocols ...string) *tls.Config {
	t.Helper()
	conf, err := mtls.ServerConfig(mtls.Material{
		Certificate: certificate(t, mtls.Request{Name: host, DNS: []string{host}, Server: true}),
		CAs:         []*x509.Certificate{certificates().Certificate()},
	}, mtls.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	conf.NextProtos = protocols
	return conf
}

// clientTLS is a client's that shows a certificate of this name; empty: none.
func clientTLS(t testing.TB, name string) *tls.Config {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(certificates().Certificate())
	conf := &tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS13}
	if name != "" {
		conf.Certificates = []tls.Certificate{certificate(t, mtls.Request{Name: name, DNS: []string{name}, Client: true})}
	}
	return conf
}

// A world is an HTTPS server, and how to reach it.
type world struct {
	t       testing.TB
	address string // of loopback; empty: in memory
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
}

// serve serves handler on loopback until the test ends, as the program does.
func serve(t testing.TB, handler http.Handler, protocols ...string) *world {
	t.Helper()
	inner, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, address: inner.Addr().String(), dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", inner.Addr().String())
	}}
	w.run(handler, tls.NewListener(inner, serverTLS(t, protocols...)), func(*http.Server) {})
	return w
}

// serveInMemory is serve without sockets, for time bubbles.
func serveInMemory(t testing.TB, handler http.Handler, tune func(*http.Server), protocols ...string) *world {
	t.Helper()
	l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	// A bubble's time stands still once its test has returned: what waits for a while
	// (net/http with the end of a connection) must have waited.
	t.Cleanup(func() { time.Sleep(time.Minute) })
	w := &world{t: t, dial: l.dial}
	w.run(handler, tls.NewListener(l, serverTLS(t, protocols...)), tune)
	return w
}

// pipes is a listener in memory.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.done) }); return nil }

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (w *world) run(handler http.Handler, l net.Listener, tune func(*http.Server)) {
	under := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 20 * time.Second,
		ErrorLog: log.New(io.Discard, "", 0),
	}
	tune(under)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = under.Serve(l) // it ends with the test
	}()
	w.t.Cleanup(func() { _ = under.Close(); <-done })
}

// serverOf makes a server of services.
func serverOf(t testing.TB, cfg rpc.Config, services ...*rpc.Service) *rpc.Server {
	t.Helper()
	s, err := rpc.NewServer(cfg, services...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// client is an HTTP client with a certificate of this name; empty: none.
func (w *world) client(name string, http2 bool) *http.Client {
	w.t.Helper()
	transport := &http.Transport{DialContext: w.dial, TLSClientConfig: clientTLS(w.t, name), DisableCompression: true, ForceAttemptHTTP2: http2}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// line opens a connection; name is in its certificate; empty: it has none.
func (w *world) line(name string) *tls.Conn {
	w.t.Helper()
	raw, err := w.dial(context.Background(), "tcp", w.address)
	if err != nil {
		w.t.Fatal(err)
	}
	c := tls.Client(raw, clientTLS(w.t, name))
	w.t.Cleanup(func() { c.Close() })
	return c
}

// An answer is one, with its body.
type answer struct {
	*http.Response

	body string
}

// say sends bytes on a new connection, and reads one answer.
func (w *world) say(name, request string) *answer {
	w.t.Helper()
	c := w.line(name)
	if _, err := io.WriteString(c, request); err != nil {
		w.t.Fatal(err)
	}
	return w.hear(bufio.NewReader(c))
}

func (w *world) hear(r *bufio.Reader) *answer {
	w.t.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		w.t.Fatalf("no answer: %v", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatalf("the answer's body: %v", err)
	}
	return &answer{resp, string(body)}
}

// A post is a POST request.
type post struct {
	path, contentType, body string
	header                  [][2]string
}

// wire is how a DIRAC client would write it.
func (p post) wire() string {
	var b strings.Builder
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: python-requests/2.32.3\r\nAccept: */*\r\nConnection: keep-alive\r\n", p.path, host)
	for _, h := range p.header {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	if p.contentType != "" {
		fmt.Fprintf(&b, "Content-Type: %s\r\n", p.contentType)
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(p.body), p.body)
	return b.String()
}

const (
	urlencoded = "application/x-www-form-urlencoded"
	plainJSON  = "application/json"
	octets     = "application/octet-stream"
)

// ask sends a POST as somebody.
func (w *world) ask(name string, p post) *answer {
	w.t.Helper()
	return w.say(name, p.wire())
}

// wants checks an answer's status and body.
func (a *answer) wants(t testing.TB, status int, body string) {
	t.Helper()
	if a.StatusCode != status || a.body != body {
		t.Errorf("got %d %s\n%q, want %d\n%q", a.StatusCode, a.Header.Get("Content-Type"), a.body, status, body)
	}
}

// contains checks an answer's status and a part of its body.
func (a *answer) contains(t testing.TB, status int, part string) {
	t.Helper()
	if a.StatusCode != status || !bytes.Contains([]byte(a.body), []byte(part)) {
		t.Errorf("got %d %s\n%q, want %d and a body with\n%q", a.StatusCode, a.Header.Get("Content-Type"), a.body, status, part)
	}
}
