package mtls

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"busd/bus"
)

// Kinds of names that a certificate has, in the order in which automatic
// naming looks for them.
const (
	KindSPIFFE = "spiffe" // the URI SAN with scheme spiffe; must be the only URI SAN
	KindURI    = "uri"    // a URI SAN
	KindDNS    = "dns"    // a DNS SAN; no wildcards
	KindEmail  = "email"  // an e-mail SAN
	KindCN     = "cn"     // the subject's common name
	KindDN     = "dn"     // the subject as DN returns it
)

// Auto is the word for automatic naming in a configuration.
const Auto = "auto"

var allKinds = []string{KindSPIFFE, KindURI, KindDNS, KindEmail, KindCN, KindDN}

// A Naming is the rule that makes a peer's name of its certificate. The zero
// value is automatic naming. A Naming is immutable and may be used
// concurrently.
type Naming struct {
	kinds   []string // nil: allKinds
	pattern *regexp.Regexp
}

// NewNaming returns the rule that takes the first of these kinds that a
// certificate has. With one kind the name is the value itself; with several,
// every kind but spiffe is prefixed ("dns:agent-7"), so that kinds never meet.
// No kind at all, or "auto" alone, means all kinds in the order spiffe, uri,
// dns, email, cn, dn.
func NewNaming(kinds ...string) (Naming, error) {
	if len(kinds) == 0 || len(kinds) == 1 && kinds[0] == Auto {
		return Naming{}, nil
	}
	for i, kind := range kinds {
		if !slices.Contains(allKinds, kind) {
			return Naming{}, bus.Errorf(bus.CodeInvalidArgument,
				"peer name: unknown kind %q: want auto, or some of %s", kind, strings.Join(allKinds, ", "))
		}
		if slices.Contains(kinds[:i], kind) {
			return Naming{}, bus.Errorf(bus.CodeInvalidArgument, "peer name: kind %q stands twice", kind)
		}
	}
	return Naming{kinds: slices.Clone(kinds)}, nil
}

// Matching returns n with a pattern that the value, as raw bytes, must match;
// the name is then what its one capture caught. The pattern is a regular
// expression that begins with ^, ends with $ and has one capture, such as
// `^spiffe://example\.org/agent/([A-Za-z0-9_-]{1,64})$`; n must have one kind.
func (n Naming) Matching(pattern string) (Naming, error) {
	if len(n.kinds) != 1 {
		return Naming{}, bus.Errorf(bus.CodeInvalidArgument, "peer name: a pattern needs exactly one kind")
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return Naming{}, bus.Wrap(bus.CodeInvalidArgument, err, "peer name: the pattern is no regular expression")
	}
	if !strings.HasPrefix(pattern, "^") || !strings.HasSuffix(pattern, "$") || re.NumSubexp() != 1 {
		return Naming{}, bus.Errorf(bus.CodeInvalidArgument,
			"peer name: pattern %q: want ^ at its beginning, $ at its end and one (capture)", pattern)
	}
	// The group keeps both anchors true whatever stands between them: in
	// ^a|b$ each holds for one branch only.
	anchored, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
	if err != nil {
		return Naming{}, bus.Wrap(bus.CodeInvalidArgument, err, "peer name: the pattern is no regular expression")
	}
	n.pattern = anchored
	return n, nil
}

// Kinds returns the kinds of the rule, in order.
func (n Naming) Kinds() []string {
	if n.kinds == nil {
		return slices.Clone(allKinds)
	}
	return slices.Clone(n.kinds)
}

// Peer returns the peer that a finished handshake proved. It is an error of
// [bus.CodeUnauthenticated] if the other end showed no certificate, if the
// certificate was not verified, or if the rule does not give it exactly one
// name.
func (n Naming) Peer(state tls.ConnectionState) (bus.Peer, error) {
	if len(state.PeerCertificates) == 0 {
		return bus.Peer{}, bus.Errorf(bus.CodeUnauthenticated, "no client certificate")
	}
	return n.peerOf(state.VerifiedChains)
}

// PeerOf returns the peer that a verified chain, leaf first, proves. The
// caller vouches for the chain.
func (n Naming) PeerOf(chain []*x509.Certificate) (bus.Peer, error) {
	return n.peerOf([][]*x509.Certificate{chain})
}

func (n Naming) peerOf(chains [][]*x509.Certificate) (bus.Peer, error) {
	if len(chains) == 0 || len(chains[0]) == 0 {
		return bus.Peer{}, bus.Errorf(bus.CodeUnauthenticated, "the client certificate was not verified")
	}
	leaf := chains[0][0]
	subject, err := DN(leaf.RawSubject)
	if err != nil {
		return bus.Peer{}, bus.Wrap(bus.CodeUnauthenticated, err, "the certificate's subject cannot be read")
	}
	issuer, err := DN(leaf.RawIssuer)
	if err != nil {
		return bus.Peer{}, bus.Wrap(bus.CodeUnauthenticated, err, "the certificate's issuer cannot be read")
	}
	kind, name, err := n.name(leaf, subject)
	if err != nil {
		return bus.Peer{}, err
	}
	key := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return bus.Peer{
		Name:     name,
		Kind:     kind,
		DN:       subject,
		Issuer:   issuer,
		Serial:   leaf.SerialNumber.Text(16),
		KeyHash:  hex.EncodeToString(key[:]),
		NotAfter: chainsEnd(chains),
	}, nil
}

