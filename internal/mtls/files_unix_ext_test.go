//go:build unix

package mtls_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"busd/internal/mtls"
)

// noFiles are things that stand where a file is wanted, and what is said of each.
func noFiles(t testing.TB) map[string]string {
	t.Helper()
	dir := t.TempDir()
	pipe, large := filepath.Join(dir, "pipe"), filepath.Join(dir, "large")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(large, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(1 << 40); err != nil { // takes no room
		t.Skipf("this file system has no sparse files: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		pipe: "it is not a regular file", large: "it is larger than 8 MiB", "/dev/zero": "it is not a regular file",
		filepath.Join(dir, "nothing"): "no such file",
	}
}

// What is no file holds nobody up, and fills no memory.
func TestFilesThatAreNone(t *testing.T) {
	t.Parallel()
	po := newPost(t)
	alice := po.root.client("alice")
	po.put(po.crl, pemCRL(po.root.crl(1, nil, alice.Leaf)))
	po.open(mtls.Policy{}, po.crl)
	for _, path := range []string{po.crl, po.files.CA[0], po.files.Key, po.files.Cert} {
		for what, says := range noFiles(t) {
			back, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(what, path); err != nil {
				t.Fatal(err)
			}
			po.reload(false, says)
			po.wants(path+" is "+what+": alice", alice, revoked)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, back, info.Mode().Perm()); err != nil {
				t.Fatal(err)
			}
			po.reload(false, "")
		}
	}
}
