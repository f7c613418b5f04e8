package mtls

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"

	"busd/bus"
)

// maxFile bounds a file that is read; the CA bundles of whole grids stay
// below it.
const maxFile = 8 << 20

// Files names PEM files. Cert holds the leaf first, then the intermediate ones.
// A CA file may hold several certificates. In place of one a directory may
// stand: then the CAs are all those in its files *.pem, *.crt and *.0 to *.9,
// and what in them is no CA's certificate is passed over.
type Files struct {
	Cert, Key string
	CA        []string
	// CRL are, for a [Source] alone, lists of revoked certificates (RFC 5280), in
	// PEM or DER, or directories that hold such: their files *.r0 to *.r9, *.crl
	// and *.pem. A list counts once a CA that is believed has signed it, or an
	// intermediate one that a client has shown.
	CRL []string
	// Tickets is no PEM file, and for a [Source] alone: where it keeps the keys
	// of session tickets.
	Tickets Tickets
}

// Material is what one end shows and whom it believes.
type Material struct {
	// Certificate is the end's own chain and key.
	Certificate tls.Certificate
	// CAs are the authorities that may have signed the other end's
	// certificate.
	CAs []*x509.Certificate
}

// MaterialFromPEM reads a server's material from memory. There must be a
// certificate, its key and at least one CA.
func MaterialFromPEM(cert, key, ca []byte) (Material, error) {
	return serverMaterial(
		pemFile{name: "the certificate", data: cert}, pemFile{name: "the key", data: key}, []pemFile{{name: "the CA", data: ca}})
}

// pemFile is a file's contents and what to call it in an error.
type pemFile struct {
	name string
	data []byte
	dir  string      // the directory that it was found in; empty: it was named
	path string      // empty: it is in memory
	info fs.FileInfo // as it was when it was read; nil: it is in memory, or a directory
}

func serverMaterial(cert, key pemFile, cas []pemFile) (Material, error) {
	pair, err := parsePair(cert, key)
	if err != nil {
		return Material{}, err
	}
	if fault := keyFault(pair.Leaf); fault != "" {
		return Material{}, broken(nil, cert.name+": it has "+fault)
	}
	if fault := serverFault(pair.Leaf); fault != "" {
		return Material{}, broken(nil, cert.name+": "+fault)
	}
	pool, err := parseCAs(cas)
	if err != nil {
		return Material{}, err
	}
	if len(pool) == 0 {
		return Material{}, broken(nil, "no CA is named: nobody could show a certificate to be believed")
	}
	return Material{Certificate: pair, CAs: pool}, nil
}

// contents are the files' bytes.
type contents struct {
	cert, key pemFile
	cas       []pemFile
}

// readServer reads the files of a server. It refuses a key file that anybody
// but its owner may read or write.
func (f Files) readServer() (contents, error) {
	c, err := f.read()
	if err != nil {
		return c, err
	}
	// An error at start, not a surprise later; of the file that was read.
	return c, checkSecretMode(c.key.info, c.key.name, f.Key)
}

func (f Files) read() (contents, error) {
	var c contents
	if f.Cert == "" || f.Key == "" {
		return c, broken(nil, "no certificate file or no key file is named: both are needed")
	}
	var err error
	if c.cert, err = readFile("certificate", f.Cert); err != nil {
		return c, err
	}
	if c.key, err = readFile("key", f.Key); err != nil {
		return c, err
	}
	c.cas, err = readCAs(f.CA)
	return c, err
}

func (c contents) hash() [sha256.Size]byte {
	sum := sha256.New()
	for _, file := range append([]pemFile{c.cert, c.key}, c.cas...) {
		part := sha256.Sum256(file.data)
		sum.Write(part[:])
	}
	return [sha256.Size]byte(sum.Sum(nil))
}

func readFile(what, path string) (pemFile, error) {
	name := what + " file " + path
	data, info, err := readRegular(path, maxFile)
	if err != nil {
		return pemFile{}, broken(plainCause(err), name)
	}
	return pemFile{name: name, path: path, data: data, info: info}, nil
}

func checkSecretMode(info fs.FileInfo, name, path string) error {
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" { // which has no such bits
		return bus.Errorf(bus.CodeFailedPrecondition,
			"%s: others than its owner may use it (mode %04o): chmod 600 %s", name, mode, path)
	}
	return nil
}

