package gate

import (
	"net/netip"
	"testing"
	"time"
)

func TestKeyOf(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ in, want string }{
		{"192.0.2.7:1", "192.0.2.7"},
		{"[::ffff:192.0.2.7]:1", "192.0.2.7"},
		{"[2001:db8:1:2:3:4:5:6]:1", "2001:db8:1:2::"},
		{"[2001:db8:1:2:ffff::]:1", "2001:db8:1:2::"},
		{"[fe80::1%eth0]:1", "fe80::"},
		{"[::1]:1", "::"},
	} {
		got := keyOf(plain(netip.MustParseAddrPort(test.in)).Addr())
		if got.String() != test.want {
			t.Errorf("%s: got %s, want %s", test.in, got, test.want)
		}
	}
}

func TestDenyListHas(t *testing.T) {
	t.Parallel()
	list := newDenyList([]netip.Prefix{
		netip.MustParsePrefix("192.0.2.9/24"), netip.MustParsePrefix("::ffff:198.51.100.0/120"), netip.MustParsePrefix("2001:db8::/32"),
	})
	for in, want := range map[string]bool{
		"192.0.2.1": true, "192.0.3.1": false, "198.51.100.7": true, "198.51.101.7": false,
		"2001:db8:9::1": true, "2001:db9::1": false, "::ffff:192.0.2.1": true,
	} {
		if got := list.has(plain(netip.AddrPortFrom(netip.MustParseAddr(in), 1)).Addr()); got != want {
			t.Errorf("%s: got %t, want %t", in, got, want)
		}
	}
}

func TestAddressesRate(t *testing.T) {
	t.Parallel()
	a := newAddresses(Config{PerAddress: 100, PerAddressRate: 10, PerAddressWaiting: 3, MaxWait: time.Second})
	key, now := netip.MustParseAddr("192.0.2.1"), time.Unix(1000, 0)
	arrive := func(wantWait bool, wantDelay time.Duration, wantReason Reason) *address {
		t.Helper()
		row, wait, delay, reason := a.arrive(key, now)
		if wait != wantWait || delay != wantDelay || reason != wantReason {
			t.Fatalf("got wait %t, %v, %q, want %t, %v, %q", wait, delay, reason, wantWait, wantDelay, wantReason)
		}
		return row
	}
	for range 10 {
		a.leave(arrive(false, 0, ""), true)
	}
	row := arrive(true, 100*time.Millisecond, "")
	arrive(true, 200*time.Millisecond, "")
	arrive(true, 300*time.Millisecond, "")
	arrive(false, 0, Rate) // three wait already
	for range 3 {
		a.waited(row)
		a.leave(row, false)
	}
	now = now.Add(10 * time.Second)
	arrive(false, 0, "")
}

func TestAddressesForgetIdleRows(t *testing.T) {
	t.Parallel()
	a := newAddresses(Config{PerAddress: 1, PerAddressRate: 1, PerAddressWaiting: 1, MaxWait: time.Second})
	now := time.Unix(1000, 0)
	addr := netip.MustParseAddr("10.0.0.0")
	held, _, _, _ := a.arrive(addr, now)
	for range 100 * sweepMin {
		addr = addr.Next()
		now = now.Add(10 * time.Millisecond)
		row, _, _, reason := a.arrive(addr, now)
		if reason != "" {
			t.Fatalf("%s: refused: %s", addr, reason)
		}
		a.leave(row, true)
	}
	if len(a.table) > 2*sweepMin {
		t.Errorf("got %d rows after %d idle addresses, want at most %d", len(a.table), 100*sweepMin, 2*sweepMin)
	}
	if a.table[netip.MustParseAddr("10.0.0.0")] != held {
		t.Error("the row of a connection that is still there was thrown away")
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c := Config{}.withDefaults()
	if c.PerAddress != 64 || c.PerAddressRate != 200 || c.HandshakeTimeout != 10*time.Second || c.MaxWait != 10*time.Second {
		t.Errorf("got %+v", c)
	}
	if files := openFiles(); c.MaxConnections > 50_000 || files > 512 && c.MaxConnections > files-256 {
		t.Errorf("MaxConnections: got %d with %d files", c.MaxConnections, files)
	}
}

// As many as one address may begin with while one of them waits may wait: a crowd
// behind it that comes back together after a restart is let in, in turn.
func TestACrowdBehindOneAddressComesBack(t *testing.T) {
	t.Parallel()
	c := Config{}.withDefaults()
	if want := c.PerAddressRate * int(c.MaxWait/time.Second); c.PerAddressWaiting != want {
		t.Errorf("PerAddressWaiting: got %d, want %d", c.PerAddressWaiting, want)
	}
	a, now := newAddresses(c), time.Now()
	for n := range 2000 {
		_, _, delay, reason := a.arrive(netip.MustParseAddr("192.0.2.1"), now)
		if reason != "" || delay > c.MaxWait {
			t.Fatalf("connection %d of 2,000: refused %q, or let in after %s", n+1, reason, delay)
		}
	}
}
