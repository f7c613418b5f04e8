package mtls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strings"
	"time"

	"busd/bus"
)

// Validities where none is said, and how far certificates begin in the past,
// for clocks that do not agree.
const (
	DefaultAuthorityValidity = 10 * 365 * 24 * time.Hour
	DefaultValidity          = 365 * 24 * time.Hour
	backdate                 = 5 * time.Minute
)

// An Authority is a CA for development and small fleets: an ECDSA P-256 key
// whose certificate signs leaves and no other CAs. It may be used
// concurrently.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	now  func() time.Time
}

// NewAuthority makes a CA of this name (its CN) that is valid from five
// minutes ago for this long; 0 means ten years.
func NewAuthority(name string, validity time.Duration) (*Authority, error) {
	return newAuthority(name, validity, time.Now)
}

// NewAuthorityAt is NewAuthority with a clock that stands still at now: for
// tests in another time.
func NewAuthorityAt(now time.Time, name string, validity time.Duration) (*Authority, error) {
	return newAuthority(name, validity, func() time.Time { return now })
}

func newAuthority(name string, validity time.Duration, now func() time.Time) (*Authority, error) {
	if name == "" {
		return nil, bus.Errorf(bus.CodeInvalidArgument, "the CA needs a name")
	}
	if validity == 0 {
		validity = DefaultAuthorityValidity
	}
	if validity < 0 {
		return nil, bus.Errorf(bus.CodeInvalidArgument, "validity: want a positive duration, got %v", validity)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("CA key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	begin := now()
	cert, err := sign(&x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             begin.Add(-backdate),
		NotAfter:              begin.Add(validity),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}, nil, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &Authority{cert: cert, key: key, now: now}, nil
}

// LoadAuthority reads a CA's certificate and key. It refuses a certificate
// that is not a CA's, and a key that is not the certificate's.
func LoadAuthority(certPEM, keyPEM []byte) (*Authority, error) {
	pair, err := parsePair(pemFile{name: "the CA's certificate", data: certPEM}, pemFile{name: "the CA's key", data: keyPEM})
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.IsCA || pair.Leaf.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, broken(nil, "the CA's certificate is not one that may sign others")
	}
	return &Authority{cert: pair.Leaf, key: key, now: time.Now}, nil
}

// Certificate returns the CA's certificate. The caller must not change it.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// CertPEM returns the CA's certificate in PEM.
func (a *Authority) CertPEM() []byte { return certPEM(a.cert) }

// KeyPEM returns the CA's private key in PEM (PKCS #8). Whoever has it can be
// anybody.
func (a *Authority) KeyPEM() ([]byte, error) { return keyPEM(a.key) }

// A Request says what certificate is wanted.
type Request struct {
	// Name becomes the subject's CN, unless there is a Subject.
	Name string
	// Subject is the whole subject in DIRAC's form, as [DN] writes it:
	// "/C=ch/O=DIRAC/CN=alice". Empty: the CN alone.
	Subject string
	// DNS, URIs, Emails and IPs become subject alternative names, as they are.
	// A URI with scheme spiffe must be a valid SPIFFE ID.
	DNS, URIs, Emails []string
	IPs               []net.IP
	// Server and Client are what it may be used for; at least one. A server
	// needs a DNS name or an address.
	Server, Client bool
	// Validity counts from now or NotBefore; 0 means one year. The certificate
	// never outlives the CA's.
	Validity time.Duration
	// NotBefore is when it begins to be valid; zero means five minutes ago.
	NotBefore time.Time
}

// Issued is a new certificate with its key.
type Issued struct {
	Certificate *x509.Certificate
	key         crypto.Signer
}

// CertPEM returns the certificate in PEM.
func (i *Issued) CertPEM() []byte { return certPEM(i.Certificate) }

// KeyPEM returns the private key in PEM (PKCS #8).
func (i *Issued) KeyPEM() ([]byte, error) { return keyPEM(i.key) }

// TLS returns certificate and key for use in a [tls.Config].
func (i *Issued) TLS() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{i.Certificate.Raw}, PrivateKey: i.key, Leaf: i.Certificate}
}

