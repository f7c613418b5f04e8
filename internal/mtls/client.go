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
// in files or in memory. Files are read anew at each call of [Credentials.TLS]
// or [Credentials.Load], so that a renewed certificate is used from the next
// attempt on.
//
// Set the fields before the first use and do not copy it afterwards. Its
// methods may be called concurrently.
type Credentials struct {
	// CertFile and KeyFile are PEM files; both or neither. One file may hold
	// both, as that of a proxy certificate does: the proxy, its key, and the
	// user's certificate.
	CertFile, KeyFile string
	// CAFiles are PEM files of the CAs that may have signed the server's
	// certificate, or directories of such files, as in [Files].
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
	last     *Loaded           // what was read last
	seen     [sha256.Size]byte // what it was made of
}

// Loaded is what [Credentials] were when they were read. It is immutable.
type Loaded struct {
	cert     *tls.Certificate // nil: none is shown
	shown    [sha256.Size]byte
	cas      []*x509.Certificate
	sessions tls.ClientSessionCache
	now      func() time.Time
}

// Load reads the files now. As long as their contents stay the same it returns
// the same.
//
// The error, of [bus.CodeFailedPrecondition], names the file that cannot be
// used and why.
func (c *Credentials) Load() (*Loaded, error) {
	files, err := c.read()
	if err != nil {
		return nil, err
	}
	seen := c.hash(files)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last != nil && c.seen == seen {
		return c.last, nil
	}
	l := &Loaded{cert: c.Certificate, now: c.Now}
	if c.inFiles() {
		pair, err := parsePair(files.cert, files.key)
		if err != nil {
			return nil, err
		}
		l.cert = &pair
	}
	if l.cas, err = parseCAs(files.cas); err != nil {
		return nil, err
	}
	l.cas = append(l.cas, c.CAs...)
	if l.now == nil {
		l.now = time.Now
	}
	l.shown = hashChain(l.cert)
	l.sessions = c.sessionsLocked(l)
	c.last, c.seen = l, seen
	return l, nil
}

// inFiles tells whether the certificate is in files.
func (c *Credentials) inFiles() bool { return c.CertFile != "" || c.KeyFile != "" }

func (c *Credentials) read() (contents, error) {
	if c.inFiles() {
		return Files{Cert: c.CertFile, Key: c.KeyFile, CA: c.CAFiles}.read()
	}
	cas, err := readCAs(c.CAFiles)
	return contents{cas: cas}, err
}

// hash is of the files and of what is in memory.
func (c *Credentials) hash(files contents) [sha256.Size]byte {
	sum := sha256.New()
	for _, part := range [][sha256.Size]byte{files.hash(), hashChain(c.Certificate), hashSet(c.CAs)} {
		sum.Write(part[:])
	}
	return [sha256.Size]byte(sum.Sum(nil))
}

// TLS returns the configuration for one attempt to connect to a server of this
// name, from what [Credentials.Load] reads now.
func (c *Credentials) TLS(serverName string) (*tls.Config, error) {
	l, err := c.Load()
	if err != nil {
		return nil, err
	}
	return l.TLS(serverName), nil
}

// TLS returns the configuration for one attempt to connect to a server of this
// name, a host name or an address. An empty name leaves it to the dialer.
func (l *Loaded) TLS(serverName string) *tls.Config {
	config := &tls.Config{
		MinVersion:         tls.VersionTLS13,
		NextProtos:         nextProtos,
		ServerName:         serverName,
		Time:               l.now,
		ClientSessionCache: l.sessions,
		VerifyConnection:   verifyServer,
	}
	if len(l.cas) > 0 {
		config.RootCAs = poolOf(l.cas)
	}
	if l.cert != nil {
		// Shown whatever CAs the server names: it then says what is wrong
		// with the certificate, and not that there was none.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return l.cert, nil }
	}
	return config
}

// ShowsSame tells whether a server is shown the same certificate as by other.
func (l *Loaded) ShowsSame(other *Loaded) bool { return l.shown == other.shown }

// NotBefore is since when the certificate is valid; zero: there is none.
func (l *Loaded) NotBefore() time.Time {
	if l.cert == nil || l.cert.Leaf == nil {
		return time.Time{}
	}
	return l.cert.Leaf.NotBefore
}

// NotAfter is when the certificate expires; zero: there is none.
func (l *Loaded) NotAfter() time.Time {
	if l.cert == nil || l.cert.Leaf == nil {
		return time.Time{}
	}
	return l.cert.Leaf.NotAfter
}

// hashChain returns a hash of a certificate and those that come with it.
func hashChain(cert *tls.Certificate) [sha256.Size]byte {
	sum := sha256.New()
	if cert != nil {
		for _, der := range cert.Certificate {
			part := sha256.Sum256(der)
			sum.Write(part[:])
		}
	}
	return [sha256.Size]byte(sum.Sum(nil))
}

// sessionsLocked returns the cache of TLS sessions for this certificate and these
// CAs: a session made with other ones is not resumed.
func (c *Credentials) sessionsLocked(l *Loaded) tls.ClientSessionCache {
	set := hashSet(l.cas)
	key := sha256.Sum256(append(l.shown[:], set[:]...))
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
