//go:build unix

package gate_test

import (
	"net"
	"syscall"
	"testing"
	"time"

	"busd/daemon/internal/gate"
	"busd/internal/mtls"
)

// Gates that share their bounds let in together what one would, whatever the
// second is told itself.
func TestSharedBounds(t *testing.T) {
	t.Parallel()
	const address = "127.0.0.1"
	one := newSite(t, gate.Config{MaxConnections: 3, PerAddress: 2, PerAddressWaiting: 1, MaxHandshakes: 7, MaxWait: time.Minute})
	other := newSite(t, gate.Config{Share: one.gate, MaxConnections: 1000, PerAddress: 1000, MaxHandshakes: 1000})
	if got, want := other.gate.Config(), one.gate.Config(); got.MaxConnections != want.MaxConnections || got.MaxHandshakes != want.MaxHandshakes ||
		got.PerAddress != want.PerAddress || got.PerAddressWaiting != want.PerAddressWaiting || got.MaxWait != want.MaxWait {
		t.Errorf("got %+v, want the bounds of the first: %+v", got, want)
	}

	first := one.raw(t, address)
	one.until(t, "the first inside", func(st gate.Stats) bool { return st.Unauthenticated == 1 })
	other.raw(t, address)
	other.until(t, "the second inside", func(st gate.Stats) bool { return st.Unauthenticated == 1 })
	third := other.raw(t, address)
	other.until(t, "the third waits for its address", func(st gate.Stats) bool { return st.Waiting == 1 })
	closed(t, one.raw(t, "127.0.0.9"))
	one.event(t, gate.Connections)
	if a, b := one.gate.Stats().Open, other.gate.Stats().Open; a != 1 || b != 2 {
		t.Errorf("open: got %d and %d, want each gate's own, 1 and 2", a, b)
	}

	_ = first.Close()
	if _, err := get(third, other.client); err != nil {
		t.Errorf("the third, after the first left: %v", err)
	}
	if _, err := get(one.raw(t, "127.0.0.9"), one.client); err != nil {
		t.Errorf("another address, after the first left: %v", err)
	}
}

// There are never more connections than the process may open files, less what
// else it needs.
func TestConnectionsWithinOpenFiles(t *testing.T) { //nolint:paralleltest // the limit is the process's
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	server, _, _ := newMaterial(t, mtls.Policy{})
	for _, row := range []struct{ files, asked, want int }{{1000, 0, 744}, {1000, 100, 100}, {1000, 900, 744}, {300, 0, 150}} {
		limit := syscall.Rlimit{Cur: uint64(row.files), Max: before.Max}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Skipf("the limit of open files cannot be set: %v", err)
		}
		got := gate.New(inner, server, gate.Config{MaxConnections: row.asked}).Config().MaxConnections
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
			t.Fatal(err)
		}
		if got != row.want {
			t.Errorf("of %d open files, %d connections asked for: got %d, want %d", row.files, row.asked, got, row.want)
		}
	}
}
