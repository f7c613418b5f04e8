package bustest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"busd/internal/mtls"
	"busd/msgbus"
	"busd/msgclient"
)

// Host is the name of the test server in URLs.
const Host = "bus.test"

// DefaultPeer is the name in the certificate of clients made by
// [Server.Client].
const DefaultPeer = "agent"

// stopTimeout bounds the end of a test's server and clients.
const stopTimeout = 10 * time.Second

// A Server is a [msgbus.Server] that listens in memory until the test ends.
// Its methods may be called concurrently.
type Server struct {
	*msgbus.Server

	t        testing.TB
	url      string
	listener *listener
	http     *http.Server
	serving  chan struct{}
}

// NewServer makes a server of the services and runs it until the test's
// cleanup, which stops it gracefully.
func NewServer(t testing.TB, cfg msgbus.Config, services ...*msgbus.Service) *Server {
	t.Helper()
	bus, err := msgbus.NewServer(cfg, services...)
	if err != nil {
		t.Fatalf("bustest: %v", err)
	}
	conf := serverTLS(t)
	s := &Server{
		Server: bus, t: t, listener: newListener(), serving: make(chan struct{}),
		http: &http.Server{Handler: bus, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: 10 * time.Second},
	}
	if len(services) > 0 {
		s.url = "wss://" + Host + "/" + services[0].Name()
	}
	go func() {
		defer close(s.serving)
		if err := s.http.Serve(tls.NewListener(s.listener, conf)); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("bustest: serve: %v", err)
		}
	}()
	t.Cleanup(s.Stop)
	return s
}

// URL is the address of the first service.
func (s *Server) URL() string { return s.url }

// Stop stops the server gracefully, as a restart would. The test's cleanup
// calls it; a second call does nothing.
func (s *Server) Stop() {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		s.t.Errorf("bustest: shutdown: %v", err)
	}
	_ = s.http.Close() // nothing is served any more
	<-s.serving
}

// Client makes a client of the server, whose peer name is [DefaultPeer] (of
// kind dns). What cfg says goes first: its URL, TLS and DialContext are filled
// in if they are not set. It is closed at the test's cleanup.
func (s *Server) Client(cfg msgclient.Config) *msgclient.Client {
	s.t.Helper()
	return s.ClientOf(DefaultPeer, cfg)
}

// ClientOf is Client with a certificate of another name.
func (s *Server) ClientOf(peer string, cfg msgclient.Config) *msgclient.Client {
	s.t.Helper()
	if cfg.URL == "" {
		cfg.URL = s.url
	}
	if cfg.TLS == nil && cfg.CertFile == "" {
		cfg.TLS = ClientTLS(s.t, peer)
	}
	if cfg.DialContext == nil {
		cfg.DialContext = s.DialContext
	}
	c, err := msgclient.New(cfg)
	if err != nil {
		s.t.Fatalf("bustest: client: %v", err)
	}
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		_ = c.Close(ctx) // tests that care close it themselves
	})
	return c
}

// Connect makes a client as Client does, connects it, and keeps it connected
// until the test's cleanup.
func (s *Server) Connect(cfg msgclient.Config) *msgclient.Client {
	s.t.Helper()
	c := s.Client(cfg)
	Run(s.t, c)
	return c
}

// Run connects a client and keeps it connected until the test's cleanup.
func Run(t testing.TB, c *msgclient.Client) {
	t.Helper()
	if err := c.Connect(t.Context()); err != nil {
		t.Fatalf("bustest: connect: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(ctx) // tests that care run it themselves
	}()
	t.Cleanup(func() { cancel(); <-done })
}

// DialContext opens a connection to the server, whatever the address. It is
// what TLS runs over.
func (s *Server) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	return s.listener.dial(ctx)
}

// Cut breaks every connection, as a line that fails does: neither end says
// goodbye. New ones can be made at once.
func (s *Server) Cut() { s.listener.cut() }

// ClientTLS makes a client's configuration with a new certificate that has
// peer as its DNS name.
func ClientTLS(t testing.TB, peer string) *tls.Config {
	t.Helper()
	cert := issue(t, mtls.Request{Name: peer, DNS: []string{peer}, Client: true})
	pool := x509.NewCertPool()
	pool.AddCert(authority().Certificate())
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: pool, ServerName: Host,
		Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"},
	}
}

// epoch is before everything that a test's clock may say: a synctest bubble
// begins in the year 2000.
var epoch = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)

const forTests = 150 * 365 * 24 * time.Hour

// authority is the CA of all tests of a process.
var authority = sync.OnceValue(func() *mtls.Authority {
	ca, err := mtls.NewAuthorityAt(epoch, "busd test CA", forTests)
	if err != nil {
		panic(err) // only the system's random source can make it fail
	}
	return ca
})

func serverCert(t testing.TB) tls.Certificate {
	t.Helper()
	return issue(t, mtls.Request{Name: Host, DNS: []string{Host}, Server: true})
}

func issue(t testing.TB, r mtls.Request) tls.Certificate {
	t.Helper()
	r.NotBefore, r.Validity = epoch.Add(time.Hour), forTests-time.Hour
	issued, err := authority().Issue(r)
	if err != nil {
		t.Fatalf("bustest: certificate of %s: %v", r.Name, err)
	}
	return issued.TLS()
}