// Issue makes a key and a certificate for it. The errors name what is wrong
// with the request.
func (a *Authority) Issue(r Request) (*Issued, error) {
	uris, err := r.check()
	if err != nil {
		return nil, err
	}
	subject, err := r.subject()
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		RawSubject:            subject,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		DNSNames:              r.DNS,
		URIs:                  uris,
		EmailAddresses:        r.Emails,
		IPAddresses:           r.IPs,
	}
	if template.NotBefore, template.NotAfter, err = a.validity(r); err != nil {
		return nil, err
	}
	if r.Server {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if r.Client {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	cert, err := sign(template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	return &Issued{Certificate: cert, key: key}, nil
}

func (r Request) check() ([]*url.URL, error) {
	switch {
	case r.Name == "" && r.Subject == "":
		return nil, bus.Errorf(bus.CodeInvalidArgument, "the certificate needs a name")
	case !r.Server && !r.Client:
		return nil, bus.Errorf(bus.CodeInvalidArgument, "the certificate is for neither servers nor clients")
	case r.Server && len(r.DNS) == 0 && len(r.IPs) == 0:
		return nil, bus.Errorf(bus.CodeInvalidArgument, "a server's certificate needs a DNS name or an address")
	case r.Validity < 0:
		return nil, bus.Errorf(bus.CodeInvalidArgument, "validity: want a positive duration, got %v", r.Validity)
	}
	for _, name := range r.DNS {
		if err := checkDNS(strings.TrimPrefix(name, "*.")); err != nil { // a server's may be a wildcard
			return nil, bus.Errorf(bus.CodeInvalidArgument, "DNS name %q: %v", name, err)
		}
	}
	for _, mailbox := range r.Emails {
		if err := checkEmail(mailbox); err != nil {
			return nil, bus.Errorf(bus.CodeInvalidArgument, "e-mail %q: %v", mailbox, err)
		}
	}
	uris := make([]*url.URL, 0, len(r.URIs))
	for _, s := range r.URIs {
		if isSPIFFE(s) {
			if err := checkSPIFFE(s); err != nil {
				return nil, bus.Errorf(bus.CodeInvalidArgument, "URI %q: %v", s, err)
			}
		}
		uri, err := url.Parse(s)
		if err != nil || uri.Scheme == "" || uri.String() != s {
			return nil, bus.Errorf(bus.CodeInvalidArgument, "URI %q: want an absolute URI such as spiffe://example.org/agent/7", s)
		}
		uris = append(uris, uri)
	}
	return uris, nil
}

// subject is the subject in DER.
func (r Request) subject() ([]byte, error) {
	if r.Subject == "" {
		der, err := asn1.Marshal(pkix.Name{CommonName: r.Name}.ToRDNSequence())
		if err != nil {
			return nil, bus.Errorf(bus.CodeInvalidArgument, "certificate: %v", err)
		}
		return der, nil
	}
	der, err := parseDN(r.Subject)
	if err != nil {
		return nil, bus.Errorf(bus.CodeInvalidArgument, "subject %q: %v: want a form such as /C=ch/O=DIRAC/CN=alice", r.Subject, err)
	}
	return der, nil
}

func (a *Authority) validity(r Request) (begin, end time.Time, err error) {
	length := r.Validity
	if length == 0 {
		length = DefaultValidity
	}
	if begin = r.NotBefore; begin.IsZero() {
		now := a.now()
		begin, end = now.Add(-backdate), now.Add(length)
	} else {
		end = begin.Add(length)
	}
	if end.After(a.cert.NotAfter) {
		end = a.cert.NotAfter
	}
	if !end.After(begin) {
		return begin, end, bus.Errorf(bus.CodeFailedPrecondition,
			"the CA's certificate ended on %s: make a new CA", a.cert.NotAfter.Format(time.DateOnly))
	}
	return begin, end, nil
}

// sign signs template with key; a nil parent makes it sign itself. The
// authority key identifier is filled in by crypto/x509.
func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	if parent == nil {
		parent = template
	}
	id, err := keyID(public)
	if err != nil {
		return nil, err
	}
	template.SubjectKeyId = id
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, bus.Errorf(bus.CodeInvalidArgument, "certificate: %v", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, bus.Errorf(bus.CodeInvalidArgument, "certificate: %v", err)
	}
	return cert, nil
}

// newSerial returns a random number of 128 bits that is not 0.
func newSerial() (*big.Int, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1)))
	if err != nil {
		return nil, fmt.Errorf("serial number: %w", err)
	}
	return serial.Add(serial, big.NewInt(1)), nil
}

// keyID returns a key identifier by RFC 7093, method 1.
func keyID(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	sum := sha256.Sum256(info.Key.Bytes)
	return sum[:20], nil
}

func certPEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

func keyPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
