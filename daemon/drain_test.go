package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"

	"busd/bus"
	"busd/daemon/internal/admin"
	"busd/daemon/internal/cli"
	"busd/msgbus"
	"busd/msgclient"
)

// drain asks for a drain and returns the lines of the answer.
func (r *running) drain(body string) (status int, lines *bufio.Scanner) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, "http://"+r.admin+"/drain", strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	request.Close = true
	resp, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp.StatusCode, bufio.NewScanner(resp.Body)
}

// last reads progress to its end.
func last(t *testing.T, lines *bufio.Scanner) (p admin.Progress) {
	t.Helper()
	for lines.Scan() {
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			t.Fatalf("%s: %v", lines.Bytes(), err)
		}
	}
	return p
}

// Clients move to the server that the drain names; what they had begun has its
// answer, and they are never without a connection.
func TestDrainMovesClients(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}, 2), make(chan struct{})
	old := start(t, "node: {name: old}\n", cli.ServeOptions{Dev: true}, newService("Test/One", blocking(entered, release)))
	next := start(t, tlsOf(old, "off")+"node: {name: next}\nlisteners: [{address: \"127.0.0.1:0\"}]\n", cli.ServeOptions{}, newService("Test/One", nil))
	dropped := make(chan error, 10)
	c := old.connected("alice", "Test/One", func(why error) { dropped <- why })
	answered := make(chan error, 1)
	go func() { // ends with the answer
		_, err := msgclient.Request[pong](t.Context(), c, ping{ID: 1})
		answered <- err
	}()
	<-entered
	status, lines := old.drain(`{"target": "wss://` + next.bus + `"}`)
	if status != http.StatusOK || !lines.Scan() || !strings.Contains(lines.Text(), `"state":"draining","connections":1,`) {
		t.Fatalf("got %d, %s", status, lines.Text())
	}
	if status, body := old.get("/readyz"); status != http.StatusServiceUnavailable || body != "draining\n" {
		t.Errorf("/readyz: got %d %q, want 503 draining", status, body)
	}
	if line := old.log.wait(t, "a drain was asked for"); line["target"] != "wss://"+next.bus+"/Test/One" {
		t.Errorf("got %v, want the target with its service", line)
	}
	close(release)
	if err := <-answered; err != nil {
		t.Errorf("the request in hand: got %v, want its answer", err)
	}
	if p := last(t, lines); p.State != admin.StateDrained || p.Connections != 0 {
		t.Errorf("got %+v, want that it drained", p)
	}
	if err := old.end(); err != nil {
		t.Errorf("serve: got %v, want nil", err)
	}
	if _, err := msgclient.Request[pong](t.Context(), c, ping{ID: 2}); err != nil {
		t.Errorf("after the move: %v", err)
	}
	next.metricIs(t, `busd_connections{service="Test/One"} 1`)
	if len(dropped) > 0 {
		t.Errorf("dropped: %v, want a move", <-dropped)
	}
}

// blocking is a handler that says that it runs, and waits.
func blocking(entered chan<- struct{}, release <-chan struct{}) func(context.Context) {
	return func(context.Context) {
		entered <- struct{}{}
		<-release
	}
}

// When whoever drains hears that it is over, every port is free.
func TestDrainFreesTheAddresses(t *testing.T) {
	t.Parallel()
	r := start(t, "", cli.ServeOptions{Dev: true}, newService("Test/One", nil))
	r.client("alice", "Test/One")
	_, lines := r.drain("")
	if p := last(t, lines); p.State != admin.StateDrained {
		t.Fatalf("got %+v", p)
	}
	for _, address := range []string{r.bus, r.admin} {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		_ = l.Close()
	}
}

