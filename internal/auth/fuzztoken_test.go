package auth

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"busd/bus"
	"busd/internal/mtls"
)

// FuzzToken signs whatever claims there are, with the issuer's key: what is taken is
// for us, of now, and makes a name of the alphabet of names; and nothing else is taken
// for a token.
func FuzzToken(f *testing.F) {
	const now = 1_800_000_000
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "EdDSA", Use: "sig"}}})
	if err != nil {
		f.Fatal(err)
	}
	file := filepath.Join(f.TempDir(), "keys.json")
	if err := os.WriteFile(file, set, 0o600); err != nil {
		f.Fatal(err)
	}
	ca, err := mtls.NewAuthority("CA", time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	verifier, err := mtls.NewVerifier([]*x509.Certificate{ca.Certificate()}, mtls.Policy{})
	if err != nil {
		f.Fatal(err)
	}
	a, err := New(Config{
		Certificates: verifier, Now: func() time.Time { return time.Unix(now, 0) },
		Issuers: []Issuer{{Name: "https://issuer", KeyFiles: []string{file}, Audiences: []string{"busd"}, GroupClaim: "group"}},
	})
	if err != nil {
		f.Fatal(err)
	}
	const good = `{"iss":"https://issuer","sub":"alice","aud":"busd","exp":1800000060`
	for _, claims := range []string{
		good + `}`, good + `,"nbf":1799999000,"iat":1799999000,"group":"pilots"}`, good + `,"group":["a"]}`, good + `,"cnf":{"x5t#S256":"` + strings.Repeat("A", 43) + `"}}`,
		`{"iss":"https://issuer","sub":"` + strings.Repeat("é", 100) + `","aud":["x","busd"],"exp":1.80000006e9}`, good + `,"sub":"bob"}`, good + `,"exp":1e300}`, `{}`, `[]`, `null`, `{"iss":1}`,
	} {
		f.Add(`{"alg":"EdDSA","kid":"k"}`, claims)
	}
	f.Add(`{"alg":"none"}`, good+`}`)
	f.Add(`{"alg":"EdDSA","kid":"k","crit":["b64"],"b64":false}`, good+`}`)
	encode := base64.RawURLEncoding.EncodeToString
	f.Fuzz(func(t *testing.T, header, claims string) {
		signed := encode([]byte(header)) + "." + encode([]byte(claims))
		got, refused := a.verify(signed + "." + encode(ed25519.Sign(key, []byte(signed))))
		if refused != nil {
			if got != nil || refused.Reason == "" || refused.Code != bus.CodeUnauthenticated {
				t.Fatalf("%s %s: got %+v beside %v", header, claims, got, refused)
			}
			return
		}
		if got.subject == "" || got.issuer != "https://issuer" || got.until.Before(time.Unix(now, 0)) || got.until.Year() > lastYear+1 || !strings.Contains(claims, "aud") ||
			got.group != "" && !mtls.IsGroup(got.group) {
			t.Fatalf("%s %s: got %+v", header, claims, got)
		}
		caller, denied := got.caller()
		if denied != nil {
			return
		}
		if n := caller.Peer.Name; len(n) > bus.MaxPeerName || !strings.HasPrefix(n, tokenPrefix) || strings.ContainsFunc(n, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Fatalf("%s: the peer's name is %q", claims, n)
		}
		if forged, err := a.verify(signed + "." + encode(make([]byte, ed25519.SignatureSize))); err == nil {
			t.Fatalf("without a signature: got %+v", forged)
		}
	})
}
