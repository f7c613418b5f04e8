package daemon

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"busd/access"
	"busd/bus"
	"busd/daemon/internal/cli"
	"busd/internal/mtls"
	"busd/msgbus"
	"busd/msgclient"
	"busd/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type ping struct {
	ID int64 `bus:"id"`
}

type pong struct {
	ID int64 `bus:"id"`
}

func (ping) MessageName() string { return "Ping" }
func (pong) MessageName() string { return "Pong" }

// newService answers pings, unless handle does something else.
func newService(name string, handle func(ctx context.Context)) *msgbus.Service {
	svc := &msgbus.Service{
		Schema: schema.MustNew(name, schema.Of[ping](schema.FromClient), schema.Of[pong](schema.FromService)),
		Allow:  access.Authenticated,
	}
	msgbus.Handle(svc, func(ctx context.Context, c *msgbus.Conn, m ping) error {
		if handle != nil {
			handle(ctx)
		}
		return c.Reply(ctx, pong(m))
	})
	return svc
}

const waitTime = 20 * time.Second

// buffer is a writer that may be read while it is written.
type buffer struct {
	mu   sync.Mutex
	data bytes.Buffer
	more chan struct{} // gets one, if nobody has taken the last
}

func newBuffer() *buffer { return &buffer{more: make(chan struct{}, 1)} }

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.more <- struct{}{}:
	default:
	}
	return b.data.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.String()
}

// wait waits for a JSON log line with that text, and returns it.
func (b *buffer) wait(t testing.TB, message string) map[string]any {
	t.Helper()
	timeout := time.After(waitTime)
	for {
		for line := range strings.Lines(b.String()) {
			var entry map[string]any
			if json.Unmarshal([]byte(line), &entry) == nil && entry["msg"] == message {
				return entry
			}
		}
		select {
		case <-b.more:
		case <-timeout:
			t.Fatalf("no line %q in the log:\n%s", message, b.String())
		}
	}
}

// running is a busd that runs in this process.
type running struct {
	t      testing.TB
	dir    string // of certificates and configuration
	bus    string // address
	admin  string
	stdout *buffer
	log    *buffer
	reload chan struct{}
	force  chan struct{}
	stop   context.CancelFunc
	ended  chan error
}

// start runs development mode on free ports. file is the configuration's
// text; empty is none.
func start(t testing.TB, file string, o cli.ServeOptions, services ...*msgbus.Service) *running {
	t.Helper()
	r := &running{
		t: t, dir: t.TempDir(), stdout: newBuffer(), log: newBuffer(),
		reload: make(chan struct{}, 1), force: make(chan struct{}), ended: make(chan error, 1),
	}
	if file != "" {
		o.ConfigFile = r.write("busd.yaml", file)
	}
	o.Stdout, o.Stderr, o.Reload, o.Force = r.stdout, r.log, r.reload, r.force
	if o.Listen == "" && !strings.Contains(file, "listeners") {
		o.Listen = "127.0.0.1:0"
	}
	p := &program{services: services, dir: filepath.Join(r.dir, "pki"), environ: []string{
		"BUSD_ADMIN__ADDRESS=127.0.0.1:0", "BUSD_LOG__FORMAT=json",
	}}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.ended <- p.serve(ctx, o) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-r.ended:
		case <-time.After(waitTime):
			t.Errorf("serve did not end; log:\n%s", r.log)
		}
	})
	begin := r.log.wait(t, "busd serves")
	r.bus, _ = begin["listeners"].([]any)[0].(string)
	r.admin, _ = begin["admin"].(string)
	return r
}

func (r *running) write(name, text string) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// end waits for the end of serve.
func (r *running) end() error {
	r.t.Helper()
	select {
	case err := <-r.ended:
		r.ended <- err // for the cleanup
		return err
	case <-time.After(waitTime):
		r.t.Fatalf("serve did not end; log:\n%s", r.log)
		return nil
	}
}

func (r *running) file(name string) string { return filepath.Join(r.dir, "pki", name) }

// client connects as one of the development clients.
func (r *running) client(name, service string) *msgclient.Client {
	r.t.Helper()
	return r.connected(name, service, nil)
}

// connected is a client that stays connected until the end of the test; onDrop
// may be nil.
func (r *running) connected(name, service string, onDrop func(error)) *msgclient.Client {
	r.t.Helper()
	c := r.newClient(name, service, onDrop)
	if err := c.Connect(r.t.Context()); err != nil {
		r.t.Fatalf("connect: %v; log:\n%s", err, r.log)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.Run(ctx) // tests that care look at OnDrop
	}()
	r.t.Cleanup(func() { cancel(); <-ended })
	return c
}

