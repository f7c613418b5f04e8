//go:build linux

package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"busd/test/fault/port"
)

const (
	// readyTimeout bounds the wait of Serve; a busy machine is slow.
	readyTimeout = 60 * time.Second
	// readyEvery is how often readiness is asked for.
	readyEvery = 5 * time.Millisecond
	// askTimeout bounds one question to the admin listener; a busy machine is slow.
	askTimeout = 60 * time.Second
	// maxAnswer bounds the answer to it, in bytes.
	maxAnswer = 16 << 20

	// busPort and adminPort are where a server listens that has a host.
	busPort, adminPort = 8443, 8444
)

// busd is the package of the program that a Server runs by default.
const busd = "busd/cmd/busd"

// pkiDir is where certificates are, beside where the server runs: where
// development mode and the commands look.
const pkiDir = ".busd"

// A Host is a Place with an address of its own, such as a host of package netns.
type Host interface {
	Place
	Addr() netip.Addr
}

// ServerConfig is what a Server is started with. The zero value is "busd serve
// --dev" on loopback.
type ServerConfig struct {
	// Package is a program that is made with daemon.Main; empty is
	// "busd/cmd/busd".
	Package string
	// Args are further arguments of serve. Addresses and certificates are not to
	// be among them.
	Args []string
	// Env are further variables: each key of the configuration is one
	// (BUSD_LIMITS__NEW_PER_ADDRESS=1000, BUSD_KEEP_ALIVE__INTERVAL=1s).
	Env []string
	// Dir is where it runs; empty is a directory of the test's.
	Dir string
	// On is the host that it runs on, where it listens at the host's address,
	// port 8443, and has its operators' listener on the host's own loopback. It
	// is not in development mode then, which would listen on loopback only, but
	// has the same files. nil is this machine.
	On Host
}

// A Server is a busd that serves, over its restarts. Its address, its files and
// its certificates stay the same. Its methods may be called from any goroutine.
type Server struct {
	// Fixed at creation.
	config Config
	on     Host
	addr   string
	admin  string
	http   http.Client

	mu sync.Mutex
	// Guarded by mu.
	processes []*Process // one for each start; the last may run
}

// Serve starts a server and returns when it is ready. What holds for [Start] at
// the test's cleanup holds for each of its processes.
func Serve(t testing.TB, c ServerConfig) *Server {
	t.Helper()
	if c.Package == "" {
		c.Package = busd
	}
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	s := &Server{on: c.On, config: Config{Path: Build(t, c.Package), Dir: c.Dir}}
	dial := new(net.Dialer).DialContext
	var args, env []string
	if c.On == nil {
		s.addr, s.admin = hold(t), hold(t)
		args = []string{"serve", "--dev"}
	} else {
		s.config.On, dial = c.On, c.On.DialContext
		s.addr = netip.AddrPortFrom(c.On.Addr(), busPort).String()
		s.admin = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), adminPort).String()
		args, env = []string{"serve"}, s.certificates(t)
	}
	s.config.Args = append(args, c.Args...)
	s.config.Env = append(append(env, "BUSD_LISTEN="+s.addr, "BUSD_ADMIN__ADDRESS="+s.admin), c.Env...)
	// A connection that was kept would be one to a process that is gone.
	s.http = http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: askTimeout}

	ctx, cancel := context.WithTimeout(t.Context(), readyTimeout)
	defer cancel()
	t.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, p := range s.processes {
			p.cleanup(t)
		}
	})
	if err := s.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// hold takes a port for the time of the test, so that nobody has it while the
// server is down.
func hold(t testing.TB) string {
	t.Helper()
	p, err := port.Hold()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p.Addr()
}

