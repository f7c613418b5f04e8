package bus

import (
	"fmt"
	"time"

	"github.com/google/uuid"
)

// A TRID names one connection. It is random (UUID version 4, RFC 9562), new
// for each connection and never reused; a client that reconnects gets another
// one. Knowing a TRID gives no right.
type TRID string

// NewTRID makes a TRID from the system's secure random source. It may be
// called concurrently.
func NewTRID() TRID { return TRID(uuid.NewString()) }

// ParseTRID reads a TRID as it is printed. The error says what was wrong.
func ParseTRID(s string) (TRID, error) {
	u, err := uuid.Parse(s)
	if err != nil || u.String() != s {
		return "", Errorf(CodeInvalidArgument, "TRID %q: want a lower-case UUID such as 6f1c8a52-3d3b-4b8e-9a55-0d6a3c5b9f10", s)
	}
	return TRID(s), nil
}

// An Identity names a client to one service, the same across reconnects. The
// server makes it from what the certificate proves, so it always begins with
// the peer's name: another certificate can never take it.
type Identity string

// Limits of names, in bytes.
const (
	// MaxPeerName bounds a peer's name.
	MaxPeerName = 256
	// MaxInstance bounds an instance.
	MaxInstance = 64
)

// CheckInstance tells whether s may be an instance: the name that a client
// adds to its peer's name to make an identity, 1 to 64 bytes of
// [A-Za-z0-9._-].
func CheckInstance(s string) error {
	if len(s) == 0 || len(s) > MaxInstance {
		return Errorf(CodeInvalidArgument, "instance: want 1 to %d bytes, got %d", MaxInstance, len(s))
	}
	for i := range len(s) {
		if !isInstanceByte(s[i]) {
			return Errorf(CodeInvalidArgument, "instance: want bytes of [A-Za-z0-9._-], got %q at offset %d", s[i], i)
		}
	}
	return nil
}

func isInstanceByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-'
}

// A Peer is what a verified certificate proves of the other end.
type Peer struct {
	// Name is the peer's name, made of the certificate by the deployment's
	// rule: bytes of [A-Za-z0-9._@:/+=-], everything else percent-encoded.
	Name string
	// Kind says which part of the certificate Name was taken from: "spiffe",
	// "uri", "dns", "email", "cn" or "dn".
	Kind string
	// DN is the subject in DIRAC's form, most general part first:
	// "/C=ch/O=DIRAC/CN=agent-7".
	DN string
	// Issuer is the issuer in the same form.
	Issuer string
	// Serial is the certificate's serial number in hexadecimal.
	Serial string
	// KeyHash is the SHA-256 of the public key (SubjectPublicKeyInfo) in
	// hexadecimal.
	KeyHash string
	// NotAfter is when the first certificate of the chain expires.
	NotAfter time.Time
}

// String returns the peer's name.
func (p Peer) String() string { return p.Name }

// GoString keeps certificates' details out of debug output.
func (p Peer) GoString() string { return fmt.Sprintf("bus.Peer{%q}", p.Name) }
