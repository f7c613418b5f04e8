package auth

import (
	"bytes"
	"encoding/pem"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"busd/internal/mtls"
)

// certificate is one as a proxy passes it on.
func certificate(f *testing.F) string {
	ca, err := mtls.NewAuthority("test CA", time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	return url.PathEscape(string(ca.CertPEM()))
}

// What is accepted is PEM to the last byte: nothing hides before, between or
// behind the certificates.
func FuzzForwarded(f *testing.F) {
	one := certificate(f)
	for _, seed := range []string{one, one + one, one + "x", "%", "", "%20", "-----BEGIN CERTIFICATE-----", strings.ReplaceAll(one, "%0A", "%0D%0A")} {
		f.Add("SUCCESS", seed)
	}
	f.Add("NONE", one)
	f.Fuzz(func(t *testing.T, said, value string) {
		certs, err := forwarded(http.Header{"X-Ssl-Cert": {value}, "X-Ssl-Client-Verify": {said}})
		if err != nil {
			if certs != nil || err.Reason == "" {
				t.Errorf("got %d certificates beside %v", len(certs), err)
			}
			return
		}
		if certs == nil {
			if value != "" || said == "SUCCESS" {
				t.Errorf("%q, %q: got nobody", said, value)
			}
			return
		}
		if said != "SUCCESS" || len(certs) > MaxForwardedCertificates {
			t.Errorf("%q: got %d certificates", said, len(certs))
		}
		text, _ := url.PathUnescape(value)
		var again []byte
		for _, cert := range certs {
			again = append(again, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
		}
		strip := func(b []byte) []byte { return bytes.Join(bytes.Fields(b), nil) }
		if !bytes.Equal(strip(again), strip([]byte(text))) {
			t.Errorf("%q is more than its certificates", text)
		}
	})
}

// A token is one word of the header.
func FuzzBearer(f *testing.F) {
	for _, seed := range []string{"Bearer a.b.c", "bearer  x ", "Basic x", "Bearer", "Bearer a b", "Bearer a,b", "", " ", "Bearer\tx"} {
		f.Add(seed, "")
	}
	f.Add("Bearer a", "Bearer b")
	f.Fuzz(func(t *testing.T, first, second string) {
		token, err := bearer(http.Header{"Authorization": {first, second}})
		if err != nil && token != "" {
			t.Errorf("got %q beside %v", token, err)
		}
		if token != "" && (strings.ContainsAny(token, " \t,") || !strings.Contains(first+" "+second, token)) {
			t.Errorf("%q, %q: got %q", first, second, token)
		}
	})
}

// Whatever stands in a file of keys, what is taken of it is public and fits an
// algorithm.
func FuzzKeys(f *testing.F) {
	for _, seed := range []string{
		`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`,
		`{"keys":[{"kty":"oct","k":"AA"}]}`, `{"keys":[{"kty":"EC","crv":"P-256"}]}`, `{"keys":[null]}`, `{}`, `[`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := addKeys(nil, data)
		if (err == nil) != (len(all) > 0) {
			t.Fatalf("got %d keys and %v", len(all), err)
		}
		for _, k := range all {
			fits := false
			for alg := range kinds {
				fits = fits || key{kind: k.kind, public: k.public}.fits(alg)
			}
			if !fits || k.public == nil {
				t.Errorf("a key of kind %q fits nothing", k.kind)
			}
		}
	})
}
