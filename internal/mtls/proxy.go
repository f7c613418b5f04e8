package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"time"
)

// Bounds of proxy certificates, which nobody but a user has looked at.
const (
	// MaxProxies bounds the proxy certificates of one chain.
	MaxProxies = 8
	// MaxProxyName bounds the common name that each adds to its signer's subject,
	// in bytes. Tools take a number, or "proxy".
	MaxProxyName = 256
	// maxProxySerial bounds its serial number, in bits: RFC 5280 allows 160.
	maxProxySerial = 512
)

// A Proxy is what a proxy certificate (RFC 3820) says beside whose it is. It is
// immutable.
type Proxy struct {
	// Subject and Issuer are its own, in DIRAC's form.
	Subject, Issuer string
	// Limited: it, or one above it, is a limited one.
	Limited bool
	// Group is the group that DIRAC's extension names, in the proxy certificate
	// nearest to the user's that has one: whoever was given a proxy cannot
	// change it. Empty: none.
	Group string
}

// countProxies returns how many of a chain that was sent, leaf first, are proxy
// certificates. It tells by the extension, whether that is good or not.
func countProxies(certs []*x509.Certificate) int {
	n := slices.IndexFunc(certs, func(cert *x509.Certificate) bool { return !hasExtension(cert, oidProxyInfo) })
	if n < 0 {
		return len(certs)
	}
	return n
}

// isOldProxy tells whether a certificate is a proxy of the kinds before RFC
// 3820: a draft's with an extension of Globus's, or one without any that calls
// itself a proxy.
func isOldProxy(cert *x509.Certificate) bool {
	name, _ := oneMoreCN(cert.RawIssuer, cert.RawSubject)
	return hasExtension(cert, oidDraftProxyInfo) || name == "proxy" || name == "limited proxy"
}

// checkProxies walks down from a verified user's certificate through the proxy
// certificates below it, which are in the order in which they were sent: the
// one that was shown first, the one that user signed last. It has no clock.
func checkProxies(proxies []*x509.Certificate, user *x509.Certificate) (*Proxy, error) {
	var facts Proxy
	signer := user
	for below, cert := range slices.Backward(proxies) {
		if err := checkProxy(cert, signer); err != nil {
			return nil, err
		}
		ext, _ := extension(cert, oidProxyInfo)
		info, err := parseProxyInfo(ext.Value)
		switch {
		case err != nil:
			return nil, refuse("a proxy certificate's information (proxyCertInfo) is not accepted: %v", err)
		case !ext.Critical:
			return nil, refuse("a proxy certificate's information (proxyCertInfo) is not marked critical")
		case info.pathLength != noPathLength && below > info.pathLength:
			return nil, refuse("a proxy certificate allows %d more below it, and has %d", info.pathLength, below)
		case facts.Limited && !info.limited:
			return nil, refuse("a proxy certificate is a full one, and was signed by a limited one")
		}
		facts.Limited = info.limited
		if ext, has := extension(cert, oidGroup); has && facts.Group == "" {
			if facts.Group, err = parseGroup(ext.Value); err != nil {
				return nil, refuse("a proxy certificate's group cannot be read: %v", err)
			}
		}
		signer = cert
	}
	var err error
	if facts.Subject, err = DN(signer.RawSubject); err != nil {
		return nil, refuse("a proxy certificate's subject cannot be read")
	}
	if facts.Issuer, err = DN(signer.RawIssuer); err != nil {
		return nil, refuse("a proxy certificate's issuer cannot be read")
	}
	return &facts, nil
}

// checkProxyTimes checks that each proxy certificate is valid now. None needs to
// be valid within the time of its signer: tools begin proxies in the past, for
// clocks that do not agree, also where the signer is younger than that. What is
// proven holds while all of the chain is valid.
func checkProxyTimes(proxies []*x509.Certificate, now time.Time) error {
	for _, cert := range proxies {
		if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
			return &tls.CertificateVerificationError{
				UnverifiedCertificates: proxies,
				Err:                    x509.CertificateInvalidError{Cert: cert, Reason: x509.Expired, Detail: "a proxy certificate is expired, or not valid yet"},
			}
		}
	}
	return nil
}

