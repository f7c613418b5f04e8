package storm_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
	"busd/schema"
)

// Beat is what clients may say.
type Beat struct {
	ID int64 `bus:"id"`
}

// MessageName is Beat's.
func (Beat) MessageName() string { return "Beat" }

var contract = schema.MustNew("Test/Storm", schema.Of[Beat](schema.FromClient))

// A host is an address at which a server stands, or nobody listens. It counts
// who comes.
type host struct {
	t testing.TB

	mu sync.Mutex
	// Guarded by mu.
	server   *bustest.Server // nil: nobody listens
	since    time.Time       // since when seconds are counted
	dials    []int           // in each second
	welcomes []int
}

// start lets a new server listen, which knows nothing of an earlier one.
func (h *host) start(cfg msgbus.Config) {
	h.t.Helper()
	svc := &msgbus.Service{Schema: contract, OnConnect: func(context.Context, *msgbus.Conn) error {
		h.count(&h.welcomes)
		return nil
	}}
	msgbus.Handle(svc, func(context.Context, *msgbus.Conn, Beat) error { return nil })
	server := bustest.NewServer(h.t, cfg, svc)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.server = server
	h.since, h.dials, h.welcomes = time.Now(), nil, nil
}

// kill ends the server as kill -9 does: all lines break, and nobody listens.
func (h *host) kill() {
	h.mu.Lock()
	server := h.server
	h.server = nil
	h.mu.Unlock()
	server.Cut()
}

// count counts one in the present second.
func (h *host) count(seconds *[]int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.countLocked(seconds)
}

func (h *host) countLocked(seconds *[]int) {
	at := int(time.Since(h.since) / time.Second)
	for len(*seconds) <= at {
		*seconds = append(*seconds, 0)
	}
	(*seconds)[at]++
}

// dial is the clients' DialContext.
func (h *host) dial(ctx context.Context, network, address string) (net.Conn, error) {
	h.mu.Lock()
	server := h.server
	h.countLocked(&h.dials)
	h.mu.Unlock()
	if server == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	return server.DialContext(ctx, network, address)
}

// seen returns the dials and the welcomes of each second since the server was
// started.
func (h *host) seen() (dials, welcomes []int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]int(nil), h.dials...), append([]int(nil), h.welcomes...)
}

// clients makes n clients of the host, and lets them run until the test's end.
func (h *host) clients(n int) []*msgclient.Client {
	h.t.Helper()
	conf := bustest.ClientTLS(h.t, "agent")
	conf.CurvePreferences = []tls.CurveID{tls.X25519} // the quickest: these are thousands of handshakes
	all := make([]*msgclient.Client, n)
	for i := range all {
		c, err := msgclient.New(msgclient.Config{
			URL: "wss://" + bustest.Host + "/Test/Storm", TLS: conf, DialContext: h.dial, Instance: fmt.Sprint("agent-", i),
		})
		if err != nil {
			h.t.Fatal(err)
		}
		all[i] = c
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, c := range all {
		running.Go(func() { _ = c.Run(ctx) }) // who was to be connected is counted
	}
	h.t.Cleanup(func() { cancel(); running.Wait() })
	return all
}

func sum(seconds []int) (n int) {
	for _, s := range seconds {
		n += s
	}
	return n
}

// wantAtMost checks that no second saw more than most.
func wantAtMost(t *testing.T, what string, seconds []int, most int) {
	t.Helper()
	for at, n := range seconds {
		if n > most {
			t.Errorf("%d %s in second %d, want at most %d:\n%s", n, what, at, most, chart(seconds))
		}
	}
}

// chart draws seconds, one a line.
func chart(seconds []int) string {
	var b strings.Builder
	for at, n := range seconds {
		fmt.Fprintf(&b, "%4d s %5d %s\n", at, n, strings.Repeat("#", (60*n+sum(seconds)-1)/max(1, sum(seconds))))
	}
	return b.String()
}
