package msgclient_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// Of several addresses one is dead: Connect goes on to the next, and the dead
// one is last from then on.
func TestSeveralURLs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
		first := map[string]int{}
		for range 30 {
			line := &attempts{dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				if address == "dead.test:8443" {
					return nil, errors.New("nobody listens")
				}
				return srv.DialContext(ctx, network, address)
			}}
			c := srv.Client(msgclient.Config{
				URL: "wss://dead.test/Test/Room", URLs: []string{"wss://one.test/Test/Room", "wss://two.test/Test/Room"},
				DialContext: line.DialContext,
			})
			if err := c.Connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, where := line.so()
			first[where[0]]++
			if last := where[len(where)-1]; last == "dead.test:8443" || len(where) > 2 {
				t.Fatalf("dialed %v", where)
			}
			if where[0] != "dead.test:8443" {
				continue
			}
			bustestRun(t, c)
			srv.Cut()
			synctest.Wait()
			ping(t, c, 1)
			if _, where = line.so(); where[2] == "dead.test:8443" {
				t.Errorf("dialed %v: the address that failed is tried before others", where)
			}
		}
		if len(first) != 3 {
			t.Errorf("the first address was %v, want each now and then", first)
		}
	})
}

// bustestRun keeps a client connected that is connected already.
func bustestRun(t *testing.T, c *msgclient.Client) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }() // what it returns is not the matter
	t.Cleanup(func() { cancel(); <-done })
}

// All are dead: Connect says why the last failed.
func TestAllURLsAreDead(t *testing.T) {
	t.Parallel()
	line := &attempts{refuse: true}
	c, err := msgclient.New(msgclient.Config{
		URLs: []string{"wss://one.test/Test/Room", "wss://two.test/Test/Room"},
		TLS:  bustest.ClientTLS(t, "agent"), DialContext: line.DialContext,
	})
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "Connect", c.Connect(t.Context()), bus.CodeUnavailable)
	if _, where := line.so(); len(where) != 2 || where[0] == where[1] {
		t.Errorf("dialed %v, want both", where)
	}
}

// Certificates are read anew for each attempt: what was renewed, or only put
// right, is used from the next one on.
func TestCertificateFilesAreReadAnew(t *testing.T) {
	t.Parallel()
	svc := newRoom(nil)
	peers := make(chan string, 10)
	svc.OnConnect = func(_ context.Context, c *msgbus.Conn) error { peers <- c.Peer().Name; return nil }
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	f := newFolder(t)
	c := srv.Client(msgclient.Config{
		CertFile: f.cert, KeyFile: f.key, CAFiles: []string{f.ca},
		MinWait: time.Millisecond, MaxWait: 10 * time.Millisecond,
	})
	e := wantCode(t, "Connect without files", c.Connect(t.Context()), bus.CodeFailedPrecondition)
	if e.Remote {
		t.Errorf("got %v from the service", e)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Run(t.Context()) }() // goes on trying
	f.install("alice")
	f.believe(authority(t, srv))
	if got := next(t, peers, "the first connection"); got != "dns:alice" {
		t.Errorf("got peer %s, want dns:alice", got)
	}
	ping(t, c, 1)
	f.install("bob")
	ping(t, c, 2) // a connection keeps what it began with for a while
	srv.Cut()
	if got := next(t, peers, "the second connection"); got != "dns:bob" {
		t.Errorf("got peer %s, want dns:bob", got)
	}
	ping(t, c, 3)
	if want := bus.Identity("dns:bob/"); c.Identity()[:len(want)] != want {
		t.Errorf("got identity %s", c.Identity())
	}
	none(t, ended, "the end of Run")
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	next(t, ended, "the end of Run")
}

// authority finds the test CA at the end of the server's chain.
func authority(t *testing.T, srv *bustest.Server) *x509.Certificate {
	t.Helper()
	raw, err := srv.DialContext(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, bustest.ClientTLS(t, "looking"))
	defer conn.Close()
	if err := conn.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	chain := conn.ConnectionState().VerifiedChains[0]
	return chain[len(chain)-1]
}
