package mtls

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
)

// attributeNames are the short names that OpenSSL prints.
var attributeNames = map[string]string{
	"2.5.4.3":                    "CN",
	"2.5.4.4":                    "SN",
	"2.5.4.5":                    "serialNumber",
	"2.5.4.6":                    "C",
	"2.5.4.7":                    "L",
	"2.5.4.8":                    "ST",
	"2.5.4.9":                    "street",
	"2.5.4.10":                   "O",
	"2.5.4.11":                   "OU",
	"2.5.4.12":                   "title",
	"2.5.4.13":                   "description",
	"2.5.4.15":                   "businessCategory",
	"2.5.4.17":                   "postalCode",
	"2.5.4.41":                   "name",
	"2.5.4.42":                   "GN",
	"2.5.4.43":                   "initials",
	"2.5.4.44":                   "generationQualifier",
	"2.5.4.45":                   "x500UniqueIdentifier",
	"2.5.4.46":                   "dnQualifier",
	"2.5.4.65":                   "pseudonym",
	"2.5.4.97":                   "organizationIdentifier",
	"0.9.2342.19200300.100.1.1":  "UID",
	"0.9.2342.19200300.100.1.3":  "mail",
	"0.9.2342.19200300.100.1.25": "DC",
	"1.2.840.113549.1.9.1":       "emailAddress",
	"1.2.840.113549.1.9.2":       "unstructuredName",
}

// DN returns a distinguished name, given in DER (a certificate's RawSubject or
// RawIssuer), in DIRAC's form: "/C=ch/O=DIRAC/CN=agent-7", most general part
// first, in the order of the certificate, with OpenSSL's short names and
// dotted numbers where it has none. An empty name is "".
//
// The result is printable ASCII. Other bytes of a value, and the backslash,
// stand as \xHH; so does a slash that what follows would make look like the
// beginning of another attribute ("a/CN=b" is "a\x2FCN=b", while "host/a.org"
// stays as it is). So two names with different attributes never look the same.
// That several attributes share one part of the name is not shown; neither
// does OpenSSL.
func DN(der []byte) (string, error) {
	var rdns pkix.RDNSequence
	rest, err := asn1.Unmarshal(der, &rdns)
	if err != nil {
		return "", fmt.Errorf("distinguished name: %w", err)
	}
	if len(rest) > 0 {
		return "", errors.New("distinguished name: bytes after its end")
	}
	var b strings.Builder
	for _, set := range rdns {
		for _, attr := range set {
			value, ok := attr.Value.(string)
			if !ok {
				return "", fmt.Errorf("distinguished name: the value of %s is not text", attr.Type)
			}
			name, known := attributeNames[attr.Type.String()]
			if !known {
				name = attr.Type.String()
			}
			b.WriteByte('/')
			b.WriteString(name)
			b.WriteByte('=')
			writeDNValue(&b, value)
		}
	}
	return b.String(), nil
}

func writeDNValue(b *strings.Builder, value string) {
	for i := range len(value) {
		c := value[i]
		if c < ' ' || c > '~' || c == '\\' || c == '/' && startsAttribute(value[i+1:]) {
			fmt.Fprintf(b, `\x%02X`, c)
			continue
		}
		b.WriteByte(c)
	}
}

// startsAttribute tells whether s begins as "CN=" and "2.5.4.3=" do.
func startsAttribute(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '=':
			return i > 0
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.':
		default:
			return false
		}
	}
	return false
}
