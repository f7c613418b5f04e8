package doctor_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"net"
	"time"

	"busd/bus"
	"busd/daemon/internal/doctor"
	"busd/internal/mtls"
)

// shows is a server that shows a certificate.
func (w *world) shows(cert tls.Certificate) doctor.Options {
	w.t.Helper()
	return w.options(w.web(&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}, w.bus(nil)))
}

func serverSituations() []situation {
	return []situation{
		{"another name", func(w *world) doctor.Options {
			return w.shows(w.issue(w.ca, mtls.Request{Name: "x", DNS: []string{"bus.example.org"}, IPs: []net.IP{net.IPv4(192, 0, 2, 7)}, Server: true}).TLS())
		}, "server_wrong_name", []string{"is not for 127.0.0.1: it is for bus.example.org, 192.0.2.7", "busd pki issue server 127.0.0.1"}, bus.CodeUnauthenticated},
		{"no name at all", func(w *world) doctor.Options {
			t := serverTemplate()
			t.DNSNames, t.IPAddresses = nil, nil
			ca := w.mint(caTemplate("CA"), nil)
			w.write("ca.crt", ca.pem())
			return w.shows(w.mint(t, ca).tls())
		}, "server_wrong_name", []string{"names no host", "/CN=server is not looked at"}, bus.CodeUnauthenticated},
		{"expired", func(w *world) doctor.Options {
			r := forServer()
			r.NotBefore, r.Validity = time.Now().Add(-100*time.Hour), 25*time.Hour
			return w.shows(w.issue(w.ca, r).TLS())
		}, "server_expired", []string{"3 days ago"}, bus.CodeCertificateExpired},
		{"not yet valid", func(w *world) doctor.Options {
			r := forServer()
			r.NotBefore = time.Now().Add(10*time.Hour + time.Minute)
			return w.shows(w.issue(w.ca, r).TLS())
		}, "server_not_yet_valid", []string{"in 10 hours by this machine's clock"}, bus.CodeCertificateExpired},
		{"near its end", func(w *world) doctor.Options {
			r := forServer()
			r.NotBefore, r.Validity = time.Now().Add(-95*time.Hour), 100*time.Hour+time.Minute
			return w.options(w.web(w.conf(w.issue(w.ca, r).TLS(), mtls.Policy{}), w.bus(nil)))
		}, "server_expires_soon", []string{"in 5 hours"}, 0},
		{"an intermediate CA that has ended", func(w *world) doctor.Options {
			root := w.mint(caTemplate("root"), nil)
			old := caTemplate("between")
			old.NotBefore, old.NotAfter = time.Now().Add(-100*time.Hour), time.Now().Add(-time.Hour)
			between := w.mint(old, root)
			w.write("ca.crt", root.pem())
			return w.shows(w.mint(serverTemplate(), between).tls(between))
		}, "server_chain_expired", []string{"/O=Example/CN=between ended on"}, bus.CodeCertificateExpired},
		{"a client's certificate", func(w *world) doctor.Options {
			t := serverTemplate()
			t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
			ca := w.mint(caTemplate("CA"), nil)
			w.write("ca.crt", ca.pem())
			return w.shows(w.mint(t, ca).tls())
		}, "server_wrong_use", []string{"is a client's", "serverAuth"}, bus.CodeUnauthenticated},
		{"an unknown CA", func(w *world) doctor.Options {
			return w.shows(w.issue(w.authority("stranger"), forServer()).TLS())
		}, "server_unknown_ca", []string{"signed by /CN=stranger, which is not among", "ca.crt has /CN=test CA"}, bus.CodeUnauthenticated},
		{"an unknown CA, and those of the system", func(w *world) doctor.Options {
			o := w.shows(w.issue(w.authority("stranger"), forServer()).TLS())
			o.CA = nil
			return o
		}, "server_unknown_ca", []string{"/CN=stranger", "the system's CAs"}, bus.CodeUnauthenticated},
		{"an unknown root, with its chain", func(w *world) doctor.Options {
			root := w.mint(caTemplate("far root"), nil)
			between := w.mint(caTemplate("far between"), root)
			return w.shows(w.mint(serverTemplate(), between).tls(between, root))
		}, "server_unknown_ca", []string{"/O=Example/CN=far root"}, bus.CodeUnauthenticated},
		{"the CA made anew", func(w *world) doctor.Options {
			return w.shows(w.issue(w.authority("test CA"), forServer()).TLS())
		}, "server_ca_changed", []string{"another CA of the name /CN=test CA than the one in", "ca.crt", "made anew"}, bus.CodeUnauthenticated},
		{
			"signed by itself", func(w *world) doctor.Options { return w.shows(w.mint(serverTemplate(), nil).tls()) },
			"server_self_signed",
			[]string{"/CN=server is signed by itself"},
			bus.CodeUnauthenticated,
		},
		{"an intermediate CA that is not sent", func(w *world) doctor.Options {
			root := w.mint(caTemplate("root"), nil)
			between := w.mint(caTemplate("between"), root)
			w.write("ca.crt", root.pem())
			return w.shows(w.mint(serverTemplate(), between).tls())
		}, "server_chain_incomplete", []string{"does not send the certificate of /O=Example/CN=between"}, bus.CodeUnauthenticated},
		{"a CA for other names", func(w *world) doctor.Options {
			t := caTemplate("narrow")
			t.PermittedDNSDomains, t.PermittedDNSDomainsCritical = []string{"example.org"}, true
			ca := w.mint(t, nil)
			w.write("ca.crt", ca.pem())
			return w.shows(w.mint(serverTemplate(), ca).tls())
		}, "server_chain_invalid", []string{"localhost"}, bus.CodeUnauthenticated},
		{"a short key", func(w *world) doctor.Options {
			key, err := rsa.GenerateKey(rand.Reader, 1024)
			w.must(err)
			ca := w.mint(caTemplate("CA"), nil)
			w.write("ca.crt", ca.pem())
			return w.shows(w.mintFor(key, serverTemplate(), ca).tls())
		}, "server_weak", []string{"RSA key of 1024 bits"}, bus.CodeUnauthenticated},
		{"all that can be wrong at once", func(w *world) doctor.Options {
			t := serverTemplate()
			t.DNSNames, t.IPAddresses, t.ExtKeyUsage = []string{"other"}, nil, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
			t.NotBefore, t.NotAfter = time.Now().Add(-9*time.Hour), time.Now().Add(-time.Hour)
			return w.shows(w.mint(t, w.mint(caTemplate("stranger"), nil)).tls())
		}, "server_expired server_wrong_name server_unknown_ca server_wrong_use", nil, bus.CodeCertificateExpired},
		{"a client of a CA that the server does not know", func(w *world) doctor.Options {
			w.client(w.authority("stranger"), mtls.Request{Name: "agent", Client: true})
			return w.options(good(w))
		}, "refused_unknown_ca", []string{"/CN=stranger", "it believes /CN=test CA"}, bus.CodeUnauthenticated},
		{"a client of a CA that was made anew", func(w *world) doctor.Options {
			w.client(w.authority("test CA"), mtls.Request{Name: "agent", Client: true})
			return w.options(good(w))
		}, "refused_unknown_ca", []string{"another CA of the same name"}, bus.CodeUnauthenticated},
	}
}