func (r *running) newClient(name, service string, onDrop func(error)) *msgclient.Client {
	r.t.Helper()
	return r.clientWith(name, service, msgclient.Config{OnDrop: func(_ context.Context, _ *msgclient.Client, why error) {
		if onDrop != nil {
			onDrop(why)
		}
	}})
}

// clientWith completes a client's configuration.
func (r *running) clientWith(name, service string, cfg msgclient.Config) *msgclient.Client {
	r.t.Helper()
	cfg.URL, cfg.Instance = "wss://"+r.bus+"/"+service, "test"
	cfg.CertFile, cfg.KeyFile, cfg.CAFiles = r.file("client-"+name+".crt"), r.file("client-"+name+".key"), []string{r.file("ca.crt")}
	c, err := msgclient.New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// get asks the admin listener.
func (r *running) get(path string) (status int, body string) {
	r.t.Helper()
	return fetch(r.t, http.DefaultTransport, "http://"+r.admin+path)
}

func fetch(t testing.TB, transport http.RoundTripper, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// https is a transport with a development client's certificate, or without
// one.
func (r *running) https(name string) *http.Transport {
	r.t.Helper()
	creds := mtls.Credentials{CAFiles: []string{r.file("ca.crt")}}
	if name != "" {
		creds.CertFile, creds.KeyFile = r.file("client-"+name+".crt"), r.file("client-"+name+".key")
	}
	conf, err := creds.TLS("127.0.0.1")
	if err != nil {
		r.t.Fatal(err)
	}
	return &http.Transport{TLSClientConfig: conf}
}

func TestServe(t *testing.T) {
	t.Parallel()
	r := start(t, "node: {name: n1}\n", cli.ServeOptions{Dev: true}, newService("Test/One", nil), newService("Test/Two", nil))
	for _, service := range []string{"Test/One", "Test/Two"} {
		answer, err := msgclient.Request[pong](t.Context(), r.client("alice", service), ping{ID: 7})
		if err != nil || answer.ID != 7 {
			t.Fatalf("%s: got %v, %v", service, answer, err)
		}
	}
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n"} {
		if status, body := r.get(path); status != http.StatusOK || body != want {
			t.Errorf("%s: got %d %q, want 200 %q", path, status, body, want)
		}
	}
	var metrics string
	waitFor(t, "the first message in the metrics", func() bool { // a handler is counted after it has returned
		_, metrics = r.get("/metrics")
		return strings.Contains(metrics, `busd_handler_seconds_count{message="Ping",service="Test/One"} 1`)
	})
	for _, want := range []string{
		`busd_connections{service="Test/One"} 1`,
		`busd_connects_total{service="Test/Two"} 1`,
		`busd_messages_total{direction="in",message="Ping",service="Test/One"} 1`,
		`busd_messages_total{direction="out",message="Pong",service="Test/One"} 1`,
		`busd_handler_seconds_count{message="Ping",service="Test/One"} 1`,
		`busd_handshakes_total{result="ok"} 2`,
		`busd_tcp_connections{state="all"} 2`,
		`busd_tcp_connections{state="unauthenticated"} 0`,
		`node="n1"`, "go_goroutines ", "busd_certificate_not_after_seconds 1.",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s:\n%s", want, metrics)
		}
	}
	if status, body := fetch(t, r.https("bob"), "https://"+r.bus+"/Test/One"); status != http.StatusOK || !strings.Contains(body, `"Ping"`) {
		t.Errorf("the contract: got %d %s", status, body)
	}
	if status, _ := fetch(t, r.https(""), "https://"+r.bus+"/Test/One"); status != http.StatusUnauthorized {
		t.Errorf("without a certificate: got %d, want 401", status)
	}
}

func TestServeSome(t *testing.T) {
	t.Parallel()
	r := start(t, "services: {Test/Two: {enabled: false}}\n", cli.ServeOptions{Dev: true}, newService("Test/One", nil), newService("Test/Two", nil))
	for service, want := range map[string]int{"Test/One": http.StatusOK, "Test/Two": http.StatusNotFound} {
		if status, _ := fetch(t, r.https("bob"), "https://"+r.bus+"/"+service); status != want {
			t.Errorf("%s: got %d, want %d", service, status, want)
		}
	}
}