// certificates makes what development mode would make, for the host's address,
// and returns the variables that name it.
func (s *Server) certificates(t testing.TB) []string {
	t.Helper()
	at := func(name string) string { return filepath.Join(s.config.Dir, pkiDir, name) }
	if _, err := os.Stat(at("server.crt")); errors.Is(err, fs.ErrNotExist) {
		err := errors.Join(s.pki("init"),
			s.pki("issue", "server", s.on.Addr().String(), "--dns", "localhost", "--ip", "127.0.0.1", "--out", at("server")),
			s.IssueClient("alice"), s.IssueClient("bob"))
		if err != nil {
			t.Fatal(err)
		}
	}
	return []string{
		"BUSD_TLS__CERTIFICATE=" + at("server.crt"), "BUSD_TLS__KEY=" + at("server.key"), "BUSD_TLS__CLIENT_CA=" + at("ca.crt"),
	}
}

// pki runs a command of busd pki.
func (s *Server) pki(args ...string) error {
	cmd := exec.Command(s.config.Path, append([]string{"pki"}, args...)...) //nolint:gosec // our own program
	cmd.Dir, cmd.Env = s.config.Dir, environ()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("busd pki %v: %w: %s", args, err, bytes.TrimSpace(out))
	}
	return nil
}

// IssueClient makes a certificate for one more client, with flags of "busd pki
// issue client". Alice and bob have theirs.
func (s *Server) IssueClient(name string, flags ...string) error {
	return s.pki(append([]string{"issue", "client", name}, flags...)...)
}

// Credentials are the PEM files that a client connects with: msgclient.Config
// has the fields, the commands have --cert, --key and --ca, and a command that
// runs in Dir uses alice's without being told.
func (s *Server) Credentials(client string) (cert, key, ca string) {
	at := filepath.Join(s.config.Dir, pkiDir)
	return filepath.Join(at, "client-"+client+".crt"), filepath.Join(at, "client-"+client+".key"), filepath.Join(at, "ca.crt")
}

// Addr is where the server listens for agents, host:port, also while it is down.
func (s *Server) Addr() string { return s.addr }

// URL is that of a service ("Framework/PingPong"), for clients without anything
// between them and the server.
func (s *Server) URL(service string) string { return "wss://" + s.addr + "/" + service }

// Dir is where the server runs.
func (s *Server) Dir() string { return s.config.Dir }

// Program is the path of the program, for its other commands.
func (s *Server) Program() string { return s.config.Path }

// Process is the server's last process, which may have ended.
func (s *Server) Process() *Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.processes[len(s.processes)-1] // Serve has started one
}

// Get asks the operators' listener: /readyz, /healthz, /metrics.
func (s *Server) Get(ctx context.Context, path string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.admin+path, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, string(data), err
}

// AwaitReady waits until the server says that it is ready. The error is that of
// ctx, or says how the server ended.
func (s *Server) AwaitReady(ctx context.Context) error {
	p := s.Process()
	ask := time.NewTicker(readyEvery)
	defer ask.Stop()
	for {
		status, body, err := s.Get(ctx, "/readyz")
		if err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case <-ask.C:
		case <-p.Done():
			return fmt.Errorf("%s ended before it was ready (%s):\n%s", p, p.cmd.ProcessState, p.output.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; the last answer: %d %s %w", p, context.Cause(ctx), status, body, err)
		}
	}
}

// Pause is [Process.Pause].
func (s *Server) Pause() error { return s.Process().Pause() }

// Continue is [Process.Continue].
func (s *Server) Continue() error { return s.Process().Continue() }

// Kill is [Process.Kill]. Until Restart, whoever dials is refused.
func (s *Server) Kill() error { return s.Process().Kill() }

// Stop sends SIGTERM, waits for the end and returns the exit code.
func (s *Server) Stop(ctx context.Context) (code int, err error) {
	p := s.Process()
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	state, err := p.Wait(ctx)
	if err != nil {
		return 0, err
	}
	return state.ExitCode(), nil
}

// Restart starts the server again after its end, at the same address, and
// returns when it is ready. It is an error while it runs.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Begin(); err != nil {
		return err
	}
	return s.AwaitReady(ctx)
}

// Begin is Restart without the wait.
func (s *Server) Begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.processes); n > 0 {
		select {
		case <-s.processes[n-1].Done():
		default:
			return fmt.Errorf("%s runs", s.processes[n-1])
		}
	}
	p, err := start(s.config)
	if err != nil {
		return err
	}
	s.processes = append(s.processes, p)
	return nil
}
