// Package foreign_test runs a client in another language, written from
// docs/protocol.md alone, against a server on a real socket.
package foreign_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"busd/bus"
	"busd/examples/pingpong"
	"busd/internal/mtls"
	"busd/msgbus"
	"busd/schema"
)

// python is Debian's: its packages python3-msgpack and python3-websockets are
// not seen by another one.
const python = "/usr/bin/python3"

// limit is far beyond what the checks need.
const limit = 2 * time.Minute

func TestPython(t *testing.T) {
	t.Parallel()
	if out, err := exec.CommandContext(t.Context(), python, "-c", "import msgpack, websockets").CombinedOutput(); err != nil {
		t.Skipf("no client in Python here: want python3-msgpack and python3-websockets: %v: %s", err, out)
	}
	dir := t.TempDir()
	srv, address := serve(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, "-B", "check.py", address, dir)
	cmd.Env = append(os.Environ(), "no_proxy=*")
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var held []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		t.Log(lines.Text())
		if lines.Text() == "stop the server" {
			stop(t, srv)
			continue
		}
		held = append(held, strings.Fields(lines.Text())[1])
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("after %d checks: %v\n%s", len(held), err, complaints.String())
	}
	if want := checks(t); !slices.Equal(held, want) {
		t.Errorf("got checks %v, want %v", held, want)
	}
}

// checks returns the names of the script's checks, in order.
func checks(t *testing.T) []string {
	t.Helper()
	script, err := os.ReadFile("check.py")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(script), "CHECKS = [")
	list, _, _ = strings.Cut(list, "]")
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' })
}

// serve runs a server on a loopback address, and leaves in dir what its client
// needs.
func serve(t *testing.T, dir string) (*msgbus.Server, string) {
	t.Helper()
	ca, err := mtls.NewAuthority("foreign test CA", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	server := issue(t, ca, mtls.Request{Name: "localhost", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true})
	client := issue(t, ca, mtls.Request{Name: "foreign", DNS: []string{"foreign"}, Client: true})
	key, err := client.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"ca.crt": ca.CertPEM(), "client.crt": client.CertPEM(), "client.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	srv, err := msgbus.NewServer(msgbus.Config{}, pingpong.New(), newForeign())
	if err != nil {
		t.Fatal(err)
	}
	conf, err := mtls.ServerConfig(mtls.Material{Certificate: server.TLS(), CAs: []*x509.Certificate{ca.Certificate()}}, mtls.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", conf)
	if err != nil {
		t.Fatal(err)
	}
	hs := &http.Server{Handler: srv, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = hs.Serve(listener) // ends with Close
	}()
	t.Cleanup(func() {
		stop(t, srv)
		_ = hs.Close() // nothing is served any more
		<-done
	})
	return srv, listener.Addr().String()
}

func issue(t *testing.T, ca *mtls.Authority, r mtls.Request) *mtls.Issued {
	t.Helper()
	issued, err := ca.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

func stop(t *testing.T, srv *msgbus.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

// The messages of the second service.
type (
	Ask struct {
		Text string `bus:"text"`
	}
	Question struct {
		Text string `bus:"text"`
	}
	Wait struct{}
	// Odd is there for the fingerprint.
	Odd struct {
		Zeta  *float64          `bus:"zeta,min=-1000000,max=1e21" doc:"last in the alphabet"`
		Alpha float64           `bus:"alpha,min=0.000001,max=123456.75,nonfinite"`
		Small float64           `bus:"small,min=-0.00025,max=999999"`
		Level string            `bus:"level,enum=low|high|<&>"`
		Names map[string]string `bus:"names,optional,minlen=1"`
		Deep  []struct {
			Y int8   `bus:"y"`
			X []byte `bus:"x,maxlen=3"`
		} `bus:"deep"`
		Extra any       `bus:"extra,optional"`
		At    time.Time `bus:"at"`
		Text  string    `bus:"text,pattern=^[\"a-zé\t]*$"`
	}
)

func (Ask) MessageName() string      { return "Ask" }
func (Question) MessageName() string { return "Question" }
func (Wait) MessageName() string     { return "Wait" }
func (Odd) MessageName() string      { return "Odd" }

func newForeign() *msgbus.Service {
	number, file := schema.Type{Kind: schema.Float}, schema.Type{Kind: schema.Bytes}
	svc := &msgbus.Service{Schema: schema.MustNew("Test/Foreign",
		schema.Of[Wait](schema.FromClient),
		schema.Of[Ask](schema.FromBoth),
		schema.Of[Question](schema.FromService).WithDoc("is it?"),
		schema.Of[Odd](schema.FromService).Latest("level"),
		schema.Method{Name: "div", Doc: "a / b", Result: &number, Params: []schema.Attribute{{Name: "b", Type: number}, {Name: "a", Type: number}}},
		schema.Method{Name: "add"},
		schema.Method{Name: "copy", Result: &file, Upload: true, Download: true, Params: []schema.Attribute{{Name: "file", Type: file}}},
	)}
	svc.OnConnect = func(_ context.Context, c *msgbus.Conn) error {
		if c.Args()["refuse"] != true {
			return nil
		}
		return bus.Errorf(bus.CodeResourceExhausted, "not today").
			WithRetry(bus.Retry{When: bus.RetryAfter, After: 2 * time.Second, Spread: 3 * time.Second})
	}
	msgbus.Handle(svc, func(ctx context.Context, c *msgbus.Conn, m Ask) error {
		answer, err := msgbus.Request[Ask](ctx, c, Question(m))
		if err != nil {
			return err
		}
		return c.Reply(ctx, answer)
	})
	msgbus.Handle(svc, func(ctx context.Context, _ *msgbus.Conn, _ Wait) error {
		<-ctx.Done()
		return context.Cause(ctx)
	})
	return svc
}
