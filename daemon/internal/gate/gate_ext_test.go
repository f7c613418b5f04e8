package gate_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"busd/daemon/internal/gate"
	"busd/internal/mtls"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a gate with an HTTP server behind it, on a loopback port of its own.
type site struct {
	gate   *gate.Gate
	addr   string
	server *tls.Config
	client *tls.Config // with a certificate
	nobody *tls.Config // without one
	events chan gate.Event
}

func newMaterial(t *testing.T, policy mtls.Policy) (server, client, nobody *tls.Config) {
	t.Helper()
	ca, err := mtls.NewAuthority("gate test CA", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(r mtls.Request) tls.Certificate {
		issued, err := ca.Issue(r)
		if err != nil {
			t.Fatal(err)
		}
		return issued.TLS()
	}
	serverCert := issue(mtls.Request{Name: "server", DNS: []string{"localhost"}, Server: true})
	clientCert := issue(mtls.Request{Name: "client", Client: true})
	cas := []*x509.Certificate{ca.Certificate()}
	server, err = mtls.ServerConfig(mtls.Material{Certificate: serverCert, CAs: cas}, policy)
	if err != nil {
		t.Fatal(err)
	}
	if client, err = (&mtls.Credentials{Certificate: &clientCert, CAs: cas}).TLS("localhost"); err != nil {
		t.Fatal(err)
	}
	if nobody, err = (&mtls.Credentials{CAs: cas}).TLS("localhost"); err != nil {
		t.Fatal(err)
	}
	return server, client, nobody
}

func newSite(t *testing.T, config gate.Config) *site {
	t.Helper()
	return newSiteOf(t, config, mtls.Policy{})
}

func newSiteOf(t *testing.T, config gate.Config, policy mtls.Policy) *site {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{addr: inner.Addr().String(), events: make(chan gate.Event, 4096)}
	s.server, s.client, s.nobody = newMaterial(t, policy)
	config.Report = func(e gate.Event) {
		select {
		case s.events <- e:
		default:
		}
	}
	s.gate = gate.New(inner, s.server, config)
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "tls=%t certificates=%d", r.TLS != nil, len(r.TLS.PeerCertificates))
		}),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(s.gate) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Errorf("closing the server: %v", err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: got %v, want %v", err, http.ErrServerClosed)
		}
	})
	return s
}

