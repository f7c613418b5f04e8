package doctor

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"busd/bus"
	"busd/internal/mtls"
)

// judgeServer says all that is wrong with the server's certificate, and whether
// a client believes it.
func (e *examination) judgeServer(state *tls.ConnectionState) bool {
	certs := state.PeerCertificates // TLS 1.3 has no servers without
	before := len(e.report.Findings)
	e.judgeTime(certs[0])
	e.judgeName(certs[0])
	if e.trust {
		e.judgeChain(certs)
	}
	e.judgeServerUse(certs[0])
	e.judgeKey(state)
	if slices.ContainsFunc(e.report.Findings[before:], func(f Finding) bool { return f.Level == Fail }) {
		return false
	}
	if !e.trust {
		return false // the step before has said why
	}
	if len(e.report.Findings) == before {
		e.ok(StepServer, "server_good", "%s, for %s, issued by %s, %s left", subjectOf(certs[0]), namesIn(certs[0]), issuerOf(certs[0]), span(certs[0].NotAfter.Sub(e.Now())))
	}
	return true
}

func within(c *x509.Certificate, t time.Time) bool {
	return !t.Before(c.NotBefore) && !t.After(c.NotAfter)
}

// judgeTime says whether the certificate is valid now.
func (e *examination) judgeTime(cert *x509.Certificate) {
	now := e.Now()
	clock := "look at this machine's clock: it is " + moment(now)
	switch {
	case now.After(cert.NotAfter):
		e.fail(StepServer, "server_expired", fmt.Sprintf("the server's certificate ended on %s, %s ago by this machine's clock", moment(cert.NotAfter), span(now.Sub(cert.NotAfter))),
			"renew the server's certificate (busd pki renew, if a CA of busd pki signed it)", clock)
	case now.Before(cert.NotBefore):
		e.fail(StepServer, "server_not_yet_valid", fmt.Sprintf("the server's certificate is valid from %s on, in %s by this machine's clock", moment(cert.NotBefore), span(cert.NotBefore.Sub(now))), clock)
	case endsSoon(cert, now):
		e.warn(StepServer, "server_expires_soon", fmt.Sprintf("the server's certificate ends on %s, in %s", moment(cert.NotAfter), span(cert.NotAfter.Sub(now))))
	}
}

// judgeName says whether the certificate is for the host of the URL.
func (e *examination) judgeName(cert *x509.Certificate) {
	if cert.VerifyHostname(e.host) == nil {
		return
	}
	if len(cert.DNSNames)+len(cert.IPAddresses) == 0 {
		e.fail(StepServer, "server_wrong_name", fmt.Sprintf("the server's certificate names no host: it has no alternative names, and its subject %s is not looked at", subjectOf(cert)),
			"busd pki issue server "+e.host+"    a certificate that names it")
		return
	}
	e.fail(StepServer, "server_wrong_name", fmt.Sprintf("the server's certificate is not for %s: it is for %s", e.host, namesIn(cert)),
		"write one of these names in the URL, if it is the same server", "busd pki issue server "+e.host+"    a certificate that names it")
}

// namesIn are the hosts that a certificate names.
func namesIn(cert *x509.Certificate) string {
	const most = 10
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	if more := len(names) - most; more > 0 {
		names = append(names[:most], fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

// judgeServerUse says whether the certificate is made for servers.
func (e *examination) judgeServerUse(cert *x509.Certificate) {
	limited := len(cert.ExtKeyUsage)+len(cert.UnknownExtKeyUsage) > 0
	if !limited || slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageServerAuth) || slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageAny) {
		return
	}
	what := "is not made for servers"
	if slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		what = "is a client's"
	}
	e.fail(StepServer, "server_wrong_use", "the server's certificate "+what+": its extended key usage must name serverAuth",
		"busd pki issue server "+e.host+"    a certificate for a server")
}

// judgeKey asks what clients ask beyond all that.
func (e *examination) judgeKey(state *tls.ConnectionState) {
	creds := new(mtls.Credentials)
	conf, err := creds.TLS(e.host)
	if err != nil || conf.VerifyConnection == nil { // it reads no files
		return
	}
	if err := conf.VerifyConnection(*state); err != nil {
		e.fail(StepServer, "server_weak", bus.AsError(err).Reason)
	}
}

// judgeChain says whether a CA that is believed signed the certificate. That the
// certificate itself is not valid now has been said: it is looked at as it was in
// the middle of its time.
func (e *examination) judgeChain(certs []*x509.Certificate) {
	between := x509.NewCertPool()
	for _, cert := range certs[1:] {
		between.AddCert(cert)
	}
	leaf, at := certs[0], e.Now()
	if !within(leaf, at) {
		at = leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: e.roots, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err == nil {
		return
	}
	f := e.unbelieved(certs, err)
	var invalid x509.CertificateInvalidError
	if f.Code == "server_chain_invalid" && errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		return // the CA is younger than the certificate: what there is to say of time has been said
	}
	e.find(f)
}

