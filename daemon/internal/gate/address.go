package gate

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// addresses keeps what each address has begun and not yet proven.
type addresses struct {
	// Fixed at creation.
	slots, crowd int
	interval     time.Duration // between two connections at the full rate
	burst        time.Duration // how far an address may run ahead of the rate
	maxWait      time.Duration

	mu sync.Mutex
	// Guarded by mu.
	table   map[netip.Addr]*address
	sweepAt int // the size of the table at which idle rows are thrown away
}

// address is one row.
type address struct {
	// slots holds an element for each connection that is not authenticated.
	// A connection that waits is blocked in sending, so the first served is
	// the first that came.
	slots chan struct{}

	// Guarded by the table's mu.
	waiting int
	users   int       // connections that hold a slot or wait
	due     time.Time // when the next connection is due at the full rate
}

// sweepMin is the size below which the table is not swept.
const sweepMin = 1024

func newAddresses(c Config) *addresses {
	interval := time.Second / time.Duration(c.PerAddressRate)
	return &addresses{
		slots:    c.PerAddress,
		crowd:    c.PerAddressWaiting,
		interval: interval,
		burst:    interval * time.Duration(c.PerAddressRate-1),
		maxWait:  c.MaxWait,
		table:    map[netip.Addr]*address{},
		sweepAt:  sweepMin,
	}
}

// arrive lets a connection of key in, or tells it to wait: for delay, then for
// a slot. A row that is returned must be left.
func (a *addresses) arrive(key netip.Addr, now time.Time) (row *address, wait bool, delay time.Duration, reason Reason) {
	a.mu.Lock()
	defer a.mu.Unlock()
	row = a.rowLocked(key, now)
	due := row.due
	if due.Before(now) {
		due = now
	}
	delay = due.Sub(now) - a.burst
	if delay > a.maxWait {
		return nil, false, 0, Rate
	}
	if delay <= 0 {
		select {
		case row.slots <- struct{}{}:
			row.users++
			row.due = due.Add(a.interval)
			return row, false, 0, ""
		default:
		}
	}
	if row.waiting >= a.crowd {
		if delay > 0 {
			return nil, false, 0, Rate
		}
		return nil, false, 0, Crowd
	}
	row.users++
	row.waiting++
	row.due = due.Add(a.interval)
	return row, true, max(delay, 0), ""
}

// waited ends the waiting of a connection, with a slot or without.
func (a *addresses) waited(row *address) {
	a.mu.Lock()
	row.waiting--
	a.mu.Unlock()
}

// leave takes a connection off its row.
func (a *addresses) leave(row *address, hasSlot bool) {
	if hasSlot {
		<-row.slots
	}
	a.mu.Lock()
	row.users--
	a.mu.Unlock()
}

func (a *addresses) rowLocked(key netip.Addr, now time.Time) *address {
	if row, ok := a.table[key]; ok {
		return row
	}
	if len(a.table) >= a.sweepAt {
		for k, row := range a.table {
			// A row remembers its rate: it may go once it would begin anew.
			if row.users == 0 && !row.due.After(now) {
				delete(a.table, k)
			}
		}
		a.sweepAt = max(sweepMin, 2*len(a.table))
	}
	row := &address{slots: make(chan struct{}, a.slots)}
	a.table[key] = row
	return row
}

// remoteOf returns where a connection comes from; not valid if that is no IP
// address.
func remoteOf(c net.Conn) netip.AddrPort {
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return plain(tcp.AddrPort())
	}
	if c.RemoteAddr() == nil {
		return netip.AddrPort{}
	}
	remote, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.AddrPort{}
	}
	return plain(remote)
}

// plain gives each address one form.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// keyOf returns what is counted as one address: an IPv6 customer has a /64.
func keyOf(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return addr
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return addr
	}
	return prefix.Addr()
}

// denyList is a set of networks.
type denyList []netip.Prefix

func newDenyList(prefixes []netip.Prefix) denyList {
	list := make(denyList, 0, len(prefixes))
	for _, p := range prefixes {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		list = append(list, p.Masked())
	}
	return list
}

func (l denyList) has(addr netip.Addr) bool {
	for _, p := range l {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
