//go:build unix

package daemon

import (
	"syscall"
	"testing"

	"busd/daemon/internal/cli"
)

// A server leaves no core, unless it is to be debugged.
//
//nolint:paralleltest // the limit is the process's
func TestNoCore(t *testing.T) {
	get := func() (limit syscall.Rlimit) {
		if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &limit); err != nil {
			t.Fatal(err)
		}
		return limit
	}
	before := get()
	if before.Max == 0 {
		t.Skip("the process may have no core anyway")
	}
	t.Cleanup(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &before); err != nil {
			t.Error(err)
		}
	})
	wanted := before
	wanted.Cur = before.Max
	for _, tt := range []struct {
		traceback string
		want      uint64
	}{{"crash", wanted.Cur}, {"", 0}} {
		if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &wanted); err != nil {
			t.Fatal(err)
		}
		t.Setenv("GOTRACEBACK", tt.traceback)
		start(t, "", cli.ServeOptions{Dev: true}, newService("Test/One", nil))
		if got := get(); got.Cur != tt.want || got.Max != before.Max {
			t.Errorf("GOTRACEBACK=%s: got %+v, want %d of %d", tt.traceback, got, tt.want, before.Max)
		}
	}
}
