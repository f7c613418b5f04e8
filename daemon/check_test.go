package daemon

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"busd/bus"
	"busd/daemon/internal/cli"
	"busd/daemon/internal/config"
	"busd/msgbus"
)

// checkIn runs the check of a configuration whose directory has development
// certificates.
func checkIn(t *testing.T, dir, text string, services ...*msgbus.Service) (stdout, stderr string, err error) {
	t.Helper()
	path := filepath.Join(dir, "busd.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, warn bytes.Buffer
	p := &program{services: services, dir: filepath.Join(dir, "unused"), environ: []string{"BUSD_ZZZ=1"}}
	err = p.check(t.Context(), cli.ServeOptions{ConfigFile: path, Stdout: &out, Stderr: &warn})
	return strings.ReplaceAll(out.String(), dir, "DIR"), warn.String(), err
}

const devTLS = "tls: {certificate: server.crt, key: server.key, client_ca: [ca.crt]}\n"

func TestCheck(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pki")
	openPKI(t, dir)
	svc := newService("Test/One", nil)
	svc.Init = func(context.Context) error { t.Error("Init ran"); return nil }
	stdout, stderr, err := checkIn(t, dir, devTLS+"listeners: [{address: \"127.0.0.1:1\"}]\n", svc)
	if err != nil {
		t.Fatal(err)
	}
	want := "DIR/busd.yaml is valid\n  services   Test/One\n  listeners  127.0.0.1:1 (ask)\n  tls        the certificate is valid until 20"
	if !strings.HasPrefix(stdout, want) {
		t.Errorf("got\n%s\nwant\n%s", stdout, want)
	}
	if stderr != "busd: warning: environment BUSD_ZZZ means nothing here\n" {
		t.Errorf("warnings: got %q", stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, "unused")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v: a check writes nothing", err)
	}
}

func TestCheckFaults(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pki")
	openPKI(t, dir)
	svc := newService("Test/One", nil)
	svc.MaxMessage = 1 << 18
	_, _, err := checkIn(t, dir, "tls: {certificate: server.crt, key: ca.key, client_ca: [none.crt]}\nservices: {Test/One: {credit: 64KiB}}\n", svc)
	var e *config.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a *config.Error", err)
	}
	got := strings.ReplaceAll(err.Error(), dir, "DIR")
	for _, want := range []string{
		"DIR/busd.yaml:1:45: tls.client_ca: CA file DIR/none.crt: no such file or directory",
		"DIR/busd.yaml:2:12: services.Test/One: max_message (256KiB) is more than a quarter of credit (64KiB)\n\tservices: {Test/One: {credit: 64KiB}}\n\t           ~~~~~~~~",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}

	// What the program did wrong is no fault of the configuration.
	wrong := newService("Test/One", nil)
	wrong.Aliases = []string{"no name"}
	_, _, err = checkIn(t, dir, devTLS, wrong)
	if bus.CodeOf(err) != bus.CodeInternal || !strings.Contains(err.Error(), "service Test/One: alias") {
		t.Errorf("got %v, want an internal error about the alias", err)
	}

	// A client's certificate serves nobody.
	_, _, err = checkIn(t, dir, "tls: {certificate: client-bob.crt, key: client-bob.key, client_ca: [ca.crt]}\n", newService("Test/One", nil))
	if !errors.As(err, &e) || len(e.Faults) != 1 || e.Faults[0].Key != "tls.certificate" || !strings.Contains(e.Faults[0].Reason, "serverAuth") {
		t.Errorf("got %v, want a fault of tls.certificate about serverAuth", err)
	}
}
