package rpcclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"busd/bus"
	"busd/internal/mtls"
	"busd/rpc/jencode"
	"busd/schema"
)

// Defaults and bounds (docs/limits.md).
const (
	// DefaultTimeout bounds a call whose context has no deadline, as DIRAC's client
	// does.
	DefaultTimeout = 10 * time.Minute
	// DefaultMaxAnswer bounds an answer, after decompression.
	DefaultMaxAnswer = 64 << 20

	// dialTimeout bounds TCP and TLS together.
	dialTimeout = 20 * time.Second
	// maxHeader bounds the header of an answer.
	maxHeader = 64 << 10
	// idleTimeout is how long a connection is kept without a call: less than the
	// minute that busd keeps it, so that a call seldom meets the server's end of it.
	idleTimeout = 50 * time.Second
	// idleConnections is how many are kept for each URL.
	idleConnections = 128
	// pingAfter is how long a connection of HTTP/2 may be silent before it is
	// asked whether it lives, and pingTimeout how long that may take.
	pingAfter   = 30 * time.Second
	pingTimeout = 15 * time.Second
	// maxPEM bounds certificates and keys in memory.
	maxPEM = 8 << 20
)

// defaultPort is where busd listens.
const defaultPort = "8443"

// Config is what a [Client] needs to know. URL or URLs are required; the zero values
// of everything else work.
type Config struct {
	// URL is the service's address: https://host:port/System/Component, or wss:// for
	// calls over a stable connection. Without a port it is 8443.
	URL string
	// URLs are further addresses of the same service, of the same scheme. They are
	// tried in a random order that the client keeps; see the package's text for
	// when. FailoverURLs come after all of them; over wss they are like URLs.
	URLs, FailoverURLs []string

	// CertFile and KeyFile are the client's certificate and key, PEM; without a
	// KeyFile the key is in CertFile, as in a proxy file. CAFiles are the CAs that may
	// have signed the service's certificate, or directories of them. They are read
	// anew for each connection, so that one that was renewed is used from the next
	// on.
	CertFile, KeyFile string
	CAFiles           []string
	// CertPEM, KeyPEM and CAPEM are used in place of files that are not named.
	// Without KeyPEM the key is in CertPEM.
	CertPEM, KeyPEM, CAPEM []byte
	// TLS is used instead of all of these if it is set, and nothing is looked at.
	// ServerName is filled in, and NextProtos where it is empty.
	TLS *tls.Config

	// Token is a bearer token, sent with each request; TokenSource returns the one
	// for a request, and goes first. It must be safe for concurrent use.
	Token       string
	TokenSource func(ctx context.Context) (string, error)

	// Group is the group to act in; empty: the one that the credential carries, or
	// else the user's default.
	Group string
	// Host says that the certificate is a host's.
	Host bool
	// Forward asks for somebody else, as only trusted hosts may; see [Client.For].
	Forward *Forward
	// VO and Setup are what DIRAC's servers are told of the client; they prove
	// nothing.
	VO, Setup string

	// Timeout bounds a call whose context has no deadline, and the time without any
	// progress of a transfer; 0 is 10 min.
	Timeout time.Duration
	// MaxAnswer bounds an answer, in bytes, after decompression; 0 is 64 MiB.
	// [Client.Receive] has no bound.
	MaxAnswer int64

	// DialContext opens the TCP connection; nil is the network. Tests need no
	// port with it.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Name and Version are what the program says of itself.
	Name, Version string
	// Logger is told of calls that are tried elsewhere. nil is silence.
	Logger *zap.Logger
}

// Forward names for whom a trusted host asks.
type Forward struct {
	// DN is the user's, in DIRAC's form: /C=ch/O=DIRAC/CN=ciuser.
	DN string
	// Group is the group that he acts in.
	Group string
}

