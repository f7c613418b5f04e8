package cli

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"busd/bus"
	"busd/internal/mtls"
	"busd/msgbus"
	"busd/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A bench is a server of a service that does what a test wants, and the files
// that let the command line reach it.
type bench struct {
	t    *testing.T
	dir  string
	svc  *msgbus.Service
	conf *tls.Config
	addr string
	stop func()

	entered, release chan struct{} // of handlers that wait
}

const benchContract = `{"service": "Test/Bench", "messages": [
	{"name": "Do", "from": "client", "attrs": [{"name": "what", "type": "string"}]},
	{"name": "News", "from": "service", "attrs": [{"name": "n", "type": "int"}]}
]}`

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), addr: "127.0.0.1:0", stop: func() {}, entered: make(chan struct{}, 10), release: make(chan struct{})}
	ca, err := mtls.NewAuthority("test", time.Hour)
	b.must(err)
	server, err := ca.Issue(mtls.Request{Name: "server", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true})
	b.must(err)
	client, err := ca.Issue(mtls.Request{Name: "agent", DNS: []string{"agent"}, Client: true})
	b.must(err)
	key, err := client.KeyPEM()
	b.must(err)
	for name, data := range map[string][]byte{"ca.crt": ca.CertPEM(), "a.crt": client.CertPEM(), "a.key": key} {
		b.must(os.WriteFile(filepath.Join(b.dir, name), data, 0o600))
	}
	b.conf, err = mtls.ServerConfig(mtls.Material{Certificate: server.TLS(), CAs: []*x509.Certificate{ca.Certificate()}}, mtls.Policy{})
	b.must(err)
	b.start()
	t.Cleanup(func() { b.stop() })
	return b
}

// start serves on the address of the last time.
func (b *bench) start() {
	b.t.Helper()
	contract, err := schema.Parse([]byte(benchContract))
	b.must(err)
	svc := &msgbus.Service{Schema: contract, OnConnect: func(_ context.Context, c *msgbus.Conn) error {
		if site, said := c.Args()["site"]; said && site != "cern" {
			return bus.Errorf(bus.CodeInvalidArgument, "site: want cern, got %T %v", site, site)
		}
		return nil
	}}
	msgbus.HandleRecord(svc, "Do", func(ctx context.Context, c *msgbus.Conn, m *schema.Record) error {
		what, _ := m.Get("what")
		switch what {
		case "fail":
			return bus.Errorf(bus.CodePermissionDenied, "not today")
		case "hang":
			<-ctx.Done()
			return ctx.Err()
		case "news":
			return c.Reply(ctx, b.news(1))
		case "wait":
			b.entered <- struct{}{}
			<-b.release
			return c.Reply(ctx, b.news(1))
		}
		return nil
	})
	srv, err := msgbus.NewServer(msgbus.Config{}, svc)
	b.must(err)
	listener, err := net.Listen("tcp", b.addr)
	b.must(err)
	b.svc, b.addr = svc, listener.Addr().String()
	h := &http.Server{Handler: srv, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = h.Serve(tls.NewListener(listener, b.conf))
	}()
	b.stop = func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			b.t.Error(err)
		}
		_ = h.Close()
		<-done
	}
}

func (b *bench) news(n int64) *schema.Record {
	d, _ := b.svc.Schema.Message("News")
	r := schema.NewRecord(d)
	b.must(r.Set("n", n))
	return r
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// args completes a command line with where the service is and who we are.
func (b *bench) args(args ...string) []string {
	file := func(name string) string { return filepath.Join(b.dir, name) }
	return append(args, "--cert", file("a.crt"), "--key", file("a.key"), "--ca", file("ca.crt"))
}

func (b *bench) url() string { return b.addr + "/Test/Bench" }

// run runs a command to its end.
func (b *bench) run(args ...string) (exit int, out, err string) {
	var o, e strings.Builder
	exit = Run(b.t.Context(), b.args(args...), strings.NewReader(""), &o, &e, Actions{})
	return exit, o.String(), e.String()
}

func TestSendAndRequest(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, test := range []struct {
		args      []string
		exit      int
		out, fail string // out: all of it; fail: a part of standard error
	}{
		{[]string{"request", b.url(), "Do", `{"what": "news"}`}, exitOK, "{\"n\":1}\n", ""},
		{[]string{"request", b.url(), "Do", `{"what": ""}`}, exitOK, "", "handled Do without a reply"},
		{[]string{"request", b.url(), "Do", `{"what": ""}`, "-q"}, exitOK, "", ""},
		{[]string{"request", b.url(), "Do", `{"what": "fail"}`}, exitNotAllowed, "", "busd: the service did not answer Do: not today (permission_denied)"},
		{[]string{"request", b.url(), "Do", `{"what": "hang"}`, "--timeout", "300ms"}, exitTimeout, "", "(deadline_exceeded)"}, // whichever end notices first
		{[]string{"send", b.url(), "Do", `{"what": ""}`}, exitOK, "", "sent Do: the service has read, checked and queued it"},
		{[]string{"send", b.url(), "Do", `{"what": "news"}`, "--expect", "News"}, exitOK, "{\"n\":1}\n", "News came"},
		{[]string{"send", b.url(), "Do", `{"what": ""}`, "--expect", "News", "--timeout", "2s"}, exitTimeout, "", "busd: no News came: it took longer than 2s"},
		{[]string{"send", b.url(), "Do", `{"what": "fail"}`, "--expect", "News"}, exitNotAllowed, "", "busd: no News came: not today (permission_denied)"},
		{[]string{"send", b.url(), "Do", `{"what": "", "whom": "x"}`}, exitSchema, "", "Do.whom: want"},
		{[]string{"send", b.url(), "Do", `[]`}, exitSchema, "", "busd: "},
	} {
		exit, out, fail := b.run(test.args...)
		if exit != test.exit || out != test.out || !strings.Contains(fail, test.fail) || (test.fail == "" && test.args[len(test.args)-1] == "-q" && fail != "") {
			t.Errorf("%q: got exit %d, %q, %q; want %d, %q, %q", test.args, exit, out, fail, test.exit, test.out, test.fail)
		}
	}
}

func TestConnectArgs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, test := range []struct {
		args string
		exit int
		fail string
	}{
		{`{"site": "cern", "n": 1, "more": [1.5, null, {"a": true}]}`, exitOK, "sent Do"},
		{`{"site": 9007199254740993}`, exitFailed, "site: want cern, got int64 9007199254740993 (invalid_argument)\n  try          --args"},
		{`{"site": 1.0}`, exitFailed, "got float64 1 "},
		{`[1]`, exitUsage, `busd: --args [1]: want a JSON object, such as {"site": "cern"}: connect.args: want map of any, got list`},
		{`null`, exitUsage, "want a JSON object"},
		{`{}, "x": 1`, exitUsage, "want a JSON object"},
		{`{"n": 99999999999999999999}`, exitUsage, "an integer beyond 64 bits"},
		{`{"site"`, exitUsage, `busd: --args {"site": want a JSON object, such as {"site": "cern"}` + "\n"},
	} {
		exit, _, fail := b.run("send", b.url(), "Do", `{"what": ""}`, "--args", test.args)
		if exit != test.exit || !strings.Contains(fail, test.fail) {
			t.Errorf("%s: got exit %d, %q; want %d, %q", test.args, exit, fail, test.exit, test.fail)
		}
	}
	for _, command := range [][]string{{"request", b.url(), "Do", `{"what": ""}`}, {"listen", b.url(), "--for", "100ms"}, {"schema", "show", b.url()}} {
		if exit, _, fail := b.run(append(command, "--args", `{"site": "x"}`)...); exit != exitFailed || !strings.Contains(fail, "want cern") {
			t.Errorf("%s: got exit %d, %q; want %d and that the service refuses", command[0], exit, fail, exitFailed)
		}
	}
}