func TestDrainThatTakesTooLong(t *testing.T) {
	t.Parallel()
	r := hangs(t, "shutdown: {timeout: 1h}\n")
	_, lines := r.drain(`{"timeout_ms": 50}`)
	if p := last(t, lines); p.State != admin.StateCutOff || p.Code != "deadline_exceeded" || p.Reason != "1 connections had not finished" {
		t.Errorf("got %+v, want that it cut one off", p)
	}
	if err := r.end(); bus.CodeOf(err) != bus.CodeDeadlineExceeded {
		t.Errorf("serve: got %v, want deadline_exceeded", err)
	}
}

// Who follows a drain hears of it too if it was a signal that began it, and a
// second one that ends it.
func TestDrainBySignal(t *testing.T) {
	t.Parallel()
	r := hangs(t, "shutdown: {timeout: 1h}\n")
	r.stop()
	r.log.wait(t, "stopping")
	_, lines := r.drain(`{"timeout_ms": 50}`)
	if !lines.Scan() || !strings.Contains(lines.Text(), `"already":true`) {
		t.Errorf("got %s, want that it drains already", lines.Text())
	}
	close(r.force)
	if p := last(t, lines); p.State != admin.StateCutOff || p.Code != "canceled" {
		t.Errorf("got %+v, want that it was stopped", p)
	}
}

func TestDrainRefusesNonsense(t *testing.T) {
	t.Parallel()
	two := newService("Test/Two", nil)
	two.Aliases = []string{"Test/Zwei"}
	r := start(t, "", cli.ServeOptions{Dev: true}, newService("Test/One", nil), two)
	for _, body := range []string{
		`{"timeout_ms": -1}`, `{"timeout_ms": 3600001}`, `{"target": "wss://other"}`, `{"target": "wss://other/Test/Three"}`,
		`{"target": "https://other/Test/One"}`, `{"target": "wss:///Test/One"}`, `{"target": "wss://me@other/Test/One"}`, `{"target": "other"}`,
	} {
		if status, lines := r.drain(body); status != http.StatusBadRequest || !lines.Scan() || lines.Text() == "" {
			t.Errorf("%s: got %d %q, want 400 and why", body, status, lines.Text())
		}
	}
	if status, body := r.get("/readyz"); status != http.StatusOK {
		t.Errorf("/readyz: got %d %s, want that it still serves", status, body)
	}
	s := &server{services: []*msgbus.Service{newService("Test/One", nil)}}
	for text, want := range map[string]string{
		"": "", "wss://other": "wss://other/Test/One", "wss://other:1/": "wss://other:1/Test/One", "wss://[::1]:1/Test/One": "wss://[::1]:1/Test/One",
	} {
		if got, err := s.targetOf(text); got != want || err != nil {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
	s.services = append(s.services, two)
	if got, err := s.targetOf("wss://other/Test/Zwei"); got != "wss://other/Test/Zwei" || err != nil {
		t.Errorf("an alias: got %q, %v", got, err)
	}
}

// What an operator says of sessions reaches the services.
func TestWindows(t *testing.T) {
	t.Parallel()
	r := start(t, "services: {Test/One: {window: 0}, Test/Two: {window: 1h}}\n", cli.ServeOptions{Dev: true},
		newService("Test/One", nil), newService("Test/Two", nil), newService("Test/Three", nil))
	for service, left := range map[string]string{"Test/One": "0", "Test/Two": "1", "Test/Three": "1"} {
		var line net.Conn
		c := r.clientWith("alice", service, msgclient.Config{DialContext: func(ctx context.Context, network, address string) (_ net.Conn, err error) {
			line, err = new(net.Dialer).DialContext(ctx, network, address)
			return line, err
		}})
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.metricIs(t, `busd_sessions{service="`+service+`"} 1`)
		_ = line.Close()
		r.metricIs(t, `busd_connections{service="`+service+`"} 0`)
		r.metricIs(t, `busd_sessions{service="`+service+`"} `+left)
	}
	r.metricIs(t, "busd_sessions_resting 2")
	if got := windowOf(0); got >= 0 {
		t.Errorf("0: got %s, want less than that, which is none", got)
	}
}
