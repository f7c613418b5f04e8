package daemon

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"busd/daemon/internal/cli"
	"busd/daemon/internal/config"
)

// tlsOf is a configuration with the certificates that a development mode left
// behind, and a file of session ticket keys.
func tlsOf(r *running, tickets string) string {
	return "tls:\n  certificate: " + r.file("server.crt") + "\n  key: " + r.file("server.key") +
		"\n  client_ca: [" + r.file("ca.crt") + "]\n  session_tickets: " + tickets + "\n"
}

// stopped is a development mode that has ended, and a client that it served.
func stopped(t *testing.T) (r *running, client *http.Transport) {
	t.Helper()
	r = start(t, "", cli.ServeOptions{Dev: true}, newService("Test/One", nil))
	client = r.https("alice")
	r.visit(client)
	r.stop()
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	return r, client
}

func (r *running) visit(client *http.Transport) {
	r.t.Helper()
	if status, body := fetch(r.t, client, "https://"+r.bus+"/Test/One"); status != http.StatusOK {
		r.t.Fatalf("got %d %s, want 200", status, body)
	}
}

func (r *running) metricIs(t *testing.T, line string) {
	t.Helper()
	waitFor(t, line, func() bool {
		_, body := r.get("/metrics")
		return strings.Contains(body, "\n"+line+"\n")
	})
}

// keptSecret looks for the keys of a file in what a program said.
func (r *running) keptSecret(path string) {
	r.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	_, metrics := r.get("/metrics")
	keys := 0
	for line := range strings.Lines(string(data)) {
		words := strings.Fields(line)
		if words[0] != "key" {
			continue
		}
		keys++
		if strings.Contains(r.log.String()+r.stdout.String()+metrics, words[2][:8]) {
			r.t.Error("part of a key was told")
		}
	}
	if keys == 0 {
		r.t.Error("there is no key in the file")
	}
}

func TestClientsResumeAfterARestart(t *testing.T) {
	t.Parallel()
	before, client := stopped(t)
	tickets := before.file("tickets.key")
	if info, err := os.Stat(tickets); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("development mode: got %v, %v, want a file of mode 0600", info, err)
	}
	after := start(t, tlsOf(before, tickets)+"listeners:\n  - {address: \"127.0.0.1:0\", client_certificate: require}\n  - {address: \"127.0.0.1:0\"}\n",
		cli.ServeOptions{}, newService("Test/One", nil))
	after.metricIs(t, "busd_handshakes_resumed_total 0")
	after.visit(client)
	after.metricIs(t, "busd_handshakes_resumed_total 1")
	after.keptSecret(tickets)
	if log := after.log.String(); strings.Contains(log, `"warn"`) {
		t.Errorf("want no warning, got\n%s", log)
	}

	// A reload in development mode does not take the file for a change.
	dev := start(t, tlsOf(before, tickets), cli.ServeOptions{Dev: true}, newService("Test/One", nil))
	dev.reload <- struct{}{}
	if line := dev.log.wait(t, "configuration reloaded"); len(line["needs_restart"].([]any)) != 0 { //nolint:forcetypeassert // it panics as well
		t.Errorf("got %v, want nothing that needs a restart", line["needs_restart"])
	}
}

func TestDamagedTicketKeysStopNothing(t *testing.T) {
	t.Parallel()
	before, client := stopped(t)
	tickets := before.file("tickets.key")
	text, err := os.ReadFile(tickets)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tickets, text[:len(text)-9], 0o600); err != nil {
		t.Fatal(err)
	}
	after := start(t, tlsOf(before, tickets), cli.ServeOptions{}, newService("Test/One", nil))
	line := after.log.wait(t, "session tickets may not be resumed after a restart")
	if reason, _ := line["reason"].(string); line["level"] != "warn" || !strings.Contains(reason, tickets+": it is damaged") {
		t.Errorf("got %v", line)
	}
	after.visit(client)
	after.visit(client)
	after.metricIs(t, "busd_handshakes_resumed_total 1")
	after.keptSecret(tickets)
}

// What keeps the file from being used is a fault of the configuration, told by
// a check too, which writes nothing.
func TestTicketKeysThatCannotBeKept(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pki")
	openPKI(t, dir)
	tickets := filepath.Join(dir, "tickets")
	text := strings.Replace(devTLS, "}", ", session_tickets: tickets}", 1)
	if _, _, err := checkIn(t, dir, text, newService("Test/One", nil)); err != nil {
		t.Errorf("no file yet: got %v", err)
	}
	if !absent(tickets) {
		t.Error("a check wrote the file")
	}
	if err := os.WriteFile(tickets, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(tickets, 0o640); err != nil {
		t.Fatal(err)
	}
	_, _, checked := checkIn(t, dir, text, newService("Test/One", nil))
	c, _, err := config.Load(config.Options{File: filepath.Join(dir, "busd.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	_, started := readCertificates(c, (&server{config: c}).tickets())
	for what, err := range map[string]error{"check": checked, "start": started} {
		var e *config.Error
		if !errors.As(err, &e) || len(e.Faults) != 1 || e.Faults[0].Key != "tls.session_tickets" || e.Faults[0].Line != 1 ||
			!strings.Contains(e.Faults[0].Reason, "chmod 600 "+tickets) {
			t.Errorf("%s: got %v, want a fault of tls.session_tickets that says what to do", what, err)
		}
	}
}