// An Inspection is what a chain with proxy certificates says. Nobody has
// verified its user's certificate, and no clock was asked.
type Inspection struct {
	Proxy
	// User is the certificate of whom the proxies stand for.
	User *x509.Certificate
	// NotBefore and NotAfter are when all of the chain is valid, from the proxy
	// that is shown to the user's certificate.
	NotBefore, NotAfter time.Time
}

// InspectProxy looks at certificates, the one to show first, for somebody who
// wants to know what they are. It is nil if the first one is not a proxy
// certificate, and an error, of [bus.CodeUnauthenticated], if it is one that no
// [Verifier] would take.
func InspectProxy(certs []*x509.Certificate) (*Inspection, error) {
	n := countProxies(certs)
	switch {
	case n == 0 && len(certs) > 1 && !certs[1].IsCA && isOldProxy(certs[0]):
		return nil, refuseOldProxy()
	case n == 0:
		return nil, nil //nolint:nilnil // as it says
	case n > MaxProxies:
		return nil, refuseProxies(n)
	case n == len(certs):
		return nil, refuse("the user's certificate is not there with its proxy certificate")
	}
	user := certs[n]
	proxy, err := checkProxies(certs[:n], user)
	if err != nil {
		return nil, err
	}
	i := &Inspection{Proxy: *proxy, User: user}
	i.NotBefore, i.NotAfter = timeOf([][]*x509.Certificate{{user}}, certs[:n])
	return i, nil
}

func refuseOldProxy() error {
	return refuse("the proxy certificate is of a kind before RFC 3820, which is not accepted: make one of RFC 3820")
}

func refuseProxies(n int) error {
	return refuse("the chain has %d proxy certificates: at most %d are allowed", n, MaxProxies)
}

// checkProxy checks one proxy certificate against the one that signed it, by
// RFC 3820, sections 3 and 4.1.3, but for its time and its information.
func checkProxy(cert, signer *x509.Certificate) error {
	if len(cert.Raw) > MaxLeaf {
		return refuse("a proxy certificate has %d bytes: at most %d are allowed", len(cert.Raw), MaxLeaf)
	}
	if !sameName(cert.RawIssuer, signer.RawSubject) {
		return refuse("a proxy certificate does not come from the certificate sent after it")
	}
	switch name, ok := oneMoreCN(signer.RawSubject, cert.RawSubject); {
	case !ok:
		return refuse("a proxy certificate's subject is not its issuer's and one more common name")
	case len(name) > MaxProxyName:
		return refuse("a proxy certificate's common name has %d bytes: at most %d are allowed", len(name), MaxProxyName)
	case cert.SerialNumber.BitLen() > maxProxySerial:
		return refuse("a proxy certificate's serial number has %d bits: at most %d are allowed", cert.SerialNumber.BitLen(), maxProxySerial)
	}
	if cert.IsCA || cert.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 {
		return refuse("a proxy certificate is a CA's")
	}
	if hasExtension(cert, oidSubjectAltName) || hasExtension(cert, oidIssuerAltName) {
		return refuse("a proxy certificate has alternative names: it may have none")
	}
	for _, id := range cert.UnhandledCriticalExtensions {
		if !id.Equal(oidProxyInfo) {
			return refuse("a proxy certificate has a critical extension that is not known here: %v", id)
		}
	}
	if err := checkProxyUse(cert, signer); err != nil {
		return err
	}
	if fault := keyFault(cert); fault != "" {
		return refuse("a proxy certificate has %s", fault)
	}
	if usesWeakHash(cert.SignatureAlgorithm) {
		return refuse("a proxy certificate is signed with %v: want SHA-256 or better", cert.SignatureAlgorithm)
	}
	if signer.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) != nil {
		return refuse("a proxy certificate's signature is not that of the certificate sent after it")
	}
	return nil
}

// checkProxyUse checks what the two may be used for: the one to sign in a
// handshake, the other to sign a proxy.
func checkProxyUse(cert, signer *x509.Certificate) error {
	for _, c := range []*x509.Certificate{cert, signer} {
		if hasExtension(c, oidKeyUsage) && c.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
			return refuse("a proxy certificate, or the one that signed it, may not sign: want key usage digitalSignature, or none said")
		}
	}
	if len(cert.ExtKeyUsage)+len(cert.UnknownExtKeyUsage) > 0 && !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		return refuse("a proxy certificate is not made for clients: want extended key usage clientAuth, or none said")
	}
	return nil
}
