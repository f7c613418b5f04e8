package mtls

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
)

func TestDN(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		attrs []attr
		want  string
	}{
		{nil, ""},
		{[]attr{{"2.5.4.6", "ch"}, {"2.5.4.10", "DIRAC"}, {"2.5.4.11", "DIRAC CI"}, cn("ciuser")}, "/C=ch/O=DIRAC/OU=DIRAC CI/CN=ciuser"},
		{[]attr{cn("x"), {"2.5.4.6", "ch"}}, "/CN=x/C=ch"},
		{
			[]attr{{"0.9.2342.19200300.100.1.25", "ch"}, {"0.9.2342.19200300.100.1.25", "cern"}, {"0.9.2342.19200300.100.1.1", "u"}},
			"/DC=ch/DC=cern/UID=u",
		},
		{[]attr{{"1.2.840.113549.1.9.1", "a@b"}, {"2.5.4.5", "7"}, {"2.5.4.4", "s"}}, "/emailAddress=a@b/serialNumber=7/SN=s"},
		{[]attr{{"1.2.3.4", "v"}}, "/1.2.3.4=v"},
		{[]attr{cn("host/a.example.org")}, "/CN=host/a.example.org"},
		{[]attr{cn("a/CN=b")}, `/CN=a\x2FCN=b`},
		{[]attr{cn("a"), cn("b")}, `/CN=a/CN=b`},
		{[]attr{cn("a/1.2=b")}, `/CN=a\x2F1.2=b`},
		{[]attr{cn("a/=b")}, `/CN=a/=b`},
		{[]attr{cn("a/"), cn("b")}, `/CN=a//CN=b`},
		{[]attr{cn(`a\x2FCN=b`)}, `/CN=a\x5Cx2FCN=b`},
		{[]attr{cn("é\n\x00")}, `/CN=\xC3\xA9\x0A\x00`},
		{[]attr{cn("")}, "/CN="},
	} {
		got, err := DN(derOf(t, test.attrs))
		if err != nil || got != test.want {
			t.Errorf("%q: got %q, %v, want %q", test.attrs, got, err, test.want)
		}
	}
}

func TestDNRefuses(t *testing.T) {
	t.Parallel()
	number, err := asn1.Marshal(pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: 7}}})
	if err != nil {
		t.Fatal(err)
	}
	for what, der := range map[string][]byte{
		"nothing":        nil,
		"not a sequence": {0x04, 0x00},
		"truncated":      {0x30, 0x05, 0x31},
		"bytes after":    {0x30, 0x00, 0x00},
		"a number":       number,
	} {
		if got, err := DN(der); err == nil {
			t.Errorf("%s: got %q, want an error", what, got)
		}
	}
}

func derOf(t testing.TB, attrs []attr) []byte {
	t.Helper()
	rdns := pkix.RDNSequence{}
	for _, a := range attrs {
		rdns = append(rdns, pkix.RelativeDistinguishedNameSET{{Type: oid(t, a.oid), Value: utf8String(a.value)}})
	}
	der, err := asn1.Marshal(rdns)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// FuzzDN: whatever it accepts it prints in its alphabet, and what two
// attributes say cannot be said by one.
func FuzzDN(f *testing.F) {
	f.Add([]byte{0x30, 0}, "a/CN=b", "c")
	f.Add([]byte{0x30, 0x0c, 0x31, 0x0a, 0x30, 0x08, 6, 3, 0x55, 4, 3, 0x0c, 1, 'x'}, `\x2F`, "/O=")
	f.Fuzz(func(t *testing.T, der []byte, first, second string) {
		if got, err := DN(der); err == nil {
			for i := range len(got) {
				if got[i] < ' ' || got[i] > '~' {
					t.Fatalf("%q: byte %#x", got, got[i])
				}
			}
			if again, err := parseDN(got); err == nil {
				if back, err := DN(again); err != nil || back != got {
					t.Fatalf("%q, read and written again: got %q, %v", got, back, err)
				}
			}
		}
		two, err := DN(derOf(t, []attr{cn(first), cn(second)}))
		if err != nil {
			return // not UTF-8
		}
		one, err := DN(derOf(t, []attr{cn(first + "/CN=" + second)}))
		if err != nil || one == two {
			t.Fatalf("%q and %q: one attribute and two both print %q, %v", first, second, one, err)
		}
	})
}

// FuzzSameName: names that are taken for one are one in DIRAC's form.
func FuzzSameName(f *testing.F) {
	printable, err := asn1.Marshal(pkix.Name{Organization: []string{"x"}, CommonName: "alice"}.ToRDNSequence())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(printable, derOf(f, []attr{{"2.5.4.10", "x"}, cn("alice")}))
	f.Add([]byte{0x30, 0}, []byte{0x30, 0})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if !sameName(a, b) {
			return
		}
		one, err := DN(a)
		other, errOther := DN(b)
		if err != nil || errOther != nil || one == "" || one != other {
			t.Errorf("%x and %x are taken for one: they are %q, %v and %q, %v", a, b, one, err, other, errOther)
		}
	})
}

func TestSameName(t *testing.T) {
	t.Parallel()
	printable, err := asn1.Marshal(pkix.Name{Organization: []string{"x"}, CommonName: "alice"}.ToRDNSequence())
	if err != nil {
		t.Fatal(err)
	}
	org := func(s string) attr { return attr{"2.5.4.10", s} }
	for _, test := range []struct {
		attrs []attr
		want  bool
	}{
		{[]attr{org("x"), cn("alice")}, true},
		{[]attr{org("x"), cn("Alice")}, false},
		{[]attr{org("x"), cn("alice ")}, false},
		{[]attr{cn("alice"), org("x")}, false},
		{[]attr{org("x")}, false},
		{[]attr{org("x"), cn("alice"), cn("1")}, false},
		{[]attr{cn("x"), cn("alice")}, false},
		{[]attr{org("x/CN=alice")}, false},
		{nil, false},
	} {
		if got := sameName(printable, derOf(t, test.attrs)); got != test.want {
			t.Errorf("/O=x/CN=alice and %v: got %t", test.attrs, got)
		}
	}
	if sameName(derOf(t, nil), derOf(t, nil)) {
		t.Error("names of nobody are taken for one")
	}
}
