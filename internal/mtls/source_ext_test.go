package mtls_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"busd/bus"
	"busd/internal/mtls"
)

// desk is a directory with a server's files.
type desk struct {
	dir   string
	files mtls.Files
}

func newDesk(t testing.TB, p pki) desk {
	t.Helper()
	dir := t.TempDir()
	d := desk{dir, mtls.Files{Cert: filepath.Join(dir, "s.crt"), Key: filepath.Join(dir, "s.key"), CA: []string{filepath.Join(dir, "ca.crt")}}}
	d.server(t, p)
	d.ca(t, p)
	return d
}

func (d desk) server(t testing.TB, p pki) {
	t.Helper()
	issued, err := p.ca.Issue(mtls.Request{Name: "server", DNS: []string{"localhost"}, Server: true})
	if err != nil {
		t.Fatal(err)
	}
	write(t, d.files.Cert, d.files.Key, issued)
}

func (d desk) ca(t testing.TB, ps ...pki) {
	t.Helper()
	var all []byte
	for _, p := range ps {
		all = append(all, p.ca.CertPEM()...)
	}
	if err := mtls.WriteFiles(true, mtls.File{Path: d.files.CA[0], Data: all}); err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, certPath, keyPath string, issued *mtls.Issued) {
	t.Helper()
	key, err := issued.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	err = mtls.WriteFiles(true, mtls.File{Path: certPath, Data: issued.CertPEM()}, mtls.File{Path: keyPath, Data: key, Secret: true})
	if err != nil {
		t.Fatal(err)
	}
}

func reload(t testing.TB, s *mtls.Source, want bool) {
	t.Helper()
	changed, err := s.Reload()
	if err != nil || changed != want {
		t.Fatalf("reload: got %t, %v, want %t", changed, err, want)
	}
}