// raw connects from an address of the loopback network.
func (s *site) raw(t *testing.T, from string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	c, err := d.Dial("tcp", s.addr)
	if err != nil {
		t.Fatalf("dial from %s: %v", from, err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// get makes one request on a connection and leaves it open.
func get(c net.Conn, config *tls.Config) (string, error) {
	tc := tls.Client(c, config)
	if _, err := io.WriteString(tc, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(tc), nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func (s *site) event(t *testing.T, want gate.Reason) gate.Event {
	t.Helper()
	for {
		select {
		case e := <-s.events:
			if e.Reason == want {
				return e
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("no event %q; stats: %+v", want, s.gate.Stats())
		}
	}
}

func (s *site) until(t *testing.T, what string, ok func(gate.Stats) bool) {
	t.Helper()
	until(t, s.gate, what, ok)
}

// until waits for a state that comes by itself and that nobody announces.
func until(t *testing.T, g *gate.Gate, what string, ok func(gate.Stats) bool) {
	t.Helper()
	look, end := time.NewTicker(time.Millisecond), time.After(20*time.Second)
	defer look.Stop()
	for !ok(g.Stats()) {
		select {
		case <-look.C:
		case <-end:
			t.Fatalf("%s: not reached; stats: %+v", what, g.Stats())
		}
	}
}

// closed waits until the other end closed a connection, reading what it says.
func closed(t *testing.T, c net.Conn) string {
	t.Helper()
	said, err := io.ReadAll(c)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("waiting for the close: %v", err)
	}
	return string(said)
}

func TestServesWithAndWithoutCertificate(t *testing.T) {
	t.Parallel()
	s := newSite(t, gate.Config{})
	c := s.raw(t, "127.0.0.1")
	if got, err := get(c, s.client); err != nil || got != "tls=true certificates=1" {
		t.Fatalf("with a certificate: got %q, %v", got, err)
	}
	if st := s.gate.Stats(); st.Unauthenticated != 0 || st.Open != 1 || st.Handshakes != 1 {
		t.Errorf("after a certificate: got %+v, want 1 open, 0 unauthenticated", st)
	}
	n := s.raw(t, "127.0.0.1")
	if got, err := get(n, s.nobody); err != nil || got != "tls=true certificates=0" {
		t.Fatalf("without: got %q, %v", got, err)
	}
	if st := s.gate.Stats(); st.Unauthenticated != 1 {
		t.Errorf("without a certificate: got %d unauthenticated, want 1 until it is closed", st.Unauthenticated)
	}
	_ = n.Close()
	_ = c.Close()
	s.until(t, "all closed", func(st gate.Stats) bool { return st.Open == 0 && st.Unauthenticated == 0 })
	r := s.raw(t, "127.0.0.1")
	if _, err := get(r, s.client); err != nil {
		t.Fatal(err)
	}
	if st := s.gate.Stats(); st.Resumed != 1 || st.Unauthenticated != 0 {
		t.Errorf("again: got %+v, want one resumed and authenticated", st)
	}
}

func TestSilentConnectionsCostNobodyElse(t *testing.T) {
	t.Parallel()
	// Who waits for one of them waits for longer than get does.
	s := newSite(t, gate.Config{HandshakeTimeout: time.Minute, MaxWait: time.Minute})
	for range 300 {
		s.raw(t, "127.0.0.1")
	}
	s.until(t, "silent ones settled", func(st gate.Stats) bool { return st.Unauthenticated == 64 && st.Waiting == 236 })
	if _, err := get(s.raw(t, "127.0.0.2"), s.client); err != nil {
		t.Fatalf("bystander: %v", err)
	}
	if st := s.gate.Stats(); st.Computing != 0 {
		t.Errorf("silent connections hold %d turns, want 0", st.Computing)
	}
}

func TestHandshakeTimeout(t *testing.T) {
	t.Parallel()
	s := newSite(t, gate.Config{HandshakeTimeout: 100 * time.Millisecond})
	silent, half := s.raw(t, "127.0.0.1"), s.raw(t, "127.0.0.1")
	if _, err := half.Write([]byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3}); err != nil { // the beginning of a ClientHello
		t.Fatal(err)
	}
	closed(t, silent)
	closed(t, half)
	s.until(t, "both closed", func(st gate.Stats) bool { return st.Open == 0 && st.Handshaking == 0 })
	if got := s.gate.Stats().Failed[gate.Timeout]; got != 2 {
		t.Errorf("timeouts: got %d, want 2", got)
	}
}

func TestDrippedHandshakeHoldsNoTurn(t *testing.T) {
	t.Parallel()
	s := newSite(t, gate.Config{MaxHandshakes: 1, HandshakeTimeout: 10 * time.Second})
	for range 8 {
		half := s.raw(t, "127.0.0.1")
		if _, err := half.Write([]byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3}); err != nil {
			t.Fatal(err)
		}
	}
	s.until(t, "eight inside", func(st gate.Stats) bool { return st.Handshaking == 8 && st.Computing == 0 })
	if _, err := get(s.raw(t, "127.0.0.1"), s.client); err != nil {
		t.Fatalf("the ninth: %v", err)
	}
}

func TestDenyList(t *testing.T) {
	t.Parallel()
	s := newSite(t, gate.Config{Deny: []netip.Prefix{netip.MustParsePrefix("::ffff:127.0.0.2/127")}})
	for _, from := range []string{"127.0.0.2", "127.0.0.3"} {
		closed(t, s.raw(t, from))
		if e := s.event(t, gate.Denied); e.Remote.Addr() != netip.MustParseAddr(from) {
			t.Errorf("event: got %v, want from %s", e, from)
		}
	}
	if _, err := get(s.raw(t, "127.0.0.1"), s.client); err != nil {
		t.Fatalf("not denied: %v", err)
	}
	s.gate.SetDeny([]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")})
	if _, err := get(s.raw(t, "127.0.0.2"), s.client); err != nil {
		t.Fatalf("no longer denied: %v", err)
	}
	closed(t, s.raw(t, "127.0.0.1"))
	s.event(t, gate.Denied)
}

func TestConnectionsOfTheProcess(t *testing.T) {
	t.Parallel()
	s := newSite(t, gate.Config{MaxConnections: 2})
	first := s.raw(t, "127.0.0.1")
	if _, err := get(first, s.client); err != nil {
		t.Fatal(err)
	}
	if _, err := get(s.raw(t, "127.0.0.2"), s.client); err != nil {
		t.Fatal(err)
	}
	closed(t, s.raw(t, "127.0.0.3"))
	s.event(t, gate.Connections)
	_ = first.Close()
	s.until(t, "one closed", func(st gate.Stats) bool { return st.Open == 1 })
	if _, err := get(s.raw(t, "127.0.0.3"), s.client); err != nil {
		t.Fatalf("after one left: %v", err)
	}
}

func TestAddressWaitsForItsOwn(t *testing.T) {
	t.Parallel()
	s := newSite(t, gate.Config{PerAddress: 1, PerAddressWaiting: 1, MaxWait: 10 * time.Second})
	silent := s.raw(t, "127.0.0.1")
	s.until(t, "first inside", func(st gate.Stats) bool { return st.Unauthenticated == 1 })
	second := s.raw(t, "127.0.0.1")
	s.until(t, "second waits", func(st gate.Stats) bool { return st.Waiting == 1 })
	closed(t, s.raw(t, "127.0.0.1"))
	s.event(t, gate.Crowd)
	if _, err := get(s.raw(t, "127.0.0.2"), s.client); err != nil {
		t.Fatalf("another address: %v", err)
	}
	_ = silent.Close()
	if _, err := get(second, s.client); err != nil {
		t.Fatalf("second, after the first left: %v", err)
	}
}

func TestWaitingEnds(t *testing.T) {
	t.Parallel()
	s := newSite(t, gate.Config{PerAddress: 1, MaxWait: 50 * time.Millisecond})
	s.raw(t, "127.0.0.1")
	s.until(t, "first inside", func(st gate.Stats) bool { return st.Unauthenticated == 1 })
	closed(t, s.raw(t, "127.0.0.1"))
	s.event(t, gate.Crowd)
	s.until(t, "one left", func(st gate.Stats) bool { return st.Open == 1 && st.Waiting == 0 })
}

func TestRateOfAnAddress(t *testing.T) {
	t.Parallel()
	s := newSite(t, gate.Config{PerAddressRate: 2, MaxWait: 700 * time.Millisecond})
	begin := time.Now()
	// Two come at once, the third after half a second; many more would wait for
	// longer than they may.
	for i := range 3 {
		if _, err := get(s.raw(t, "127.0.0.1"), s.client); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	if took := time.Since(begin); took < 400*time.Millisecond {
		t.Errorf("three connections at two a second: took %v, want half a second", took)
	}
	for range 20 { // however slow the machine is, some of them would wait for too long
		s.raw(t, "127.0.0.1")
	}
	closed(t, s.raw(t, "127.0.0.1"))
	s.event(t, gate.Rate)
}

func TestRefusalsReachTheClient(t *testing.T) {
	t.Parallel()
	s := newSite(t, gate.Config{})
	_, stranger, _ := newMaterial(t, mtls.Policy{})
	stranger.RootCAs = s.client.RootCAs

	t.Run("plain HTTP", func(t *testing.T) {
		c := s.raw(t, "127.0.0.1")
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n"+strings.Repeat("a: b\r\n", 500)+"\r\n"); err != nil {
			t.Fatal(err)
		}
		said := closed(t, c)
		if !strings.HasPrefix(said, "HTTP/1.0 400 Bad Request\r\n") || !strings.Contains(said, "https://") {
			t.Errorf("got %q, want a 400 that says so", said)
		}
		s.event(t, gate.PlainHTTP)
	})
	t.Run("garbage", func(t *testing.T) {
		c := s.raw(t, "127.0.0.1")
		if _, err := io.WriteString(c, "SSH-2.0-x\r\n"); err != nil {
			t.Fatal(err)
		}
		closed(t, c)
		s.event(t, gate.NotTLS)
	})
	t.Run("TLS 1.2", func(t *testing.T) {
		old := s.client.Clone()
		old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
		if _, err := get(s.raw(t, "127.0.0.1"), old); err == nil || !strings.Contains(err.Error(), "protocol version") {
			t.Errorf("got %v, want alert protocol version", err)
		}
		s.event(t, gate.Version)
	})
	t.Run("unknown CA", func(t *testing.T) {
		// The request is on its way when the server refuses: the alert must
		// arrive all the same.
		if _, err := get(s.raw(t, "127.0.0.1"), stranger); err == nil || !strings.Contains(err.Error(), "unknown certificate authority") {
			t.Errorf("got %v, want alert unknown certificate authority", err)
		}
		s.event(t, gate.UnknownCA)
	})
	t.Run("client refuses the server", func(t *testing.T) {
		other := s.client.Clone()
		other.ClientSessionCache, other.ServerName = nil, "elsewhere"
		if _, err := get(s.raw(t, "127.0.0.1"), other); err == nil {
			t.Error("got no error, want the wrong name refused")
		}
		s.event(t, gate.Alert)
	})
	t.Run("too much", func(t *testing.T) {
		c := s.raw(t, "127.0.0.1")
		record := append([]byte{22, 3, 1, 0x40, 0}, make([]byte, 0x4000)...)
		copy(record[5:], []byte{1, 0, 0xff, 0xff}) // a ClientHello of 64 KiB
		for range 4 {
			if _, err := c.Write(record); err != nil {
				break // closed already
			}
		}
		closed(t, c)
		s.event(t, gate.TooBig)
	})
	s.until(t, "all closed", func(st gate.Stats) bool { return st.Open == 0 && st.Unauthenticated == 0 })
}

// brokenListener fails as a process without file descriptors does.
type brokenListener struct {
	net.Listener
	left  atomic.Int32
	tries atomic.Int32
}

func (l *brokenListener) Accept() (net.Conn, error) {
	l.tries.Add(1)
	if l.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestNoFilesLeft(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, client, _ := newMaterial(t, mtls.Policy{})
	l := &brokenListener{Listener: inner}
	l.left.Store(4)
	var told atomic.Int32
	g := gate.New(l, server, gate.Config{Report: func(e gate.Event) {
		if errors.Is(e.Err, syscall.EMFILE) {
			told.Add(1)
		}
	}})
	defer g.Close()
	begin := time.Now()
	handshaken := make(chan error, 1)
	go func() {
		c, err := tls.Dial("tcp", inner.Addr().String(), client)
		if err == nil {
			err = c.Close()
		}
		handshaken <- err
	}()
	c, err := g.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// 10 + 20 + 40 + 80 ms.
	if took := time.Since(begin); took < 140*time.Millisecond {
		t.Errorf("four errors: accepted after %v, want pauses of 150 ms in all", took)
	}
	if err := <-handshaken; err != nil {
		t.Error(err)
	}
	if got := g.Stats().AcceptErrors; got != 4 || told.Load() != 4 {
		t.Errorf("errors: counted %d, told %d, want 4", got, told.Load())
	}
}

func TestCloseEndsEverything(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, client, _ := newMaterial(t, mtls.Policy{})
	g := gate.New(inner, server, gate.Config{PerAddress: 2})
	accepted := make(chan net.Conn)
	ended := make(chan error, 1)
	go func() {
		c, err := g.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
		_, err = g.Accept()
		ended <- err
	}()
	out, err := tls.Dial("tcp", inner.Addr().String(), client)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in := <-accepted
	defer in.Close()
	var silent []net.Conn
	for range 4 { // two in their handshake, two waiting
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c)
	}
	until(t, g, "two inside, two waiting", func(st gate.Stats) bool { return st.Waiting == 2 && st.Handshaking == 2 })
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: got %v, want %v", err, net.ErrClosed)
	}
	for _, c := range silent {
		closed(t, c)
	}
	if _, err := io.WriteString(in, "x"); err != nil {
		t.Errorf("handed out before: %v", err)
	}
	if st := g.Stats(); st.Open != 1 || st.Waiting != 0 || st.Unauthenticated != 0 || len(st.Failed) == 0 {
		t.Errorf("after close: got %+v, want the one handed out", st)
	}
	if err := g.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func TestInnerListenerClosed(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, _, _ := newMaterial(t, mtls.Policy{})
	g := gate.New(inner, server, gate.Config{})
	defer g.Close()
	if err := inner.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want %v", err, net.ErrClosed)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, gate.Config{
		MaxHandshakes: 2, PerAddress: 8, PerAddressRate: 10_000, HandshakeTimeout: time.Minute, MaxWait: time.Minute,
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+i%3))}}
			c, err := d.DialContext(ctx, "tcp", s.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if got, err := get(c, s.client); err != nil || got != "tls=true certificates=1" {
				t.Errorf("connection %d: got %q, %v", i, got, err)
			}
		})
	}
	wg.Wait()
	s.until(t, "all closed", func(st gate.Stats) bool { return st.Open == 0 })
	if got := s.gate.Stats().Handshakes; got != 100 {
		t.Errorf("handshakes: got %d, want 100", got)
	}
}
