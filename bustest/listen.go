package bustest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"

	"busd/internal/mtls"
)

// A Listener accepts TLS connections in memory, with the test server's
// certificate, and leaves what is spoken on them to the test: it is for
// servers that play a script against a client.
type Listener struct {
	net.Listener

	pipes *listener
}

// Listen makes a Listener, which is closed at the test's cleanup. Certificates
// of clients are verified if they are given.
func Listen(t testing.TB) *Listener {
	t.Helper()
	pipes := newListener()
	t.Cleanup(func() { _ = pipes.Close() }) // it cannot fail
	return &Listener{Listener: tls.NewListener(pipes, serverTLS(t)), pipes: pipes}
}

// DialContext opens a connection to the listener, whatever the address.
func (l *Listener) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	return l.pipes.dial(ctx)
}

func serverTLS(t testing.TB) *tls.Config {
	t.Helper()
	conf, err := mtls.ServerConfig(mtls.Material{Certificate: serverCert(t), CAs: []*x509.Certificate{authority().Certificate()}}, mtls.Policy{})
	if err != nil {
		t.Fatalf("bustest: %v", err)
	}
	return conf
}
