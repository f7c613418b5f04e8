package auth_test

import (
	"context"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"busd/access"
	"busd/bus"
	"busd/internal/auth"
)

func TestTokenCaller(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	end := time.Now().Add(time.Minute).Truncate(time.Second)
	c, err := f.authenticator(t).Authenticate(withToken(f.token(t, with("sub", "ä b@c"), with("group", "dirac_user"), with("exp", end.Unix()))))
	if err != nil {
		t.Fatal(err)
	}
	want := access.Caller{
		Peer: bus.Peer{Name: "token:%C3%A4%20b@c@" + issuerName, Kind: "token", NotAfter: end.Add(auth.DefaultLeeway)},
		Via:  access.ViaToken, Group: "dirac_user", NotAfter: end.Add(auth.DefaultLeeway), TokenSubject: "ä b@c", TokenIssuer: issuerName,
	}
	if c != want {
		t.Errorf("got %+v, want %+v", c, want)
	}
}

// join makes a token of parts that no library would sign.
func join(header, payload string, signature []byte) string {
	b := base64.RawURLEncoding
	return b.EncodeToString([]byte(header)) + "." + b.EncodeToString([]byte(payload)) + "." + b.EncodeToString(signature)
}

func TestTokens(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	p384, stranger := ecKey(t, elliptic.P384()), ecKey(t, elliptic.P256())
	_, strangerEd, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f.keys(t, f.jwk("r1", &f.rsa.PublicKey), f.jwk("e1", &f.ec.PublicKey), f.jwk("e3", &p384.PublicKey), f.jwk("ed1", f.ed.Public()),
		jose.JSONWebKey{Key: &f.rsa.PublicKey, KeyID: "enc", Use: "enc"}, jose.JSONWebKey{Key: &f.rsa.PublicKey, KeyID: "ps", Algorithm: "PS256"})
	const other = "https://other.example.org"
	otherFile := newFarm(t)
	f.config.Issuers = append(f.config.Issuers, auth.Issuer{
		Name: other, KeyFiles: []string{otherFile.path}, Audiences: []string{"busd", "https://busd.example.org"}, Algorithms: []string{"ES256"},
	})
	a := f.authenticator(t)

	now := time.Now()
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	der, err := x509.MarshalPKIXPublicKey(&f.rsa.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	good := f.token(t)
	parts := strings.Split(good, ".")
	payload := fmt.Sprintf(`{"iss":%q,"sub":"alice","aud":"busd","exp":%d}`, issuerName, at(time.Minute))
	header := func(name jose.HeaderKey, value any) func(*form) { return func(o *form) { o.header[name] = value } }
	long := strings.Repeat("x", 256)
	bySubject := func(s string) string { return "token:" + s + "@" + issuerName }
	for _, test := range []struct {
		what, token, name, says string
	}{
		{"ES256", good, bySubject("alice"), ""},
		{"ES384", f.token(t, signedBy("ES384", "e3", p384)), bySubject("alice"), ""},
		{"RS256", f.token(t, signedBy("RS256", "r1", f.rsa)), bySubject("alice"), ""},
		{"PS512", f.token(t, signedBy("PS512", "r1", f.rsa)), bySubject("alice"), ""},
		{"EdDSA", f.token(t, signedBy("EdDSA", "ed1", f.ed)), bySubject("alice"), ""},
		{"its only key of a kind, not named", f.token(t, signedBy("ES256", "", f.ec)), bySubject("alice"), ""},
		{"a type", f.token(t, header("typ", "at+JWT")), bySubject("alice"), ""},
		{"a long type", f.token(t, header("typ", "application/at+jwt")), bySubject("alice"), ""},
		{"many audiences", f.token(t, with("aud", []string{"x", "busd"})), bySubject("alice"), ""},
		{"of the other issuer", otherFile.token(t, with("iss", other), with("aud", "https://busd.example.org"), with("sub", "dave")), "token:dave@" + other, ""},
		{"expired within the leeway", f.token(t, with("exp", at(-20*time.Second))), bySubject("alice"), ""},
		{"not yet, within the leeway", f.token(t, with("nbf", at(20*time.Second)), with("iat", at(20*time.Second))), bySubject("alice"), ""},
		{"a claim without a name", f.token(t, with("", "dirac_admin")), bySubject("alice"), ""},
		{"no group", f.token(t, with("group", []string{})), bySubject("alice"), ""},

		{"alg none", join(`{"alg":"none"}`, payload, nil), "", "not a JWT that is signed with an algorithm"},
		{"alg None", join(`{"alg":"None"}`, payload, nil), "", "not a JWT that is signed with an algorithm"},
		{"no alg", join(`{}`, payload, nil), "", "not a JWT that is signed with an algorithm"},
		{"HS256 by the public key", f.token(t, signedBy("HS256", "r1", der)), "", "not a JWT that is signed with an algorithm"},
		{"a stranger's key by a known name", f.token(t, signedBy("ES256", "e1", stranger)), "", "signature is not valid"},
		{"another stranger's", f.token(t, signedBy("EdDSA", "ed1", strangerEd)), "", "signature is not valid"},
		{"a stranger's key that it brings along", f.token(t, signedBy("ES256", "e1", stranger), header("jwk", jose.JSONWebKey{Key: &stranger.PublicKey})), "", "signature is not valid"},
		{"a stranger's key from elsewhere", f.token(t, signedBy("ES256", "e1", stranger), header("jku", "https://example.org/keys")), "", "signature is not valid"},
		{"no signature", parts[0] + "." + parts[1] + ".", "", "signature is not valid"},
		{"another payload", parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + "." + parts[2], "", "signature is not valid"},
		{"an unknown key", f.token(t, signedBy("ES256", "e2", stranger)), "", "a key that is not known here"},
		{"a path for a key", f.token(t, signedBy("ES256", "../../../dev/null", stranger)), "", "a key that is not known here"},
		{"another kind of key", f.token(t, signedBy("RS256", "e1", f.rsa)), "", "a key that is not known here"},
		{"another curve", f.token(t, signedBy("ES384", "e1", p384)), "", "a key that is not known here"},
		{"a key for something else", f.token(t, signedBy("RS256", "enc", f.rsa)), "", "a key that is not known here"},
		{"a key for another algorithm", f.token(t, signedBy("RS256", "ps", f.rsa)), "", "a key that is not known here"},
		{"one of several keys, not named", f.token(t, signedBy("PS256", "", f.rsa)), "", "does not say which key"},
		{"one issuer's key for the other", f.token(t, with("iss", other)), "", "signature is not valid"},
		{"an algorithm of another issuer's", otherFile.token(t, with("iss", other), signedBy("RS256", "r1", otherFile.rsa)), "", "may not be signed with that algorithm"},
		{"an issuer nobody knows", f.token(t, with("iss", "https://evil.example.org")), "", "an issuer that is not accepted"},
		{"an issuer with a slash", f.token(t, with("iss", issuerName+"/")), "", "an issuer that is not accepted"},
		{"no issuer", f.token(t, with("iss", nil)), "", "an issuer that is not accepted"},
		{"another's audience", f.token(t, with("aud", "dirac")), "", "for somebody else"},
		{"the other issuer's audience", f.token(t, with("aud", "https://busd.example.org")), "", "for somebody else"},
		{"no audience", f.token(t, with("aud", nil)), "", "for somebody else"},
		{"expired", f.token(t, with("exp", at(-time.Minute))), "", "it is expired"},
		{"no end", f.token(t, with("exp", nil)), "", "when it expires"},
		{"an end that is none", f.token(t, with("exp", 1e15)), "", "when it expires"},
		{"an end beyond all numbers", f.token(t, with("exp", 1e300)), "", "claims cannot be read"},
		{"an end in words", f.token(t, with("exp", "tomorrow")), "", "claims cannot be read"},
		{"not yet", f.token(t, with("nbf", at(time.Minute))), "", "not valid yet"},
		{"made in the future", f.token(t, with("iat", at(time.Minute))), "", "not valid yet"},
		{"no subject", f.token(t, with("sub", nil)), "", "whose it is"},
		{"a subject in control characters", f.token(t, with("sub", "a\nb")), "", "whose it is"},
		{"a number for a subject", f.token(t, with("sub", 7)), "", "claims cannot be read"},
		{"a subject that is too long", f.token(t, with("sub", long)), "", "at most 256 are allowed"},
		{"a token for logging out", f.token(t, header("typ", "logout+jwt")), "", "not a JWT"},
		{"something critical", f.token(t, header("crit", []string{"exp"}), header("exp", 1)), "", "not a JWT"},
		{"a payload as it is", f.token(t, header("b64", true)), "", "not a JWT"},
		{"several groups", f.token(t, with("group", []string{"a", "b"})), "", "several groups"},
		{"a group that is none", f.token(t, with("group", 7)), "", "group that it names cannot be read"},
		{"a group in two lines", f.token(t, with("group", "a\nb")), "", "group that it names cannot be read"},
		{"claims that are a list", join(`{"alg":"ES256","kid":"e1"}`, `[]`, make([]byte, 64)), "", "claims cannot be read"},
		{"a claim twice", join(`{"alg":"ES256","kid":"e1"}`, `{"iss":"a","iss":"b"}`, make([]byte, 64)), "", "claims cannot be read"},
		{"encrypted", good + "." + parts[0] + "." + parts[1], "", "not a JWT"},
		{"in JSON", `{"payload":"` + parts[1] + `"}`, "", "not a JWT"},
		{"too long", f.token(t, with("more", strings.Repeat("x", auth.MaxToken))), "", "too long"},
	} {
		c, err := a.Authenticate(withToken(test.token))
		wantCaller(t, test.what, c, err, test.name, test.says)
		keptSecret(t, test.token, err)
		if c.Group != "" {
			t.Errorf("%s: got group %q, want none", test.what, c.Group)
		}
		if err != nil && err.Cause != nil {
			t.Errorf("%s: got the cause %v, which may hold parts of the token", test.what, err.Cause)
		}
	}

	f.config.Issuers = nil
	c, failed := f.authenticator(t).Authenticate(withToken(good))
	wantCaller(t, "where none are accepted", c, failed, "", "not accepted here")
}

func TestKeysRotate(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	a := f.authenticator(t)
	next := ecKey(t, elliptic.P256())
	first, second := f.token(t), f.token(t, signedBy("ES256", "e2", next))
	good := func(what, token string, want bool) {
		t.Helper()
		if _, err := a.Authenticate(withToken(token)); (err == nil) != want {
			t.Errorf("%s: got %v, want it good: %t", what, err, want)
		}
	}
	reload := func(want bool, says string) {
		t.Helper()
		changed, err := a.Reload()
		if changed != want || (err != nil) != (says != "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Fatalf("reload: got %t, %v, want %t and %q", changed, err, want, says)
		}
	}
	reload(false, "")
	good("the first key", first, true)
	good("the next key, not there yet", second, false)

	f.keys(t, f.jwk("e1", &f.ec.PublicKey), f.jwk("e2", &next.PublicKey))
	reload(true, "")
	reload(false, "")
	good("the first of two", first, true)
	good("the second of two", second, true)

	f.keys(t, f.jwk("e2", &next.PublicKey))
	reload(true, "")
	good("a key that is gone", first, false)
	good("the only key", second, true)

	secret, err := (&jose.JSONWebKey{Key: f.ec, KeyID: "e9"}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	public := func(k jose.JSONWebKey) string {
		data, err := k.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	e1 := public(f.jwk("e1", &f.ec.PublicKey))
	manyKeys := strings.Repeat(strings.Replace(e1, `"kid":"e1",`, "", 1)+",", 64) + e1
	for text, says := range map[string]string{
		"":                           "not a set of keys",
		"{}":                         "no key that signs",
		`{"keys":[]}`:                "no key that signs",
		`{"keys":{}}`:                "not a set of keys",
		e1:                           "no key that signs",
		`{"keys":[` + e1 + "]} more": "not a set of keys",
		`{"keys":[7]}`:               "keys[0]: it cannot be read",
		`{"keys":[` + e1 + `,{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`:             "keys[1]: it cannot be read",
		`{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`:                                        "keys[0]: it is secret",
		`{"keys":[` + string(secret) + `]}`:                                              "keys[0]: it is secret",
		`{"keys":[` + e1 + "," + e1 + `]}`:                                               "keys[1]: another key has the same kid",
		`{"keys":[` + public(f.jwk("w", &weak.PublicKey)) + `]}`:                         "keys[0]: it is an RSA key of 1024 bits",
		`{"keys":[{"kty":"EC","crv":"secp256k1"},{"kty":"new"}]}`:                        "no key that signs",
		`{"keys":[` + strings.Replace(e1, "sig", "enc", 1) + `]}`:                        "no key that signs",
		`{"keys":[` + strings.Replace(e1, `"use":"sig"`, `"key_ops":["sign"]`, 1) + `]}`: "no key that signs",
		`{"keys":[` + manyKeys + `]}`:                                                    "more than 64 keys",
		`{"keys":[` + e1 + `]` + strings.Repeat(" ", auth.MaxKeyFile) + "}":              "larger than 1 MiB",
	} {
		f.write(t, text)
		reload(false, says)
		reload(false, "key file "+f.path+": ")
		good("after a file that cannot be used", second, true)
	}
	// What is for others stands beside ours.
	f.write(t, `{"keys":[{"kty":"new"},{"kty":"EC","crv":"secp256k1","kid":"e1"},`+strings.Replace(e1, `"use":"sig"`, `"key_ops":["verify"]`, 1)+`],"more":1}`)
	reload(true, "")
	good("after a good one", first, true)
}

// One issuer's broken file costs the others nothing.
func TestIssuersReloadApart(t *testing.T) {
	t.Parallel()
	f, other := newFarm(t), newFarm(t)
	const name = "https://another.example.org"
	f.config.Issuers = append(f.config.Issuers, auth.Issuer{Name: name, KeyFiles: []string{other.path}, Audiences: []string{"busd"}})
	a := f.authenticator(t)
	other.write(t, "broken")
	next := ecKey(t, elliptic.P256())
	f.keys(t, f.jwk("e2", &next.PublicKey))
	if changed, err := a.Reload(); !changed || err == nil || !strings.Contains(err.Error(), other.path) {
		t.Errorf("got %t, %v, want a change, and the other file named", changed, err)
	}
	c, err := a.Authenticate(withToken(f.token(t, signedBy("ES256", "e2", next))))
	wantCaller(t, "by the new key", c, err, "token:alice@"+issuerName, "")
	c, err = a.Authenticate(withToken(other.token(t, with("iss", name))))
	wantCaller(t, "by the last good one", c, err, "token:alice@"+name, "")
	f.write(t, "broken")
	if _, err := a.Reload(); err == nil || !strings.Contains(err.Error(), other.path) || !strings.Contains(err.Error(), f.path) {
		t.Errorf("got %v, want both files named", err)
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	a := f.authenticator(t)
	ended, reports := make(chan error, 1), make(chan error, 16)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- a.Run(ctx, time.Millisecond, func(err error) { reports <- err }) }()
	f.write(t, "broken")
	if err := <-reports; err == nil || !strings.Contains(err.Error(), f.path) {
		t.Errorf("a broken file: got %v, want it named", err)
	}
	f.keys(t, f.jwk("e1", &f.ec.PublicKey))
	if err := <-reports; err != nil {
		t.Errorf("other keys: got %v, want nil", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want it canceled", err)
	}
}

// A clock that tokens are checked against may be another than the system's.
func TestTokenTime(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	f.config.Leeway = time.Second
	a := f.authenticator(t)
	token := f.token(t)
	for shift, says := range map[time.Duration]string{-time.Minute: "not valid yet", 0: "", 4 * time.Minute: "", 6 * time.Minute: "expired"} {
		f.clock = shift
		c, err := a.Authenticate(withToken(token))
		name := "token:alice@" + issuerName
		if says != "" {
			name = ""
		}
		wantCaller(t, shift.String(), c, err, name, says)
	}
}
