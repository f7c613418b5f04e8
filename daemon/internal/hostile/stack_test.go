package hostile

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"busd/access"
	"busd/daemon/internal/gate"
	"busd/internal/mtls"
	"busd/msgbus"
	"busd/msgclient"
	"busd/rpc"
	"busd/schema"
)

// The time limits of the stack under test, shortened where the stack allows.
// The pace of a message, 16 KiB in 10 s, is fixed.
const (
	handshakeTimeout = time.Second
	headerTimeout    = time.Second
	helloTimeout     = time.Second
	keepAlive        = time.Second
	idle             = 4 * time.Second
	pace             = 10 * time.Second
	stalled          = 2 * time.Second
	// goodbye is how long the server waits for a client's goodbye, and a
	// little more.
	goodbye = 4 * time.Second
)

const (
	pingPath = "/Framework/PingPong"
	bytePath = "/Test/Bytes"
	callPath = "/Test/Calls"
)

// forbidden is the id of pings that no handler may ever see.
const forbidden = 666

type Ping struct {
	ID int64 `bus:"id"`
}

func (Ping) MessageName() string { return "Ping" }

type Pong struct {
	ID int64 `bus:"id"`
}

func (Pong) MessageName() string { return "Pong" }

// Everything has an attribute of every kind that bytes can be wrong in. All
// are optional, so that a case need not name the others.
type Everything struct {
	Small *int8             `bus:"small"`
	Float *float64          `bus:"float"`
	Text  *string           `bus:"text"`
	Bytes []byte            `bus:"bytes,optional"`
	List  []int64           `bus:"list,optional"`
	Map   map[string]string `bus:"map,optional"`
	Any   any               `bus:"any,optional"`
	Time  *time.Time        `bus:"time"`
}

func (Everything) MessageName() string { return "Everything" }

// Stay is handled until it is canceled.
type Stay struct{}

func (Stay) MessageName() string { return "Stay" }

// Noise is what the service broadcasts.
type Noise struct {
	Pad []byte `bus:"pad"`
}

func (Noise) MessageName() string { return "Noise" }

// stack is a whole server, and an innocent client of it.
type stack struct {
	addr   string
	ca     *mtls.Authority
	server tls.Certificate
	gate   *gate.Gate
	bus    *msgbus.Server
	bytes  *msgbus.Service

	good     tls.Certificate // of the hostile clients
	innocent *innocent

	handledForbidden atomic.Int64
	running          atomic.Int64 // Stay handlers
	addresses        atomic.Int64
	instances        atomic.Int64
}

// times are the limits of a stack that can be chosen.
type times struct{ handshake, header, hello, keepAlive, idle time.Duration }

// newStack starts a server until the end of the test. It fails the test if the
// innocent client was harmed meanwhile, or a forbidden ping handled.
func newStack(t *testing.T) *stack {
	t.Helper()
	return newStackWith(t, times{handshakeTimeout, headerTimeout, helloTimeout, keepAlive, idle})
}

func newStackWith(t *testing.T, limits times) *stack {
	t.Helper()
	return newStackOf(t, limits, msgbus.Config{})
}

// newStackOf is newStackWith of a bus with other bounds.
func newStackOf(t *testing.T, limits times, config msgbus.Config) *stack {
	t.Helper()
	s := new(stack)
	var err error
	if s.ca, err = mtls.NewAuthority("hostile test CA", time.Hour); err != nil {
		t.Fatal(err)
	}
	s.server = s.issue(t, s.ca, mtls.Request{Name: "server", DNS: []string{"localhost"}, Server: true})
	s.good = s.issue(t, s.ca, mtls.Request{Name: "mallory", DNS: []string{"mallory"}, Client: true})
	conf, err := mtls.ServerConfig(mtls.Material{Certificate: s.server, CAs: []*x509.Certificate{s.ca.Certificate()}}, mtls.Policy{HTTP2: true})
	if err != nil {
		t.Fatal(err)
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = inner.Addr().String()
	s.gate = gate.New(inner, conf, gate.Config{HandshakeTimeout: limits.handshake, MaxWait: 2 * time.Second, PerAddressWaiting: 256})
	s.bytes = s.newBytes()
	config.HelloTimeout, config.KeepAlive, config.Idle = limits.hello, limits.keepAlive, limits.idle
	methods := s.newMethods()
	if _, err = rpc.NewServer(rpc.Config{}, methods); err != nil {
		t.Fatal(err)
	}
	s.bus, err = msgbus.NewServer(config, s.newPingPong(), s.bytes, &msgbus.Service{Methods: methods})
	if err != nil {
		t.Fatal(err)
	}
	web := newHTTP(s.bus, limits)
	served := make(chan error, 1)
	go func() { served <- web.Serve(s.gate) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.bus.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		_ = web.Close() // nothing is served any more
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: got %v, want %v", err, http.ErrServerClosed)
		}
	})
	s.innocent = newInnocent(t, s)
	t.Cleanup(func() {
		s.innocent.stop(t)
		if n := s.handledForbidden.Load(); n != 0 {
			t.Errorf("%d messages were handled that must not have been", n)
		}
	})
	return s
}

// newHTTP is set as the daemon sets it.
func newHTTP(bus http.Handler, limits times) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	const slop = 4 << 10 // what net/http reads beyond MaxHeaderBytes
	return &http.Server{
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 100, MaxReceiveBufferPerStream: 256 << 10, MaxReceiveBufferPerConnection: 256 << 10,
			WriteByteTimeout: stalled,
		},
		Handler: bus, ErrorLog: log.New(io.Discard, "", 0), Protocols: &protocols,
		ReadHeaderTimeout: limits.header, ReadTimeout: limits.header, WriteTimeout: limits.header + limits.hello,
		IdleTimeout: limits.idle, MaxHeaderBytes: 16<<10 - slop,
	}
}

