package doctor_test

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"os"
	"strings"
	"time"

	"busd/bus"
	"busd/daemon/internal/doctor"
	"busd/internal/mtls"
)

// A situation is one in which a client finds itself.
type situation struct {
	name string
	// set makes it, and says what to examine.
	set func(w *world) doctor.Options
	// want are the codes of what is not OK, in order, joined by blanks.
	want string
	// says are parts of what is said in these findings: each culprit by its name.
	says []string
	// exit is the error that a client gets for the first failure; 0: none.
	exit bus.Code
}

// good is a server of busd with everything in order.
func good(w *world) string { return w.web(w.conf(w.server.TLS(), mtls.Policy{}), w.bus(nil)) }

func ownSituations() []situation {
	return []situation{
		{"all is well", func(w *world) doctor.Options { return w.options(good(w)) }, "", nil, 0},
		{"all is well, by a name", func(w *world) doctor.Options {
			return w.options(strings.Replace(good(w), "127.0.0.1", "localhost", 1))
		}, "", nil, 0},
		{"a certificate is demanded, and shown", func(w *world) doctor.Options {
			return w.options(w.web(w.conf(w.server.TLS(), mtls.Policy{Require: true}), w.bus(nil)))
		}, "", nil, 0},
		{"no certificate", func(w *world) doctor.Options {
			o := w.options(good(w))
			o.Cert, o.Key = "", ""
			return o
		}, "own_none not_authenticated", []string{"there is no certificate to show", "HTTP 401: a client certificate is wanted"}, bus.CodeUnauthenticated},
		{"no certificate, and one is demanded", func(w *world) doctor.Options {
			o := w.options(w.web(w.conf(w.server.TLS(), mtls.Policy{Require: true}), w.bus(nil)))
			o.Cert, o.Key = "", ""
			return o
		}, "own_none refused_required", []string{"demands a certificate"}, bus.CodeUnauthenticated},
		{"a certificate that is not there", func(w *world) doctor.Options {
			o := w.options(good(w))
			o.Cert = w.path("nix.crt")
			return o
		}, "own_missing", []string{"nix.crt"}, bus.CodeNotFound},
		{"a certificate that is none", func(w *world) doctor.Options {
			w.write("a.crt", []byte("secret"))
			return w.options(good(w))
		}, "own_unreadable", []string{"a.crt", "not PEM"}, bus.CodeUnauthenticated},
		{"the key of another", func(w *world) doctor.Options {
			old, err := os.ReadFile(w.path("a.key"))
			w.must(err)
			w.client(w.ca, mtls.Request{Name: "agent", Client: true})
			w.write("a.key", old)
			return w.options(good(w))
		}, "own_key_differs", []string{"a.key is not the key of certificate file"}, bus.CodeUnauthenticated},
		{"a key for everybody", func(w *world) doctor.Options {
			w.must(os.Chmod(w.path("a.key"), 0o644))
			return w.options(good(w))
		}, "own_key_exposed", []string{"a.key (mode 0644)", "chmod 600"}, 0},
		{"an expired certificate", func(w *world) doctor.Options {
			w.client(w.ca, mtls.Request{Name: "agent", Client: true, NotBefore: time.Now().Add(-50 * time.Hour), Validity: 26 * time.Hour})
			return w.options(good(w))
		}, "own_expired refused_expired", []string{"24 hours ago by this machine's clock", "busd pki renew"}, bus.CodeCertificateExpired},
		{"a certificate of tomorrow", func(w *world) doctor.Options {
			w.client(w.ca, mtls.Request{Name: "agent", Client: true, NotBefore: time.Now().Add(25 * time.Hour)})
			return w.options(good(w))
		}, "own_not_yet_valid refused_expired", []string{"in 24 hours by this machine's clock", "look at this machine's clock"}, bus.CodeCertificateExpired},
		{"a certificate near its end", func(w *world) doctor.Options {
			w.client(w.ca, mtls.Request{Name: "agent", Client: true, NotBefore: time.Now().Add(-95 * time.Hour), Validity: 100*time.Hour + time.Minute})
			return w.options(good(w))
		}, "own_expires_soon", []string{"in 5 hours"}, 0},
		{"a server's certificate shown by a client", func(w *world) doctor.Options {
			w.client(w.ca, mtls.Request{Name: "agent", DNS: []string{"agent"}, Server: true})
			return w.options(good(w))
		}, "own_wrong_use refused", []string{"made for servers only", "bad_certificate"}, bus.CodeUnauthenticated},
		{"a certificate with two names", func(w *world) doctor.Options {
			w.client(w.ca, mtls.Request{Name: "agent", DNS: []string{"a", "b"}, Client: true})
			return w.options(good(w))
		}, "own_no_name refused", []string{"2 dns names"}, bus.CodeUnauthenticated},
		{"a proxy certificate where none counts", func(w *world) doctor.Options {
			w.proxy()
			return w.options(good(w))
		}, "own_is_proxy refused", []string{"proxy certificate of /CN=agent", "auth.proxies"}, bus.CodeUnauthenticated},
		{"a revoked certificate, on a list beside the CA", func(w *world) doctor.Options {
			w.revoke()
			return w.options(w.web(w.refusing(mtls.Policy{}), w.bus(nil)))
		}, "own_revoked refused_revoked", []string{"a.crt was revoked on", "ca.crl"}, bus.CodeCertificateRevoked},
		{"a revoked certificate, on a list elsewhere", func(w *world) doctor.Options {
			w.revoke()
			w.must(os.Rename(w.path("ca.crl"), w.path("elsewhere")))
			return w.options(w.web(w.refusing(mtls.Policy{}), w.bus(nil)))
		}, "refused", []string{"revoked or denied", "tls.crl"}, bus.CodeUnauthenticated},
		{"a CA file that is not there", func(w *world) doctor.Options {
			o := w.options(good(w))
			o.CA = []string{w.path("nix.crt")}
			return o
		}, "ca_missing", []string{"nix.crt"}, bus.CodeNotFound},
		{"a CA file without a CA", func(w *world) doctor.Options {
			w.write("ca.crt", []byte("nothing"))
			return w.options(good(w))
		}, "ca_unreadable", []string{"ca.crt"}, bus.CodeUnauthenticated},
		{"a CA that has ended, beside a good one", func(w *world) doctor.Options {
			old := caTemplate("old CA")
			old.NotBefore, old.NotAfter = time.Now().Add(-100*time.Hour), time.Now().Add(-time.Hour)
			w.write("ca.crt", append(w.ca.CertPEM(), w.mint(old, nil).pem()...))
			return w.options(good(w))
		}, "ca_expired", []string{"/O=Example/CN=old CA"}, 0},
	}
}

