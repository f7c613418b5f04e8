package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"busd/access"
	"busd/bus"
	"busd/internal/mtls"
)

// MaxToken bounds a bearer token, in bytes.
const MaxToken = 8 << 10

const (
	// KindToken is the Kind of a peer that a token names.
	KindToken   = "token"
	tokenPrefix = KindToken + ":"
)

// lastYear is the last one that dates can be written in; a token must end.
const lastYear = 9999

// bearer returns the bearer token of a request; "" if there is none.
func bearer(h http.Header) (string, *bus.Error) {
	var token string
	for _, value := range h["Authorization"] {
		scheme, rest, _ := strings.Cut(strings.TrimSpace(value), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			continue
		}
		rest = strings.TrimSpace(rest)
		if rest == "" || token != "" || strings.ContainsAny(rest, " \t,") {
			return "", refuse("the header Authorization is malformed: want one Bearer token")
		}
		token = rest
	}
	return token, nil
}

// A token is what a good bearer token says.
type token struct {
	subject, issuer, group string
	until                  time.Time
	// bound is the hash of the certificate that it is bound to (RFC 8705); nil: it
	// is bound to none.
	bound *[sha256.Size]byte
	// strange: it is bound to something else.
	strange bool
}

// boundTo compares without telling by the time how much of it fits.
func (t *token) boundTo(shown [sha256.Size]byte) bool {
	return subtle.ConstantTimeCompare(shown[:], t.bound[:]) == 1
}

// caller returns who shows the token.
func (t *token) caller() (access.Caller, *bus.Error) {
	name := tokenPrefix + mtls.EncodeName(t.subject) + "@" + mtls.EncodeName(t.issuer)
	if len(name) > bus.MaxPeerName {
		return access.Caller{}, bus.Errorf(bus.CodePermissionDenied,
			"the bearer token makes a name of %d bytes: at most %d are allowed", len(name), bus.MaxPeerName)
	}
	return access.Caller{
		Peer: bus.Peer{Name: name, Kind: KindToken, NotAfter: t.until}, Via: access.ViaToken, NotAfter: t.until,
		Group: t.group, TokenSubject: t.subject, TokenIssuer: t.issuer,
	}, nil
}

// claims are those that every token may have.
type claims struct {
	jwt.Claims
	Confirmation any `json:"cnf"`
}

// verify verifies a token, but for what it is bound to. The errors hold no part
// of it, and have no causes, which might.
func (a *Authenticator) verify(text string) (*token, *bus.Error) {
	switch {
	case len(a.issuers) == 0:
		return nil, refuse("bearer tokens are not accepted here")
	case len(text) > MaxToken:
		return nil, refuse("the bearer token is too long: at most %d bytes are allowed", MaxToken)
	}
	signed, err := jwt.ParseSigned(text, a.algorithms)
	if err != nil || len(signed.Headers) != 1 || !isOrdinary(signed.Headers[0]) {
		return nil, refuse("the bearer token is not a JWT that is signed with an algorithm accepted here")
	}
	var c claims
	var all map[string]any
	// Until its signature is verified nothing but its issuer's name is looked at.
	if signed.UnsafeClaimsWithoutVerification(&c, &all) != nil {
		return nil, refuse("the bearer token's claims cannot be read")
	}
	i := a.issuers[c.Issuer]
	if i == nil {
		return nil, refuse("the bearer token is of an issuer that is not accepted here")
	}
	if err := i.verify(signed); err != nil {
		return nil, refuse("the bearer token is not accepted: %v", err)
	}
	if err := a.checkClaims(&c, i); err != nil {
		return nil, refuse("the bearer token is not accepted: %v", err)
	}
	t := &token{subject: c.Subject, issuer: c.Issuer, until: c.Expiry.Time().Add(a.leeway)}
	if i.GroupClaim != "" {
		if t.group, err = groupOf(all[i.GroupClaim]); err != nil {
			return nil, refuse("the bearer token is not accepted: %v", err)
		}
	}
	if _, has := all["cnf"]; has {
		t.bound = thumbprint(c.Confirmation)
		t.strange = t.bound == nil
	}
	return t, nil
}

// isOrdinary tells whether a token's header asks for nothing that would be
// overlooked here, and says of the token that it lets somebody in, if it says
// what it is for (RFC 8725, section 3.11).
func isOrdinary(h jose.Header) bool {
	for _, name := range []jose.HeaderKey{"crit", "b64", "cty", "zip"} {
		if _, has := h.ExtraHeaders[name]; has {
			return false
		}
	}
	kind, has := h.ExtraHeaders[jose.HeaderType]
	if !has {
		return true
	}
	word, _ := kind.(string)
	switch strings.TrimPrefix(strings.ToLower(word), "application/") {
	case "jwt", "at+jwt":
		return true
	}
	return false
}

// verify verifies a token's signature by one of the issuer's keys.
func (i *issuer) verify(signed *jwt.JSONWebToken) error {
	header := signed.Headers[0]
	alg := algorithm(header.Algorithm)
	if !slices.Contains(i.algorithms, alg) {
		return errors.New("its issuer's tokens may not be signed with that algorithm")
	}
	k, err := i.key(header.KeyID, alg)
	if err != nil {
		return err
	}
	if signed.Claims(k.public) != nil {
		return errors.New("its signature is not valid")
	}
	return nil
}

// checkClaims checks what is said of whom and when the token is for.
func (a *Authenticator) checkClaims(c *claims, i *issuer) error {
	err := c.ValidateWithLeeway(jwt.Expected{Issuer: i.Name, AnyAudience: i.Audiences, Time: a.now()}, a.leeway)
	switch {
	case c.Expiry == nil || c.Expiry.Time().Year() > lastYear:
		return errors.New("it does not say when it expires")
	case errors.Is(err, jwt.ErrExpired):
		return errors.New("it is expired")
	case errors.Is(err, jwt.ErrNotValidYet), errors.Is(err, jwt.ErrIssuedInTheFuture):
		return errors.New("it is not valid yet")
	case errors.Is(err, jwt.ErrInvalidAudience):
		return errors.New("it is made for somebody else (its audience)")
	case err != nil:
		return errors.New("it is not valid")
	case c.Subject == "" || !isText(c.Subject):
		return errors.New("it does not say whose it is (its subject)")
	}
	return nil
}

// isText tells whether s is text, and all of it can be seen.
func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) }

// groupOf reads the claim that names a group; nil is none. Of several groups
// none could be chosen without widening what the token is good for.
func groupOf(claim any) (string, error) {
	list, isList := claim.([]any)
	switch {
	case claim == nil, isList && len(list) == 0:
		return "", nil
	case isList && len(list) > 1:
		return "", errors.New("it names several groups, and one is wanted")
	case isList:
		claim = list[0]
	}
	if name, ok := claim.(string); ok && mtls.IsGroup(name) {
		return name, nil
	}
	return "", errors.New("the group that it names cannot be read")
}

// thumbprint returns the hash of the certificate that a token is bound to; nil,
// if it is bound to anything else, or to more than that.
func thumbprint(confirmation any) *[sha256.Size]byte {
	parts, _ := confirmation.(map[string]any)
	text, ok := parts["x5t#S256"].(string)
	if !ok || len(parts) != 1 {
		return nil
	}
	sum, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(sum) != sha256.Size {
		return nil
	}
	return (*[sha256.Size]byte)(sum)
}