func TestListenSurvivesARestart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	data, screen := newLines(t), newLines(t)
	ctx, interrupt := context.WithCancelCause(t.Context())
	ended := make(chan int, 1)
	go func() { // ends with interrupt
		ended <- Run(ctx, b.args("listen", b.url(), "--json", "--instance", "ear"), strings.NewReader(""), data, screen, Actions{})
	}()
	screen.want(`"event":"connected","identity":"dns:agent/ear"}`)
	b.must(b.svc.Broadcast(t.Context(), b.news(1)))
	var e struct {
		Time    time.Time
		Message string
		Attrs   struct{ N int64 }
	}
	b.must(json.Unmarshal([]byte(data.next()), &e))
	if e.Message != "News" || e.Attrs.N != 1 || time.Since(e.Time) > time.Minute {
		t.Errorf("got %+v", e)
	}

	b.stop()
	screen.want(`"event":"lost","code":"going_away","reason":"`)
	b.start()
	screen.until(`"event":"not_resumed","reason":"restarted","lost":0}`)
	b.must(b.svc.Broadcast(t.Context(), b.news(2)))
	b.must(json.Unmarshal([]byte(data.next()), &e))
	if e.Attrs.N != 2 {
		t.Errorf("after the restart: got %+v", e)
	}

	interrupt(errInterrupted)
	if exit := <-ended; exit != exitInterrupted {
		t.Errorf("got exit %d, want %d", exit, exitInterrupted)
	}
	screen.want("busd: interrupted")
}

func TestListenIsSuperseded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	screen := newLines(t)
	ended := make(chan int, 1)
	go func() { // ends when the second takes its place
		ended <- Run(t.Context(), b.args("listen", b.url(), "--instance", "ear"), strings.NewReader(""), io.Discard, screen, Actions{})
	}()
	screen.want("connected, listening as dns:agent/ear")
	if exit, _, fail := b.run("listen", b.url(), "--instance", "ear", "--for", "200ms"); exit != exitOK {
		t.Errorf("the second: got exit %d, %s", exit, fail)
	}
	if exit := <-ended; exit != exitConflict {
		t.Errorf("the first: got exit %d, want %d", exit, exitConflict)
	}
}

// lines is a writer whose lines a test can wait for.
type lines struct {
	*io.PipeWriter
	t    *testing.T
	came chan string
}

func newLines(t *testing.T) *lines {
	t.Helper()
	r, w := io.Pipe()
	l := &lines{PipeWriter: w, t: t, came: make(chan string, 1000)}
	go func() { // ends with the test
		for s := bufio.NewScanner(r); s.Scan(); {
			l.came <- s.Text()
		}
	}()
	t.Cleanup(func() { _ = w.Close() })
	return l
}

func (l *lines) next() string {
	l.t.Helper()
	select {
	case line := <-l.came:
		return line
	case <-time.After(20 * time.Second):
		l.t.Fatal("nothing came")
		return ""
	}
}

// until takes lines until one contains text.
func (l *lines) until(text string) {
	l.t.Helper()
	for got := l.next(); !strings.Contains(got, text); got = l.next() {
		l.t.Logf("not yet: %s", got)
	}
}

// want takes the next line, which must contain text.
func (l *lines) want(text string) {
	l.t.Helper()
	if got := l.next(); !strings.Contains(got, text) {
		l.t.Fatalf("got %q, want %q", got, text)
	}
}