// unbelieved says why no believed CA vouches for a certificate.
func (e *examination) unbelieved(certs []*x509.Certificate, err error) Finding {
	f := Finding{Step: StepServer, Level: Fail}
	if weak := weakest(certs); weak != nil {
		f.Code, f.Seen = "server_weak", fmt.Sprintf("the certificate of %s is signed with %v, which is not believed any more: want SHA-256 or better", subjectOf(weak), weak.SignatureAlgorithm)
		return f
	}
	path := pathOf(certs)
	leaf, top := certs[0], path[len(path)-1]
	missing, twin := issuerOf(top), e.namesake(top)
	if twin != nil && top.CheckSignatureFrom(twin.cert) == nil {
		path = append(path, twin.cert)
	}
	for _, cert := range path[1:] {
		if !within(cert, e.Now()) {
			f.Code, f.Seen = "server_chain_expired", "a CA's certificate in the server's chain is not valid now: "+chainTime(cert, e.Now())
			f.Try = []string{"the server's chain, or your CA file, needs the CA's newer certificate"}
			return f
		}
	}
	if !errors.As(err, new(x509.UnknownAuthorityError)) || twin != nil && path[len(path)-1] == twin.cert {
		f.Code, f.Seen = "server_chain_invalid", "the server's chain of certificates is not valid: "+strings.TrimPrefix(err.Error(), "x509: ")
		return f
	}
	if twin != nil {
		f.Code = "server_ca_changed"
		f.Seen = fmt.Sprintf("the server's certificate is signed by another CA of the name %s than the one in %s: the CA was made anew", missing, twin.file)
		f.Try = []string{"--ca FILE                         the server's CA as it is now"}
		if within(leaf, e.Now()) {
			f.Try = append(f.Try, "or start the server with a certificate of the CA in "+twin.file)
		}
		return f
	}
	if bytes.Equal(leaf.RawIssuer, leaf.RawSubject) {
		f.Code = "server_self_signed"
		f.Seen = fmt.Sprintf("the server's certificate %s is signed by itself, not by a CA: %s", subjectOf(leaf), e.caNames())
		f.Try = []string{"busd pki init && busd pki issue server " + e.host + "    a CA, and a certificate of it"}
		return f
	}
	if e.maybeBetween(top) {
		f.Code = "server_chain_incomplete"
		f.Seen = fmt.Sprintf("the server does not send the certificate of %s, which signed its own, or the chain ends at a CA that you do not believe: %s", missing, e.caNames())
		f.Try = []string{"on the server: put the certificate of " + missing + " behind the server's own in tls.certificate", "--ca FILE                         or the CA " + missing + " itself"}
		return f
	}
	f.Code = "server_unknown_ca"
	f.Seen = fmt.Sprintf("the server's certificate is signed by %s, which is not among the CAs that you believe: %s", missing, e.caNames())
	f.Try = []string{"--ca FILE                         the certificate of " + missing}
	return f
}

// chainTime says when a certificate is valid that is not valid now.
func chainTime(cert *x509.Certificate, now time.Time) string {
	if now.After(cert.NotAfter) {
		return fmt.Sprintf("%s ended on %s", subjectOf(cert), moment(cert.NotAfter))
	}
	return fmt.Sprintf("%s is valid from %s on", subjectOf(cert), moment(cert.NotBefore))
}

// weakest returns a certificate that is signed with a hash that is no good.
// Nobody looks at the signature of what signed itself.
func weakest(certs []*x509.Certificate) *x509.Certificate {
	for _, c := range certs {
		if bytes.Equal(c.RawIssuer, c.RawSubject) {
			continue
		}
		switch c.SignatureAlgorithm { //nolint:exhaustive // the weak ones are named, the others pass
		case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
			return c
		}
	}
	return nil
}

// pathOf goes up from the leaf, as far as what was sent goes.
func pathOf(certs []*x509.Certificate) []*x509.Certificate {
	path := certs[:1:1]
	for range certs { // no longer than the chain: it may be a circle
		top := path[len(path)-1]
		i := slices.IndexFunc(certs[1:], func(c *x509.Certificate) bool {
			return !c.Equal(top) && bytes.Equal(c.RawSubject, top.RawIssuer) && top.CheckSignatureFrom(c) == nil
		})
		if i < 0 {
			break
		}
		path = append(path, certs[1+i])
	}
	return path
}

// namesake finds a believed CA that has the name of a certificate's issuer: the
// one that signed it, if that is there.
func (e *examination) namesake(cert *x509.Certificate) *believed {
	var found *believed
	for i, ca := range e.cas {
		if !bytes.Equal(ca.cert.RawSubject, cert.RawIssuer) {
			continue
		}
		if found = &e.cas[i]; cert.CheckSignatureFrom(ca.cert) == nil {
			return found
		}
	}
	return found
}

// maybeBetween tells whether a believed CA may stand above the issuer of a
// certificate, whose own certificate was not sent then: it says where to fetch
// that, or a CA of the same organisation may sign others. A CA of busd pki, and
// what signed itself, has nobody between.
func (e *examination) maybeBetween(top *x509.Certificate) bool {
	if bytes.Equal(top.RawIssuer, top.RawSubject) {
		return false
	}
	if len(top.IssuingCertificateURL) > 0 {
		return true
	}
	return slices.ContainsFunc(e.cas, func(ca believed) bool {
		return !ca.cert.MaxPathLenZero && len(top.Issuer.Organization) > 0 && slices.Equal(ca.cert.Subject.Organization, top.Issuer.Organization)
	})
}
