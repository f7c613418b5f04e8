package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"busd/bus"
	"busd/daemon/internal/admin"
	"busd/daemon/internal/cli"
	"busd/daemon/internal/config"
	"busd/internal/mtls"
)

// denialsIn are the entries of a process that keeps them in a file.
func denialsIn(t *testing.T, path string) *denials {
	t.Helper()
	c := &config.Config{}
	c.TLS.DenyFile = path
	d, err := newDenials(c, func(*mtls.DenyList) {})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *denials) mustAdd(t *testing.T, name string) {
	t.Helper()
	if added, err := d.add(admin.Denial{Name: name}); err != nil || !added {
		t.Fatalf("add %s: got %t, %v", name, added, err)
	}
}

// A deny file that goes, because an editor or a tool puts another in its place,
// lets nobody back in: it is told and counted, and the next busd deny writes it
// anew.
func TestDenyFileThatGoes(t *testing.T) {
	t.Parallel()
	kept := filepath.Join(t.TempDir(), "denied.json")
	r := start(t, "tls: {deny_file: "+kept+"}\n", cli.ServeOptions{Dev: true}, newService("Test/One", nil))
	if status, _ := r.deny("/deny", admin.Denial{Name: "dns:alice"}); status != 200 {
		t.Fatalf("deny: got %d", status)
	}
	isOut := func() {
		t.Helper()
		if err := r.newClient("alice", "Test/One", nil).Connect(t.Context()); bus.CodeOf(err) != bus.CodeUnauthenticated {
			t.Errorf("alice: got %v, want that TLS refuses her", err)
		}
	}
	r.must(os.Rename(kept, kept+".bak"))
	line := r.log.wait(t, "the deny file cannot be used, what was denied before is")
	if reason := fmt.Sprint(line["reason"]); line["level"] != "error" || !strings.Contains(reason, "it has gone") {
		t.Errorf("the log says %v", line)
	}
	r.metricIs(t, "busd_certificate_files_failing 1")
	r.metricIs(t, `busd_certificate_reloads_total{result="failed"} 1`)
	r.metricIs(t, "busd_deny_entries 1")
	isOut()
	if status, o := r.deny("/deny", admin.Denial{Name: "dns:bob"}); status != 200 || !o.Changed {
		t.Errorf("deny: got %d, %+v", status, o)
	}
	r.metricIs(t, "busd_certificate_files_failing 0")
	isOut()
	if all := denialsIn(t, kept).list(); len(all) != 2 || all[0].Name != "dns:alice" || all[1].Name != "dns:bob" {
		t.Errorf("the file that was written anew says %+v", all)
	}
}

// What is there already is written, too, where the file has gone; and one that
// comes back as it was is good.
func TestDenyFileThatComesBack(t *testing.T) {
	t.Parallel()
	kept := filepath.Join(t.TempDir(), "denied.json")
	d := denialsIn(t, kept)
	if changed, err := d.reload(); changed || err != nil {
		t.Errorf("a file that never was: got %t, %v, want an empty list", changed, err)
	}
	d.mustAdd(t, "dns:alice")
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	move(kept, kept+".bak")
	if _, err := d.reload(); err == nil || d.fault() == nil || d.len() != 1 {
		t.Errorf("gone: got %v, %v, %d entries", err, d.fault(), d.len())
	}
	move(kept+".bak", kept)
	if changed, err := d.reload(); changed || err != nil || d.fault() != nil {
		t.Errorf("back again: got %t, %v, %v", changed, err, d.fault())
	}
	move(kept, kept+".bak")
	if added, err := d.add(admin.Denial{Name: "dns:alice"}); added || err != nil {
		t.Errorf("what is there already: got %t, %v", added, err)
	}
	if other := denialsIn(t, kept); other.len() != 1 || d.fault() != nil {
		t.Errorf("it was not written anew: %d entries, %v", other.len(), d.fault())
	}
}

