//go:build linux

package hostile_test

import (
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// theIssuer is whom the server trusts for tokens; it is made before the tests.
var theIssuer *issuer

const issuerName = "https://issuer.example"

type issuer struct{ key *ecdsa.PrivateKey }

func newIssuer() *issuer { return &issuer{key: newKey()} }

// jwks is the issuer's file of public keys.
func (i *issuer) jwks() []byte {
	x, y := make([]byte, 32), make([]byte, 32)
	i.key.X.FillBytes(x)
	i.key.Y.FillBytes(y)
	return fmt.Appendf(nil, `{"keys": [{"kty": "EC", "crv": "P-256", "kid": "one", "use": "sig", "alg": "ES256", "x": %q, "y": %q}]}`, encoded(x), encoded(y))
}

func encoded(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// tokens are heads and claims, as JSON, that differ from a good one's.
var tokens = map[string]struct{ head, claims string }{
	"good":           {},
	"none":           {head: `{"alg": "none"}`},
	"None":           {head: `{"alg": "nOnE", "kid": "one"}`},
	"empty":          {head: `{"alg": ""}`},
	"hs256":          {head: `{"alg": "HS256", "kid": "one"}`}, // with the public key as the secret
	"other key":      {head: `{"alg": "ES256", "kid": "one", "typ": "JWT"}`},
	"kid":            {head: `{"alg": "ES256", "kid": "../../../../dev/null"}`},
	"jwk":            {head: `{"alg": "ES256", "jwk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}}`},
	"jku":            {head: `{"alg": "ES256", "kid": "one", "jku": "http://127.0.0.1:1/keys"}`},
	"crit":           {head: `{"alg": "ES256", "kid": "one", "crit": ["x"], "x": 1}`},
	"deep head":      {head: `{"alg": "ES256", "kid": "one", "x": ` + strings.Repeat("[", 3000) + strings.Repeat("]", 3000) + `}`},
	"zip":            {head: `{"alg": "ES256", "kid": "one", "zip": "DEF"}`},
	"expired":        {claims: `"exp": 1000000000`},
	"never":          {claims: `"exp": null`},
	"for ever":       {claims: `"exp": 1e400`},
	"exp text":       {claims: `"exp": "tomorrow"`},
	"early":          {claims: `"nbf": 99999999999`},
	"audience":       {claims: `"aud": "elsewhere"`},
	"audiences":      {claims: `"aud": []`},
	"issuer":         {claims: `"iss": "https://evil.example"`},
	"issuer slash":   {claims: `"iss": "https://issuer.example/"`},
	"no subject":     {claims: `"sub": ""`},
	"subject at":     {claims: `"sub": "x@https://issuer.example"`},
	"subject number": {claims: `"sub": 4711`},
	"not json":       {claims: `}`},
}

// token makes one, with a secret in its claims.
func (i *issuer) token(name string) ([]byte, error) {
	name = strings.ReplaceAll(name, "-", " ")
	t, ok := tokens[name]
	if !ok {
		return nil, fmt.Errorf("there is no token %q", name)
	}
	claims := map[string]json.RawMessage{
		"iss": json.RawMessage(`"` + issuerName + `"`), "sub": json.RawMessage(`"4711"`), "aud": json.RawMessage(`"busd"`),
		"exp": fmt.Append(nil, time.Now().Add(time.Hour).Unix()), "note": json.RawMessage(`"` + canary + `"`),
	}
	var body strings.Builder
	skip, _, _ := strings.Cut(strings.Trim(t.claims, `"`), `"`)
	body.WriteString("{")
	for k, v := range claims {
		if k != skip {
			fmt.Fprintf(&body, "%q: %s, ", k, v)
		}
	}
	if body.WriteString(t.claims); t.claims == "" {
		body.WriteString(`"x": 1`)
	}
	body.WriteString("}")
	head := t.head
	if head == "" {
		head = `{"alg": "ES256", "kid": "one", "typ": "JWT"}`
	}
	text := encoded([]byte(head)) + "." + encoded([]byte(body.String()))
	return []byte(text + "." + i.signature(name, head, text)), nil
}

func (i *issuer) signature(name, head, text string) string {
	key := i.key
	switch {
	case strings.Contains(head, "HS256"):
		public := must(x509.MarshalPKIXPublicKey(i.key.Public()))
		mac := hmac.New(sha256.New, pemOf("PUBLIC KEY", public))
		mac.Write([]byte(text))
		return encoded(mac.Sum(nil))
	case name == "none", name == "None", name == "empty":
		return ""
	case name == "other key", name == "jwk":
		key = newKey()
	}
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		panic(err) // with a good key it cannot
	}
	return encoded(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}
