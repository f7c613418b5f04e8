package rpcclient

import (
	"crypto/tls"
	"net"
	"testing"

	"busd/bus"
	"busd/internal/mtls"
)

// What a server says in TLS as it ends a connection is known afterwards, too: net/http's
// HTTP/2 often says no more than that the connection cannot be used.
func TestEndOfConnection(t *testing.T) {
	t.Parallel()
	ca, err := mtls.NewAuthority("test CA", 0)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := ca.Issue(mtls.Request{Name: "server", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true})
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{issued.TLS()}, MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAnyClientCert,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c, err := l.Accept(); err == nil {
			_ = c.(*tls.Conn).Handshake() //nolint:forcetypeassert // tls.Listen's
			_ = c.Close()                 // it was refused
		}
	}()
	raw, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(newWire(raw), &tls.Config{InsecureSkipVerify: true})
	if err := conn.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Read(make([]byte, 1)) // nobody tells what came
	_ = conn.Close()                  // so would net/http
	<-done
	if e := mtls.Explain(endOf(conn)); !e.Remote || e.Code != bus.CodeUnauthenticated {
		t.Errorf("got %v, want that a certificate is missing", e)
	}
}
