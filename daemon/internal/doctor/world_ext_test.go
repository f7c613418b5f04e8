package doctor_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"busd/daemon/internal/doctor"
	"busd/internal/mtls"
	"busd/msgbus"
	"busd/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const contract = `{"service": "Test/Bench", "messages": [
	{"name": "Do", "from": "client", "attrs": [{"name": "what", "type": "string"}]}
]}`

// A world has a CA, a certificate for a server on the loopback, and the files of a
// client.
type world struct {
	t      *testing.T
	dir    string
	ca     *mtls.Authority
	server *mtls.Issued
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.ca = w.authority("test CA")
	w.server = w.issue(w.ca, forServer())
	w.write("ca.crt", w.ca.CertPEM())
	w.client(w.ca, mtls.Request{Name: "agent", DNS: []string{"agent"}, Client: true})
	return w
}

func forServer() mtls.Request {
	return mtls.Request{Name: "server", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, DNS: []string{"localhost"}, Server: true}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) authority(name string) *mtls.Authority {
	w.t.Helper()
	ca, err := mtls.NewAuthority(name, 24*365*time.Hour)
	w.must(err)
	return ca
}

func (w *world) issue(ca *mtls.Authority, r mtls.Request) *mtls.Issued {
	w.t.Helper()
	issued, err := ca.Issue(r)
	w.must(err)
	return issued
}

// client makes the certificate that the client shows.
func (w *world) client(ca *mtls.Authority, r mtls.Request) {
	w.t.Helper()
	issued := w.issue(ca, r)
	key, err := issued.KeyPEM()
	w.must(err)
	w.write("a.crt", issued.CertPEM())
	w.write("a.key", key)
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(name string, data []byte) {
	w.t.Helper()
	w.must(os.WriteFile(w.path(name), data, 0o600))
}

// conf is the configuration of a server of busd.
func (w *world) conf(cert tls.Certificate, p mtls.Policy) *tls.Config {
	w.t.Helper()
	c, err := mtls.ServerConfig(mtls.Material{Certificate: cert, CAs: []*x509.Certificate{w.ca.Certificate()}}, p)
	w.must(err)
	return c
}

// bus is a handler with the service Test/Bench; change, which may be nil, changes
// the service.
func (w *world) bus(change func(*msgbus.Service)) http.Handler {
	w.t.Helper()
	s, err := schema.Parse([]byte(contract))
	w.must(err)
	svc := &msgbus.Service{Schema: s}
	msgbus.HandleRecord(svc, "Do", func(context.Context, *msgbus.Conn, *schema.Record) error { return nil })
	if change != nil {
		change(svc)
	}
	srv, err := msgbus.NewServer(msgbus.Config{}, svc)
	w.must(err)
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			w.t.Errorf("Shutdown: %v", err)
		}
	})
	return srv
}

// listen serves on the loopback, and returns host:port.
func (w *world) listen(serve func(net.Listener)) string {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	var running sync.WaitGroup
	running.Go(func() { serve(l) })
	w.t.Cleanup(func() {
		_ = l.Close()
		running.Wait()
	})
	return l.Addr().String()
}

// web serves HTTP over TLS; a nil configuration is plain HTTP.
func (w *world) web(conf *tls.Config, h http.Handler) string {
	w.t.Helper()
	srv := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	w.t.Cleanup(func() { _ = srv.Close() })
	return w.listen(func(l net.Listener) {
		if conf != nil {
			l = tls.NewListener(l, conf)
		}
		_ = srv.Serve(l)
	})
}

// raw hands each connection to answer, and closes it after that.
func (w *world) raw(answer func(net.Conn)) string {
	w.t.Helper()
	return w.listen(func(l net.Listener) {
		var each sync.WaitGroup
		defer each.Wait()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			each.Go(func() {
				defer c.Close()
				answer(c)
			})
		}
	})
}

// mute takes what comes and says nothing.
func mute(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// options are those of a client with everything in order.
func (w *world) options(addr string) doctor.Options {
	return doctor.Options{
		URL: "wss://" + addr + "/Test/Bench", Cert: w.path("a.crt"), Key: w.path("a.key"), CA: []string{w.path("ca.crt")},
		Timeout: 5 * time.Second, HelloTimeout: 5 * time.Second, Version: "test",
	}
}

// A minted certificate is of any shape.
type minted struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// mint makes a certificate as the template says, signed by parent, or by itself.
func (w *world) mint(template *x509.Certificate, parent *minted) *minted {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	return w.mintFor(key, template, parent)
}

func (w *world) mintFor(key crypto.Signer, template *x509.Certificate, parent *minted) *minted {
	w.t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	w.must(err)
	template.SerialNumber = serial
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(1000*time.Hour)
	}
	template.BasicConstraintsValid = true
	m := &minted{template, key}
	if parent == nil {
		parent = m
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.cert, key.Public(), parent.key)
	w.must(err)
	m.cert, err = x509.ParseCertificate(der)
	w.must(err)
	return &minted{m.cert, key}
}

func caTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name, Organization: []string{"Example"}}, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

func serverTemplate() *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: "server"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
}

// tls is the certificate with those that are sent behind it.
func (m *minted) tls(more ...*minted) tls.Certificate {
	c := tls.Certificate{Certificate: [][]byte{m.cert.Raw}, PrivateKey: m.key, Leaf: m.cert}
	for _, other := range more {
		c.Certificate = append(c.Certificate, other.cert.Raw)
	}
	return c
}

func (m *minted) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.cert.Raw})
}

// keyPEM is the key in PEM.
func (w *world) keyPEM(m *minted) []byte {
	w.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(m.key)
	w.must(err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
