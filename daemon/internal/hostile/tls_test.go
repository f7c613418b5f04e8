package hostile

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"busd/internal/mtls"
)

// shown is a case in which a certificate is shown, and the first read tells
// what the server thinks of it.
func shown(cert tls.Certificate) func(*client) {
	return func(c *client) {
		c.handshake(cert)
		if c.err == nil {
			c.send(upgrade(c.path)) // must not be looked at
		}
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	issue := func(ca *mtls.Authority, r mtls.Request) tls.Certificate { return s.issue(t, ca, r) }
	newCA := func(name string) *mtls.Authority {
		ca, err := mtls.NewAuthority(name, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return ca
	}
	mallory := mtls.Request{Name: "mallory", DNS: []string{"mallory"}, Client: true}
	expired, early, short, serverOnly := mallory, mallory, mallory, mallory
	expired.NotBefore, expired.Validity = time.Now().Add(-time.Minute), time.Second
	early.NotBefore = time.Now().Add(30 * time.Minute)
	short.NotBefore, short.Validity = time.Now().Add(-time.Hour), time.Hour-time.Second
	serverOnly.Client, serverOnly.Server = false, true
	alice := issue(s.ca, mtls.Request{Name: "alice", DNS: []string{"alice"}, Client: true})
	clientHello := helloBytes(t)

	s.run(t, []hostileCase{
		// Not TLS.
		{name: "garbage", at: tcpOpen, do: sends(bytes.Repeat([]byte{0xff, 0x00, 0x5a}, 400)), want: "closed"},
		{name: "one byte", at: tcpOpen, do: sends([]byte{0x16}), want: "closed"},
		{name: "silence", at: tcpOpen, do: sends(nil), want: "closed"},
		{name: "plain HTTP", at: tcpOpen, do: sends(upgrade(pingPath)), want: "400, closed"},
		{name: "plain HTTP by POST", at: tcpOpen, do: sends(request("POST / HTTP/1.1", "Content-Length: 9999999")), want: "400, closed"},
		{name: "HTTP/2 without TLS", at: tcpOpen, do: sends([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")), want: "closed"},
		{name: "PROXY protocol", at: tcpOpen, do: sends([]byte("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"), clientHello), want: "closed"},
		{name: "SSH", at: tcpOpen, do: sends([]byte("SSH-2.0-OpenSSH_9.9\r\n")), want: "closed"},
		{name: "SSLv2", at: tcpOpen, do: sends([]byte{0x80, 0x2e, 0x01, 0x00, 0x02, 0x00, 0x15, 0x00, 0x00, 0x00, 0x10}), want: "alert 70, closed"},
		{name: "an endless stream of zeros", at: tcpOpen, do: drips(64<<10, 0, make([]byte, 64<<10)), want: "closed"},

		// Records and messages out of order.
		{name: "half a ClientHello", at: tcpOpen, do: sends(clientHello[:len(clientHello)/2]), want: "closed"},
		{name: "a ClientHello by drops", at: tcpOpen, do: drips(1, 50*time.Millisecond, clientHello), want: "closed"},
		{name: "a record of 65,535 bytes", at: tcpOpen, do: sends([]byte{0x16, 0x03, 0x01, 0xff, 0xff}), want: "alert 22, closed"},
		{name: "an empty handshake message of an unknown type", at: tcpOpen, do: sends([]byte{0x16, 0x03, 0x01, 0x00, 0x04, 0x63, 0, 0, 0}), want: "alert 10, closed"},
		{name: "a ServerHello", at: tcpOpen, do: sends([]byte{0x16, 0x03, 0x03, 0x00, 0x04, 0x02, 0, 0, 0}), want: "alert 50, closed"},
		{name: "a ClientHello of nothing", at: tcpOpen, do: sends([]byte{0x16, 0x03, 0x01, 0x00, 0x04, 0x01, 0, 0, 0}), want: "alert 50, closed"},
		{name: "a ClientHello that announces 16 MiB", at: tcpOpen, do: sends([]byte{0x16, 0x03, 0x01, 0x00, 0x04, 0x01, 0xff, 0xff, 0xff}), want: "alert 80, closed"},
		{name: "data before the handshake", at: tcpOpen, do: sends([]byte{0x17, 0x03, 0x03, 0x00, 0x05, 1, 2, 3, 4, 5}), want: "closed"},
		{name: "an alert as the first word", at: tcpOpen, do: sends([]byte{0x15, 0x03, 0x03, 0x00, 0x02, 2, 40}), want: "closed"},
		{name: "two ClientHellos", at: tcpOpen, do: sends(clientHello, clientHello), want: "closed"},
		{name: "a handshake of 60 KiB", at: tcpOpen, do: sends(hugeHello(60 << 10)), want: "closed"},

		// What TLS the client speaks.
		{name: "TLS 1.0 only", at: tcpOpen, do: speaksTLS(tls.VersionTLS10, s.good), want: "alert 70"},
		{name: "TLS 1.1 only", at: tcpOpen, do: speaksTLS(tls.VersionTLS11, s.good), want: "alert 70"},
		{name: "TLS 1.2 only", at: tcpOpen, do: speaksTLS(tls.VersionTLS12, s.good), want: "alert 70"},
		{name: "ALPN of HTTP/3 only", at: tcpOpen, do: func(c *client) {
			config := c.tlsConfig()
			config.NextProtos = []string{"h3"}
			c.handshakeWith(config)
		}, want: "alert 120"},
		{name: "HTTP/1.1 where HTTP/2 was agreed on", at: tcpOpen, do: func(c *client) {
			config := c.tlsConfig()
			config.NextProtos = []string{"h2"}
			c.handshakeWith(config)
			c.send(upgrade(pingPath))
		}, want: "closed"},

		// Certificates.
		{name: "no certificate", at: tlsNobody, do: sends(upgrade(pingPath)), want: "401, open"},
		{name: "no certificate, the contract", at: tlsNobody, do: sends(request("GET " + pingPath + " HTTP/1.1")), want: "401, open"},
		{name: "a proxy's word for a certificate", at: tlsNobody, do: sends(upgrade(pingPath,
			"X-Forwarded-Client-Cert: By=x;Subject=\"CN=alice\"", "X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1")), want: "401, open"},
		{name: "expired", at: tcpOpen, do: shown(issue(s.ca, expired)), want: "alert 45"},
		{name: "expired a second ago", at: tcpOpen, do: shown(issue(s.ca, short)), want: "alert 45"},
		{name: "not valid yet", at: tcpOpen, do: shown(issue(s.ca, early)), want: "alert 45"},
		{name: "another CA", at: tcpOpen, do: shown(issue(newCA("another CA"), mallory)), want: "alert 48"},
		{name: "a CA of the same name", at: tcpOpen, do: shown(issue(newCA("hostile test CA"), mallory)), want: "alert 48"},
		{name: "self-signed", at: tcpOpen, do: shown(selfSigned(t, "mallory")), want: "alert 48"},
		{name: "self-signed in the CA's name", at: tcpOpen, do: shown(selfSigned(t, "hostile test CA")), want: "alert 48"},
		{name: "a server's certificate", at: tcpOpen, do: shown(issue(s.ca, serverOnly)), want: "alert 42"},
		{name: "the server's own certificate", at: tcpOpen, do: shown(s.server), want: "alert 42"},
		{name: "the CA as the leaf", at: tcpOpen, do: shown(caPair(t, s.ca)), want: "alert 42"},
		{name: "a leaf that signs another", at: tcpOpen, do: shown(leafAsCA(t, s.good)), want: "alert 48"},
		{name: "an RSA key of 1,024 bits", at: tcpOpen, do: shown(signed(t, s.ca, weakRSA(t), &x509.Certificate{
			DNSNames: []string{"mallory"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})), want: "alert 42"},
		{name: "good for any use", at: tcpOpen, do: shown(signed(t, s.ca, newKey(t), &x509.Certificate{
			DNSNames: []string{"mallory"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		})), want: "alert 42"},
		{name: "good for no use", at: tcpOpen, do: shown(signed(t, s.ca, newKey(t), &x509.Certificate{DNSNames: []string{"mallory"}})), want: "alert 42"},
		{name: "two names of one kind", at: tcpOpen, do: shown(issue(s.ca, mtls.Request{Name: "x", DNS: []string{"mallory", "alice"}, Client: true})), want: "alert 42"},
		{name: "a leaf of 20 KiB", at: tcpOpen, do: shown(signed(t, s.ca, newKey(t), &x509.Certificate{
			DNSNames: []string{"mallory"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			ExtraExtensions: []pkix.Extension{{Id: []int{1, 2, 3, 4}, Value: make([]byte, 20<<10)}},
		})), want: "alert 42"},
		{name: "a critical extension that nobody knows", at: tcpOpen, do: shown(signed(t, s.ca, newKey(t), &x509.Certificate{
			DNSNames: []string{"mallory"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			ExtraExtensions: []pkix.Extension{{Id: []int{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}},
		})), want: "alert 42"},
		{name: "alice's certificate without her key", at: tcpOpen, do: shown(tls.Certificate{
			Certificate: alice.Certificate, PrivateKey: s.good.PrivateKey,
		}), want: "alert 51"},
		{name: "a certificate that is none", at: tcpOpen, do: shown(tls.Certificate{
			Certificate: [][]byte{bytes.Repeat([]byte{0x30}, 500)}, PrivateKey: s.good.PrivateKey,
		}), want: "alert 50"},

		// After the handshake.
		{name: "silence after TLS", at: tlsOpen, do: sends(nil), want: "closed"},
		{name: "silence after TLS as nobody", at: tlsNobody, do: sends(nil), want: "closed"},
		{name: "garbage inside TLS", at: tlsOpen, do: sends(bytes.Repeat([]byte{0xff, 0xfe, 0x00}, 100)), want: "400, closed"},
		{name: "a damaged record", at: tlsOpen, do: func(c *client) {
			_, _ = c.raw.Write(join([]byte{0x17, 0x03, 0x03, 0x00, 0x40}, make([]byte, 0x40)))
		}, want: "alert 20"},
		{name: "bytes in the clear after TLS", at: tlsOpen, do: func(c *client) {
			_, _ = c.raw.Write(upgrade(pingPath))
		}, want: "alert 70"},
		{name: "half of it closed after TLS", at: tlsOpen, do: func(c *client) {
			_ = c.raw.(*net.TCPConn).CloseWrite()
		}, want: "closed"},
	})
}

func sends(parts ...[]byte) func(*client) { return func(c *client) { c.send(join(parts...)) } }

// drips sends so many bytes at a time, for ever: what is left when all is sent
// begins anew.
func drips(size int, pause time.Duration, b []byte) func(*client) {
	return func(c *client) {
		for left := b; ; left = left[min(size, len(left)):] {
			if len(left) == 0 {
				left = b
			}
			if _, err := c.conn.Write(left[:min(size, len(left))]); err != nil {
				return
			}
			if pause > 0 {
				time.Sleep(pause) // it is the drip, and waits for nothing
			}
		}
	}
}

func speaksTLS(version uint16, cert tls.Certificate) func(*client) {
	return func(c *client) {
		config := c.tlsConfig()
		config.MinVersion, config.MaxVersion = version, version
		config.Certificates = []tls.Certificate{cert}
		c.handshakeWith(config)
	}
}

// recorder keeps what is written, and has nothing to read.
type recorder struct {
	net.Conn
	bytes.Buffer
}

func (r *recorder) Write(b []byte) (int, error)      { return r.Buffer.Write(b) }
func (r *recorder) Read([]byte) (int, error)         { return 0, net.ErrClosed }
func (r *recorder) SetDeadline(time.Time) error      { return nil }
func (r *recorder) SetWriteDeadline(time.Time) error { return nil }
func (r *recorder) Close() error                     { return nil }

// helloBytes is a proper ClientHello.
func helloBytes(t *testing.T) []byte {
	t.Helper()
	r := new(recorder)
	_ = tls.Client(r, (&client{}).tlsConfig()).Handshake() // fails when it wants the answer
	if r.Len() < 100 {
		t.Fatalf("a ClientHello of %d bytes", r.Len())
	}
	return r.Bytes()
}

// hugeHello is a handshake message of n bytes, in records of 16 KiB.
func hugeHello(n int) []byte {
	message := join([]byte{0x01, byte(n >> 16), byte(n >> 8), byte(n)}, make([]byte, n))
	var b []byte
	for len(message) > 0 {
		size := min(len(message), 16<<10)
		b = append(b, 0x16, 0x03, 0x01, byte(size>>8), byte(size))
		b, message = append(b, message[:size]...), message[size:]
	}
	return b
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func weakRSA(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// certificate signs the template, which gets what every certificate has.
func certificate(t *testing.T, template, parent *x509.Certificate, public, key, own any) tls.Certificate {
	t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(30*time.Minute)
	template.KeyUsage |= x509.KeyUsageDigitalSignature
	template.BasicConstraintsValid = true
	if template.Subject.CommonName == "" {
		template.Subject.CommonName = "mallory"
	}
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: own}
}

// signed makes a certificate of the template, by a CA that asks no questions.
func signed(t *testing.T, ca *mtls.Authority, key crypto.Signer, template *x509.Certificate) tls.Certificate {
	t.Helper()
	return certificate(t, template, ca.Certificate(), key.Public(), caPair(t, ca).PrivateKey, key)
}

func selfSigned(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key := newKey(t)
	return certificate(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{"mallory"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, nil, key.Public(), key, key)
}

// caPair is the CA's own certificate and key.
func caPair(t *testing.T, ca *mtls.Authority) tls.Certificate {
	t.Helper()
	key, err := ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(ca.CertPEM(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// leafAsCA is a certificate that a client signed with its own, and shows
// before it.
func leafAsCA(t *testing.T, leaf tls.Certificate) tls.Certificate {
	t.Helper()
	key := newKey(t)
	cert := certificate(t, &x509.Certificate{
		DNSNames: []string{"alice"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, leaf.Leaf, key.Public(), leaf.PrivateKey, key)
	cert.Certificate = append(cert.Certificate, leaf.Certificate[0])
	return cert
}