func TestRequireCertificate(t *testing.T) {
	t.Parallel()
	r := start(t, "listeners: [{address: \"127.0.0.1:0\", client_certificate: require}]\n", cli.ServeOptions{Dev: true}, newService("Test/One", nil))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+r.bus+"/Test/One", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := r.https("").RoundTrip(req); err == nil {
		resp.Body.Close()
		t.Errorf("without a certificate: got %s, want that the handshake fails", resp.Status)
	}
	if line := r.log.wait(t, "connection refused"); line["reason"] != "no_certificate" {
		t.Errorf("got %v", line)
	}
}

func TestHeaderLimit(t *testing.T) {
	t.Parallel()
	r := start(t, "limits: {header_size: 8KiB}\n", cli.ServeOptions{Dev: true}, newService("Test/One", nil))
	for size, want := range map[int]int{7 << 10: http.StatusOK, 8 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+r.bus+"/Test/One", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Close = true
		req.Header.Set("X-Filler", strings.Repeat("x", size))
		resp, err := r.https("bob").RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("header of %d bytes: got %d, want %d", size, resp.StatusCode, want)
		}
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	p := &program{services: []*msgbus.Service{newService("Test/One", nil)}, dir: filepath.Join(t.TempDir(), "pki"), environ: []string{"BUSD_ADMIN__ADDRESS=off"}}
	err = p.serve(t.Context(), cli.ServeOptions{Dev: true, Listen: taken.Addr().String(), Stdout: io.Discard, Stderr: io.Discard})
	if bus.CodeOf(err) != bus.CodeAlreadyExists || !strings.Contains(err.Error(), "listeners[0].address: "+taken.Addr().String()+" is in use") {
		t.Errorf("got %v, want that the address is in use", err)
	}
}

func TestGracefulStop(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	r := start(t, "", cli.ServeOptions{Dev: true}, newService("Test/One", func(context.Context) {
		close(entered)
		<-release
	}))
	dropped := make(chan error, 1)
	c := r.newClient("alice", "Test/One", func(why error) {
		select {
		case dropped <- why:
		default:
		}
	})
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() { defer close(ran); _ = c.Run(ctx) }()
	defer func() { cancel(); <-ran }()

	answered := make(chan error, 1)
	go func() {
		_, err := msgclient.Request[pong](t.Context(), c, ping{ID: 1})
		answered <- err
	}()
	<-entered
	r.stop()
	r.log.wait(t, "stopping")
	if status, body := r.get("/readyz"); status != http.StatusServiceUnavailable || body != "draining\n" {
		t.Errorf("/readyz: got %d %q, want 503 draining", status, body)
	}
	if status, _ := r.get("/healthz"); status != http.StatusOK {
		t.Errorf("/healthz: got %d, want 200", status)
	}
	close(release)
	if err := <-answered; err != nil {
		t.Errorf("the request in hand: got %v, want its answer", err)
	}
	if why := <-dropped; bus.CodeOf(why) != bus.CodeGoingAway || !errors.Is(why, bus.ErrDropped) {
		t.Errorf("the client's drop: got %v, want going_away", why)
	}
	if err := r.end(); err != nil {
		t.Errorf("serve: got %v, want nil", err)
	}
}

// hangs serves a handler that returns when the test ends, and a client that
// called it.
func hangs(t *testing.T, file string) *running {
	t.Helper()
	entered, release := make(chan struct{}), make(chan struct{})
	r := start(t, file, cli.ServeOptions{Dev: true}, newService("Test/One", func(context.Context) {
		close(entered)
		<-release
	}))
	t.Cleanup(func() { close(release) })
	c := r.client("alice", "Test/One")
	if err := c.Send(t.Context(), ping{ID: 1}); err != nil {
		t.Fatal(err)
	}
	<-entered
	return r
}

func TestStopTakesNoLongerThanSaid(t *testing.T) {
	t.Parallel()
	r := hangs(t, "shutdown: {timeout: 50ms}\n")
	r.stop()
	if err := r.end(); bus.CodeOf(err) != bus.CodeDeadlineExceeded {
		t.Errorf("got %v, want deadline_exceeded", err)
	}
}

