package mtls_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/internal/mtls"
)

func TestAuthority(t *testing.T) {
	t.Parallel()
	ca, err := mtls.NewAuthority("test CA", 0)
	if err != nil {
		t.Fatal(err)
	}
	c := ca.Certificate()
	if !c.IsCA || c.MaxPathLen != 0 || !c.MaxPathLenZero || c.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || len(c.SubjectKeyId) == 0 {
		t.Errorf("CA: got %+v", c)
	}
	if left := time.Until(c.NotAfter); left < 9*365*24*time.Hour || time.Since(c.NotBefore) < 5*time.Minute {
		t.Errorf("CA: valid from %v to %v, want five minutes ago and ten years", c.NotBefore, c.NotAfter)
	}
	issued, err := ca.Issue(mtls.Request{
		Name: "x", DNS: []string{"localhost", "*.example.org"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)},
		URIs: []string{"spiffe://example.org/x"}, Emails: []string{"a@b.org"}, Server: true, Client: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	l := issued.Certificate
	if key, ok := l.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		t.Errorf("key: got %T", l.PublicKey)
	}
	if !bytes.Equal(l.AuthorityKeyId, c.SubjectKeyId) || bytes.Equal(l.SubjectKeyId, c.SubjectKeyId) || l.IsCA || !l.BasicConstraintsValid {
		t.Errorf("leaf: got %+v", l)
	}
	if l.KeyUsage != x509.KeyUsageDigitalSignature ||
		!slices.Equal(l.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}) {
		t.Errorf("usage: got %v %v", l.KeyUsage, l.ExtKeyUsage)
	}
	if bits := l.SerialNumber.BitLen(); bits < 64 || bits > 129 || l.SerialNumber.Sign() <= 0 {
		t.Errorf("serial: got %d bits", bits)
	}
	for _, host := range []string{"localhost", "127.0.0.1", "a.example.org"} {
		if err := l.VerifyHostname(host); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	pool := x509.NewCertPool()
	pool.AddCert(c)
	if _, err := l.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
}

// A certificate may have any subject that can be said in DIRAC's form, and says
// it back; what is no such subject is refused, and why.
func TestSubjectOfARequest(t *testing.T) {
	t.Parallel()
	ca, err := mtls.NewAuthority("test CA", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for said, want := range map[string]string{ // empty: what was said
		"/C=ch/O=DIRAC/CN=alice":                       "",
		"/DC=ch/DC=cern/OU=Users/CN=alice/CN=4711":     "",
		"/O=Grid/CN=host/node.example.org":             "",
		"/O=a b, c+d/CN=Robot: x (y)/emailAddress=a@b": "",
		`/CN=a\x2FCN=b`:                                "",
		`/CN=back\x5Cslash`:                            "",
		"/1.2.3.4=x/UID=u/CN=a/=b":                     "",
		"/c=ch/cn=alice":                               "/C=ch/CN=alice",
		"/CN=José":                                     `/CN=Jos\xC3\xA9`,
		`/CN=Jos\xc3\xa9`:                              `/CN=Jos\xC3\xA9`,
		"/2.5.4.3=x":                                   "/CN=x",
	} {
		issued, err := ca.Issue(mtls.Request{Name: "other", Subject: said, Client: true})
		if err != nil {
			t.Errorf("%s: %v", said, err)
			continue
		}
		if want == "" {
			want = said
		}
		if got, err := mtls.DN(issued.Certificate.RawSubject); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", said, got, err, want)
		}
	}
	for said, want := range map[string]string{
		"CN=alice":                         "does not begin with a slash",
		"/":                                "is no attribute",
		"/CN":                              "is no attribute",
		"/alice/CN=x":                      "is no attribute",
		"/=x":                              "is no attribute",
		"/CN=":                             "CN has no value",
		"/O=x/CN=/C=ch":                    "CN has no value",
		"/XX=x":                            `no attribute "XX"`,
		"/1.99.1=x":                        `no attribute "1.99.1"`,
		"/2.05.4=x":                        `no attribute "2.05.4"`,
		"/2=x":                             `no attribute "2"`,
		"/C=che":                           "two letters",
		"/C=1a":                            "two letters",
		"/DC=é":                            "want ASCII",
		`/CN=a\b`:                          `a backslash is written \x5C`,
		`/CN=a\xZZ`:                        `a backslash is written \x5C`,
		`/CN=\x`:                           `a backslash is written \x5C`,
		`/CN=\xFF`:                         "not UTF-8",
		"/CN=" + strings.Repeat("x", 4096): "at most 4096",
	} {
		_, err := ca.Issue(mtls.Request{Name: "x", Subject: said, Client: true})
		if bus.CodeOf(err) != bus.CodeInvalidArgument || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: got %v, want it to say %q", said, err, want)
		}
	}
}