// complete checks and fills in defaults, and returns all addresses.
func (c *Config) complete() ([]*address, error) {
	first := c.URLs
	if c.URL != "" {
		first = append([]string{c.URL}, first...)
	}
	if len(first)+len(c.FailoverURLs) == 0 {
		return nil, bus.Errorf(bus.CodeInvalidArgument, "a URL is required: https://host:port/System/Component")
	}
	var all []*address
	for i, text := range append(first[:len(first):len(first)], c.FailoverURLs...) {
		u, err := parseURL(text)
		if err != nil {
			return nil, err
		}
		if one := all; len(one) > 0 && (u.Scheme != one[0].url.Scheme || u.Path != one[0].url.Path) {
			return nil, bus.Errorf(bus.CodeInvalidArgument, "URL %s: want the scheme and the service of %s, as all are addresses of one service", u, one[0].url)
		}
		all = append(all, &address{url: u, failover: i >= len(first)})
	}
	if c.CertFile != "" && c.KeyFile == "" {
		c.KeyFile = c.CertFile
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.MaxAnswer == 0 {
		c.MaxAnswer = DefaultMaxAnswer
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	switch {
	case c.Timeout < 0 || c.MaxAnswer < 0:
		return nil, bus.Errorf(bus.CodeInvalidArgument, "want Timeout and MaxAnswer > 0")
	case c.Host && c.Group != "":
		return nil, bus.Errorf(bus.CodeInvalidArgument, "want Host or Group, got both: a host acts in no group")
	case c.Forward != nil && (c.Forward.DN == "" || c.Forward.Group == ""):
		return nil, errForward()
	case all[0].url.Scheme == "wss" && (c.Host || c.Forward != nil):
		return nil, bus.Errorf(bus.CodeInvalidArgument, "Host and Forward need https://")
	}
	return all, nil
}

func errForward() *bus.Error {
	return bus.Errorf(bus.CodeInvalidArgument, "want a DN and a group to ask for somebody else")
}

func parseURL(text string) (*url.URL, error) {
	const want = "https://host:port/System/Component, or wss://"
	u, err := url.Parse(text)
	if err != nil {
		return nil, bus.Wrap(bus.CodeInvalidArgument, err, "the URL cannot be read: want "+want)
	}
	known := u.Scheme == "https" || u.Scheme == "wss"
	if !known || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, bus.Errorf(bus.CodeInvalidArgument, "URL %s: want %s", u.Redacted(), want)
	}
	if err := schema.CheckService(strings.TrimPrefix(u.Path, "/")); err != nil {
		return nil, bus.Errorf(bus.CodeInvalidArgument, "URL %s: path: %v", u.Redacted(), err)
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), defaultPort)
	}
	return u, nil
}

// credentials are those of files and of memory; nil: TLS is used.
func (c *Config) credentials() (*mtls.Credentials, error) {
	if c.TLS != nil {
		return nil, nil
	}
	creds := &mtls.Credentials{CertFile: c.CertFile, KeyFile: c.KeyFile, CAFiles: c.CAFiles}
	if len(c.CertPEM)+len(c.KeyPEM)+len(c.CAPEM) > maxPEM {
		return nil, bus.Errorf(bus.CodeInvalidArgument, "certificates in memory are larger than 8 MiB")
	}
	if len(c.CertPEM) > 0 && c.CertFile == "" {
		key := c.KeyPEM
		if len(key) == 0 {
			key = c.CertPEM
		}
		pair, err := tls.X509KeyPair(c.CertPEM, key)
		if err != nil {
			return nil, bus.Wrap(bus.CodeInvalidArgument, err, "CertPEM and its key cannot be used")
		}
		creds.Certificate = &pair
	}
	if len(c.CAPEM) > 0 && len(c.CAFiles) == 0 {
		cas, err := parseCAs(c.CAPEM)
		if err != nil {
			return nil, err
		}
		creds.CAs = cas
	}
	return creds, nil
}

func parseCAs(data []byte) ([]*x509.Certificate, error) {
	var cas []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		ca, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, bus.Wrap(bus.CodeInvalidArgument, err, "CAPEM cannot be used")
		}
		cas = append(cas, ca)
	}
	if len(cas) == 0 {
		return nil, bus.Errorf(bus.CodeInvalidArgument, "CAPEM holds no certificate")
	}
	return cas, nil
}

// claim is what extraCredentials say, in JEncode; empty: nothing.
func (c *Config) claim(forward *Forward) (jencode.Raw, error) {
	var what any
	switch {
	case forward != nil:
		what = []string{forward.DN, forward.Group}
	case c.Host:
		what = "hosts"
	case c.Group != "":
		what = c.Group
	default:
		return nil, nil
	}
	return jencode.Append(nil, what, jencode.DIRAC)
}
