package demo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"busd/examples/pingpong"
	"busd/internal/mtls"
	"busd/msgbus"
)

const (
	// host is where the demonstration listens, on a port that is free.
	host = "127.0.0.1"
	// lifetime is how long its certificates are valid.
	lifetime = 24 * time.Hour
	// stopTimeout bounds the end of a server and of each agent.
	stopTimeout = 5 * time.Second
)

// A site is what both servers of the demonstration have in common: certificates,
// an address, and what they have handled.
type site struct {
	ca      *mtls.Authority
	conf    *tls.Config
	ledger  *ledger
	address string // host:port, once the first server has taken it
}

// newSite makes a CA and a server's certificate.
func newSite() (*site, error) {
	ca, err := mtls.NewAuthority("busd demo CA", lifetime)
	if err != nil {
		return nil, err
	}
	cert, err := ca.Issue(mtls.Request{
		Name: "busd demo", IPs: []net.IP{net.ParseIP(host)}, Server: true, Validity: lifetime,
	})
	if err != nil {
		return nil, err
	}
	conf, err := mtls.ServerConfig(mtls.Material{
		Certificate: cert.TLS(), CAs: []*x509.Certificate{ca.Certificate()},
	}, mtls.Policy{})
	if err != nil {
		return nil, err
	}
	return &site{ca: ca, conf: conf, ledger: newLedger(), address: net.JoinHostPort(host, "0")}, nil
}

func (t *site) url() string { return "wss://" + t.address + "/" + pingpong.Schema.Service() }

// credentials makes the certificate of an agent.
func (t *site) credentials(agent string) (*tls.Config, error) {
	cert, err := t.ca.Issue(mtls.Request{Name: agent, DNS: []string{agent}, Client: true, Validity: lifetime})
	if err != nil {
		return nil, err
	}
	pair := cert.TLS()
	credentials := mtls.Credentials{Certificate: &pair, CAs: []*x509.Certificate{t.ca.Certificate()}}
	return credentials.TLS(host)
}

// service is ping-pong, with a page of the ledger for each agent.
func (t *site) service() *msgbus.Service {
	svc := &msgbus.Service{Schema: pingpong.Schema, OnConnect: func(_ context.Context, c *msgbus.Conn) error {
		c.SetState(t.ledger.of(c.Identity()))
		return nil
	}}
	msgbus.Handle(svc, func(ctx context.Context, c *msgbus.Conn, m pingpong.Ping) error {
		if p, ok := c.State().(*page); ok {
			p.handled(m.ID)
		}
		return c.Reply(ctx, pingpong.Pong{ID: m.ID})
	})
	return svc
}

// A server is one bus at the site's address.
type server struct {
	bus      *msgbus.Server
	http     *http.Server
	listener net.Listener
	done     chan struct{} // closed once nothing is accepted any more
}

// serve starts a server, which runs until stop.
func (t *site) serve(node string) (*server, error) {
	bus, err := msgbus.NewServer(msgbus.Config{Node: node}, t.service())
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", t.address)
	if err != nil {
		return nil, err
	}
	t.address = listener.Addr().String()
	s := &server{
		bus: bus, listener: listener, done: make(chan struct{}),
		http: &http.Server{Handler: bus, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: 10 * time.Second},
	}
	go func() { // ends with deaf
		defer close(s.done)
		_ = s.http.Serve(tls.NewListener(listener, t.conf)) // ends when deaf closes it
	}()
	return s, nil
}

// deaf ends accepting: the address is free for another server.
func (s *server) deaf() {
	_ = s.listener.Close() // or it is closed already
	<-s.done
}

// repeated counts what the service has written again after resumes.
func (s *server) repeated() (n uint64) {
	for _, svc := range s.bus.Stats() {
		n += svc.Repeated
	}
	return n
}

func (s *server) stop() {
	s.deaf()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	_ = s.bus.Shutdown(ctx) // the agents have gone; what has not is cut below
	_ = s.http.Close()      // as above
}
