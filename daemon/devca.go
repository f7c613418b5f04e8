package daemon

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"strings"

	"busd/bus"
	"busd/daemon/internal/cli"
	"busd/internal/mtls"
)

// devCAName begins the names of the CAs that development mode makes. By it
// they are known: a CA of another name is somebody's own, and is never
// replaced.
const devCAName = "busd dev CA"

// elsewhere is advice for whoever keeps something of his own in the directory.
const elsewhere = "another working directory         development mode makes its own " + devDir + " there"

// openCA takes the CA that is there. One that cannot be used is replaced if
// development mode made it.
func (p *devPKI) openCA() error {
	cert, key := p.path("ca.crt"), p.path("ca.key")
	if absent(cert) && absent(key) {
		return p.newCA()
	}
	if !absent(key) && !private(key) {
		return cli.Advise(bus.Errorf(bus.CodeAlreadyExists,
			"the key of the CA in %s may be used by others than its owner, or is no regular file", p.dir),
			"chmod 600 "+key+"     if nobody else has read it", elsewhere)
	}
	ca, fault := p.loadCA()
	switch {
	case fault == "":
		p.ca = ca
		return nil
	case ours(readCertificate(cert)):
		p.renewed = fault
		return p.newCA()
	}
	return cli.Advise(bus.Errorf(bus.CodeAlreadyExists,
		"the CA in %s cannot be used: %s; development mode replaces only a CA that it made itself", p.dir, fault),
		"busd pki init --force             a new CA; what the old one signed is worth nothing then", elsewhere)
}

// loadCA reads the CA, or says why it cannot be used.
func (p *devPKI) loadCA() (ca *mtls.Authority, fault string) {
	var parts [2][]byte
	for i, name := range []string{"ca.crt", "ca.key"} {
		if absent(p.path(name)) {
			return nil, p.path(name) + " is missing"
		}
		data, err := os.ReadFile(p.path(name))
		if err != nil {
			return nil, p.path(name) + " cannot be read"
		}
		parts[i] = data
	}
	ca, err := mtls.LoadAuthority(parts[0], parts[1])
	if err != nil {
		return nil, bus.AsError(err).Reason
	}
	return ca, unfit(ca.Certificate())
}

func (p *devPKI) newCA() error {
	// Part of the name is random, so that an error that names two of them
	// tells them apart.
	tag := make([]byte, 2)
	_, _ = rand.Read(tag) // it never fails
	ca, err := mtls.NewAuthority(devCAName+" "+hex.EncodeToString(tag), devValidity)
	if err != nil {
		return err
	}
	keyPEM, err := ca.KeyPEM()
	if err != nil {
		return err
	}
	p.ca = ca
	return mtls.WriteFiles(true,
		mtls.File{Path: p.path("ca.key"), Data: keyPEM, Secret: true},
		mtls.File{Path: p.path("ca.crt"), Data: ca.CertPEM()})
}

// ours tells whether a CA of development mode signed a certificate, as it does
// its own. nil is nobody's.
func ours(cert *x509.Certificate) bool {
	return cert != nil && strings.HasPrefix(cert.Issuer.CommonName, devCAName)
}

// readCertificate returns the first certificate of a file, nil if there is
// none.
func readCertificate(path string) *x509.Certificate {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return cert
}

func absent(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}