func TestSourceReloads(t *testing.T) {
	t.Parallel()
	p, next := newPKI(t, "test CA"), newPKI(t, "next CA")
	d := newDesk(t, p)
	s, err := mtls.NewSource(d.files, mtls.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	config := s.Config()
	creds := &mtls.Credentials{Certificate: &p.client, CAs: append(p.cas(), next.cas()...)}
	resumed := func(want bool) {
		t.Helper()
		m := meet(t, config, clientConfig(t, creds))
		m.fine(t)
		if m.server.DidResume != want {
			t.Fatalf("resumed: got %t, want %t", m.server.DidResume, want)
		}
	}
	resumed(false)
	resumed(true)
	reload(t, s, false)
	resumed(true)

	// A new server certificate: sessions go on.
	before := s.Leaf().SerialNumber
	d.server(t, p)
	reload(t, s, true)
	if s.Leaf().SerialNumber.Cmp(before) == 0 {
		t.Error("the old certificate is still served")
	}
	resumed(true)

	// One more CA: everyone begins anew.
	d.ca(t, p, next)
	reload(t, s, true)
	resumed(false)
	resumed(true)

	// The client's CA is gone: its session is worth nothing.
	d.ca(t, next)
	reload(t, s, true)
	m := meet(t, config, clientConfig(t, creds))
	if m.serverErr == nil || bus.CodeOf(mtls.Explain(m.clientErr)) != bus.CodeUnauthenticated {
		t.Errorf("after its CA is gone: server got %v, client got %v, want it refused", m.serverErr, m.clientErr)
	}
}

func TestSourceKeepsTheLastGoodState(t *testing.T) {
	t.Parallel()
	p := newPKI(t, "test CA")
	d := newDesk(t, p)
	s, err := mtls.NewSource(d.files, mtls.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.files.CA[0], nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reload(); err == nil || !strings.Contains(err.Error(), "CA file "+d.files.CA[0]+": it is empty") {
		t.Errorf("empty CA file: got %v, want it named", err)
	}
	meet(t, s.Config(), clientConfig(t, &mtls.Credentials{Certificate: &p.client, CAs: p.cas()})).fine(t)
	d.ca(t, p)
	reload(t, s, false)
}

func TestSourceRun(t *testing.T) {
	t.Parallel()
	p := newPKI(t, "test CA")
	d := newDesk(t, p)
	s, err := mtls.NewSource(d.files, mtls.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	reports, ended := make(chan error, 16), make(chan error, 1)
	go func() { ended <- s.Run(ctx, time.Millisecond, func(err error) { reports <- err }) }()
	d.ca(t, p, newPKI(t, "next CA"))
	if err := <-reports; err != nil {
		t.Errorf("a change: got %v, want nil", err)
	}
	if err := os.Remove(d.files.CA[0]); err != nil {
		t.Fatal(err)
	}
	if err := <-reports; err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a missing file: got %v, want it said", err)
	}
	d.ca(t, p)
	if err := <-reports; err != nil {
		t.Errorf("after it is back: got %v, want nil: the missing file is reported once", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("run: got %v, want %v", err, context.Canceled)
	}
}

func TestSourceRefusesFiles(t *testing.T) {
	t.Parallel()
	p := newPKI(t, "test CA")
	put := func(path, data string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte(data), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		what   string
		change func(d *desk)
		says   string // with %s for the directory
	}{
		{"missing certificate", func(d *desk) { d.files.Cert += "x" }, "certificate file DIR/s.crtx: no such file or directory"},
		{"missing key", func(d *desk) { d.files.Key += "x" }, "key file DIR/s.keyx: no such file or directory"},
		{"no key named", func(d *desk) { d.files.Key = "" }, "no certificate file or no key file"},
		{"no CA named", func(d *desk) { d.files.CA = nil }, "no CA is named"},
		{"not PEM", func(d *desk) { put(d.files.Cert, "hello", 0o600) }, "certificate file DIR/s.crt: it is not PEM"},
		{"empty key", func(d *desk) { put(d.files.Key, "\n", 0o600) }, "key file DIR/s.key: it is empty"},
		{"certificate in the key's place", func(d *desk) { put(d.files.Key, string(p.ca.CertPEM()), 0o600) }, "key file DIR/s.key: it holds a certificate"},
		{"encrypted key", func(d *desk) {
			put(d.files.Key, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", 0o600)
		}, "key file DIR/s.key: it is encrypted"},
		{"another key", func(d *desk) {
			other, err := p.ca.KeyPEM()
			if err != nil {
				t.Fatal(err)
			}
			put(d.files.Key, string(other), 0o600)
		}, "key file DIR/s.key is not the key of certificate file DIR/s.crt"},
		{"key for the group", func(d *desk) {
			if err := os.Chmod(d.files.Key, 0o640); err != nil {
				t.Fatal(err)
			}
		}, "chmod 600 DIR/s.key"},
		{"key for the world", func(d *desk) {
			if err := os.Chmod(d.files.Key, 0o604); err != nil {
				t.Fatal(err)
			}
		}, "mode 0604"},
		{"a client's certificate", func(d *desk) {
			issued, err := p.ca.Issue(mtls.Request{Name: "x", DNS: []string{"localhost"}, Client: true})
			if err != nil {
				t.Fatal(err)
			}
			write(t, d.files.Cert, d.files.Key, issued)
		}, "certificate file DIR/s.crt: it is not made for servers: want extended key usage serverAuth"},
		{"certificate of no host", func(d *desk) {
			key, err := p.ca.KeyPEM()
			if err != nil {
				t.Fatal(err)
			}
			put(d.files.Cert, string(p.ca.CertPEM()), 0o600)
			put(d.files.Key, string(key), 0o600)
		}, "certificate file DIR/s.crt: it names no host"},
		{"directory without CAs", func(d *desk) {
			d.files.CA[0] = filepath.Join(d.dir, "cas")
			if err := os.Mkdir(d.files.CA[0], 0o700); err != nil {
				t.Fatal(err)
			}
			put(filepath.Join(d.files.CA[0], "leaf.pem"), string(certPEM(p.client)), 0o600)
			put(filepath.Join(d.files.CA[0], "broken.0"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0o600)
			put(filepath.Join(d.files.CA[0], "ca.txt"), string(p.ca.CertPEM()), 0o600)
		}, "CA file DIR/cas: there is no CA's certificate in this directory"},
		{"leaf for CA", func(d *desk) { d.files.CA[0] = d.files.Cert }, "is not a CA's"},
		{"broken CA", func(d *desk) {
			put(d.files.CA[0], "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0o600)
		}, "CA file DIR/ca.crt: a certificate in it cannot be read"},
	} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, p)
			test.change(&d)
			_, err := mtls.NewSource(d.files, mtls.Policy{})
			want := strings.ReplaceAll(test.says, "DIR", d.dir)
			if bus.CodeOf(err) != bus.CodeFailedPrecondition || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want failed_precondition saying %q", err, want)
			}
		})
	}
}

func TestCredentialsReadFilesAnew(t *testing.T) {
	t.Parallel()
	p := newPKI(t, "test CA")
	d := newDesk(t, p)
	server := serverConfig(t, mtls.Material{Certificate: p.server, CAs: p.cas()}, mtls.Policy{})
	creds := &mtls.Credentials{CertFile: filepath.Join(d.dir, "c.crt"), KeyFile: filepath.Join(d.dir, "c.key"), CAFiles: d.files.CA}
	if _, err := creds.TLS("localhost"); err == nil || !strings.Contains(err.Error(), "c.crt: no such file") {
		t.Errorf("before there are files: got %v", err)
	}
	for _, name := range []string{"alice", "bob"} {
		issued, err := p.ca.Issue(mtls.Request{Name: name, Client: true})
		if err != nil {
			t.Fatal(err)
		}
		write(t, creds.CertFile, creds.KeyFile, issued)
		for _, resumed := range []bool{false, true} {
			m := meet(t, server, clientConfig(t, creds))
			m.fine(t)
			peer, err := mtls.Naming{}.Peer(m.server)
			if err != nil || peer.Name != "cn:"+name || m.server.DidResume != resumed {
				t.Errorf("got %q, %v, resumed %t, want %s, resumed %t", peer.Name, err, m.server.DidResume, name, resumed)
			}
		}
	}
	creds.KeyFile = ""
	if _, err := creds.TLS("localhost"); bus.CodeOf(err) != bus.CodeFailedPrecondition {
		t.Errorf("a certificate without a key: got %v, want failed_precondition", err)
	}
}

func certPEM(c tls.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})
}

