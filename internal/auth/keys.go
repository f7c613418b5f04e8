package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"

	"busd/internal/mtls"
)

// maxKeys bounds the keys of one issuer.
const maxKeys = 64

// Kinds of keys.
const (
	kindRSA     = "RSA"
	kindP256    = "P-256"
	kindP384    = "P-384"
	kindP521    = "P-521"
	kindEd25519 = "Ed25519"
)

// A key verifies an issuer's tokens.
type key struct {
	id        string // kid; empty: it has none
	kind      string
	algorithm algorithm // the only one that it is for; empty: all of its kind
	public    any
}

// fits tells whether the key may verify tokens of an algorithm.
func (k key) fits(alg algorithm) bool {
	return k.kind == kinds[alg] && (k.algorithm == "" || k.algorithm == alg)
}

// key returns the key of a token that names this one (kid; empty: none) and is
// signed by this algorithm.
func (i *issuer) key(id string, alg algorithm) (key, error) {
	var found []key
	for _, k := range *i.keys.Load() {
		if k.fits(alg) && (id == "" || k.id == id) {
			found = append(found, k)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1: // never, if it is named
		return key{}, errors.New("it does not say which key it is signed with, and there are several")
	}
	return key{}, errors.New("it is signed with a key that is not known here")
}

// addKeys adds the keys of a set in JSON to those of other files. Keys for other
// purposes, or of kinds that are not known here, are passed over, as RFC 7517
// wants it; those that must not be there, or cannot be used, are errors.
func addKeys(all []key, data []byte) ([]key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, errors.New(`it is not a set of keys in JSON: want {"keys": [...]}`)
	}
	before := len(all)
	for n, raw := range set.Keys {
		k, err := parseKey(raw)
		switch {
		case err != nil:
			return nil, fmt.Errorf("keys[%d]: %w", n, err)
		case k.kind == "":
			continue
		case k.id != "" && slices.ContainsFunc(all, func(other key) bool { return other.id == k.id && other.kind == k.kind }):
			return nil, fmt.Errorf("keys[%d]: another key has the same kid", n)
		case len(all) == maxKeys:
			return nil, fmt.Errorf("there are more than %d keys", maxKeys)
		}
		all = append(all, k)
	}
	if len(all) == before {
		return nil, errors.New("it holds no key that signs tokens")
	}
	return all, nil
}

// secretParts are the members of keys that only their owner may have.
var secretParts = []string{"k", "d", "p", "q", "dp", "dq", "qi", "oth", "priv"}

// parseKey reads one key; one without a kind is for somebody else.
func parseKey(raw []byte) (key, error) {
	var parts map[string]json.RawMessage
	var about struct {
		Type       string   `json:"kty"`
		Curve      string   `json:"crv"`
		Use        string   `json:"use"`
		Operations []string `json:"key_ops"`
	}
	if json.Unmarshal(raw, &parts) != nil || json.Unmarshal(raw, &about) != nil {
		return key{}, errors.New("it cannot be read")
	}
	for _, part := range secretParts {
		if _, has := parts[part]; has {
			return key{}, errors.New("it is secret: only public keys may be here, for who has this one can make tokens")
		}
	}
	known := about.Type == "RSA" ||
		about.Type == "EC" && slices.Contains([]string{kindP256, kindP384, kindP521}, about.Curve) ||
		about.Type == "OKP" && about.Curve == kindEd25519
	ours := (about.Use == "" || about.Use == "sig") && (about.Operations == nil || slices.Contains(about.Operations, "verify"))
	if !known || !ours {
		return key{}, nil
	}
	var j jose.JSONWebKey
	if err := json.Unmarshal(raw, &j); err != nil || !j.Valid() {
		return key{}, errors.New("it cannot be read")
	}
	k := key{id: j.KeyID, algorithm: algorithm(j.Algorithm), public: j.Key}
	switch public := j.Key.(type) {
	case *rsa.PublicKey:
		k.kind = kindRSA
		if bits := public.N.BitLen(); bits < mtls.MinRSABits {
			return key{}, fmt.Errorf("it is an RSA key of %d bits: want %d or more", bits, mtls.MinRSABits)
		}
	case *ecdsa.PublicKey:
		k.kind = public.Curve.Params().Name
	case ed25519.PublicKey:
		k.kind = kindEd25519
	}
	return k, nil
}
