package mtls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"regexp"
	"strings"
	"testing"
	"time"

	"busd/bus"
)

// san is one raw subject alternative name.
type san struct {
	tag   int
	value string
}

func uri(s string) san   { return san{tagURI, s} }
func dns(s string) san   { return san{tagDNS, s} }
func email(s string) san { return san{tagEmail, s} }

type attr struct{ oid, value string }

func cn(s string) attr { return attr{"2.5.4.3", s} }

// rawCert makes a certificate with exactly these names, whatever they are. The
// error is what crypto/x509 says of it, as it would in a handshake.
func rawCert(t testing.TB, key *ecdsa.PrivateKey, subject []attr, names []san) (*x509.Certificate, error) {
	t.Helper()
	var rdns pkix.RDNSequence
	for _, a := range subject {
		rdns = append(rdns, pkix.RelativeDistinguishedNameSET{{Type: oid(t, a.oid), Value: utf8String(a.value)}})
	}
	rawSubject, err := asn1.Marshal(rdns)
	if err != nil {
		t.Fatalf("subject: %v", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(0xabc), RawSubject: rawSubject,
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
	}
	if len(names) > 0 {
		var all []asn1.RawValue
		for _, n := range names {
			all = append(all, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: n.tag, Bytes: []byte(n.value)})
		}
		value, err := asn1.Marshal(all)
		if err != nil {
			t.Fatalf("names: %v", err)
		}
		template.ExtraExtensions = []pkix.Extension{{Id: oidSubjectAltName, Value: value}}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func utf8String(s string) asn1.RawValue {
	return asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(s)}
}

func oid(t testing.TB, s string) asn1.ObjectIdentifier {
	t.Helper()
	parsed, err := x509.ParseOID(s)
	if err != nil {
		t.Fatal(err)
	}
	der, err := parsed.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var id asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(append([]byte{asn1.TagOID, byte(len(der))}, der...), &id); err != nil {
		t.Fatal(err)
	}
	return id
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

const refused = "" // the name of nobody

func TestNaming(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	auto, spiffe := []string{Auto}, []string{KindSPIFFE}
	alice := "spiffe://example.org/alice"
	long := strings.Repeat("a", 256)
	tests := []struct {
		what    string
		kinds   []string
		subject []attr
		names   []san
		want    string
	}{
		// What a certificate has.
		{"spiffe", auto, nil, []san{uri(alice)}, alice},
		{"spiffe beside others", auto, []attr{cn("x")}, []san{dns("d"), email("e@f"), uri(alice)}, alice},
		{"another uri", auto, nil, []san{uri("https://example.org/a"), dns("d")}, "uri:https://example.org/a"},
		{"uri with query and fragment", auto, nil, []san{uri("https://e.org/a?b#c")}, "uri:https://e.org/a%3Fb%23c"},
		{"urn", auto, nil, []san{uri("urn:uuid:6f1c8a52")}, "uri:urn:uuid:6f1c8a52"},
		{"dns", auto, []attr{cn("x")}, []san{dns("agent-7"), email("e@f")}, "dns:agent-7"},
		{"email", auto, []attr{cn("x")}, []san{email("a@example.org")}, "email:a@example.org"},
		{"cn", auto, []attr{{"2.5.4.10", "DIRAC"}, cn("agent 7")}, nil, "cn:agent%207"},
		{"dn", auto, []attr{{"2.5.4.6", "ch"}, {"2.5.4.10", "DIRAC"}}, nil, "dn:/C=ch/O=DIRAC"},
		{"nothing", auto, nil, nil, refused},
		{"other kinds of names only", auto, nil, []san{{7, "\x7f\x00\x00\x01"}}, refused},
		{"no kinds at all", nil, nil, []san{dns("d")}, "dns:d"},

		// Pinned.
		{"pinned spiffe", spiffe, []attr{cn("x")}, []san{uri(alice)}, alice},
		{"pinned spiffe, has dns", spiffe, []attr{cn("x")}, []san{dns("d")}, refused},
		{"pinned spiffe, other uri", spiffe, nil, []san{uri("https://e.org/a")}, refused},
		{"pinned dns", []string{KindDNS}, nil, []san{uri(alice), dns("agent-7")}, "agent-7"},
		{"pinned uri", []string{KindURI}, nil, []san{uri("https://e.org/a")}, "https://e.org/a"},
		{"pinned email", []string{KindEmail}, nil, []san{email("a@b")}, "a@b"},
		{"pinned cn", []string{KindCN}, []attr{cn("alice")}, []san{dns("d")}, "alice"},
		{"pinned dn", []string{KindDN}, []attr{{"2.5.4.6", "ch"}, cn("ciuser")}, []san{dns("d")}, "/C=ch/CN=ciuser"},
		{"pinned dn, none", []string{KindDN}, nil, []san{dns("d")}, refused},
		{"pinned cn, none", []string{KindCN}, []attr{{"2.5.4.10", "o"}}, nil, refused},
		{"two kinds, first", []string{KindDNS, KindCN}, []attr{cn("alice")}, []san{dns("d")}, "dns:d"},
		{"two kinds, second", []string{KindDNS, KindCN}, []attr{cn("alice")}, nil, "cn:alice"},
		{"two kinds, other order", []string{KindCN, KindSPIFFE}, nil, []san{uri(alice)}, alice},

		// More than one.
		{"two spiffe", auto, nil, []san{uri(alice), uri("spiffe://example.org/bob")}, refused},
		{"the same spiffe twice", auto, nil, []san{uri(alice), uri(alice)}, refused},
		{"spiffe and another uri", auto, nil, []san{uri("https://e.org"), uri(alice)}, refused},
		{"two uris", auto, nil, []san{uri("https://a.org"), uri("https://b.org")}, refused},
		{"two dns", auto, []attr{cn("x")}, []san{dns("a"), dns("b")}, refused},
		{"two dns, cn pinned", []string{KindCN}, []attr{cn("x")}, []san{dns("a"), dns("b")}, "x"},
		{"two emails", auto, nil, []san{email("a@b"), email("c@d")}, refused},
		{"two cns", auto, []attr{cn("alice"), cn("bob")}, nil, refused},
		{"two cns, dn pinned", []string{KindDN}, []attr{cn("alice"), cn("bob")}, nil, "/CN=alice/CN=bob"},

		// SPIFFE IDs that are none. They never fall back to another name.
		{"upper-case scheme", auto, nil, []san{uri("SPIFFE://example.org/alice")}, refused},
		{"upper-case trust domain", auto, nil, []san{uri("spiffe://Example.org/alice"), dns("d")}, refused},
		{"no path", auto, nil, []san{uri("spiffe://example.org")}, refused},
		{"root path", auto, nil, []san{uri("spiffe://example.org/")}, refused},
		{"trailing slash", auto, nil, []san{uri(alice + "/")}, refused},
		{"empty segment", auto, nil, []san{uri("spiffe://example.org//alice")}, refused},
		{"dot", auto, nil, []san{uri("spiffe://example.org/./alice")}, refused},
		{"dot dot", auto, nil, []san{uri("spiffe://example.org/bob/../alice")}, refused},
		{"encoded dot dot", auto, nil, []san{uri("spiffe://example.org/bob/%2e%2e/alice")}, refused},
		{"percent", auto, nil, []san{uri("spiffe://example.org/%61lice")}, refused},
		{"encoded slash", auto, nil, []san{uri("spiffe://example.org/bob%2falice")}, refused},
		{"query", auto, nil, []san{uri(alice + "?a=b")}, refused},
		{"empty query", auto, nil, []san{uri(alice + "?")}, refused},
		{"fragment", auto, nil, []san{uri(alice + "#a")}, refused},
		{"empty fragment", auto, nil, []san{uri(alice + "#")}, refused},
		{"user", auto, nil, []san{uri("spiffe://bob@example.org/alice")}, refused},
		{"port", auto, nil, []san{uri("spiffe://example.org:443/alice")}, refused},
		{"no authority", auto, nil, []san{uri("spiffe:alice")}, refused},
		{"no trust domain", auto, nil, []san{uri("spiffe:///alice")}, refused},
		{"trust domain too long", auto, nil, []san{uri("spiffe://" + long + "/a")}, refused},
		{"space in path", auto, nil, []san{uri("spiffe://example.org/alice%20")}, refused},

		// Hostile values.
		{"wildcard", auto, nil, []san{dns("*.example.org")}, refused},
		{"wildcard inside", auto, nil, []san{dns("a*.example.org")}, refused},
		{"empty dns", auto, []attr{cn("x")}, []san{dns("")}, refused},
		{"empty email", auto, []attr{cn("x")}, []san{email("")}, refused},
		{"empty cn", []string{KindCN}, []attr{cn("")}, nil, refused},
		{"NUL in dns", auto, nil, []san{dns("alice\x00.evil.org")}, refused},
		{"NUL in cn", []string{KindCN}, []attr{cn("alice\x00bob")}, nil, refused},
		{"CRLF in cn", []string{KindCN}, []attr{cn("alice\r\nX: y")}, nil, refused},
		{"DEL in email", auto, nil, []san{email("alice\x7f@b")}, refused},
		{"line end after dns", auto, nil, []san{dns("alice\n")}, refused},
		{"NUL in dn", []string{KindDN}, []attr{cn("alice\x00")}, nil, "/CN=alice%5Cx00"},
		{"space after", []string{KindCN}, []attr{cn("alice ")}, nil, "alice%20"},
		{"letter case", []string{KindCN}, []attr{cn("Alice")}, nil, "Alice"},
		{"homograph", []string{KindCN}, []attr{cn("аlice")}, nil, "%D0%B0lice"},
		{"percent itself", []string{KindCN}, []attr{cn("%61lice")}, nil, "%2561lice"},
		{"not composed", []string{KindCN}, []attr{cn("e\u0301")}, nil, "e%CC%81"},
		{"wildcards of subjects", []string{KindCN}, []attr{cn("a.*.>")}, nil, "a.%2A.%3E"},
		{"quotes", []string{KindCN}, []attr{cn(`a"b'c\`)}, nil, "a%22b%27c%5C"},
		{"a cn that looks like a kind", auto, []attr{cn("spiffe://example.org/alice")}, nil, "cn:spiffe://example.org/alice"},
		{"a dns that looks like a spiffe id", auto, nil, []san{dns(alice)}, refused},
		{"dn with two readings", []string{KindDN}, []attr{cn("a/CN=b")}, nil, "/CN=a%5Cx2FCN=b"},
		{"not ASCII in dns", auto, nil, []san{dns("älice")}, refused},
		{"uri that is none", auto, nil, []san{uri("https://e.org/%zz")}, refused},
		{"cn just fits", []string{KindCN}, []attr{cn(long)}, nil, long},
		{"cn too long by its prefix", auto, []attr{cn(long)}, nil, refused},
		{"a dns label just fits", auto, nil, []san{dns(long[:63] + ".org")}, "dns:" + long[:63] + ".org"},
		{"a dns label too long", auto, nil, []san{dns(long[:64] + ".org")}, refused},
		{"dns too long", []string{KindDNS}, nil, []san{dns(strings.Repeat("a.", 127))}, refused},
		{"dns with a space", auto, nil, []san{dns("alice bob")}, refused},
		{"dns with a slash", auto, nil, []san{dns("../alice")}, refused},
		{"dns that ends in a dot", auto, nil, []san{dns("alice.")}, refused},
		{"dns that begins with a dot", auto, nil, []san{dns(".alice")}, refused},
		{"dns with an empty part", auto, nil, []san{dns("a..b")}, refused},
		{"dns with a hyphen at an end", auto, nil, []san{dns("-alice")}, refused},
		{"dns with a percent", auto, nil, []san{dns("alice%00")}, refused},
		{"dns with a colon", auto, nil, []san{dns("cn:alice")}, refused},
		{"dns with an underscore", auto, nil, []san{dns("agent_7.example.org")}, "dns:agent_7.example.org"},
		{"dns in punycode stays what it is", auto, nil, []san{dns("xn--lice-3za")}, "dns:xn--lice-3za"},
		{"dns in upper case is another", auto, nil, []san{dns("ALICE")}, "dns:ALICE"},
		{"dns that is an address", auto, nil, []san{dns("[::1]")}, refused},
		{"email without a domain", auto, nil, []san{email("alice")}, refused},
		{"email with two at signs", auto, nil, []san{email("alice@evil.org@example.org")}, refused},
		{"email with a space", auto, nil, []san{email("alice @example.org")}, refused},
		{"email with quotes", auto, nil, []san{email(`"alice"@example.org`)}, refused},
		{"email with a name", auto, nil, []san{email("Alice <alice@example.org>")}, refused},
		{"email with CRLF", auto, nil, []san{email("alice@example.org\r\nBcc: bob")}, refused},
		{"email with a wildcard", auto, nil, []san{email("alice@*.org")}, refused},
		{"email with a plus", auto, nil, []san{email("alice+bus@example.org")}, "email:alice+bus@example.org"},
		{"uri in upper case", auto, nil, []san{uri("HTTPS://example.org/alice")}, refused},
		{"uri with a host in upper case", auto, nil, []san{uri("https://Example.org/alice")}, refused},
		{"uri with dot dot", auto, nil, []san{uri("https://example.org/bob/../alice")}, refused},
		{"uri without an authority, with dot dot", auto, nil, []san{uri("urn:a/../b")}, refused},
		{"uri that begins with dot dot", auto, nil, []san{uri("x:../b")}, refused},
		{"uri without an authority", auto, nil, []san{uri("urn:example:a..b")}, "uri:urn:example:a..b"},
		{"uri with an empty port", auto, nil, []san{uri("https://e.org:/a")}, refused},
		{"uri with an encoded letter", auto, nil, []san{uri("https://example.org/%61lice")}, refused},
		{"uri with an encoded dot dot", auto, nil, []san{uri("https://example.org/bob/%2E%2E/alice")}, refused},
		{"uri with an encoded NUL", auto, nil, []san{uri("https://example.org/alice%00")}, refused},
		{"uri with an encoded line end", auto, nil, []san{uri("https://example.org/alice%0D%0A")}, refused},
		{"uri with small digits", auto, nil, []san{uri("https://example.org/a%2fb")}, refused},
		{"uri with an encoded slash", auto, nil, []san{uri("https://example.org/a%2Fb")}, "uri:https://example.org/a%252Fb"},
		{"uri with a space", auto, nil, []san{uri("https://example.org/a b")}, refused},
		{"uri that is relative", auto, nil, []san{uri("/alice")}, refused},
		{"uri with what browsers turn around", auto, nil, []san{uri(`https:\\example.org\alice`)}, refused},
		{"bidi in cn", []string{KindCN}, []attr{cn("alice\u202egnp")}, nil, "alice%E2%80%AEgnp"},
		{"zero width in cn", []string{KindCN}, []attr{cn("al\u200bice")}, nil, "al%E2%80%8Bice"},
		{"C1 control in cn", []string{KindCN}, []attr{cn("alice\u0085")}, nil, "alice%C2%85"},
		{"escape in cn", []string{KindCN}, []attr{cn("alice\x1b[2J")}, nil, refused},
		{"dot segments in cn", []string{KindCN}, []attr{cn("../../alice")}, nil, "../../alice"},
		{"cn too long when encoded", []string{KindCN}, []attr{cn(strings.Repeat("ä", 50))}, nil, refused},
	}
	if len(tests) < 60 {
		t.Errorf("got %d rows, want 60 or more", len(tests))
	}
	for _, test := range tests {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			naming, err := NewNaming(test.kinds...)
			if err != nil {
				t.Fatal(err)
			}
			cert, err := rawCert(t, key, test.subject, test.names)
			if err != nil {
				if test.want != refused {
					t.Fatalf("the certificate cannot be made or read: %v", err)
				}
				return
			}
			peer, err := naming.PeerOf([]*x509.Certificate{cert})
			if test.want == refused {
				if code := bus.CodeOf(err); code != bus.CodeUnauthenticated {
					t.Fatalf("got %q, %v, want it refused as unauthenticated", peer.Name, err)
				}
				return
			}
			if err != nil || peer.Name != test.want {
				t.Fatalf("got %q, %v, want %q", peer.Name, err, test.want)
			}
			if peer.Serial != "abc" || len(peer.KeyHash) != 64 || peer.NotAfter.IsZero() {
				t.Errorf("peer: got %+v", peer)
			}
		})
	}
}

func TestNamingPattern(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	spiffe, err := NewNaming(KindSPIFFE)
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{`spiffe://x/(a)$`, `^spiffe://x/(a)`, `^spiffe://x/a$`, `^(a)(b)$`, `^(a$`} {
		if _, err := spiffe.Matching(pattern); bus.CodeOf(err) != bus.CodeInvalidArgument {
			t.Errorf("pattern %s: got %v, want invalid_argument", pattern, err)
		}
	}
	if _, err := (Naming{}).Matching(`^(a)$`); bus.CodeOf(err) != bus.CodeInvalidArgument {
		t.Errorf("pattern without a kind: got %v, want invalid_argument", err)
	}
	agents, err := spiffe.Matching(`^spiffe://example\.org/agent/([A-Za-z0-9_-]{0,8})$`)
	if err != nil {
		t.Fatal(err)
	}
	loose, err := spiffe.Matching(`^x|spiffe://example.org/(a)gent/7$`)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		naming   Naming
		id, want string
	}{
		{agents, "spiffe://example.org/agent/alice", "alice"},
		{agents, "spiffe://example.org/agent/alice/x", refused},
		{agents, "spiffe://example.org/user/alice", refused},
		{agents, "spiffe://example-org/agent/alice", refused},
		{agents, "spiffe://example.org/agent/123456789", refused},
		{loose, "spiffe://example.org/agent/7", "a"},
		{loose, "spiffe://example.org/agent/7/8", refused},
	} {
		cert, err := rawCert(t, key, nil, []san{uri(test.id)})
		if err != nil {
			t.Fatal(err)
		}
		peer, err := test.naming.PeerOf([]*x509.Certificate{cert})
		if peer.Name != test.want || (err != nil) != (test.want == refused) {
			t.Errorf("%s: got %q, %v, want %q", test.id, peer.Name, err, test.want)
		}
	}
}

func TestNewNamingRefuses(t *testing.T) {
	t.Parallel()
	for _, kinds := range [][]string{{"CN"}, {""}, {"auto", "cn"}, {"cn", "cn"}, {"ip"}} {
		if _, err := NewNaming(kinds...); bus.CodeOf(err) != bus.CodeInvalidArgument {
			t.Errorf("%q: got %v, want invalid_argument", kinds, err)
		}
	}
	naming, err := NewNaming(KindCN, KindDNS)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(naming.Kinds(), " "); got != "cn dns" {
		t.Errorf("kinds: got %s", got)
	}
	if got := strings.Join(Naming{}.Kinds(), " "); got != "spiffe uri dns email cn dn" {
		t.Errorf("kinds of auto: got %s", got)
	}
}

func TestPeerNotAfterIsTheChains(t *testing.T) {
	t.Parallel()
	at := func(sec int64) *x509.Certificate {
		return &x509.Certificate{
			NotAfter: time.Unix(sec, 0), SerialNumber: big.NewInt(1), RawSubject: []byte{0x30, 0}, RawIssuer: []byte{0x30, 0},
		}
	}
	chains := [][]*x509.Certificate{{at(100), at(50), at(200)}, {at(100), at(80)}}
	if got := chainsEnd(chains); got != time.Unix(80, 0) {
		t.Errorf("got %v, want the end of the chain that lasts longest, %v", got.Unix(), 80)
	}
}

var nameAlphabet = regexp.MustCompile(`^(?:[A-Za-z0-9._@:/+=-]|%[0-9A-F]{2}){1,256}$`)

func FuzzNaming(f *testing.F) {
	f.Add(byte(6), "spiffe://example.org/alice", "alice", byte(0))
	f.Add(byte(6), "https://e.org/%2e?#", "alice", byte(2))
	f.Add(byte(2), "*.example.org", "", byte(3))
	f.Add(byte(1), "a@b", "bob\x00", byte(5))
	f.Add(byte(9), "", "a/CN=b", byte(6))
	key := newKey(f)
	f.Fuzz(func(t *testing.T, tag byte, value, common string, rule byte) {
		var kinds []string
		if i := int(rule) % (len(allKinds) + 1); i > 0 {
			kinds = allKinds[i-1 : i]
		}
		naming, err := NewNaming(kinds...)
		if err != nil {
			t.Fatal(err)
		}
		var names []san
		if tag &= 15; tag != 9 {
			names = []san{{int(tag), value}}
		}
		cert, err := rawCert(t, key, []attr{cn(common)}, names)
		if err != nil {
			return // crypto/x509 refuses it
		}
		peer, err := naming.PeerOf([]*x509.Certificate{cert})
		again, err2 := naming.PeerOf([]*x509.Certificate{cert})
		if peer != again || (err == nil) != (err2 == nil) {
			t.Fatalf("not the same twice: %v, %v and %v, %v", peer, err, again, err2)
		}
		if err != nil {
			return
		}
		if len(peer.Name) > bus.MaxPeerName || !nameAlphabet.MatchString(peer.Name) {
			t.Errorf("name %q: out of alphabet or too long", peer.Name)
		}
		if kinds == nil && peer.Kind != KindSPIFFE && !strings.HasPrefix(peer.Name, peer.Kind+":") {
			t.Errorf("name %q of kind %s: want its prefix", peer.Name, peer.Kind)
		}
		if kinds == nil && peer.Kind == KindSPIFFE && !strings.HasPrefix(peer.Name, "spiffe://") {
			t.Errorf("name %q: want a SPIFFE ID", peer.Name)
		}
	})
}