// A directory of CAs as grids have them, with links by hash, lists of revoked
// certificates and what else lies around.
func TestDirectoryOfCAs(t *testing.T) {
	t.Parallel()
	p, one, two := newPKI(t, "test CA"), newPKI(t, "one CA"), newPKI(t, "two CA")
	d := newDesk(t, p)
	dir := filepath.Join(d.dir, "certificates")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	put := func(name string, parts ...[]byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), bytes.Join(parts, nil), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(name, to string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	put("one.pem", []byte("the CA of one\n"), one.ca.CertPEM())
	link("5ed36f99.0", "one.pem")
	put("5ed36f99.r0", []byte("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"))
	put("leaf.crt", certPEM(p.client)) // believed by nobody
	put("odd.pem", []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), []byte("and nothing else"))
	put("empty.pem")
	put("two.crt.rpmsave", two.ca.CertPEM())
	link("gone.0", "nothing.pem")
	if err := os.Mkdir(filepath.Join(dir, "more.pem"), 0o700); err != nil {
		t.Fatal(err)
	}

	d.files.CA = append(d.files.CA, dir)
	s, err := mtls.NewSource(d.files, mtls.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	believed := func(who pki, want bool) {
		t.Helper()
		creds := &mtls.Credentials{Certificate: &who.client, CAFiles: []string{d.files.CA[0]}}
		if m := meet(t, s.Config(), clientConfig(t, creds)); (m.serverErr == nil) != want {
			t.Errorf("%s: got %v, want it accepted: %t", who.ca.Certificate().Subject, m.serverErr, want)
		}
	}
	believed(p, true)
	believed(one, true)
	believed(two, false)
	put("two.9", two.ca.CertPEM())
	reload(t, s, true)
	reload(t, s, false)
	believed(two, true)
	put("one.pem", two.ca.CertPEM())
	reload(t, s, true)
	believed(one, false)

	// Clients look there, too.
	put("server.pem", p.ca.CertPEM())
	creds := &mtls.Credentials{Certificate: &p.client, CAFiles: []string{dir}}
	meet(t, s.Config(), clientConfig(t, creds)).fine(t)

	if os.Geteuid() == 0 {
		return // who may read everything finds nothing unreadable
	}
	if err := os.Chmod(filepath.Join(dir, "two.9"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reload(); err == nil || !strings.Contains(err.Error(), "CA file "+dir+"/two.9: permission denied") {
		t.Errorf("got %v, want the file named that cannot be read", err)
	}
}
