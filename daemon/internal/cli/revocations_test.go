package cli

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"busd/internal/mtls"
)

// Commands that run at the same time lose nothing of what each notes.
func TestRevocationsTogether(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			r, err := readRevocations(dir)
			if err == nil {
				err = r.add(revocation{Serial: fmt.Sprintf("%x", i+1), At: time.Unix(1, 0).UTC()})
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	r, err := readRevocations(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.entries()) != 50 {
		t.Errorf("got %d revocations, want 50", len(r.entries()))
	}
}

// Lists that are made at the same time have different numbers, and the file holds
// the last of them.
func TestListsTogether(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, err := mtls.NewAuthority("test CA", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	if err := mtls.WriteFiles(false, mtls.File{Path: filepath.Join(dir, "ca.crt"), Data: ca.CertPEM()}, mtls.File{Path: filepath.Join(dir, "ca.key"), Data: key, Secret: true}); err != nil {
		t.Fatal(err)
	}
	const lists = 10
	out := filepath.Join(dir, "ca.crl")
	var all sync.WaitGroup
	for i := range lists {
		all.Go(func() {
			p := &app{out: io.Discard, err: io.Discard}
			if err := p.revoke(dir, "", []string{fmt.Sprintf("%x", i+1)}); err != nil {
				t.Error(err)
			}
			if err := p.revocationList(dir, out, time.Hour); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	list, err := x509.ParseRevocationList(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if list.Number.Int64() != lists || len(list.RevokedCertificateEntries) != lists {
		t.Errorf("got list %v of %d, want %d of %d", list.Number, len(list.RevokedCertificateEntries), lists, lists)
	}
	record, err := os.ReadFile(filepath.Join(dir, revocationFile))
	if err != nil {
		t.Fatal(err)
	}
	for n := range lists {
		if line := fmt.Sprintf(`"list":%d}`, n+1); strings.Count(string(record), line) != 1 {
			t.Errorf("number %d was not given once:\n%s", n+1, record)
		}
	}
}

// A line that a crash cut off does not spoil the next: both are seen for what they
// are.
func TestRevocationsCutOff(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, err := readRevocations(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, revocationFile)
	if err := os.WriteFile(path, []byte(`{"serial":"a`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.add(revocation{Serial: "b", At: time.Unix(1, 0).UTC()}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(data); got != `{"serial":"a`+"\n"+`{"serial":"b","at":"1970-01-01T00:00:01Z"}`+"\n" {
		t.Errorf("got %q", got)
	}
	if _, err := readRevocations(dir); err == nil || !strings.Contains(err.Error(), "line 1, is not what") {
		t.Errorf("got %v, want that line 1 cannot be read", err)
	}
}

func TestRevocationsRead(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text    string
		revoked int
		list    int64
		good    bool
	}{
		{"", 0, 0, true},
		{"\n\n", 0, 0, true},
		{`{"serial":"ab","at":"2026-01-01T00:00:00Z","reason":"superseded","subject":"/CN=x"}`, 1, 0, true},
		{`{"serial":"ab","at":"2026-01-01T00:00:00Z"}` + "\n" + `{"serial":"ab","at":"2026-01-02T00:00:00Z"}`, 1, 0, true},
		{`{"list":7,"at":"2026-01-01T00:00:00Z"}` + "\n" + `{"list":5,"at":"2026-01-01T00:00:00Z"}`, 0, 7, true},
		{`{"serial":"xyz","at":"2026-01-01T00:00:00Z"}`, 0, 0, false},
		{`{"serial":"0","at":"2026-01-01T00:00:00Z"}`, 0, 0, false},
		{`{"serial":"-1","at":"2026-01-01T00:00:00Z"}`, 0, 0, false},
		{`{"serial":"ab"}`, 0, 0, false},
		{`{"serial":"ab","at":"2026-01-01T00:00:00Z","reason":"boredom"}`, 0, 0, false},
		{`{"list":-1}`, 0, 0, false},
		{`{}`, 0, 0, false},
		{`[]`, 0, 0, false},
		{`null`, 0, 0, false},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, revocationFile), []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := readRevocations(dir)
		if (err == nil) != test.good {
			t.Errorf("%s: got %v, want good %t", test.text, err, test.good)
			continue
		}
		if err == nil && (len(r.revoked) != test.revoked || r.list != test.list) {
			t.Errorf("%s: got %d revoked, list %d; want %d, %d", test.text, len(r.revoked), r.list, test.revoked, test.list)
		}
	}
}

func TestSerialOf(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"ab": "ab", "00:AB:CD": "abcd", "0x1F": "1f", "": "", "0": "", "zz": "", "-1": "", "0x": "", "alice.crt": "", strings.Repeat("f", 50): "",
	} {
		if got, ok := serialOf(text); got != want || ok != (want != "") {
			t.Errorf("%q: got %q, %t, want %q", text, got, ok, want)
		}
	}
}
