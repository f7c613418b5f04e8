package daemon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"busd/bus"
	"busd/daemon/internal/cli"
	"busd/internal/mtls"
	"busd/msgbus"
)

// putCA writes a CA that was made at some time, and returns it.
func putCA(t *testing.T, dir, name string, made time.Time, validity time.Duration) *mtls.Authority {
	t.Helper()
	ca, err := mtls.NewAuthorityAt(made, name, validity)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	err = mtls.WriteFiles(true,
		mtls.File{Path: filepath.Join(dir, "ca.crt"), Data: ca.CertPEM()},
		mtls.File{Path: filepath.Join(dir, "ca.key"), Data: key, Secret: true})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// What somebody made himself is used or refused, and never replaced; what
// development mode made is.
func TestWhoseCAIsReplaced(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	now := time.Now()
	remove := func(name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	share := func(t *testing.T, dir string) {
		t.Helper()
		if err := os.Chmod(filepath.Join(dir, "ca.key"), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	garble := func(t *testing.T, dir string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "ca.crt"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for what, test := range map[string]struct {
		made     time.Time
		validity time.Duration
		change   func(t *testing.T, dir string)
		refused  string // what the error of somebody's own CA says; empty: it is used
		renewed  string // the same of why development mode's is replaced
		both     bool   // it is refused, whosever it is
	}{
		"good":          {made: now, validity: 30 * day},
		"ends soon":     {made: now, validity: day / 2, refused: "it ends in less than a day", renewed: "it ends in less than a day"},
		"ended":         {made: now.Add(-2 * day), validity: day, refused: "it ended on", renewed: "it ended on"},
		"begins later":  {made: now.Add(day), validity: 9 * day, refused: "it is not valid before", renewed: "it is not valid before"},
		"no key":        {made: now, validity: 30 * day, change: remove("ca.key"), refused: "ca.key is missing", renewed: "ca.key is missing"},
		"key is shared": {made: now, validity: 30 * day, change: share, refused: "may be used by others", both: true},
		"only the key":  {made: now, validity: 30 * day, change: remove("ca.crt"), refused: "ca.crt is missing", both: true},
		"no PEM":        {made: now, validity: 30 * day, change: garble, refused: "not PEM", both: true},
	} {
		for _, name := range []string{"busd CA", devCAName + " 0000"} {
			t.Run(what+", "+name, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				putCA(t, dir, name, test.made, test.validity)
				if test.change != nil {
					test.change(t, dir)
				}
				before, _ := os.ReadFile(filepath.Join(dir, "ca.crt"))
				p, err := openDevPKI(dir)
				after, _ := os.ReadFile(filepath.Join(dir, "ca.crt"))
				if own := name != "busd CA"; test.refused == "" || own && !test.both {
					if err != nil || !strings.Contains(p.renewed, test.renewed) || (p.renewed == "") != (test.renewed == "") || bytes.Equal(before, after) != (test.renewed == "") {
						t.Errorf("got %v, %+v, want it to be replaced only because %q", err, p, test.renewed)
					}
					return
				}
				if bus.CodeOf(err) != bus.CodeAlreadyExists || !strings.Contains(err.Error(), test.refused) {
					t.Errorf("got %v, want already_exists saying %q", err, test.refused)
				}
				if !bytes.Equal(before, after) {
					t.Error("the CA was touched")
				}
			})
		}
	}
}

// A certificate that somebody issued from a CA of his own stays, too.
func TestOwnClientCertificateStays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := putCA(t, dir, "busd CA", time.Now(), time.Hour*24*30)
	issued, err := ca.Issue(mtls.Request{Name: "alice", URIs: []string{"spiffe://example.org/alice"}, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "client-alice.crt")
	if err := os.WriteFile(path, issued.CertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = openDevPKI(dir)
	if bus.CodeOf(err) != bus.CodeAlreadyExists || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want already_exists naming %s", err, path)
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, issued.CertPEM()) {
		t.Error("it was replaced")
	}
}

func TestBannerTellsOfANewCA(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	putCA(t, filepath.Join(dir, "pki"), devCAName+" 0000", time.Now().Add(-48*time.Hour), 24*time.Hour)
	out := newBuffer()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := &program{services: []*msgbus.Service{newService("Test/One", nil)}, dir: filepath.Join(dir, "pki"), environ: []string{"BUSD_ADMIN__ADDRESS=off"}}
	ended := make(chan error, 1)
	go func() {
		ended <- p.serve(ctx, cli.ServeOptions{Dev: true, Listen: "127.0.0.1:0", Stdout: out, Stderr: io.Discard})
	}()
	waitFor(t, "the banner", func() bool { return strings.Contains(out.String(), "ready in") })
	if want := "MADE ANEW, because of the last one: it ended on "; !strings.Contains(out.String(), want) {
		t.Errorf("the banner lacks %q:\n%s", want, out)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Who cannot have the address leaves no files behind.
func TestNoFilesWithoutAddress(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := filepath.Join(t.TempDir(), "pki")
	p := &program{services: []*msgbus.Service{newService("Test/One", nil)}, dir: dir, environ: []string{"BUSD_ADMIN__ADDRESS=" + taken.Addr().String()}}
	err = p.serve(t.Context(), cli.ServeOptions{Dev: true, Listen: "127.0.0.1:0", Stdout: io.Discard, Stderr: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "admin.address: "+taken.Addr().String()+" is in use") {
		t.Errorf("got %v, want that the admin's address is in use", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: got %v, want that it was not made", dir, err)
	}
}
