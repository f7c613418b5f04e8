package gate_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"busd/daemon/internal/gate"
	"busd/internal/mtls"
)

// web makes a client whose connections are kept, and speak HTTP/2 where they
// can.
func (s *site) web(t *testing.T, config *tls.Config) *http.Client {
	t.Helper()
	config = config.Clone()
	config.NextProtos = []string{"h2", "http/1.1"}
	transport := &http.Transport{
		TLSClientConfig: config, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.addr)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// ask makes one request and returns its protocol and its body.
func ask(t *testing.T, c *http.Client) (proto, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://localhost/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Proto, string(data)
}

// A server sees HTTP/2 on a connection of the gate, where the client offers it;
// who does not offer it, as a WebSocket's client, gets HTTP/1.1.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	s := newSiteOf(t, gate.Config{}, mtls.Policy{HTTP2: true})
	for range 3 {
		if proto, body := ask(t, s.web(t, s.client)); proto != "HTTP/2.0" || body != "tls=true certificates=1" {
			t.Errorf("got %s %q, want HTTP/2.0 with a certificate", proto, body)
		}
	}
	if proto, body := ask(t, s.web(t, s.nobody)); proto != "HTTP/2.0" || body != "tls=true certificates=0" {
		t.Errorf("got %s %q, want HTTP/2.0 without a certificate", proto, body)
	}
	c := s.raw(t, "127.0.0.1")
	if got, err := get(c, s.client); err != nil || got != "tls=true certificates=1" {
		t.Errorf("HTTP/1.1: got %q, %v", got, err)
	}
}

// Whose handshake fails disturbs nobody else's connection, of either protocol.
func TestFailedHandshakesDisturbNobody(t *testing.T) {
	t.Parallel()
	s := newSiteOf(t, gate.Config{}, mtls.Policy{HTTP2: true})
	stranger, _, _ := newMaterial(t, mtls.Policy{})
	kept := s.client.Clone()
	kept.NextProtos = []string{"http/1.1"}
	transport := &http.Transport{TLSClientConfig: kept, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.addr)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	one, two := &http.Client{Transport: transport, Timeout: 20 * time.Second}, s.web(t, s.client)
	ask(t, one)
	ask(t, two)
	for range 15 {
		bad := s.client.Clone()
		bad.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &stranger.Certificates[0], nil // of another CA
		}
		bad.ClientSessionCache = nil
		if _, err := get(s.raw(t, "127.0.0.1"), bad); err == nil {
			t.Fatal("a certificate of another CA was accepted")
		}
		if proto, _ := ask(t, one); proto != "HTTP/1.1" {
			t.Fatalf("got %s, want HTTP/1.1", proto)
		}
		if proto, _ := ask(t, two); proto != "HTTP/2.0" {
			t.Fatalf("got %s, want HTTP/2.0", proto)
		}
	}
	if got := s.gate.Stats().Handshakes; got != 2 {
		t.Errorf("got %d handshakes, want the 2 of the connections that were kept", got)
	}
}

// Where crypto/tls does not verify certificates, because they may be proxy
// certificates, the gate asks who does.
func TestVouched(t *testing.T) {
	t.Parallel()
	vouch := func(s tls.ConnectionState) bool { return len(s.PeerCertificates) > 0 }
	s := newSiteOf(t, gate.Config{Vouched: vouch}, mtls.Policy{Proxies: true})
	if _, err := get(s.raw(t, "127.0.0.1"), s.client); err != nil {
		t.Fatal(err)
	}
	if st := s.gate.Stats(); st.Unauthenticated != 0 || st.Open != 1 {
		t.Errorf("with a certificate: got %+v, want it authenticated", st)
	}
	if _, err := get(s.raw(t, "127.0.0.1"), s.nobody); err != nil {
		t.Fatal(err)
	}
	if st := s.gate.Stats(); st.Unauthenticated != 1 {
		t.Errorf("without: got %+v, want 1 unauthenticated", st)
	}
}
