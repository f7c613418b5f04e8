package mtls_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTicketFilesThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what   string
		change func(t *testing.T, f *farm)
		says   string // with DIR for the directory
	}{
		{"for the group", func(t *testing.T, f *farm) { chmod(t, f.path, 0o640) }, "session ticket file DIR/tickets: others than its owner may use it (mode 0640): chmod 600 DIR/tickets"},
		{"for the world", func(t *testing.T, f *farm) { chmod(t, f.path, 0o604) }, "mode 0604"},
		{"written by others", func(t *testing.T, f *farm) { chmod(t, f.path, 0o620) }, "mode 0620"},
		{"no directory", func(_ *testing.T, f *farm) { f.files.Tickets.File = filepath.Join(f.dir, "nix", "tickets") }, "session ticket file DIR/nix/tickets: there is no directory DIR/nix"},
		{"file for directory", func(_ *testing.T, f *farm) { f.files.Tickets.File = filepath.Join(f.path, "tickets") }, "DIR/tickets is no directory"},
		{"directory", func(_ *testing.T, f *farm) { f.files.Tickets.File = f.dir }, "session ticket file DIR: it is not a regular file"},
		{"link", func(t *testing.T, f *farm) {
			if err := os.Symlink(f.path, f.path+"2"); err != nil {
				t.Fatal(err)
			}
			f.files.Tickets.File += "2"
		}, "session ticket file DIR/tickets2: it is not a regular file"},
		{"everybody's directory", func(t *testing.T, f *farm) {
			chmod(t, f.dir, 0o777)
			t.Cleanup(func() { chmod(t, f.dir, 0o700) })
		}, "everybody may replace files in its directory (mode 0777): chmod o-w DIR"},
		{"a key", func(_ *testing.T, f *farm) { f.files.Tickets.File = f.files.Key }, "session ticket file DIR/s.key: it holds a private key, and would be overwritten"},
	} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			f := newFarm(t)
			f.start(t)
			before := f.text(t)
			test.change(t, f)
			want := strings.ReplaceAll(test.says, "DIR", f.dir)
			if got := f.refused(t); !strings.Contains(got, want) {
				t.Errorf("got %q, want it to say %q", got, want)
			}
			if err := f.files.Tickets.Check(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("check: got %v, want it to say %q", err, want)
			}
			if f.text(t) != before {
				t.Error("the file was changed")
			}
		})
	}
}

func chmod(t testing.TB, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// A file that cannot be written is an error at start, even if its keys are
// good for a while.
func TestTicketFilesThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	f.start(t)
	// Its own name is short enough, that of what is to replace it is not: this
	// holds for root, too.
	long := filepath.Join(f.dir, strings.Repeat("x", 250))
	if err := os.Rename(f.path, long); err != nil {
		t.Skipf("the file system has other bounds: %v", err)
	}
	f.files.Tickets.File = long
	if got := f.refused(t); !strings.Contains(got, "cannot write session ticket file "+long+": file name too long") {
		t.Errorf("got %q", got)
	}
	if err := f.files.Tickets.Check(); err != nil {
		t.Errorf("check: got %v: it does not write", err)
	}
}

func TestTicketFilesThatAreDamaged(t *testing.T) {
	t.Parallel()
	for what, damage := range map[string]func(text string) string{
		"empty":         func(string) string { return "" },
		"zeros":         func(text string) string { return strings.Repeat("\x00", len(text)) },
		"half":          func(text string) string { return text[:len(text)/2] },
		"without end":   func(text string) string { return strings.TrimSuffix(text, "\n") },
		"more":          func(text string) string { return text + text },
		"another thing": func(string) string { return "log: {level: debug}\n" },
		"too long":      func(text string) string { return text + strings.Repeat("\n", 1<<20) },
		"another version": func(text string) string {
			return strings.Replace(text, "version 1", "version 2", 1)
		},
		"a changed key": func(text string) string {
			at := strings.Index(text, "Z ") + 20
			digit := "0"
			if text[at] == '0' {
				digit = "1"
			}
			return text[:at] + digit + text[at+1:]
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := newFarm(t)
			agent := f.agent()
			wantResumed(t, f.start(t), agent, false, "first visit")
			old := f.keys(t)[0]
			if err := os.WriteFile(f.path, []byte(damage(f.text(t))), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := f.files.Tickets.Check(); err != nil {
				t.Errorf("check: got %v, want nil: it is no reason not to start", err)
			}
			s := f.start(t)
			told := f.warnings()
			if len(told) != 1 || !strings.Contains(told[0], "session ticket file "+f.path+": it is damaged, and made anew") {
				t.Errorf("got %q, want one warning", told)
			}
			if keys := f.keys(t); len(keys) != 1 || keys[0] == old {
				t.Errorf("got %d keys, the old one: %t, want one new one", len(keys), keys[0] == old)
			}
			wantResumed(t, s, agent, false, "with a new key")
			wantResumed(t, f.start(t), agent, true, "after the next restart")
			if told := f.warnings(); len(told) != 1 {
				t.Errorf("got %q, want no other warning", told)
			}
		})
	}
}

// The file is in trouble while the server runs: it goes on, says so once, and
// the file is right again when it can be.
func TestTicketFilesInTrouble(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	s, agent := f.start(t), f.agent()
	wantResumed(t, s, agent, false, "first visit")
	before := f.text(t)

	// Gone: it is written again.
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	reload(t, s, false)
	if f.text(t) != before {
		t.Error("removed: want it written again, as it was")
	}

	// Readable by others: it is left as it is, so that somebody sees it.
	chmod(t, f.path, 0o644)
	reload(t, s, false)
	reload(t, s, false)
	wantResumed(t, s, agent, true, "others may read the file")
	if told := f.warnings(); len(told) != 1 || !strings.Contains(told[0], "mode 0644") {
		t.Errorf("got %q, want one warning about the mode", told)
	}
	chmod(t, f.path, 0o600)
	reload(t, s, false)

	// Its directory is gone for two days: keys rotate in memory, and what was
	// made there is in the file when it can be.
	away := filepath.Join(t.TempDir(), "away")
	secrets := filepath.Join(f.dir, "secrets")
	if err := os.Mkdir(secrets, 0o700); err != nil {
		t.Fatal(err)
	}
	f.path = filepath.Join(secrets, "tickets")
	f.files.Tickets.File = f.path
	s = f.start(t)
	if err := os.Rename(secrets, away); err != nil {
		t.Fatal(err)
	}
	agent = f.agent()
	for n := range 3 {
		f.clock = time.Duration(n) * day
		reload(t, s, false)
		wantResumed(t, s, agent, n > 0, "without a directory")
	}
	if told := f.warnings(); len(told) != 2 || !strings.Contains(told[1], "there is no directory") {
		t.Errorf("got %q, want one more warning", told)
	}
	if err := os.Rename(away, secrets); err != nil {
		t.Fatal(err)
	}
	reload(t, s, false)
	if keys := f.keys(t); len(keys) != 3 {
		t.Errorf("the directory is back: got %d keys, want all 3", len(keys))
	}
	wantResumed(t, f.start(t), agent, true, "after a restart")
}
