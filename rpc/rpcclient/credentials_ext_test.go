package rpcclient_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"busd/bus"
	"busd/internal/mtls"
	"busd/rpc/rpcclient"
)

// A town is a CA, and the certificates that it has given out.
type town struct{ ca *mtls.Authority }

func newTown(t testing.TB) *town {
	t.Helper()
	ca, err := mtls.NewAuthority("test CA", 0)
	if err != nil {
		t.Fatal(err)
	}
	return &town{ca}
}

func (w *town) issue(t testing.TB, r mtls.Request) (issued *mtls.Issued, cert, key []byte) {
	t.Helper()
	issued, err := w.ca.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	if key, err = issued.KeyPEM(); err != nil {
		t.Fatal(err)
	}
	return issued, issued.CertPEM(), key
}

func (w *town) client(t testing.TB, name string) (cert, key []byte) {
	t.Helper()
	_, cert, key = w.issue(t, mtls.Request{Name: name, DNS: []string{name}, Client: true})
	return cert, key
}

// serve runs a server on a real port, that asks for a certificate of the town's. change
// may change its TLS.
func (w *town) serve(t testing.TB, change func(*tls.Config), handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	issued, _, _ := w.issue(t, mtls.Request{Name: "server", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true})
	pool := x509.NewCertPool()
	pool.AddCert(w.ca.Certificate())
	srv := httptest.NewUnstartedServer(handler)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.EnableHTTP2 = true
	srv.TLS = &tls.Config{
		Certificates: []tls.Certificate{issued.TLS()}, MinVersion: tls.VersionTLS13,
		ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool,
	}
	if change != nil {
		change(srv.TLS)
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

// whose answers with the name in the caller's certificate, and counts connections by
// their address.
func whose(w http.ResponseWriter, r *http.Request) {
	name := "nobody"
	if len(r.TLS.PeerCertificates) > 0 {
		name = r.TLS.PeerCertificates[0].Subject.CommonName
	}
	answers(`{"OK": true, "Value": ["`+name+`", "`+r.RemoteAddr+`", "`+r.Proto+`"]}`)(w, r)
}

func write(t *testing.T, path string, content []byte) string {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Credentials come from files, from one file as a DIRAC proxy's, from memory; without
// any the client is nobody. CAs are what is named, and no others.
func TestCredentials(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	srv := w.serve(t, nil, whose)
	cert, key := w.client(t, "alice")
	dir := t.TempDir()
	ca := write(t, filepath.Join(dir, "ca.pem"), w.ca.CertPEM())
	certFile, keyFile := write(t, filepath.Join(dir, "c.pem"), cert), write(t, filepath.Join(dir, "k.pem"), key)
	proxy := write(t, filepath.Join(dir, "x509up"), append(cert, key...))
	for _, tt := range []struct {
		name string
		cfg  rpcclient.Config
		want string
		code bus.Code
	}{
		{name: "files", cfg: rpcclient.Config{CertFile: certFile, KeyFile: keyFile, CAFiles: []string{ca}}, want: "alice"},
		{name: "one file", cfg: rpcclient.Config{CertFile: proxy, CAFiles: []string{ca}}, want: "alice"},
		{name: "memory", cfg: rpcclient.Config{CertPEM: cert, KeyPEM: key, CAPEM: w.ca.CertPEM()}, want: "alice"},
		{name: "memory, in one", cfg: rpcclient.Config{CertPEM: append(cert, key...), CAPEM: w.ca.CertPEM()}, want: "alice"},
		{name: "nothing", cfg: rpcclient.Config{CAPEM: w.ca.CertPEM()}, want: "nobody"},
		{name: "another CA", cfg: rpcclient.Config{CAPEM: newTown(t).ca.CertPEM()}, code: bus.CodeUnauthenticated},
		{name: "no file", cfg: rpcclient.Config{CertFile: filepath.Join(dir, "none"), CAFiles: []string{ca}}, code: bus.CodeFailedPrecondition},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.cfg.URL = srv.URL + service
			c, err := rpcclient.New(tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			got, err := rpcclient.Call[[]string](t.Context(), c, "whoami")
			if tt.code != 0 {
				if bus.CodeOf(err) != tt.code || !errors.Is(err, rpcclient.ErrNotExecuted) {
					t.Errorf("got %v, want %s, not executed", err, tt.code)
				}
				return
			}
			if err != nil || got[0] != tt.want || got[2] != "HTTP/2.0" {
				t.Errorf("got %v, %v; want %s by HTTP/2", got, err, tt.want)
			}
		})
	}
}

// A certificate that was renewed is shown by new connections; those that there are go
// on.
func TestRenewedCertificate(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	srv := w.serve(t, nil, whose)
	dir := t.TempDir()
	proxy := filepath.Join(dir, "x509up")
	put := func(name string) {
		cert, key := w.client(t, name)
		write(t, proxy, append(cert, key...))
	}
	put("first")
	c, err := rpcclient.New(rpcclient.Config{URL: srv.URL + service, CertFile: proxy, CAPEM: w.ca.CertPEM()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask := func() []string {
		t.Helper()
		got, err := rpcclient.Call[[]string](t.Context(), c, "whoami")
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := ask()
	put("second")
	if again := ask(); again[0] != "first" || again[1] != first[1] {
		t.Errorf("got %v after %v, want the same connection", again, first)
	}
	srv.CloseClientConnections()
	for {
		now, err := rpcclient.Call[[]string](t.Context(), c.Idempotent(), "whoami")
		if err != nil {
			t.Fatal(err)
		}
		if now[1] != first[1] {
			if now[0] != "second" {
				t.Errorf("got %v on a new connection", now)
			}
			return
		}
	}
}

// A server that does not accept the certificate says so after the handshake: the call
// was not executed, and is made elsewhere.
func TestCertificateNotAccepted(t *testing.T) {
	t.Parallel()
	w, other := newTown(t), newTown(t)
	strict := w.serve(t, func(c *tls.Config) {
		c.ClientAuth = tls.RequireAndVerifyClientCert
		c.NextProtos = []string{"http/1.1"}
	}, whose)
	cert, key := other.client(t, "mallory")
	c, err := rpcclient.New(rpcclient.Config{URL: strict.URL + service, CertPEM: cert, KeyPEM: key, CAPEM: w.ca.CertPEM()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Call(t.Context(), "f")
	if bus.CodeOf(err) != bus.CodeUnauthenticated || !errors.Is(err, rpcclient.ErrNotExecuted) {
		t.Errorf("got %v, want unauthenticated, not executed", err)
	}
	friendly := w.serve(t, func(c *tls.Config) { c.ClientAuth = tls.RequestClientCert }, whose)
	c, err = rpcclient.New(rpcclient.Config{
		URL: strict.URL + service, FailoverURLs: []string{friendly.URL + service}, CertPEM: cert, KeyPEM: key, CAPEM: w.ca.CertPEM(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := rpcclient.Call[[]string](t.Context(), c, "f"); err != nil || got[0] != "mallory" {
		t.Errorf("got %v, %v; want the other server's answer", got, err)
	}
}

// A token is asked for with each request; without one nothing is sent.
func TestTokenSource(t *testing.T) {
	t.Parallel()
	var got logged
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got.add(r.Header.Get("Authorization"))
		answers(fine)(w, r)
	})
	tokens := []string{"one", "two", "", "three\n"}
	c := client(t, rpcclient.Config{Token: "not this", TokenSource: func(context.Context) (string, error) {
		token := tokens[0]
		tokens = tokens[1:]
		if token == "" {
			return "", errors.New("the login is over")
		}
		return token, nil
	}}, s)
	for _, want := range []string{"Bearer one", "Bearer two"} {
		if _, err := c.Call(t.Context(), "f"); err != nil || got.last() != want {
			t.Errorf("got %q, %v; want %q", got.last(), err, want)
		}
	}
	_, err := c.Call(t.Context(), "f")
	if bus.CodeOf(err) != bus.CodeUnauthenticated || !errors.Is(err, rpcclient.ErrNotExecuted) || s.calls.Load() != 2 {
		t.Errorf("got %v, asked %d times", err, s.calls.Load())
	}
	_, err = c.Call(t.Context(), "f")
	if bus.CodeOf(err) != bus.CodeInvalidArgument || strings.Contains(err.Error(), "three") || s.calls.Load() != 2 {
		t.Errorf("what is no token: got %v, asked %d times", err, s.calls.Load())
	}
}

// A service that does not know the certificate any more answers 401 on the connection
// that there is: the next call has another one, which shows the renewed.
func TestRenewedCertificateAfter401(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"http/1.1", "h2"} {
		w := newTown(t)
		srv := w.serve(t, func(c *tls.Config) { c.NextProtos = []string{protocol} }, func(w http.ResponseWriter, r *http.Request) {
			if name := r.TLS.PeerCertificates[0].Subject.CommonName; name == "expired" {
				status(http.StatusUnauthorized)(w, r)
				return
			}
			whose(w, r)
		})
		proxy := filepath.Join(t.TempDir(), "x509up")
		put := func(name string) {
			cert, key := w.client(t, name)
			write(t, proxy, append(cert, key...))
		}
		put("expired")
		c, err := rpcclient.New(rpcclient.Config{URL: srv.URL + service, CertFile: proxy, CAPEM: w.ca.CertPEM()})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Call(t.Context(), "whoami"); bus.CodeOf(err) != bus.CodeUnauthenticated {
			t.Errorf("%s: got %v", protocol, err)
		}
		put("renewed")
		if got, err := rpcclient.Call[[]string](t.Context(), c, "whoami"); err != nil || got[0] != "renewed" {
			t.Errorf("%s: got %v, %v", protocol, got, err)
		}
	}
}

// Over HTTP/2 the same is heard at another moment each time.
func TestCertificateNotAcceptedOverHTTP2(t *testing.T) {
	t.Parallel()
	w, other := newTown(t), newTown(t)
	strict := w.serve(t, func(c *tls.Config) { c.ClientAuth = tls.RequireAndVerifyClientCert }, whose)
	cert, key := other.client(t, "mallory")
	for range 100 {
		c, err := rpcclient.New(rpcclient.Config{URL: strict.URL + service, CertPEM: cert, KeyPEM: key, CAPEM: w.ca.CertPEM()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = c.Call(t.Context(), "f"); bus.CodeOf(err) != bus.CodeUnauthenticated || !errors.Is(err, rpcclient.ErrNotExecuted) {
			t.Errorf("got %v, want unauthenticated, not executed", err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
