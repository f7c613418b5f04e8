package daemon

import (
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"busd/access"
	"busd/bus"
	"busd/daemon/internal/cli"
	"busd/daemon/internal/config"
	"busd/msgbus"
	"busd/msgclient"
	"busd/rpc"
	"busd/rpc/rpcclient"
)

// newCalls makes a service of messages and methods without any rule. Its method
// wait returns when the test lets it, or when its time is over.
func newCalls(name string) (svc *msgbus.Service, entered, release chan struct{}) {
	entered, release = make(chan struct{}), make(chan struct{})
	m := rpc.NewService(name)
	rpc.Export(m, "add", func(a, b int) int { return a + b }).Named("a", "b")
	rpc.Export(m, "wait", func(ctx context.Context) string {
		close(entered)
		select {
		case <-release:
			return "done"
		case <-ctx.Done():
			return "late"
		}
	})
	svc = newService(name, nil)
	svc.Allow, svc.Methods = access.Rule{}, m
	return svc, entered, release
}

// caller calls as one of the development clients; of no name it is nobody.
func (r *running) caller(address, name, service string) *rpcclient.Client {
	r.t.Helper()
	cfg := rpcclient.Config{URL: "https://" + address + "/" + service, CAFiles: []string{r.file("ca.crt")}}
	if name != "" {
		cfg.CertFile, cfg.KeyFile = r.file("client-"+name+".crt"), r.file("client-"+name+".key")
	}
	c, err := rpcclient.New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

// add calls add and says what comes of it: a sum, or a code.
func (r *running) add(address, name, service string) string {
	r.t.Helper()
	sum, err := rpcclient.Call[int](r.t.Context(), r.caller(address, name, service), "add", 1, 2)
	if err == nil && sum == 3 {
		return "ok"
	}
	return bus.CodeOf(err).String()
}

// A development server lets everybody with a certificate do everything; the numbers
// and the log tell of each call.
func TestCalls(t *testing.T) {
	t.Parallel()
	svc, _, _ := newCalls("Test/One")
	r := start(t, "", cli.ServeOptions{Dev: true}, svc)
	for name, want := range map[string]string{"alice": "ok", "bob": "ok", "": "unauthenticated"} {
		if got := r.add(r.bus, name, "Test/One"); got != want {
			t.Errorf("%q: got %s, want %s", name, got, want)
		}
	}
	if _, err := msgclient.Request[pong](t.Context(), r.client("alice", "Test/One"), ping{ID: 1}); err != nil {
		t.Errorf("a message: %v", err)
	}
	alive, err := rpcclient.Call[map[string]any](t.Context(), r.caller(r.bus, "", "Test/One"), "ping")
	if err != nil || alive["version"] != cli.Version { // a test has no version of its own
		t.Errorf("ping: got %v, %v, want the version %s", alive, err, cli.Version)
	}
	_, metrics := r.get("/metrics")
	for _, want := range []string{
		`busd_calls_total{code="ok",method="add",service="Test/One"} 2`,
		`busd_calls_total{code="unauthenticated",method="add",service="Test/One"} 1`,
		`busd_call_seconds_count{method="add",service="Test/One"} 3`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	line := r.log.wait(t, "call answered")
	for _, key := range []string{"service", "method", "request", "code", "duration", "in", "out", "status", "remote"} {
		if _, ok := line[key]; !ok {
			t.Errorf("the line of a call lacks %s: %v", key, line)
		}
	}
}

// HTTP/2 is spoken with whoever wants it, beside WebSockets.
func TestServesHTTP2(t *testing.T) {
	t.Parallel()
	r := start(t, "", cli.ServeOptions{Dev: true}, newService("Test/One", nil))
	transport := r.https("bob")
	transport.TLSClientConfig.NextProtos = []string{"h2", "http/1.1"}
	transport.ForceAttemptHTTP2 = true
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+r.bus+"/Test/One", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.Proto != "HTTP/2.0" || resp.StatusCode != http.StatusOK {
		t.Errorf("got %s %s, %v, want HTTP/2.0 200", resp.Proto, resp.Status, err)
	}
}

// With anybody registered rules hold, those of the file before those in code; a
// reload swaps all of it, and drops who may not connect any more.
func TestAccessOfTheFile(t *testing.T) {
	t.Parallel()
	svc, _, _ := newCalls("Test/One")
	users := "access: {users: {al: {peers: [\"dns:alice\"]}}, groups: {ops: {users: [al], properties: [Operator]}}}\n"
	r := start(t, users+"services: {Test/One: {access: {default: [authenticated]}}}\n", cli.ServeOptions{Dev: true}, svc)
	expect := func(when, alice, bob string) {
		t.Helper()
		if got := [2]string{r.add(r.bus, "alice", "Test/One"), r.add(r.bus, "bob", "Test/One")}; got != [2]string{alice, bob} {
			t.Errorf("%s: alice %s, bob %s, want %s, %s", when, got[0], got[1], alice, bob)
		}
	}
	expect("registered", "ok", "permission_denied")
	who, err := rpcclient.Call[map[string]any](t.Context(), r.caller(r.bus, "alice", "Test/One"), "whoami")
	if err != nil || who["username"] != "al" || who["group"] != "ops" {
		t.Errorf("whoami: got %v, %v, want al in ops", who, err)
	}
	dropped := make(chan error, 8)
	r.connected("alice", "Test/One", func(why error) { dropped <- why })

	reload := func(text string) {
		t.Helper()
		r.write("busd.yaml", text)
		_, before := r.get("/metrics")
		r.reload <- struct{}{}
		waitFor(t, "the reload", func() bool {
			_, now := r.get("/metrics")
			return reloads(now) != reloads(before)
		})
	}
	reload(users + "services: {Test/One: {access: {default: [authenticated], methods: {add: [Other, \"group:ops\"]}}}}\n")
	expect("a rule that he does not meet", "permission_denied", "permission_denied")
	reload(users + "services: {Test/One: {access: {default: [authenticated], methods: {add: [any]}}}}\n")
	expect("everybody", "ok", "ok")
	if got := r.add(r.bus, "", "Test/One"); got != "ok" {
		t.Errorf("everybody: nobody got %s", got)
	}
	select {
	case why := <-dropped:
		t.Fatalf("dropped, but he may connect: %v", why)
	default:
	}

	// What is wrong changes nothing, and is told with its place.
	reload(users + "services: {Test/One: {access: {default: [\"group:opps\"], methods: {ad: [any]}}}}\n")
	expect("after a reload that failed", "ok", "ok")
	line := r.log.wait(t, "configuration not reloaded, what ran before goes on")
	faults := faultText(line)
	for _, want := range []string{
		`busd.yaml:2:42: services.Test/One.access.default[0]: there is no group opps (did you mean "ops"?)`,
		`busd.yaml:2:67: services.Test/One.access.methods.ad: the service has no such method (did you mean "add"?)`,
	} {
		if !strings.Contains(faults, want) {
			t.Errorf("the faults\n%s\nlack %s", faults, want)
		}
	}

	reload("access: {users: {bobby: {peers: [\"dns:bob\"]}}}\nservices: {Test/One: {access: {default: [authenticated], connect: [authenticated]}}}\n")
	expect("another registry", "permission_denied", "ok")
	select {
	case why := <-dropped:
		if bus.CodeOf(why) != bus.CodePermissionDenied {
			t.Errorf("dropped with %v, want permission_denied", why)
		}
	case <-time.After(waitTime):
		t.Error("who may not connect any more is connected")
	}
}

func faultText(line map[string]any) string {
	var lines []string
	list, _ := line["faults"].([]any)
	for _, one := range list {
		text, _ := one.(string)
		lines = append(lines, text)
	}
	return strings.Join(lines, "\n")
}

// reloads is what the metrics say of them.
func reloads(metrics string) string {
	var lines []string
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "busd_config_reloads_total") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// Outside of development mode nobody may do what no rule speaks of, and busd says
// so as it starts.
func TestNobodyMay(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pki")
	openPKI(t, dir)
	svc, _, _ := newCalls("Test/One")
	_, stderr, err := checkIn(t, dir, devTLS+"services: {Test/One: {access: {messages: {Ping: [any]}, methods: {wait: [any]}}}}\n", svc)
	want := "busd: warning: Test/One: nobody may call add: no rule says who; " +
		"services: {Test/One: {access: {default: [authenticated]}}} lets everybody who is known\n"
	if err != nil || !strings.Contains(stderr, want) {
		t.Errorf("got %q, %v, want %q", stderr, err, want)
	}
	svc, _, _ = newCalls("Test/One")
	if _, stderr, err = checkIn(t, dir, devTLS+"services: {Test/One: {access: {default: [authenticated]}}}\n", svc); err != nil || strings.Contains(stderr, "nobody") {
		t.Errorf("with a default: got %q, %v", stderr, err)
	}
}

// What is wrong with who is who is told at once, with its place.
func TestCheckAccess(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pki")
	openPKI(t, dir)
	svc, _, _ := newCalls("Test/One")
	_, _, err := checkIn(t, dir, devTLS+`access:
  users:
    alice: {peers: ["dns:alice"]}
    bob: {}
  groups:
    ops: {users: [alice, bbo]}
services:
  Test/One:
    access: {messages: {Pnig: [any], Ping: []}, methods: {add: ["vo:none"]}}
  Test/Two:
    methods: {max_body: 2MiB}
auth:
  trusted_proxies: [10.0.0.0/8]
  tokens:
    - {issuer: https://idp.example.org, jwks: [none.json], audience: [busd]}
`, svc, newService("Test/Two", nil))
	var e *config.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a *config.Error", err)
	}
	got := strings.ReplaceAll(err.Error(), dir, "DIR")
	for _, want := range []string{
		"DIR/busd.yaml:5:5: access.users.bob: want at least one of dn, peers, tokens: nothing proves this user",
		"DIR/busd.yaml:7:26: access.groups.ops.users[1]: there is no user \"bbo\" (did you mean \"bob\"?)",
		"DIR/busd.yaml:10:25: services.Test/One.access.messages.Pnig: the service has no such message (did you mean \"Ping\"?)",
		"DIR/busd.yaml:10:38: services.Test/One.access.messages.Ping: want at least one word",
		"DIR/busd.yaml:10:65: services.Test/One.access.methods.add[0]: no group is of the virtual organisation none",
		"DIR/busd.yaml:11:3: services.Test/Two.methods: the service has no methods",
		"DIR/busd.yaml:16:41: auth.tokens[0].jwks: key file DIR/none.json: no such file or directory",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
}

// A service may have a port of its own: on the others it does not exist.
func TestServiceWithItsOwnPort(t *testing.T) {
	t.Parallel()
	one, _, _ := newCalls("Test/One")
	two, _, _ := newCalls("Test/Two")
	two.Aliases = []string{"Test/Zwei"}
	three, _, _ := newCalls("Test/Three")
	r := start(t, `listeners:
  - {address: "127.0.0.1:0", services: [Test/One]}
  - {address: "127.0.0.1:0", services: [Test/Three]}
  - {address: "127.0.0.1:0", services: [Test/Two], client_certificate: require}
services: {Test/Three: {enabled: false}}
`, cli.ServeOptions{Dev: true}, one, two, three)
	line := r.log.wait(t, "busd serves")
	listeners, _ := line["listeners"].([]any)
	if len(listeners) != 2 {
		t.Fatalf("got listeners %v, want none where nothing is served", listeners)
	}
	other, _ := listeners[1].(string)
	for _, test := range []struct{ address, service, want string }{
		{r.bus, "Test/One", "ok"},
		{r.bus, "Test/Two", "not_found"},
		{r.bus, "Test/Zwei", "not_found"},
		{other, "Test/One", "not_found"},
		{other, "Test/Two", "ok"},
		{other, "Test/Zwei", "ok"},
	} {
		if got := r.add(test.address, "alice", test.service); got != test.want {
			t.Errorf("%s on %s: got %s, want %s", test.service, test.address, got, test.want)
		}
	}
	for service, want := range map[string]int{"Test/One": http.StatusOK, "Test/Two": http.StatusNotFound, "Test/Nix": http.StatusNotFound} {
		if status, body := fetch(t, r.https("bob"), "https://"+r.bus+"/"+service); status != want {
			t.Errorf("the contract of %s: got %d %s, want %d", service, status, body, want)
		}
	}
	if _, err := msgclient.Request[pong](t.Context(), r.client("alice", "Test/One"), ping{ID: 1}); err != nil {
		t.Errorf("a stable connection: %v", err)
	}
}

// The operator's bounds of calls go before the program's.
func TestBoundsOfCalls(t *testing.T) {
	t.Parallel()
	svc, entered, release := newCalls("Test/One")
	defer close(release)
	r := start(t, "services: {Test/One: {methods: {max_body: 1KiB, timeout: 200ms, max_concurrent: 1}}}\n", cli.ServeOptions{Dev: true}, svc)
	c := r.caller(r.bus, "alice", "Test/One")
	if _, err := c.Call(t.Context(), "echo", strings.Repeat("x", 2000)); bus.CodeOf(err) != bus.CodeOutOfRange {
		t.Errorf("a large body: got %v, want out_of_range", err)
	}
	answer := make(chan any, 1)
	go func() {
		v, err := c.Call(t.Context(), "wait")
		answer <- []any{v, bus.CodeOf(err)}
	}()
	<-entered
	if _, err := c.CallRaw(t.Context(), "ping", []byte("[]")); err != nil && bus.CodeOf(err) != bus.CodeUnavailable {
		t.Errorf("a second call: got %v, want unavailable, or an answer when there is room", err)
	}
	got, _ := (<-answer).([]any)
	if got[1] != bus.CodeDeadlineExceeded && got[0] != "late" {
		t.Errorf("a slow call: got %v, want that its time is over", got)
	}
}

// The time-outs of requests are not those of calls, which have their own.
func TestCallsOutliveTimeouts(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{"http/1.1", "h2"} {
		svc, entered, release := newCalls("Test/One")
		r := start(t, "timeouts: {request: 100ms, hello: 100ms, idle: 100ms}\n", cli.ServeOptions{Dev: true}, svc)
		conf := r.https("alice").TLSClientConfig
		conf.NextProtos = []string{proto}
		c, err := rpcclient.New(rpcclient.Config{URL: "https://" + r.bus + "/Test/One", TLS: conf})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		answer := make(chan any, 1)
		go func() {
			v, err := c.Call(t.Context(), "wait")
			answer <- []any{v, err}
		}()
		<-entered
		time.AfterFunc(500*time.Millisecond, func() { close(release) }) // longer than all of them
		if got, _ := (<-answer).([]any); got[0] != "done" || got[1] != nil {
			t.Errorf("%s: got %v, want the answer", proto, got)
		}
	}
}

// A stop waits for the calls that run; there are no others.
func TestStopWaitsForCalls(t *testing.T) {
	t.Parallel()
	svc, entered, release := newCalls("Test/One")
	r := start(t, "", cli.ServeOptions{Dev: true}, svc)
	c := r.caller(r.bus, "alice", "Test/One")
	answer := make(chan any, 1)
	go func() {
		v, err := c.Call(t.Context(), "wait")
		answer <- []any{v, err}
	}()
	<-entered
	r.stop()
	r.log.wait(t, "stopping")
	if got := r.add(r.bus, "bob", "Test/One"); got != "unavailable" {
		t.Errorf("a call after the stop began: got %s, want unavailable", got)
	}
	close(release)
	if got, _ := (<-answer).([]any); got[0] != "done" || got[1] != nil {
		t.Errorf("the call in hand: got %v, want its answer", got)
	}
	if err := r.end(); err != nil {
		t.Errorf("serve: got %v, want nil", err)
	}
}

// A call that does not end in time is cut off, and the stop says so.
func TestStopCutsCallsOff(t *testing.T) {
	t.Parallel()
	svc, entered, release := newCalls("Test/One")
	defer close(release)
	r := start(t, "shutdown: {timeout: 200ms}\n", cli.ServeOptions{Dev: true}, svc)
	c := r.caller(r.bus, "alice", "Test/One")
	answer := make(chan error, 1)
	go func() {
		_, err := c.Call(t.Context(), "wait")
		answer <- err
	}()
	<-entered
	r.stop()
	if err := r.end(); bus.CodeOf(err) != bus.CodeDeadlineExceeded || !strings.Contains(err.Error(), "calls were cut off") {
		t.Errorf("serve: got %v, want that calls were cut off", err)
	}
	if err := <-answer; err == nil {
		t.Error("the call was answered")
	}
}