func TestLoadAuthority(t *testing.T) {
	t.Parallel()
	ca, err := mtls.NewAuthority("test CA", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := mtls.LoadAuthority(ca.CertPEM(), key)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := loaded.Issue(mtls.Request{Name: "x", Client: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := issued.Certificate.CheckSignatureFrom(ca.Certificate()); err != nil {
		t.Error(err)
	}
	if !issued.Certificate.NotAfter.Equal(ca.Certificate().NotAfter) {
		t.Errorf("ends %v, want not after the CA's end %v", issued.Certificate.NotAfter, ca.Certificate().NotAfter)
	}
	leafKey, err := issued.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	for what, pair := range map[string][2][]byte{
		"a leaf":      {issued.CertPEM(), leafKey},
		"another key": {ca.CertPEM(), leafKey},
		"nothing":     {nil, nil},
		"swapped":     {key, ca.CertPEM()},
	} {
		if _, err := mtls.LoadAuthority(pair[0], pair[1]); bus.CodeOf(err) != bus.CodeFailedPrecondition {
			t.Errorf("%s: got %v, want failed_precondition", what, err)
		}
	}
}

func TestIssueRefuses(t *testing.T) {
	t.Parallel()
	ca, err := mtls.NewAuthority("test CA", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for what, r := range map[string]mtls.Request{
		"no name":          {Client: true},
		"no use":           {Name: "x"},
		"server, no host":  {Name: "x", Server: true},
		"bad URI":          {Name: "x", Client: true, URIs: []string{"no scheme"}},
		"bad SPIFFE ID":    {Name: "x", Client: true, URIs: []string{"spiffe://Example.org/x"}},
		"negative":         {Name: "x", Client: true, Validity: -1},
		"not ASCII":        {Name: "x", Client: true, DNS: []string{"ä"}},
		"URI that changes": {Name: "x", Client: true, URIs: []string{"https://e.org/#"}},
	} {
		if _, err := ca.Issue(r); bus.CodeOf(err) != bus.CodeInvalidArgument {
			t.Errorf("%s: got %v, want invalid_argument", what, err)
		}
	}
	_, err = ca.Issue(mtls.Request{Name: "x", Client: true, NotBefore: time.Now().Add(2 * time.Hour)})
	if bus.CodeOf(err) != bus.CodeFailedPrecondition {
		t.Errorf("after the CA's end: got %v, want failed_precondition", err)
	}
	if _, err := mtls.NewAuthority("", 0); err == nil {
		t.Error("a CA without a name: got no error")
	}
	if _, err := mtls.NewAuthority("x", -1); err == nil {
		t.Error("a CA that never was: got no error")
	}
}

func TestAuthorityInABubble(t *testing.T) {
	outside, err := mtls.NewAuthorityAt(time.Date(1999, 6, 1, 0, 0, 0, 0, time.UTC), "old CA", 0)
	if err != nil {
		t.Fatal(err)
	}
	old, err := outside.Issue(mtls.Request{Name: "x", Client: true})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		if now := time.Now(); now.Before(old.Certificate.NotBefore) || now.After(old.Certificate.NotAfter) {
			t.Errorf("valid from %v to %v, now is %v", old.Certificate.NotBefore, old.Certificate.NotAfter, now)
		}
	})
}

func TestWriteFiles(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pki", "deep")
	cert, key := filepath.Join(dir, "a.crt"), filepath.Join(dir, "a.key")
	files := []mtls.File{{Path: cert, Data: []byte("one")}, {Path: key, Data: []byte("two"), Secret: true}}
	if err := mtls.WriteFiles(false, files...); err != nil {
		t.Fatal(err)
	}
	mode := func(path string) os.FileMode {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	if mode(key) != 0o600 || mode(cert)&0o600 != 0o600 || mode(dir) != 0o700 { // less the umask
		t.Errorf("modes: got %v, %v, %v", mode(key), mode(cert), mode(dir))
	}
	files[0].Data, files[1].Data = []byte("new"), []byte("new")
	fresh := mtls.File{Path: filepath.Join(dir, "b.crt")}
	err := mtls.WriteFiles(false, append([]mtls.File{fresh}, files...)...)
	if bus.CodeOf(err) != bus.CodeAlreadyExists || !strings.Contains(err.Error(), cert) {
		t.Errorf("again: got %v, want already_exists naming %s", err, cert)
	}
	if _, err := os.Stat(fresh.Path); err == nil {
		t.Error("a file was written although another one exists")
	}
	if got, _ := os.ReadFile(key); string(got) != "two" {
		t.Errorf("key: got %q, want it untouched", got)
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := mtls.WriteFiles(true, files...); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(key); string(got) != "new" || mode(key) != 0o600 || mode(cert) != 0o644 {
		t.Errorf("forced: got %q, modes %v, %v", got, mode(key), mode(cert))
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("directory: got %v, %v, want two files", left, err)
	}
	if err := mtls.WriteFiles(true, mtls.File{Path: filepath.Join(cert, "x")}); bus.CodeOf(err) != bus.CodeFailedPrecondition {
		t.Errorf("below a file: got %v, want failed_precondition", err)
	}
}
