package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// serverName is what the server's certificate is for, and what clients check.
const serverName = "127.0.0.1"

// The files of a PKI, in its directory.
const (
	caFile        = "ca.crt"
	caKeyFile     = "ca.key"
	serverFile    = "server.crt"
	serverKeyFile = "server.key"
	ticketsFile   = "tickets.key"
)

// A pki is a CA made for one run, with ECDSA P-256 keys, and the certificates
// that it has signed.
type pki struct {
	dir    string
	ca     *x509.Certificate
	key    *ecdsa.PrivateKey
	pool   *x509.CertPool
	cert   tls.Certificate // the server's
	ticket [32]byte        // encrypts session tickets, also after a restart
}

// makePKI makes a CA and the server's certificate and writes both into a
// directory.
func makePKI(dir string) (*pki, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := template("busd bench CA")
	ca.IsCA, ca.BasicConstraintsValid = true, true
	ca.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	p := &pki{dir: dir, ca: ca, key: key}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	server := template("busd bench server")
	server.IPAddresses = []net.IP{net.ParseIP(serverName)}
	server.DNSNames = []string{"localhost"}
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	serverDER, serverKey, err := p.sign(server)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(
		writePEM(filepath.Join(dir, caFile), "CERTIFICATE", caDER),
		writeKey(filepath.Join(dir, caKeyFile), key),
		writePEM(filepath.Join(dir, serverFile), "CERTIFICATE", serverDER),
		writeKey(filepath.Join(dir, serverKeyFile), serverKey),
		writeRandom(filepath.Join(dir, ticketsFile), len(p.ticket)),
	); err != nil {
		return nil, err
	}
	return openPKI(dir)
}

// openPKI reads what makePKI wrote.
func openPKI(dir string) (*pki, error) {
	p := &pki{dir: dir, pool: x509.NewCertPool()}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, caFile), filepath.Join(dir, caKeyFile))
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the key of the CA is a %T", pair.PrivateKey)
	}
	p.ca, p.key = pair.Leaf, key
	p.pool.AddCert(p.ca)
	if p.cert, err = tls.LoadX509KeyPair(filepath.Join(dir, serverFile), filepath.Join(dir, serverKeyFile)); err != nil {
		return nil, err
	}
	ticket, err := os.ReadFile(filepath.Join(dir, ticketsFile))
	if err != nil {
		return nil, err
	}
	copy(p.ticket[:], ticket)
	return p, nil
}

// serverTLS is what every contender serves with that takes a tls.Config: TLS
// 1.3, clients must show a certificate, tickets are good after a restart.
func (p *pki) serverTLS() *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{p.cert},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: p.pool,
	}
	c.SetSessionTicketKeys([][32]byte{p.ticket})
	return c
}

// client makes the certificate of a client.
func (p *pki) client(name string) (*tls.Certificate, error) {
	t := template(name)
	t.DNSNames = []string{name}
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	der, key, err := p.sign(t)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

// clientTLS is what a client connects with. shown is called whenever it has to
// show its certificate, as it must in every handshake that resumes nothing.
func (p *pki) clientTLS(cert *tls.Certificate, sessions tls.ClientSessionCache, shown func()) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: p.pool, ServerName: serverName, ClientSessionCache: sessions,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			shown()
			return cert, nil
		},
	}
}

func (p *pki) sign(t *x509.Certificate) ([]byte, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, t, p.ca, &key.PublicKey, p.key)
	return der, key, err
}

func template(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil { // crypto/rand does not fail
		panic(err)
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(7 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
}

func writeKey(file string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(file, "PRIVATE KEY", der)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

func writeRandom(file string, n int) error {
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o600)
}
