package mtls

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"strings"
	"testing"
	"unique"

	"busd/bus"
)

// markBy is the mark of a certificate of an issuer, whose name is in DER.
func markBy(issuer []byte) mark {
	return mark{issuer: unique.Make(nameKey(issuer)), serial: "1", key: strings.Repeat("0", 64)}
}

// What a certificate can call its issuer can be denied, also where no such name
// should be: the form in which busd shows it is taken back.
func TestDenyIssuersOfOddNames(t *testing.T) {
	t.Parallel()
	text := func(tag int, s string) asn1.RawValue { return asn1.RawValue{Tag: tag, Bytes: []byte(s)} }
	const utf8, t61, bmp = asn1.TagUTF8String, asn1.TagT61String, asn1.TagBMPString
	cn := asn1.ObjectIdentifier{2, 5, 4, 3}
	for what, attr := range map[string]pkix.AttributeTypeAndValue{
		"T61":             {Type: cn, Value: text(t61, "Caf\xe9 CA")},
		"BMP":             {Type: cn, Value: text(bmp, "\x00C\x00A")},
		"empty":           {Type: cn, Value: text(utf8, "")},
		"white space":     {Type: cn, Value: text(utf8, " CA ")},
		"slash":           {Type: cn, Value: text(utf8, "a/CN=b")},
		"NUL":             {Type: cn, Value: text(utf8, "a\x00b")},
		"backslash":       {Type: cn, Value: text(utf8, `a\b`)},
		"three letters":   {Type: asn1.ObjectIdentifier{2, 5, 4, 6}, Value: text(utf8, "CHE")},
		"no short name":   {Type: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: text(utf8, "x")},
		"mail that is no": {Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, Value: text(utf8, "é")},
	} {
		der, err := asn1.Marshal(pkix.RDNSequence{{attr}, {{Type: cn, Value: "CA"}}})
		if err != nil {
			t.Fatal(err)
		}
		dn, err := DN(der)
		if err != nil {
			t.Fatal(err)
		}
		for _, said := range []string{dn, strings.Replace(dn, "/CN=CA", "/2.5.4.3=CA", 1), strings.Replace(dn, "/CN=CA", "/cn= ca", 1)} {
			list, err := NewDenyList([]Denial{{Serial: "01", Issuer: said}, {Issuer: "/CN=other"}})
			if err != nil {
				t.Errorf("%s: %s: %v", what, said, err)
				continue
			}
			if !list.denies(markBy(der), clientNames{}) {
				t.Errorf("%s: %s is accepted, and denies nobody", what, said)
			}
		}
		if clean, _ := (Denial{Issuer: dn}).Clean(); clean.Issuer != dn {
			t.Errorf("%s: %q is written as %q", what, dn, clean.Issuer)
		}
	}
	if clean, err := (Denial{Issuer: "/CN=Zürich"}).Clean(); err != nil || clean.Issuer != `/CN=Z\xC3\xBCrich` {
		t.Errorf("got %+v, %v, want what busd shows", clean, err)
	}
	for _, bad := range []string{"CN=x", "/", "/CN", "/=x", "/XX=y", `/CN=\q`, "/C=ch/1.x=y"} {
		if _, err := (Denial{Issuer: bad}).Clean(); bus.CodeOf(err) != bus.CodeInvalidArgument {
			t.Errorf("%s: got %v, want it refused", bad, err)
		}
	}
}

// What could never be true of a certificate is refused, and not kept for nothing.
func TestDenialsThatAreNeverTrue(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]string{
		"token:alice@https://issuer": "has no certificate",
		"token:*":                    "has no certificate",
		"/CN=Zürich":                 "no name has such characters",
		"dns:*\nX":                   "no name has such characters",
	} {
		if _, err := (Denial{Name: name}).Clean(); bus.CodeOf(err) != bus.CodeInvalidArgument || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v, want %s", name, err, says)
		}
	}
	if _, err := (Denial{Issuer: "/CN=" + strings.Repeat("é", 1000)}).Clean(); bus.CodeOf(err) != bus.CodeInvalidArgument {
		t.Errorf("an issuer that is too long once it is escaped: got %v", err)
	}
}

// Patterns are bounded, as each is looked at for every client; other entries are
// found, however many there are.
func TestDenyListBounds(t *testing.T) {
	t.Parallel()
	many := func(n int, name string) []Denial {
		list := make([]Denial, n)
		for i := range list {
			list[i].Name = fmt.Sprintf(name, i)
		}
		return list
	}
	for _, test := range []struct {
		list []Denial
		says string
	}{
		{many(MaxDenyPatterns, "dns:*.%d"), ""},
		{many(MaxDenyPatterns+1, "dns:*.%d"), "1001 names with a *: at most 1000 are allowed"},
		{many(MaxDenyPatterns+1, "dns:%d"), ""},
		{many(MaxDenials+1, "dns:%d"), "100001 entries: at most 100000 are allowed"},
	} {
		_, err := NewDenyList(test.list)
		if test.says == "" && err != nil || test.says != "" && (bus.CodeOf(err) != bus.CodeResourceExhausted || !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%d entries like %+v: got %v, want %q", len(test.list), test.list[0], err, test.says)
		}
	}
	name := func(i int) []byte {
		der, err := parseDN(fmt.Sprintf("/C=ch/CN=CA %d", i))
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	list := make([]Denial, 1000)
	for i := range list {
		list[i].Issuer = fmt.Sprintf("/C=ch/CN=CA %d", i)
	}
	l, err := NewDenyList(list)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.patterns) > 0 || !l.denies(markBy(name(999)), clientNames{}) || l.denies(markBy(name(1000)), clientNames{}) {
		t.Error("issuers are not found by their names alone")
	}
}

// The next list is made of what is new, and says what it would have said anyway.
func TestNextDenyList(t *testing.T) {
	t.Parallel()
	ca, err := parseDN("/CN=CA")
	if err != nil {
		t.Fatal(err)
	}
	m := markBy(ca)
	first, err := NewDenyList([]Denial{{Name: "dns:a"}, {Issuer: "/CN=CA", Name: "dns:b*"}, {Issuer: "/cn=CA", Serial: "00:01"}})
	if err != nil {
		t.Fatal(err)
	}
	if !first.denies(m, clientNames{peer: "dns:z"}) {
		t.Error("the serial number is not denied")
	}
	next, err := first.Next([]Denial{{Issuer: "/CN=CA", Name: "dns:b*"}, {Name: "dns:c"}, {Name: "dns:c"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"dns:a": false, "dns:b": true, "dns:c": true, "dns:z": false} {
		if got := next.denies(m, clientNames{peer: name}); got != want {
			t.Errorf("%s: got %t, want %t", name, got, want)
		}
	}
	if next.Len() != 3 || first.Len() != 3 || !first.denies(m, clientNames{peer: "dns:a"}) {
		t.Error("the first list is another one now")
	}
	if _, err := next.Next([]Denial{{Name: "dns:c"}, {Name: "*"}}); err == nil || !strings.Contains(err.Error(), "entry 2") {
		t.Errorf("got %v, want that the second entry is refused", err)
	}
}

// A list of as many entries as there may be, to which one is added.
func BenchmarkNextDenyList(b *testing.B) {
	list := make([]Denial, MaxDenials)
	for i := range list {
		list[i] = Denial{Serial: fmt.Sprintf("%x", i+1), Issuer: "/C=ch/O=DIRAC/CN=CA"}
	}
	l, err := NewDenyList(list[1:])
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := l.Next(list); err != nil {
			b.Fatal(err)
		}
	}
}
