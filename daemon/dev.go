package daemon

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"busd/bus"
	"busd/daemon/internal/cli"
	"busd/internal/mtls"
)

// Development certificates.
const (
	// devDir is where they are, beside where the program was started. The
	// commands that connect look there too.
	devDir = ".busd"
	// devValidity is how long they are valid, and devMargin how long they must
	// still be to be used again.
	devValidity = 30 * 24 * time.Hour
	devMargin   = 24 * time.Hour
)

// devClients are the clients that get certificates.
var devClients = []string{"alice", "bob"}

// devHosts are the names of this machine in the server's certificate.
var devHosts = []string{"localhost", "127.0.0.1", "::1"}

// devPKI is the directory of development certificates.
type devPKI struct {
	dir string
	ca  *mtls.Authority
	// renewed says why the CA was replaced; empty: it was not.
	renewed string
}

// openDevPKI makes the directory complete: what is there and valid stays, so
// that clients that run need not be told anything.
func openDevPKI(dir string) (*devPKI, error) {
	if err := ownDir(dir); err != nil {
		return nil, err
	}
	p := &devPKI{dir: dir}
	if err := p.openCA(); err != nil {
		return nil, err
	}
	ips := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	server := mtls.Request{Name: "busd development server", DNS: devHosts[:1], IPs: ips, Server: true, Validity: devValidity}
	if err := p.complete("server", server, devHosts); err != nil {
		return nil, err
	}
	for _, name := range devClients {
		client := mtls.Request{Name: name, DNS: []string{name}, Client: true, Validity: devValidity}
		if err := p.complete("client-"+name, client, []string{name}); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// ownDir makes the directory one that nobody else can look into.
func ownDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return bus.Errorf(bus.CodeFailedPrecondition, "%s is no directory: development certificates would go there", dir)
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a directory needs the x
		return bus.Errorf(bus.CodeFailedPrecondition, "%s belongs to somebody else: development certificates would go there", dir)
	}
	// Keys have no business in a repository.
	return mtls.WriteFiles(true, mtls.File{Path: filepath.Join(dir, ".gitignore"), Data: []byte("*\n")})
}

func (p *devPKI) path(name string) string { return filepath.Join(p.dir, name) }

// files are what the server needs.
func (p *devPKI) files() mtls.Files {
	return mtls.Files{
		Cert: p.path("server.crt"), Key: p.path("server.key"), CA: []string{p.path("ca.crt")},
		Tickets: mtls.Tickets{File: p.path("tickets.key")},
	}
}

// fingerprint names the CA.
func (p *devPKI) fingerprint() string {
	sum := sha256.Sum256(p.ca.Certificate().Raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// complete takes the certificate that is there, if it is good for all names,
// or issues a new one.
func (p *devPKI) complete(file string, r mtls.Request, names []string) error {
	certPath, keyPath := p.path(file+".crt"), p.path(file+".key")
	pair, err := tls.LoadX509KeyPair(certPath, keyPath)
	if err == nil && private(keyPath) && p.good(pair.Leaf, r, names) {
		return nil
	}
	if !absent(certPath) && !ours(readCertificate(certPath)) {
		return cli.Advise(bus.Errorf(bus.CodeAlreadyExists,
			"%s cannot be used with the CA beside it, and development mode replaces only what its own CAs signed", certPath),
			"busd pki show "+certPath, "remove or rename it, and its key: development mode makes another", elsewhere)
	}
	issued, err := p.ca.Issue(r)
	if err != nil {
		return err
	}
	keyPEM, err := issued.KeyPEM()
	if err != nil {
		return err
	}
	return mtls.WriteFiles(true,
		mtls.File{Path: keyPath, Data: keyPEM, Secret: true},
		mtls.File{Path: certPath, Data: issued.CertPEM()})
}

func (p *devPKI) good(leaf *x509.Certificate, r mtls.Request, names []string) bool {
	usage := x509.ExtKeyUsageClientAuth
	if r.Server {
		usage = x509.ExtKeyUsageServerAuth
	}
	return unfit(leaf) == "" && leaf.CheckSignatureFrom(p.ca.Certificate()) == nil &&
		slices.Contains(leaf.ExtKeyUsage, usage) &&
		!slices.ContainsFunc(names, func(name string) bool { return leaf.VerifyHostname(name) != nil })
}

// unfit says what is wrong with a certificate's time; empty is nothing.
func unfit(cert *x509.Certificate) string {
	now := time.Now()
	end := cert.NotAfter.UTC().Format(time.RFC3339)
	switch {
	case now.Before(cert.NotBefore):
		return "it is not valid before " + cert.NotBefore.UTC().Format(time.RFC3339)
	case now.After(cert.NotAfter):
		return "it ended on " + end
	case now.Add(devMargin).After(cert.NotAfter):
		return "it ends in less than a day, on " + end
	}
	return ""
}

// private tells whether only its owner may use a key.
func private(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 == 0
}

// mustBeLoopback refuses an address that others could reach.
func mustBeLoopback(a net.Addr) error {
	if tcp, ok := a.(*net.TCPAddr); ok && tcp.IP.IsLoopback() {
		return nil
	}
	return bus.Errorf(bus.CodeInvalidArgument, "%s is not a loopback address: development mode listens on loopback only", fmt.Sprint(a))
}
