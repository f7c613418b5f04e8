package mtls_test

import (
	"math/big"
	"runtime"
	"strings"
	"testing"

	"busd/bus"
	"busd/internal/mtls"
)

// One user cannot make the memory of proofs large, however he makes his proxies:
// their names are bounded, and what one may be remembered with is what is counted.
func TestProxiesHoldLittleMemory(t *testing.T) {
	p := newPKI(t, "test CA")
	alice := holderOf(t, p.client)
	v := newVerifier(t, p, mtls.Policy{Proxies: true})
	named := func(h holder, name string) holder {
		return h.proxy(t, func(s *sketch) { s.RawSubject = below(h.certs[0].RawSubject, cn(name)) })
	}
	long := strings.Repeat("é", mtls.MaxProxyName/2)
	if _, err := v.Certificates(named(alice, long+"x").certs); bus.CodeOf(err) != bus.CodeUnauthenticated || !strings.Contains(err.Error(), "at most 256") {
		t.Errorf("a longer name: got %v, want it refused", err)
	}
	vast := alice.proxy(t, func(s *sketch) { s.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 512) })
	if _, err := v.Certificates(vast.certs); bus.CodeOf(err) != bus.CodeUnauthenticated || !strings.Contains(err.Error(), "at most 512") {
		t.Errorf("a vast serial number: got %v, want it refused", err)
	}
	h := alice
	for range mtls.MaxProxies - 1 {
		h = named(h, long)
	}
	const n, most = 200, 40 << 10
	before := heap()
	for i := range n {
		last := h.proxy(t, func(s *sketch) {
			s.RawSubject = below(h.certs[0].RawSubject, cn(long))
			s.SerialNumber = big.NewInt(int64(i))
		})
		if _, err := v.Certificates(last.certs); err != nil {
			t.Fatal(err)
		}
	}
	each := (heap() - before) / n
	t.Logf("the longest chain is remembered in %d bytes", each)
	if each > most {
		t.Errorf("the longest chain is remembered in %d bytes, want at most %d", each, most)
	}
	runtime.KeepAlive(v)
}

// heap is how many bytes are in use.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
