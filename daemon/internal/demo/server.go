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
	// stopTimeout bounds the end of the server and of each agent.
	stopTimeout = 5 * time.Second
)

// A server is the bus of the demonstration.
type server struct {
	ca   *mtls.Authority
	bus  *msgbus.Server
	http *http.Server
	url  string
	done chan struct{} // closed once nothing is served any more
}

// newServer makes a CA and a server and serves until stop.
func newServer() (*server, error) {
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
	service := pingpong.New()
	bus, err := msgbus.NewServer(msgbus.Config{Node: "demo"}, service)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	s := &server{
		ca: ca, bus: bus, url: "wss://" + listener.Addr().String() + "/" + service.Name(),
		http: &http.Server{Handler: bus, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: 10 * time.Second},
		done: make(chan struct{}),
	}
	go func() { // ends with stop
		defer close(s.done)
		_ = s.http.Serve(tls.NewListener(listener, conf)) // ends when stop closes it
	}()
	return s, nil
}

// credentials makes the certificate of an agent.
func (s *server) credentials(agent string) (*tls.Config, error) {
	cert, err := s.ca.Issue(mtls.Request{Name: agent, DNS: []string{agent}, Client: true, Validity: lifetime})
	if err != nil {
		return nil, err
	}
	pair := cert.TLS()
	credentials := mtls.Credentials{Certificate: &pair, CAs: []*x509.Certificate{s.ca.Certificate()}}
	return credentials.TLS(host)
}

func (s *server) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	_ = s.bus.Shutdown(ctx) // the agents have gone; what has not is cut below
	_ = s.http.Close()      // as above
	<-s.done
}
