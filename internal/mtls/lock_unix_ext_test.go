//go:build darwin || linux || freebsd

package mtls_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"busd/internal/mtls"
)

// One at a time has a lock; who waits gets it when the other lets go, and is told
// when that takes too long.
func TestLockFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "x.lock")
	synctest.Test(t, func(t *testing.T) {
		first, err := mtls.LockFile(path)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := mtls.LockFile(path); err == nil || !strings.Contains(err.Error(), "another process has locked it for 10s") || time.Since(began) > 11*time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		time.AfterFunc(time.Second, func() {
			if err := first.Close(); err != nil {
				t.Error(err)
			}
		})
		began = time.Now()
		second, err := mtls.LockFile(path)
		if err != nil || time.Since(began) < time.Second {
			t.Fatalf("got %v after %v, want it once the first lets go", err, time.Since(began))
		}
		if err := second.Close(); err != nil {
			t.Error(err)
		}
	})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want it for its owner alone", info, err)
	}
	if _, err := mtls.LockFile(filepath.Dir(path)); err == nil {
		t.Error("a directory was locked")
	}
}

// What is read as its owner's word is a file that nobody else may write, and
// nothing that makes busd wait.
func TestReadGuarded(t *testing.T) {
	t.Parallel()
	for what, says := range noFiles(t) {
		says = strings.Replace(says, "8 MiB", "1 MiB", 1)
		if _, _, err := mtls.ReadGuarded("deny file", what, 1<<20); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "deny file "+what) {
			t.Errorf("%s: got %v, want %s", what, err, says)
		}
	}
	for mode, good := range map[os.FileMode]bool{0o600: true, 0o644: true, 0o400: true, 0o620: false, 0o602: false, 0o666: false} {
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, _, err := mtls.ReadGuarded("file", path, 1); (err == nil) != good {
			t.Errorf("mode %o: got %v", mode, err)
		}
		for dir, good := range map[uint32]bool{0o777: false, 0o1777: good, 0o770: good} {
			if err := syscall.Chmod(filepath.Dir(path), dir); err != nil {
				t.Fatal(err)
			}
			if _, _, err := mtls.ReadGuarded("file", path, 1); (err == nil) != good {
				t.Errorf("mode %o in a directory of %o: got %v", mode, dir, err)
			}
		}
	}
}
