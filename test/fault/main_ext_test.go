//go:build linux

package fault_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"busd/bus"
	"busd/test/fault/ledger"
	"busd/test/fault/process"
)

// atOnce is how many tests run at a time: most of them wait, for seconds, and
// compute little.
const atOnce = "16"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", atOnce); err != nil {
		panic(err)
	}
	process.Main(m)
}

const (
	// patience bounds every wait; a busy machine is slow.
	patience = 90 * time.Second
	// soakVariable makes the tests as large as those that they stand for, which
	// takes minutes.
	soakVariable = "BUSD_SOAK"
)

// soaks tells whether tests shall be as large as those that they stand for.
var soaks = os.Getenv(soakVariable) != ""

// sized is how much of something there is: in CI, and when it soaks.
func sized[N any](ci, soak N) N {
	if soaks {
		return soak
	}
	return ci
}

// crowd lets any number of clients come from one address with one certificate.
var crowd = []string{
	"BUSD_LIMITS__NEW_PER_ADDRESS=100000", "BUSD_LIMITS__UNAUTHENTICATED_PER_ADDRESS=20000",
	"BUSD_LIMITS__WAITING_PER_ADDRESS=20000", "BUSD_LIMITS__CONNECTIONS_PER_PEER=20000",
	"BUSD_TIMEOUTS__HANDSHAKE=1m", "BUSD_TIMEOUTS__REQUEST=1m",
}

// A host is a server of the ledger, and what it has written down.
type host struct {
	*process.Server

	t    testing.TB
	file string
}

// serve starts a server of the ledger.
func serve(t testing.TB, c process.ServerConfig) *host {
	t.Helper()
	h := &host{t: t, file: filepath.Join(t.TempDir(), "ledger")}
	h.serve(c)
	return h
}

func (h *host) serve(c process.ServerConfig) {
	h.t.Helper()
	c.Package = "busd/test/fault/ledger/ledgerd"
	c.Env = append(c.Env, ledger.Variable+"="+h.file)
	h.Server = process.Serve(h.t, c)
}

// second starts another server, with the same certificates and the same file.
func (h *host) second(c process.ServerConfig) *host {
	h.t.Helper()
	other := &host{t: h.t, file: h.file}
	c.Dir = h.Dir()
	other.serve(c)
	return other
}

// lines are those of the ledger of one kind, by identity.
func (h *host) lines(k ledger.Kind) map[bus.Identity][]int64 {
	h.t.Helper()
	all, err := ledger.Read(h.file)
	if err != nil {
		h.t.Fatal(err)
	}
	of := map[bus.Identity][]int64{}
	for _, l := range all {
		if l.Kind == k {
			of[l.Identity] = append(of[l.Identity], l.N)
		}
	}
	return of
}

// metric asks the server for a number; what it has never counted is 0.
func (h *host) metric(name string) float64 {
	h.t.Helper()
	_, text, err := h.Get(within(h.t, patience), "/metrics")
	if err != nil {
		h.t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				h.t.Fatal(err)
			}
			return v
		}
	}
	return 0
}

// do fails the test if what was done to the server failed.
func (h *host) do(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// checkEvery is how often something is looked at that cannot tell.
const checkEvery = 20 * time.Millisecond

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(checkEvery) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// wantRun checks that numbers are 1 to n, each once, in order.
func wantRun(t testing.TB, what string, got []int64, n int64) {
	t.Helper()
	for i, v := range got {
		if v != int64(i)+1 {
			t.Errorf("%s: number %d in place %d of %d (after %v), want each of 1 to %d once and in order",
				what, v, i+1, len(got), got[max(0, i-3):i], n)
			return
		}
	}
	if int64(len(got)) != n {
		t.Errorf("%s: got %d, want %d", what, len(got), n)
	}
}
