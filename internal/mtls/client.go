package mtls

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"sync"
	"time"

	"busd/bus"
)

// sessionsKept bounds the TLS sessions kept for one certificate: one for each
// server that it is used with.
const sessionsKept = 16

// Credentials are a client's certificate, key and the CAs that it believes,
// in files or in memory. Files are read anew at each call of [Credentials.TLS],
// so that a renewed certificate is used from the next attempt on.
//
// Set the fields before the first use and do not copy it afterwards. Its
// methods may be called concurrently.
type Credentials struct {
	// CertFile and KeyFile are PEM files; both or neither. One file may hold
	// both.
	CertFile, KeyFile string
	// CAFiles are PEM files of the CAs that may have signed the server's
	// certificate.
	CAFiles []string

	// Certificate is used if there is no CertFile. With neither the client
	// shows no certificate.
	Certificate *tls.Certificate
	// CAs are believed beside those of CAFiles. With neither the client
	// believes the CAs of the system.
	CAs []*x509.Certificate

	// Now is the clock that certificates are checked against; nil means
	// time.Now.
	Now func() time.Time

	mu sync.Mutex
	// Guarded by mu. sessions belong to the material of hash key: another
	// certificate begins anew, else the server would be shown the old one.
	key      [sha256.Size]byte
	sessions tls.ClientSessionCache
}

// TLS returns the configuration for one attempt to connect to a server of this
// name, a host name or an address. An empty name leaves it to the dialer.
//
// The error, of [bus.CodeFailedPrecondition], names the file that cannot be
// used and why.
func (c *Credentials) TLS(serverName string) (*tls.Config, error) {
	cert, err := c.certificate()
	if err != nil {
		return nil, err
	}
	files, err := readCAs(c.CAFiles)
	if err != nil {
		return nil, err
	}
	cas, err := parseCAs(files)
	if err != nil {
		return nil, err
	}
	cas = append(cas, c.CAs...)
	now := c.Now
	if now == nil {
		now = time.Now
	}
	config := &tls.Config{
		MinVersion:         tls.VersionTLS13,
		NextProtos:         nextProtos,
		ServerName:         serverName,
		Time:               now,
		ClientSessionCache: c.sessionsFor(cert, cas),
		VerifyConnection:   verifyServer,
	}
	if len(cas) > 0 {
		config.RootCAs = poolOf(cas)
	}
	if cert != nil {
		// Shown whatever CAs the server names: it then says what is wrong
		// with the certificate, and not that there was none.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	return config, nil
}

func (c *Credentials) certificate() (*tls.Certificate, error) {
	if c.CertFile == "" && c.KeyFile == "" {
		return c.Certificate, nil
	}
	files, err := Files{Cert: c.CertFile, Key: c.KeyFile}.read()
	if err != nil {
		return nil, err
	}
	pair, err := parsePair(files.cert, files.key)
	if err != nil {
		return nil, err
	}
	return &pair, nil
}

// sessionsFor returns the cache of TLS sessions for this certificate and these
// CAs: a session made with other ones is not resumed.
func (c *Credentials) sessionsFor(cert *tls.Certificate, cas []*x509.Certificate) tls.ClientSessionCache {
	sum := sha256.New()
	if cert != nil {
		for _, der := range cert.Certificate {
			part := sha256.Sum256(der)
			sum.Write(part[:])
		}
	}
	set := hashSet(cas)
	sum.Write(set[:])
	key := [sha256.Size]byte(sum.Sum(nil))

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sessions == nil || c.key != key {
		c.key, c.sessions = key, tls.NewLRUClientSessionCache(sessionsKept)
	}
	return c.sessions
}

// verifyServer runs on resumed sessions too.
func verifyServer(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return bus.Errorf(bus.CodeUnauthenticated, "the server showed no certificate")
	}
	if fault := keyFault(state.PeerCertificates[0]); fault != "" {
		return refuse("the server's certificate has %s", fault)
	}
	return nil
}