// Processes that share a deny file lose nothing of what each was told.
func TestDenyFileShared(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("there it must not be shared")
	}
	kept := filepath.Join(t.TempDir(), "denied.json")
	const each = 30
	all := []*denials{denialsIn(t, kept), denialsIn(t, kept), denialsIn(t, kept)}
	var work sync.WaitGroup
	for i, d := range all {
		work.Go(func() {
			for n := range each {
				name := fmt.Sprintf("dns:agent-%d-%d", i, n)
				if added, err := d.add(admin.Denial{Name: name}); err != nil || !added {
					t.Errorf("add %s: got %t, %v", name, added, err)
				}
				if n%3 > 0 {
					continue
				}
				if removed, err := d.remove(admin.Denial{Name: name}); err != nil || !removed {
					t.Errorf("remove %s: got %t, %v", name, removed, err)
				}
			}
		})
	}
	work.Wait()
	for _, d := range all {
		if _, err := d.reload(); err != nil || d.len() != len(all)*each*2/3 {
			t.Errorf("got %d entries, %v, want %d", d.len(), err, len(all)*each*2/3)
		}
	}
}

// A deny file that cannot be used, or that others could have written, changes
// nothing, for as long as that is so; nothing is written over it either.
func TestDenyFileThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("it has other modes and links")
	}
	write := func(text string) func(path string) error {
		return func(path string) error { return os.WriteFile(path, []byte(text), 0o600) }
	}
	for says, spoil := range map[string]func(path string) error{
		"others than its owner may write it (mode 0666): chmod go-w": func(path string) error { return os.Chmod(path, 0o666) },
		"others than its owner may write it (mode 0620)":             func(path string) error { return os.Chmod(path, 0o620) },
		"everybody may replace files in its directory (mode 0777)":   func(path string) error { return os.Chmod(filepath.Dir(path), 0o777) },
		"it is not a regular file": func(path string) error {
			if err := os.Rename(path, path+".bak"); err != nil {
				return err
			}
			return os.Symlink(path+".bak", path)
		},
		"it is larger than 32 MiB":      func(path string) error { return os.Truncate(path, maxDenyFile+1) },
		"want a list, [] if nobody is":  write("null\n"),
		"EOF":                           write(""),
		"there is more behind the list": write("[] []"),
		"unknown field":                 write(`[{"who": "x"}]`),
		"entry 2: name \"*\"":           write(`[{"name": "dns:a"}, {"name": "*"}]`),
		"entry 1: name \"token:a\"":     write(`[{"name": "token:a"}]`),
	} {
		kept := filepath.Join(t.TempDir(), "busd", "denied.json")
		d := denialsIn(t, kept)
		d.mustAdd(t, "dns:alice")
		back, err := os.ReadFile(kept)
		if err != nil {
			t.Fatal(err)
		}
		if err := spoil(kept); err != nil {
			t.Fatal(err)
		}
		for range 2 { // also at the second look
			if _, err := d.reload(); err == nil || !strings.Contains(err.Error(), says) || d.fault() == nil || d.len() != 1 {
				t.Errorf("%s: got %v, %v, %d entries", says, err, d.fault(), d.len())
			}
		}
		if _, err := d.add(admin.Denial{Name: "dns:bob"}); err == nil || d.len() != 1 {
			t.Errorf("%s: add: got %v, %d entries, want that it is refused", says, err, d.len())
		}
		for _, err := range []error{os.Chmod(filepath.Dir(kept), 0o700), os.Remove(kept), os.WriteFile(kept, back, 0o600)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := d.reload(); err != nil || d.fault() != nil || d.len() != 1 {
			t.Errorf("%s: repaired: got %v, %v, %d entries", says, err, d.fault(), d.len())
		}
	}
}

// A file that looks as it did is not read again; one that was written a moment ago
// may change without looking different, and is.
func TestDenyFileIsReadOnce(t *testing.T) {
	t.Parallel()
	kept := filepath.Join(t.TempDir(), "denied.json")
	write := func(name string, at time.Time) {
		t.Helper()
		if err := os.WriteFile(kept, []byte(`[{"name": "`+name+`"}]`), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(kept, at, at); err != nil {
			t.Fatal(err)
		}
	}
	now, old := time.Now(), time.Now().Add(-time.Hour)
	write("dns:a", now)
	d := denialsIn(t, kept)
	for _, step := range []struct {
		name    string
		at      time.Time
		changed bool
	}{{"dns:b", now, true}, {"dns:c", old, true}, {"dns:d", old, false}, {"dns:e", old.Add(time.Second), true}, {"dns:e", now, false}} {
		write(step.name, step.at)
		if changed, err := d.reload(); err != nil || changed != step.changed {
			t.Errorf("%s of %v: got %t, %v, want %t", step.name, step.at, changed, err, step.changed)
		}
	}
}
