package daemon

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"busd/daemon/internal/cli"
	"busd/internal/mtls"
	"busd/schema"
)

var devFiles = []string{
	".gitignore", "ca.crt", "ca.key", "client-alice.crt", "client-alice.key", "client-bob.crt", "client-bob.key", "server.crt", "server.key",
}

// contentsOf returns the files of a directory of development certificates.
func contentsOf(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, name := range devFiles {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = data
	}
	return files
}

func openPKI(t *testing.T, dir string) *devPKI {
	t.Helper()
	p, err := openDevPKI(dir)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDevPKI(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pki")
	openPKI(t, dir)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(devFiles) {
		t.Errorf("got %d files, %v, want %d", len(entries), err, len(devFiles))
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: got %v, %v, want mode 0700", info.Mode(), err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(e.Name(), ".key") && info.Mode().Perm() != 0o600 {
			t.Errorf("%s: got mode %v, want 0600", e.Name(), info.Mode())
		}
	}

	// What is good is used again.
	first := contentsOf(t, dir)
	openPKI(t, dir)
	same := func(now map[string][]byte, names ...string) {
		t.Helper()
		for name := range first {
			changed := false
			for _, n := range names {
				changed = changed || strings.HasPrefix(name, n)
			}
			if got := !bytes.Equal(first[name], now[name]); got != changed {
				t.Errorf("%s: changed: %v, want %v", name, got, changed)
			}
		}
	}
	same(contentsOf(t, dir))

	// A certificate that is gone, a key that others may read, a certificate
	// for somebody else: that one is made anew.
	if err := os.Remove(filepath.Join(dir, "client-bob.crt")); err != nil {
		t.Fatal(err)
	}
	openPKI(t, dir)
	same(contentsOf(t, dir), "client-bob")
	first = contentsOf(t, dir)
	if err := os.Chmod(filepath.Join(dir, "server.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	openPKI(t, dir)
	same(contentsOf(t, dir), "server")
	first = contentsOf(t, dir)
	for _, suffix := range []string{".crt", ".key"} {
		if err := os.WriteFile(filepath.Join(dir, "client-alice"+suffix), first["client-bob"+suffix], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	openPKI(t, dir)
	same(contentsOf(t, dir), "client-alice")
	first = contentsOf(t, dir)

	// With the CA, everything.
	if err := os.Remove(filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	if p := openPKI(t, dir); p.renewed != filepath.Join(dir, "ca.key")+" is missing" {
		t.Errorf("got %q as why the CA is new", p.renewed)
	}
	same(contentsOf(t, dir), "ca", "client", "server")
}

func TestDevPKIExpiresSoon(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pki")
	p := openPKI(t, dir)
	issued, err := p.ca.Issue(mtls.Request{
		Name: "busd development server", DNS: devHosts[:1], IPs: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, Server: true, Validity: 23 * time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	key, err := issued.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"server.crt": issued.CertPEM(), "server.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	openPKI(t, dir)
	if bytes.Equal(contentsOf(t, dir)["server.crt"], issued.CertPEM()) {
		t.Error("a certificate that expires within a day was used again")
	}
}

func TestDevDirectoryOfSomebodyElse(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	link := filepath.Join(base, "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{link, file} {
		if _, err := openDevPKI(dir); err == nil || !strings.Contains(err.Error(), "is no directory") {
			t.Errorf("%s: got %v, want that it is no directory", filepath.Base(dir), err)
		}
	}
}

func TestBanner(t *testing.T) {
	t.Parallel()
	r := start(t, "", cli.ServeOptions{Dev: true}, newService("Test/One", nil))
	r.log.wait(t, "busd serves")
	waitFor(t, "the banner", func() bool { return strings.Contains(r.stdout.String(), "ready in") })
	banner := r.stdout.String()
	url := "wss://" + r.bus + "/Test/One"
	for _, want := range []string{
		"busd " + cli.Version + "  DEVELOPMENT MODE", "wss://" + r.bus + "\n", "http://" + r.admin + " ", "Test/One", r.file("")[:len(r.file(""))-1],
		openPKI(t, filepath.Join(r.dir, "pki")).fingerprint(),
		"  busd send " + url + " Ping '{\"id\":1}' --expect Pong\n",
		"  busd listen " + url + "\n",
	} {
		if !strings.Contains(banner, want) {
			t.Errorf("the banner lacks %q:\n%s", want, banner)
		}
	}
	if !regexp.MustCompile(`ready in \d+ ms; ctrl-C stops it\n$`).MatchString(banner) {
		t.Errorf("the banner does not end with how long it took:\n%s", banner)
	}
	if status, _ := r.get("/debug/pprof/cmdline"); status != http.StatusOK {
		t.Errorf("/debug/pprof/cmdline on loopback: got %d, want 200", status)
	}
}

func TestExampleMessages(t *testing.T) {
	t.Parallel()
	min3, len2 := int64(3), 2
	list := &schema.Type{Kind: schema.Int}
	for _, tc := range []struct {
		attrs []schema.Attribute
		want  string
		ok    bool
	}{
		{nil, "{}", true},
		{[]schema.Attribute{{Name: "n", Type: schema.Type{Kind: schema.Int, MinInt: &min3}}}, `{"n":3}`, true},
		{[]schema.Attribute{{Name: "s", Type: schema.Type{Kind: schema.String}}, {Name: "o", Type: schema.Type{Kind: schema.Struct}, Optional: true}}, `{"s":"hello"}`, true},
		{[]schema.Attribute{{Name: "e", Type: schema.Type{Kind: schema.Enum, Values: []string{"new", "done"}}}}, `{"e":"new"}`, true},
		{[]schema.Attribute{{Name: "l", Type: schema.Type{Kind: schema.List, Elem: list}}}, `{"l":[]}`, true},
		{[]schema.Attribute{{Name: "l", Type: schema.Type{Kind: schema.List, Elem: list, MinLen: &len2}}}, "", false},
		{[]schema.Attribute{{Name: "e", Type: schema.Type{Kind: schema.Enum, Values: []string{"it's"}}}}, "", false},
	} {
		got, ok := exampleOf(schema.Definition{Name: "M", Attrs: tc.attrs})
		if got != tc.want || ok != tc.ok {
			t.Errorf("%+v: got %q, %v, want %q, %v", tc.attrs, got, ok, tc.want, tc.ok)
		}
	}
}
