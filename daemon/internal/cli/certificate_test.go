package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"busd/internal/mtls"
)

// A proxyFile is a file of a grid proxy: the proxy, its key, the user's
// certificate.
type proxyFile struct {
	t        *testing.T
	path     string
	language asn1.ObjectIdentifier
	notAfter time.Time
}

var (
	inheritAll = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 21, 1}
	limited    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3536, 1, 1, 1, 9}
)

func (f *proxyFile) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// write makes the proxy; without its user's certificate if alone.
func (f *proxyFile) write(alone bool) {
	f.t.Helper()
	ca, err := mtls.NewAuthority("test", 48*time.Hour)
	f.must(err)
	user, err := ca.Issue(mtls.Request{Subject: "/C=ch/O=DIRAC/CN=alice", Client: true, Validity: 24 * time.Hour})
	f.must(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	f.must(err)
	info, err := asn1.Marshal(struct {
		Policy struct{ Language asn1.ObjectIdentifier }
	}{struct{ Language asn1.ObjectIdentifier }{f.language}})
	f.must(err)
	subject, err := asn1.Marshal(append(user.Certificate.Subject.ToRDNSequence(),
		pkix.RelativeDistinguishedNameSET{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "4242"}}))
	f.must(err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(4242), RawSubject: subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: f.notAfter,
		KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 14}, Critical: true, Value: info},
			{Id: asn1.ObjectIdentifier{1, 2, 42, 42}, Value: append([]byte{asn1.TagIA5String, 10}, "dirac_user"...)},
		},
	}, user.Certificate, &key.PublicKey, user.TLS().PrivateKey)
	f.must(err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	f.must(err)
	data := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	if !alone {
		data = append(data, user.CertPEM()...)
	}
	f.must(os.WriteFile(f.path, data, 0o600))
}

// Of a proxy people see whose it is, in which group, and until when all of it
// is good.
func TestShowProxy(t *testing.T) {
	t.Parallel()
	show := func(path string, more ...string) string {
		t.Helper()
		var out, fail strings.Builder
		if exit := Run(t.Context(), append([]string{"pki", "show", path}, more...), strings.NewReader(""), &out, &fail, Actions{}); exit != exitOK {
			t.Fatalf("exit code %d: %s", exit, fail.String())
		}
		return out.String()
	}
	f := &proxyFile{t: t, path: filepath.Join(t.TempDir(), "x509up_u1000"), language: inheritAll, notAfter: time.Now().Add(2 * time.Hour)}
	f.write(false)
	want := []string{
		`(?m)^subject +/C=ch/O=DIRAC/CN=alice/CN=4242$`, `(?m)^proxy of +/C=ch/O=DIRAC/CN=alice$`,
		`(?m)^kind +full proxy \(RFC 3820\); it counts only where auth.proxies is accept$`, `(?m)^DIRAC group +dirac_user$`,
		`(?m)^good until +` + f.notAfter.UTC().Format(time.DateTime) + ` UTC`, `(?m)^peer name +cn:alice$`, `(?m)^use +client$`,
	}
	out := show(f.path)
	for _, line := range want {
		if !regexp.MustCompile(line).MatchString(out) {
			t.Errorf("got\n%s\nwant %s", out, line)
		}
	}
	if strings.Count(out, "proxy of") != 1 || strings.Contains(out, "none") {
		t.Errorf("the user's own certificate is shown as a proxy, or the proxy as nobody's:\n%s", out)
	}

	// It ends with its user's certificate.
	f.language, f.notAfter = limited, time.Now().Add(240*time.Hour)
	f.write(false)
	var list []certificate
	f.must(json.Unmarshal([]byte(show(f.path, "--json")), &list))
	if len(list) != 2 || list[0].Proxy == nil || list[1].Proxy != nil {
		t.Fatalf("got %+v, want a proxy and a certificate", list)
	}
	if got, want := *list[0].Proxy, (gridProxy{User: "/C=ch/O=DIRAC/CN=alice", Group: "dirac_user", Limited: true, NotAfter: list[1].NotAfter}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if !strings.Contains(show(f.path), "limited proxy") {
		t.Error("it does not say that it is limited")
	}

	// One that cannot be used says why.
	f.write(true)
	if out := show(f.path); !strings.Contains(out, "none: the user's certificate is not there with its proxy certificate") {
		t.Errorf("without its user's: got\n%s", out)
	}
	f.language = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 21, 2}
	f.write(false)
	if out := show(f.path); !strings.Contains(out, "independent of its user") {
		t.Errorf("independent: got\n%s", out)
	}
}