// revoke makes a list that has the client's certificate.
func (w *world) revoke() {
	w.t.Helper()
	pair, err := tls.LoadX509KeyPair(w.path("a.crt"), w.path("a.key"))
	w.must(err)
	list, _, err := w.ca.RevocationList(1, time.Hour, []x509.RevocationListEntry{{SerialNumber: pair.Leaf.SerialNumber, RevocationTime: time.Now()}})
	w.must(err)
	w.write("ca.crl", list)
}

// refusing is a server that refuses every certificate, as one does that has its
// list.
func (w *world) refusing(p mtls.Policy) *tls.Config {
	conf := w.conf(w.server.TLS(), p)
	conf.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) > 0 {
			return bus.Errorf(bus.CodeCertificateRevoked, "the client certificate was revoked")
		}
		return nil
	}
	return conf
}

// proxy makes the client's certificate a proxy certificate of it (RFC 3820).
func (w *world) proxy() {
	w.t.Helper()
	pair, err := tls.LoadX509KeyPair(w.path("a.crt"), w.path("a.key"))
	w.must(err)
	user := &minted{pair.Leaf, pair.PrivateKey.(crypto.Signer)}
	type policy struct{ Language asn1.ObjectIdentifier }
	info, err := asn1.Marshal(struct{ Policy policy }{policy{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 21, 1}}}) // inherit all
	w.must(err)
	var name pkix.RDNSequence
	_, err = asn1.Unmarshal(pair.Leaf.RawSubject, &name)
	w.must(err)
	subject, err := asn1.Marshal(append(name, pkix.RelativeDistinguishedNameSET{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "4711"}}))
	w.must(err)
	p := w.mint(&x509.Certificate{
		RawSubject: subject, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 14}, Critical: true, Value: info}},
	}, user)
	w.write("a.crt", append(p.pem(), user.pem()...))
	w.write("a.key", w.keyPEM(p))
}
