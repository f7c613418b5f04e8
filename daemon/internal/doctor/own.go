package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"busd/bus"
	"busd/internal/mtls"
)

// ownFiles looks at the files of the client: what it shows and whom it believes.
// It tells whether they can be used to connect.
func (e *examination) ownFiles() bool {
	cert := e.ownCertificate()
	e.trust = e.believedCAs()
	e.judgeRevoked()
	if !cert || !e.trust {
		return false
	}
	creds := mtls.Credentials{CertFile: e.Cert, KeyFile: e.Key, CAFiles: e.CA, Now: e.Now}
	loaded, err := creds.Load()
	if err != nil { // they were good a moment ago
		e.fail(StepOwn, "own_unreadable", bus.AsError(err).Reason)
		return false
	}
	e.loaded = loaded
	return true
}

// ownCertificate looks at the certificate that is shown.
func (e *examination) ownCertificate() bool {
	if e.Cert == "" {
		e.fail(StepOwn, "own_none", "there is no certificate to show: a stable connection needs one", "--cert FILE --key FILE            the certificate to show", "busd pki issue client NAME        makes one")
		return true // the server may say more
	}
	for _, path := range []string{e.Cert, e.Key} {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			e.fail(StepOwn, "own_missing", "there is no file "+path, "--cert FILE --key FILE            the certificate to show", "busd pki issue client NAME        makes one")
			return false
		}
	}
	creds := mtls.Credentials{CertFile: e.Cert, KeyFile: e.Key}
	loaded, err := creds.Load()
	if err != nil {
		code := Code("own_unreadable")
		reason := bus.AsError(err).Reason
		if strings.Contains(reason, "is not the key of") {
			code = "own_key_differs"
		}
		e.fail(StepOwn, code, reason, "busd pki show "+e.Cert+"    whose certificate it is", "--key FILE                        its key")
		return false
	}
	shown, err := shownBy(loaded)
	if err != nil {
		e.fail(StepOwn, "own_unreadable", "certificate file "+e.Cert+": a certificate in it cannot be read")
		return false
	}
	e.own = shown
	e.judgeOwn()
	return true
}

// shownBy returns the certificates that a server is shown.
func shownBy(loaded *mtls.Loaded) ([]*x509.Certificate, error) {
	pair, err := loaded.TLS("").GetClientCertificate(new(tls.CertificateRequestInfo))
	if err != nil {
		return nil, err
	}
	certs := make([]*x509.Certificate, len(pair.Certificate))
	for i, der := range pair.Certificate {
		if certs[i], err = x509.ParseCertificate(der); err != nil {
			return nil, err
		}
	}
	return certs, nil
}

// judgeOwn says what a server will find in the certificate.
func (e *examination) judgeOwn() {
	cert, now := e.own[0], e.Now()
	until := cert.NotAfter
	proxy, proxyErr := mtls.InspectProxy(e.own)
	if proxy != nil {
		until = proxy.NotAfter
		e.warn(StepOwn, "own_is_proxy", fmt.Sprintf("%s is a proxy certificate of %s: it counts only where the server's auth.proxies is accept", e.Cert, subjectOf(proxy.User)))
	}
	renew := "busd pki renew " + e.Cert + "    if a CA of busd pki signed it"
	switch {
	case now.After(until):
		e.fail(StepOwn, "own_expired", fmt.Sprintf("%s ended on %s, %s ago by this machine's clock", e.Cert, moment(until), span(now.Sub(until))), renew)
	case now.Before(cert.NotBefore):
		e.fail(StepOwn, "own_not_yet_valid", fmt.Sprintf("%s is valid from %s on, in %s by this machine's clock", e.Cert, moment(cert.NotBefore), span(cert.NotBefore.Sub(now))),
			"look at this machine's clock: it is "+moment(now))
	case proxy == nil && endsSoon(cert, now):
		e.warn(StepOwn, "own_expires_soon", fmt.Sprintf("%s ends on %s, in %s", e.Cert, moment(until), span(until.Sub(now))), renew)
	}
	e.judgeUse(proxy == nil && proxyErr == nil)
	e.judgeKeyFile()
	if e.found(StepOwn) {
		return
	}
	e.ok(StepOwn, "own_good", "%s: %s, issued by %s, %s left", e.Cert, e.whoIsShown(), issuerOf(cert), span(until.Sub(now)))
}

// whoIsShown is who a server takes the client for, by automatic naming.
func (e *examination) whoIsShown() string {
	if len(e.own) == 0 {
		return "a client without a certificate"
	}
	if peer, err := (mtls.Naming{}).PeerOf(e.own[:1]); err == nil {
		return peer.Name
	}
	return subjectOf(e.own[0])
}