func parsePair(cert, key pemFile) (tls.Certificate, error) {
	if !hasPEM(cert.data, isCertificate) {
		return tls.Certificate{}, broken(noPEM(cert.data, "certificate"), cert.name)
	}
	if !hasPEM(key.data, isPrivateKey) {
		return tls.Certificate{}, broken(noPEM(key.data, "private key"), key.name)
	}
	pair, err := tls.X509KeyPair(cert.data, key.data)
	switch {
	case err == nil:
		return pair, nil
	case strings.Contains(err.Error(), "does not match"):
		return pair, broken(nil, key.name+" is not the key of "+cert.name)
	default:
		return pair, broken(err, cert.name+" and "+key.name+" cannot be used")
	}
}

// parseCAs returns the certificates of all files, each once. It refuses a file
// that was named and has none, or one that is not a CA's, and a directory that
// has none in all of its files.
func parseCAs(files []pemFile) ([]*x509.Certificate, error) {
	var cas []*x509.Certificate
	found := map[string]bool{} // by directory, or by the file's name
	for _, file := range files {
		place := cmp.Or(file.dir, file.name)
		for rest := file.data; ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			if !isCertificate(block.Type) {
				continue
			}
			cert, err := parseCA(file.name, block.Bytes)
			if err != nil && file.dir != "" {
				continue
			}
			if err != nil {
				return nil, err
			}
			found[place] = true
			if !slices.ContainsFunc(cas, cert.Equal) {
				cas = append(cas, cert)
			}
		}
		if file.dir == "" && !found[place] {
			return nil, broken(noPEM(file.data, "certificate"), file.name)
		}
	}
	for _, file := range files {
		if file.dir != "" && !found[file.dir] {
			return nil, broken(nil, file.name+": there is no CA's certificate in this directory: want files *.pem, *.crt or *.0")
		}
	}
	return cas, nil
}

func parseCA(name string, der []byte) (*x509.Certificate, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, broken(err, name+": a certificate in it cannot be read")
	}
	if cert.BasicConstraintsValid && !cert.IsCA {
		return nil, broken(nil, name+": the certificate of "+cert.Subject.String()+" in it is not a CA's")
	}
	return cert, nil
}

func isCertificate(block string) bool { return block == "CERTIFICATE" }

func isPrivateKey(block string) bool {
	return block == "PRIVATE KEY" || strings.HasSuffix(block, " PRIVATE KEY") && block != "ENCRYPTED PRIVATE KEY"
}

func hasPEM(data []byte, want func(block string) bool) bool {
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return false
		}
		if want(block.Type) {
			return true
		}
	}
}

// noPEM says what is there in place of what was wanted.
func noPEM(data []byte, want string) error {
	block, _ := pem.Decode(data)
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return errors.New("it is empty")
	case block == nil:
		return errors.New("it is not PEM (-----BEGIN …): want a " + want)
	case strings.Contains(block.Type, "ENCRYPTED"):
		return errors.New("it is encrypted: the key must stand in the clear in a file that only its owner may read")
	}
	return errors.New("it holds a " + strings.ToLower(block.Type) + ": want a " + want)
}

// plainCause leaves out the path, which the reason names already.
func plainCause(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}

// broken is an error about what is configured here; it stays here, so its
// reason says everything. It is temporary: files are replaced while programs
// run.
func broken(cause error, reason string) error {
	if cause != nil {
		reason += ": " + cause.Error()
	}
	return bus.Errorf(bus.CodeFailedPrecondition, "%s", reason)
}

func poolOf(cas []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, cert := range cas {
		pool.AddCert(cert)
	}
	return pool
}

// hashSet returns a hash of certificates that does not depend on their order.
func hashSet(certs []*x509.Certificate) [sha256.Size]byte {
	hashes := make([][sha256.Size]byte, 0, len(certs))
	for _, cert := range certs {
		hashes = append(hashes, sha256.Sum256(cert.Raw))
	}
	slices.SortFunc(hashes, func(a, b [sha256.Size]byte) int { return bytes.Compare(a[:], b[:]) })
	sum := sha256.New()
	for _, hash := range hashes {
		sum.Write(hash[:])
	}
	return [sha256.Size]byte(sum.Sum(nil))
}
