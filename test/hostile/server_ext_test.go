//go:build linux

package hostile_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"busd/rpc/rpcclient"
	"busd/test/fault/port"
	"busd/test/fault/process"
)

const (
	pingPath = "/Framework/PingPong"
	callPath = "/Test/Calls"
)

// configuration is the server's. Its times are shorter than they are by default, so
// that this does not take for ever; all else is as it is for everybody.
const configuration = `
listeners:
  - {address: %q}
  - {address: %q, client_certificate: require, services: [Framework/PingPong]}
admin: {address: %q}
tls: {certificate: server.crt, key: server.key, client_ca: [ca.crt], crl: [ca.crl]}
auth:
  tokens:
    - {issuer: %q, jwks: [jwks.json], audience: [busd]}
access:
  users:
    alice: {peers: ["dns:alice"]}
    bob: {peers: ["dns:bob"]}
    mallory: {peers: ["dns:mallory"], tokens: ["4711@%[4]s"]}
  hosts:
    portal: {peers: ["dns:portal"], properties: [SomeHost]}
  groups:
    users: {users: [alice, bob, mallory], properties: [NormalUser]}
    operators: {users: [alice], properties: [Operator]}
timeouts: {handshake: 3s, request: 3s, hello: 3s, idle: 5s, address: 3s}
keep_alive: {interval: 1s, idle: 6s}
log: {level: debug}
`

// A server is the victim's process.
type server struct {
	*process.Process

	// Fixed at creation.
	addr, strict, admin string
	dir                 string
}

func startServer(t *testing.T) *server {
	t.Helper()
	s := &server{addr: hold(t), strict: hold(t), admin: hold(t), dir: t.TempDir()}
	if err := thePKI.write(s.dir); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"busd.yaml": fmt.Sprintf(configuration, s.addr, s.strict, s.admin, issuerName), "jwks.json": string(theIssuer.jwks()),
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.Process = process.Start(t, process.Config{
		Path: process.Build(t, "busd/test/hostile/victim"), Args: []string{"serve", "--config", "busd.yaml"}, Dir: s.dir,
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for ask := time.NewTicker(10 * time.Millisecond); ; {
		if _, err := s.ask(ctx, "/readyz"); err == nil {
			ask.Stop()
			return s
		}
		select {
		case <-ask.C:
		case <-s.Done():
			t.Fatalf("it ended:\n%s", s.Output())
		case <-ctx.Done():
			t.Fatalf("it is not ready:\n%s", s.Output())
		}
	}
}

func hold(t *testing.T) string {
	t.Helper()
	p, err := port.Hold()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p.Addr()
}

// address is a listener's.
func (s *server) address(name string) string {
	switch name {
	case "strict":
		return s.strict
	case "admin":
		return s.admin
	}
	return s.addr
}

// ask asks the operators' listener.
func (s *server) ask(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.admin+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", path, resp.Status)
	}
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// A gauge is what the server has of everything that an attack may take.
type gauge struct {
	Goroutines int64 `bus:"goroutines"`
	Heap       int64 `bus:"heap"`
	Forbidden  int64 `bus:"forbidden"`

	resident, most int64 // bytes in memory: now, and at most so far
	files          int
}

func (g gauge) String() string {
	const mib = 1 << 20
	return fmt.Sprintf("%d goroutines, %d files, %d MiB of heap, %d MiB resident (%d at most)",
		g.Goroutines, g.files, g.Heap/mib, g.resident/mib, g.most/mib)
}

func (s *server) gauge(ctx context.Context, i *innocent) (gauge, error) {
	g, err := rpcclient.Call[gauge](ctx, i.calls, "gauge")
	if err != nil {
		return g, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
	if err != nil {
		return g, err
	}
	for line := range strings.Lines(string(status)) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		kib, _ := strconv.ParseInt(words[1], 10, 64) // 0 of lines that are not looked at
		switch words[0] {
		case "VmRSS:":
			g.resident = kib << 10
		case "VmHWM:":
			g.most = kib << 10
		}
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.PID()))
	g.files = len(files)
	return g, err
}

// canary is what scripts plant where secrets stand.
const canary = "SECRETCANARY7f3a"

// secrets are what nobody may read in the output: the canary, and the tokens of
// sessions.
var secrets planted

type planted struct {
	mu sync.Mutex
	// Guarded by mu.
	tokens [][]byte
}

func (p *planted) plant(token []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tokens = append(p.tokens, bytes.Clone(token))
}

// in finds them in a text, as they are and as they may be written.
func (p *planted) in(text string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	words := []string{canary, base64.StdEncoding.EncodeToString([]byte(canary))[:20], hex.EncodeToString([]byte(canary))}
	for _, t := range p.tokens {
		words = append(words, hex.EncodeToString(t), base64.StdEncoding.EncodeToString(t), base64.RawURLEncoding.EncodeToString(t), string(t))
	}
	var found []string
	for _, w := range words {
		if i := strings.Index(text, w); i >= 0 {
			found = append(found, visible([]byte(text[max(0, i-300):min(len(text), i+300)]), 600))
		}
	}
	return found
}

// checkOutput looks at what the server has said to its operators.
func (s *server) checkOutput(t *testing.T, i *innocent) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	metrics, err := s.ask(ctx, "/metrics")
	if err != nil {
		t.Error(err)
	}
	const series = 2000
	if n := strings.Count(metrics, "\n") - strings.Count(metrics, "\n#"); n > series {
		t.Errorf("%d series of metrics, want at most %d", n, series)
	}
	if err := s.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("it has ended:\n%s", s.Output())
	}
	i.end(t)
	state, err := s.Wait(ctx)
	if err != nil || state.ExitCode() != 0 {
		t.Errorf("at the end: got %v, %v, want exit code 0", state, err)
	}
	output := s.Output()
	for _, found := range secrets.in(output + metrics) {
		t.Errorf("a secret is in what it says: %s", found)
	}
	checkLines(t, output)
}

// checkLines looks at the log: each line is one of JSON, and tells nothing that a
// terminal would obey.
func checkLines(t *testing.T, output string) {
	t.Helper()
	const longestLine, mistakes = 4 << 10, 3 // some fields of 256 bytes; stacks are longer than those
	wrong := 0
	for line := range strings.Lines(output) {
		line = strings.TrimSuffix(line, "\n")
		var fields map[string]any
		err := json.Unmarshal([]byte(line), &fields)
		control := strings.IndexFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 })
		if err == nil && control < 0 && len(line) <= longestLine && !strings.Contains(line, "runtime error") && fields["level"] != "fatal" {
			continue
		}
		if wrong++; wrong <= mistakes {
			t.Errorf("a line of the log: %v, %d bytes, control character at %d: %s", err, len(line), control, visible([]byte(line), 1000))
		}
	}
	t.Logf("the log: %d lines, %d of them wrong", strings.Count(output, "\n"), wrong)
}
