package dirac_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"busd/test/fault/process"
)

// python is Debian's: its package python3-requests is not seen by another one.
const python = "/usr/bin/python3"

// limit is far beyond what the checks need.
const limit = 3 * time.Minute

func TestMain(m *testing.M) { process.Main(m) }

// configuration has the registry of the checks.
const configuration = `
listeners: [{address: "localhost:0"}]
admin: {address: "off"}
tls: {certificate: server.pem, key: server.pem, client_ca: [ca.pem]}
limits: {unauthenticated_per_address: 1000, new_per_address: 10000}
auth: {proxies: accept}
access:
  users:
    ciuser: {dn: ["/C=ch/O=DIRAC/OU=DIRAC CI/CN=ciuser"]}
    ciadmin: {dn: ["/C=ch/O=DIRAC/OU=DIRAC CI/CN=ciadmin"]}
  hosts:
    ci-host: {dn: ["/C=ch/O=DIRAC/OU=DIRAC CI/CN=ci-host"], properties: [SomeHost]}
    trusted-host: {dn: ["/C=ch/O=DIRAC/OU=DIRAC CI/CN=trusted-host"], properties: [TrustedHost]}
  groups:
    dirac_user: {users: [ciuser, ciadmin], properties: [NormalUser]}
    dirac_admin: {users: [ciadmin], properties: [ServiceAdministrator]}
  default_groups: [dirac_user]
`

func TestTornadoClient(t *testing.T) {
	if out, err := exec.CommandContext(t.Context(), python, "-c", "import requests").CombinedOutput(); err != nil {
		t.Skipf("no client in Python here: want python3-requests: %v: %s", err, out)
	}
	dir := t.TempDir()
	certificates(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "busd.yaml"), []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	server := process.Start(t, process.Config{
		Path: process.Build(t, "busd/test/dirac/diracd"), Args: []string{"serve", "--config", "busd.yaml"}, Dir: dir,
	})
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	match, err := server.AwaitOutput(ctx, `"listeners":\["[^"]*:(\d+)"`)
	if err != nil {
		t.Fatalf("%v\n%s", err, server.Output())
	}
	cmd := exec.CommandContext(ctx, python, "-B", "check.py", "https://localhost:"+match[1]+"/Framework/Conformance", dir)
	out, err := cmd.CombinedOutput()
	held := 0
	for lines := bufio.NewScanner(strings.NewReader(string(out))); lines.Scan(); {
		t.Log(lines.Text())
		if strings.HasPrefix(lines.Text(), "ok ") {
			held++
		}
	}
	if want := checks(t); err != nil || held != want {
		t.Errorf("%d checks of %d hold: %v", held, want, err)
	}
	if log := server.Output(); strings.Contains(log, "no luck") {
		t.Error("the log has what was a parameter of a call")
	}
}

// checks counts the script's checks.
func checks(t *testing.T) int {
	t.Helper()
	script, err := os.ReadFile("check.py")
	if err != nil {
		t.Fatal(err)
	}
	return len(regexp.MustCompile(`(?m)^def [a-z_]+\(\):`).FindAllString(string(script), -1))
}

// certificates leaves in dir what server and clients need.
func certificates(t *testing.T, dir string) {
	t.Helper()
	ca := authority(t, "DIRAC CI Test CA")
	roots := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), roots, 0o600); err != nil {
		t.Fatal(err)
	}
	issue(t, &x509.Certificate{
		Subject: name("localhost"), DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca).write(t, dir, "server")
	user := person(t, "ciuser", ca)
	user.write(t, dir, "user")
	proxyOf(t, user, "dirac_user").write(t, dir, "proxy")
	for file, cn := range map[string]string{"admin": "ciadmin", "stranger": "somebody", "host": "ci-host", "trusted": "trusted-host"} {
		person(t, cn, ca).write(t, dir, file)
	}
	person(t, "ciuser", authority(t, "another CA")).write(t, dir, "unbelieved")
}