// judgeUse says whether a server takes the certificate for a client's.
func (e *examination) judgeUse(plain bool) {
	cert := e.own[0]
	if !plain {
		return
	}
	wrong := ""
	switch {
	case cert.IsCA || cert.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		wrong = "it is a CA's, which names no client"
	case slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageAny):
		wrong = "it is good for any use, which is too much: its extended key usage must name clientAuth"
	case !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth):
		wrong = "it is not made for clients: its extended key usage must name clientAuth"
		if slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
			wrong = "it is made for servers only: its extended key usage must name clientAuth"
		}
	}
	if wrong != "" {
		e.fail(StepOwn, "own_wrong_use", e.Cert+": "+wrong, "busd pki issue client NAME        makes one for a client")
		return
	}
	if _, err := (mtls.Naming{}).PeerOf(e.own[:1]); err != nil {
		e.warn(StepOwn, "own_no_name", fmt.Sprintf("%s: %s (a server whose tls.peer_name is auto refuses it)", e.Cert, bus.AsError(err).Reason),
			"busd pki issue client NAME        makes one with a name")
	}
}

// judgeKeyFile says whether others could be this client.
func (e *examination) judgeKeyFile() {
	info, err := os.Stat(e.Key)
	if err != nil || runtime.GOOS == "windows" || info.Mode().Perm()&0o077 == 0 { // which has no such bits
		return
	}
	e.warn(StepOwn, "own_key_exposed", fmt.Sprintf("others than its owner may use the key %s (mode %04o): they can be this client", e.Key, info.Mode().Perm()), "chmod 600 "+e.Key)
}

// believedCAs looks at the CAs that are believed, and tells whether they can be
// used.
func (e *examination) believedCAs() bool {
	if len(e.CA) == 0 {
		e.ok(StepTrust, "ca_system", "no CA is named: those of the system are believed")
		return true
	}
	for _, path := range e.CA {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			e.fail(StepTrust, "ca_missing", "there is no file "+path, "--ca FILE                         the CA that signed the server's certificate")
			return false
		}
	}
	creds := mtls.Credentials{CAFiles: e.CA}
	loaded, err := creds.Load()
	if err != nil {
		e.fail(StepTrust, "ca_unreadable", bus.AsError(err).Reason, "--ca FILE                         a PEM file with the CA that signed the server's certificate")
		return false
	}
	e.roots = loaded.TLS("").RootCAs
	for _, path := range e.CA {
		e.cas = append(e.cas, casIn(path)...)
	}
	for _, ca := range e.cas {
		if e.Now().After(ca.cert.NotAfter) {
			e.warn(StepTrust, "ca_expired", fmt.Sprintf("%s: the CA %s in it ended on %s: nothing that it signed is believed", ca.file, subjectOf(ca.cert), moment(ca.cert.NotAfter)))
		}
	}
	if !e.found(StepTrust) {
		e.ok(StepTrust, "ca_good", "%s", e.caNames())
	}
	return true
}

// judgeRevoked looks into the lists of revoked certificates that stand beside the
// CAs, if there are some: a server that has them refuses the certificate.
func (e *examination) judgeRevoked() {
	if len(e.own) == 0 {
		return
	}
	cert := e.own[len(e.own)-1] // of a proxy certificate its user's
	for _, ca := range e.cas {
		if cert.CheckSignatureFrom(ca.cert) != nil {
			continue
		}
		files, _ := filepath.Glob(filepath.Join(filepath.Dir(ca.file), "*.crl")) // it fails on patterns alone
		hashed, _ := filepath.Glob(filepath.Join(filepath.Dir(ca.file), "*.r[0-9]"))
		for _, file := range append(files, hashed...) {
			if at, listed := listedIn(file, cert, ca.cert); listed {
				e.fail(StepOwn, "own_revoked", fmt.Sprintf("%s was revoked on %s, by the list %s: servers that have it refuse the certificate", e.Cert, moment(at), file),
					"busd pki issue client NAME        another certificate, with a new key")
				return
			}
		}
	}
}

// listedIn looks for a certificate in a file that may be a list of what its CA
// has revoked.
func listedIn(file string, cert, ca *x509.Certificate) (time.Time, bool) {
	data, err := os.ReadFile(file)
	if err != nil {
		return time.Time{}, false
	}
	if block, _ := pem.Decode(data); block != nil {
		data = block.Bytes
	}
	list, err := x509.ParseRevocationList(data)
	if err != nil || list.CheckSignatureFrom(ca) != nil {
		return time.Time{}, false
	}
	for _, entry := range list.RevokedCertificateEntries {
		if entry.SerialNumber.Cmp(cert.SerialNumber) == 0 {
			return entry.RevocationTime, true
		}
	}
	return time.Time{}, false
}

// casIn returns the certificates in a file or in the files of a directory, for
// their names: whether they are believed is not decided here.
func casIn(path string) []believed {
	files := []string{path}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		files, _ = filepath.Glob(filepath.Join(path, "*")) // it fails on patterns alone
	}
	var all []believed
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			cert, err := x509.ParseCertificate(block.Bytes)
			if err == nil && block.Type == "CERTIFICATE" && cert.IsCA {
				all = append(all, believed{file, cert})
			}
		}
	}
	return all
}

// caNames says whom the client believes.
func (e *examination) caNames() string {
	const most = 5 // a grid believes a hundred
	if len(e.CA) == 0 {
		return "the system's CAs are believed"
	}
	var names []string
	for _, ca := range e.cas {
		if name := subjectOf(ca.cert); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if more := len(names) - most; more > 0 {
		names = append(names[:most], fmt.Sprintf("%d more", more))
	}
	return strings.Join(e.CA, ", ") + " has " + strings.Join(names, ", ")
}