// chainsEnd returns when the last chain stops being valid: a chain ends with
// the first of its certificates.
func chainsEnd(chains [][]*x509.Certificate) time.Time {
	var end time.Time
	for _, chain := range chains {
		first := chain[0].NotAfter
		for _, cert := range chain[1:] {
			if cert.NotAfter.Before(first) {
				first = cert.NotAfter
			}
		}
		if first.After(end) {
			end = first
		}
	}
	return end
}

func (n Naming) name(leaf *x509.Certificate, subject string) (kind, name string, err error) {
	names, err := altNamesOf(leaf)
	if err != nil {
		return "", "", bus.Wrap(bus.CodeUnauthenticated, err, "the certificate's names cannot be read")
	}
	kinds := n.kinds
	if kinds == nil {
		kinds = allKinds
	}
	for _, kind := range kinds {
		values := valuesOf(kind, leaf, names, subject)
		if len(values) == 0 {
			continue
		}
		value, err := n.oneValue(kind, values, names)
		if err != nil {
			return "", "", err
		}
		name := EncodeName(value)
		if len(kinds) > 1 && kind != KindSPIFFE {
			name = kind + ":" + name
		}
		if len(name) > bus.MaxPeerName {
			return "", "", bus.Errorf(bus.CodeUnauthenticated,
				"the certificate's %s name makes a peer name of %d bytes: at most %d are allowed", kind, len(name), bus.MaxPeerName)
		}
		return kind, name, nil
	}
	return "", "", bus.Errorf(bus.CodeUnauthenticated,
		"the certificate has no name of the kind wanted here: %s", strings.Join(kinds, ", "))
}

func valuesOf(kind string, leaf *x509.Certificate, names altNames, subject string) []string {
	switch kind {
	case KindSPIFFE:
		return slices.DeleteFunc(slices.Clone(names.uris), func(uri string) bool { return !isSPIFFE(uri) })
	case KindURI:
		return names.uris
	case KindDNS:
		return names.dns
	case KindEmail:
		return names.emails
	case KindCN:
		var values []string
		for _, attr := range leaf.Subject.Names {
			if attr.Type.String() == "2.5.4.3" {
				values = append(values, fmt.Sprint(attr.Value))
			}
		}
		return values
	case KindDN:
		if subject != "" {
			return []string{subject}
		}
	}
	return nil
}

// oneValue refuses what could be read in two ways.
func (n Naming) oneValue(kind string, values []string, names altNames) (string, error) {
	value := values[0]
	if len(values) > 1 {
		return "", bus.Errorf(bus.CodeUnauthenticated,
			"the certificate has %d %s names: one is wanted, so that it is clear who this is", len(values), kind)
	}
	if kind == KindSPIFFE {
		if len(names.uris) > 1 {
			return "", bus.Errorf(bus.CodeUnauthenticated,
				"the certificate has %d URI names: one with a SPIFFE ID has no other", len(names.uris))
		}
		if err := checkSPIFFE(value); err != nil {
			return "", bus.Errorf(bus.CodeUnauthenticated, "the certificate's SPIFFE ID is not valid: %v", err)
		}
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", bus.Errorf(bus.CodeUnauthenticated, "the certificate's %s name has a control character", kind)
	}
	if kind == KindDNS && strings.Contains(value, "*") {
		return "", bus.Errorf(bus.CodeUnauthenticated, "the certificate's dns name is a wildcard: it names nobody")
	}
	if err := checkKind(kind, value); err != nil {
		return "", bus.Errorf(bus.CodeUnauthenticated, "the certificate's %s name is not valid: %v", kind, err)
	}
	if n.pattern != nil {
		match := n.pattern.FindStringSubmatch(value)
		if match == nil {
			return "", bus.Errorf(bus.CodeUnauthenticated, "the certificate's %s name does not match the pattern wanted here", kind)
		}
		value = match[1]
	}
	if value == "" {
		return "", bus.Errorf(bus.CodeUnauthenticated, "the certificate's %s name is empty", kind)
	}
	return value, nil
}

// checkKind checks a name by the rules of its kind.
func checkKind(kind, value string) error {
	switch {
	case value == "": // which is said below
	case kind == KindDNS:
		return checkDNS(value)
	case kind == KindEmail:
		return checkEmail(value)
	case kind == KindURI:
		return checkURI(value)
	}
	return nil
}

// EncodeName writes a value as it stands in a peer's name: every byte outside
// [A-Za-z0-9._@:/+=-] is percent-encoded. The percent sign is outside, so
// different values stay different.
func EncodeName(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if isNameByte(c) {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(upperHex[c>>4])
		b.WriteByte(upperHex[c&15])
	}
	return b.String()
}

func isNameByte(c byte) bool {
	return isLetterOrDigit(c) || strings.IndexByte("._@:/+=-", c) >= 0
}
