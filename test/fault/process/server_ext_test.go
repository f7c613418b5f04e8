//go:build linux

package process_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"busd/test/fault/netns"
	"busd/test/fault/process"
)

// ping runs "busd send", from that place, and returns its exit code and output.
func ping(t *testing.T, s *process.Server, from process.Place, flags ...string) (code int, output string) {
	t.Helper()
	p := process.Start(t, process.Config{
		Path: s.Program(), Dir: s.Dir(), On: from,
		Args: append([]string{"send", s.URL("Framework/PingPong"), "Ping", `{"id": 1}`, "--expect", "Pong"}, flags...),
	})
	return wait(t, p).ExitCode(), p.Output()
}

// pings checks that the server serves.
func pings(t *testing.T, s *process.Server, from process.Place) {
	t.Helper()
	if code, output := ping(t, s, from); code != 0 {
		t.Fatalf("ping: got exit code %d:\n%s", code, output)
	}
}

// TestServe: a server's life with all its ends, at one address.
func TestServe(t *testing.T) {
	t.Parallel()
	s := process.Serve(t, process.ServerConfig{Env: []string{"BUSD_NODE__NAME=n1"}})
	pings(t, s, nil)
	if err := s.Begin(); err == nil {
		t.Error("started twice")
	}
	ctx := within(t, patience)
	if status, body, err := s.Get(ctx, "/metrics"); err != nil || status != http.StatusOK || !strings.Contains(body, `node="n1"`) {
		t.Errorf("metrics: got %d, %v, want those of node n1", status, err)
	}
	_, _, ca := s.Credentials("alice")
	before, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	first := s.Process().PID()

	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", s.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial a server that was killed: got %v, %v, want refused", c, err)
	}
	if err := s.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	pings(t, s, nil)
	if again := s.Process().PID(); again == first {
		t.Error("the same process after a restart")
	}
	if after, err := os.ReadFile(ca); err != nil || string(after) != string(before) {
		t.Errorf("the CA after a restart: another one, or %v", err)
	}

	if code, err := s.Stop(ctx); err != nil || code != 0 {
		t.Errorf("stop: got exit code %d, %v", code, err)
	}
	taken, err := net.Listen("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := s.Restart(ctx); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("restart at an address that is taken: got %v, want its output", err)
	}
}

// TestPauseServer: a server that stands still is connected to by the kernel,
// answers nobody, and goes on.
func TestPauseServer(t *testing.T) {
	t.Parallel()
	s := process.Serve(t, process.ServerConfig{})
	if err := s.IssueClient("carol"); err != nil {
		t.Fatal(err)
	}
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatalf("dial a server that stands still: %v", err)
	}
	c.Close()
	if status, _, err := s.Get(within(t, moment), "/readyz"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ask a server that stands still: got %d, %v, want no answer", status, err)
	}
	if err := s.Continue(); err != nil {
		t.Fatal(err)
	}
	if err := s.AwaitReady(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	cert, key, _ := s.Credentials("carol")
	if code, output := ping(t, s, nil, "--cert", cert, "--key", key); code != 0 {
		t.Errorf("ping by carol: got exit code %d:\n%s", code, output)
	}
}

// TestServeOnHost: the server on a machine of its own, and its client on
// another.
func TestServeOnHost(t *testing.T) {
	t.Parallel()
	n := netns.New(t)
	server, client := n.Host("server"), n.Host("client")
	s := process.Serve(t, process.ServerConfig{On: server})
	pings(t, s, client)
	if err := n.Block(server, client); err != nil {
		t.Fatal(err)
	}
	if code, output := ping(t, s, client, "--timeout", "1s"); code == 0 {
		t.Errorf("ping over a line that carries nothing back: got\n%s", output)
	}
	pings(t, s, server)
	if lost, err := n.Lost(server, client); err != nil || lost == 0 {
		t.Errorf("lost: got %d packets, %v", lost, err)
	}
	if err := n.Heal(); err != nil {
		t.Fatal(err)
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	pings(t, s, client)
}