func TestSecondSignalStopsAtOnce(t *testing.T) {
	t.Parallel()
	r := hangs(t, "shutdown: {timeout: 1h}\n")
	r.stop()
	r.log.wait(t, "stopping")
	close(r.force)
	if err := r.end(); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was canceled", err)
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	r := start(t, "log: {level: info}\n", cli.ServeOptions{Dev: true}, newService("Test/One", nil))
	c := r.client("alice", "Test/One")
	before := r.leafOf()

	// What can be applied is, the rest is told; certificates are read anew.
	for _, name := range []string{"server.crt", "server.key"} {
		if err := os.Remove(r.file(name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := openDevPKI(filepath.Join(r.dir, "pki")); err != nil {
		t.Fatal(err)
	}
	r.write("busd.yaml", "log: {level: debug}\nlimits: {connections: 7}\ndeny: [192.0.2.0/24]\n")
	r.reload <- struct{}{}
	line := r.log.wait(t, "configuration reloaded")
	want := map[string]any{
		"applied":              []any{"deny: [] -> [192.0.2.0/24]", "log.level: info -> debug"},
		"needs_restart":        []any{"limits.connections: 50000 -> 7"},
		"certificates_changed": true,
	}
	for key, value := range want {
		if !reflect.DeepEqual(line[key], value) {
			t.Errorf("%s: got %v, want %v", key, line[key], value)
		}
	}
	if after := r.leafOf(); bytes.Equal(before, after) {
		t.Error("the old certificate is still served")
	}

	// A bad file changes nothing.
	r.write("busd.yaml", "log: {level: debug}\ndeny: [127.0.0.0/8]\nzzz: 1\n")
	r.reload <- struct{}{}
	line = r.log.wait(t, "configuration not reloaded, what ran before goes on")
	path := filepath.Join(r.dir, "busd.yaml")
	if faults := []any{path + ":3:1: zzz: there is no such key"}; !reflect.DeepEqual(line["faults"], faults) {
		t.Errorf("faults: got %v, want %v", line["faults"], faults)
	}
	if status, body := r.get("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "reload") {
		t.Errorf("/readyz: got %d %q, want 503", status, body)
	}
	r.leafOf() // 127.0.0.0/8 is not denied
	if answer, err := msgclient.Request[pong](t.Context(), c, ping{ID: 1}); err != nil || answer.ID != 1 {
		t.Errorf("the connection from before: got %v, %v", answer, err)
	}

	// So do certificates that cannot be used.
	r.write("busd.yaml", "log: {level: error}\n")
	if err := os.WriteFile(r.file("server.crt"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.reload <- struct{}{}
	waitFor(t, "two failed reloads", func() bool {
		_, metrics := r.get("/metrics")
		return strings.Contains(metrics, `busd_config_reloads_total{result="failed"} 2`)
	})
	if !strings.Contains(r.log.String(), "tls.certificate: certificate file ") {
		t.Errorf("the log does not name the key and the file:\n%s", r.log)
	}

	// A good one makes it ready again, and denies.
	if err := os.Remove(r.file("server.crt")); err != nil {
		t.Fatal(err)
	}
	if _, err := openDevPKI(filepath.Join(r.dir, "pki")); err != nil {
		t.Fatal(err)
	}
	r.write("busd.yaml", "deny: [127.0.0.1]\n")
	r.reload <- struct{}{}
	waitFor(t, "that it is ready", func() bool { status, _ := r.get("/readyz"); return status == http.StatusOK })
	conn, err := (&tls.Dialer{Config: r.https("alice").TLSClientConfig}).DialContext(t.Context(), "tcp", r.bus)
	if err == nil {
		conn.Close()
		t.Error("a denied address got in")
	}
	if _, metrics := r.get("/metrics"); !strings.Contains(metrics, `busd_refused_total{reason="denied",service=""} 1`) {
		t.Errorf("metrics do not count the denied one:\n%s", metrics)
	}
}

// waitFor asks until it is so.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(waitTime); !is(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// leafOf returns the certificate that is served.
func (r *running) leafOf() []byte {
	r.t.Helper()
	conf := r.https("alice").TLSClientConfig
	conn, err := (&tls.Dialer{Config: conf}).DialContext(r.t.Context(), "tcp", r.bus)
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw //nolint:forcetypeassert // tls.Dialer says so
}

// Whoever sends half a request is closed in time, with a certificate or
// without.
func TestHalfARequest(t *testing.T) {
	t.Parallel()
	r := start(t, "timeouts: {request: 200ms, idle: 200ms}\n", cli.ServeOptions{Dev: true}, newService("Test/One", nil))
	for _, name := range []string{"", "alice"} {
		for _, text := range []string{
			"", "GET /Test/One HTTP/1.1\r\nHost: x\r\nX-Half: ",
			"GET /Test/One HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
		} {
			conn, err := (&tls.Dialer{Config: r.https(name).TLSClientConfig}).DialContext(t.Context(), "tcp", r.bus)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, text); err != nil {
				t.Fatal(err)
			}
			if err := conn.SetReadDeadline(time.Now().Add(waitTime)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("client %q, request %q: it is still open after %s", name, text, waitTime)
			}
			_ = conn.Close()
		}
	}
}