func (s *stack) issue(t *testing.T, ca *mtls.Authority, r mtls.Request) tls.Certificate {
	t.Helper()
	issued, err := ca.Issue(r)
	if err != nil {
		t.Fatalf("certificate of %s: %v", r.Name, err)
	}
	return issued.TLS()
}

func (s *stack) newPingPong() *msgbus.Service {
	svc := &msgbus.Service{Schema: schema.MustNew("Framework/PingPong",
		schema.Of[Ping](schema.FromClient), schema.Of[Pong](schema.FromService))}
	msgbus.Handle(svc, func(ctx context.Context, c *msgbus.Conn, m Ping) error {
		if m.ID == forbidden {
			s.handledForbidden.Add(1)
		}
		return c.Reply(ctx, Pong(m))
	})
	return svc
}

func (s *stack) newBytes() *msgbus.Service {
	svc := &msgbus.Service{Schema: schema.MustNew("Test/Bytes", schema.Of[Everything](schema.FromClient),
		schema.Of[Stay](schema.FromClient), schema.Of[Noise](schema.FromService),
		schema.Of[Ping](schema.FromClient), schema.Of[Pong](schema.FromService))}
	msgbus.Handle(svc, func(ctx context.Context, c *msgbus.Conn, m Ping) error { return c.Reply(ctx, Pong(m)) })
	msgbus.Handle(svc, func(context.Context, *msgbus.Conn, Everything) error { return nil })
	msgbus.Handle(svc, func(ctx context.Context, _ *msgbus.Conn, _ Stay) error {
		s.running.Add(1)
		defer s.running.Add(-1)
		<-ctx.Done()
		return nil
	})
	return svc
}

// newMethods are methods that strangers may not call, but echo, which they may.
func (s *stack) newMethods() *rpc.Service {
	svc := rpc.NewService("Test/Calls")
	svc.Allow = access.Authenticated
	rpc.Export(svc, "add", func(a, b int) int {
		if a == forbidden {
			s.handledForbidden.Add(1)
		}
		return a + b
	}).Named("a", "b")
	rpc.Export(svc, "shout", func(text string) string { return strings.ToUpper(text) }).Named("text").Allow = access.Any
	rpc.Export(svc, "secret", func() { s.handledForbidden.Add(1) }).Allow = access.MustRule("Unheard")
	rpc.Export(svc, "stay", func(ctx context.Context) error {
		s.running.Add(1)
		defer s.running.Add(-1)
		<-ctx.Done()
		return ctx.Err()
	})
	rpc.Export(svc, "fetch", func() io.Reader { return io.LimitReader(zeros{}, 1<<30) })
	rpc.Export(svc, "store", func(r io.Reader) (int64, error) { return io.Copy(io.Discard, r) }).MaxBody = 1 << 40
	return svc
}

// zeros has no end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// nextAddress returns an address of the loopback network that no other client
// has, where the system has more than one.
func (s *stack) nextAddress() net.Addr {
	if runtime.GOOS != "linux" {
		return nil
	}
	n := s.addresses.Add(1)
	return &net.TCPAddr{IP: net.IPv4(127, 1, byte(n/250), byte(n%250+1))}
}

// innocent is an honest client that pings all the time.
type innocent struct {
	client *msgclient.Client
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu sync.Mutex
	// Guarded by mu.
	slowest time.Duration
	faults  []error
}

func newInnocent(t *testing.T, s *stack) *innocent {
	t.Helper()
	i := new(innocent)
	roots := x509.NewCertPool()
	roots.AddCert(s.ca.Certificate())
	alice := s.issue(t, s.ca, mtls.Request{Name: "alice", DNS: []string{"alice"}, Client: true})
	var err error
	i.client, err = msgclient.New(msgclient.Config{
		URL: "wss://" + s.addr + pingPath,
		TLS: &tls.Config{
			MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: "localhost",
			Certificates: []tls.Certificate{alice}, NextProtos: []string{"http/1.1"},
		},
		OnDrop: func(_ context.Context, _ *msgclient.Client, why error) { i.fault(why) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := i.client.Connect(t.Context()); err != nil {
		t.Fatalf("the innocent client: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	i.cancel = cancel
	i.done.Go(func() { _ = i.client.Run(ctx) })
	i.done.Go(func() {
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			select {
			case <-tick.C:
				if err := i.ping(ctx); err != nil && ctx.Err() == nil {
					i.fault(err)
				}
			case <-ctx.Done():
				tick.Stop()
				return
			}
		}
	})
	return i
}

func (i *innocent) fault(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.faults = append(i.faults, err)
}

// ping makes one round trip, within a second (the race detector needs more).
func (i *innocent) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, slow*time.Second)
	defer cancel()
	begin := time.Now()
	_, err := msgclient.Request[Pong](ctx, i.client, Ping{ID: 1})
	i.mu.Lock()
	i.slowest = max(i.slowest, time.Since(begin))
	i.mu.Unlock()
	return err
}

// probe tells whether the innocent client is well.
func (s *stack) probe(t *testing.T) {
	t.Helper()
	if err := s.innocent.ping(context.Background()); err != nil {
		t.Errorf("the innocent client's ping: %v", err)
	}
}

func (i *innocent) stop(t *testing.T) {
	t.Helper()
	i.cancel()
	i.done.Wait()
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, err := range i.faults {
		t.Errorf("the innocent client was harmed: %v", err)
	}
	t.Logf("the innocent client's slowest ping: %v", i.slowest)
}
