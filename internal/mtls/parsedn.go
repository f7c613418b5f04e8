package mtls

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDN bounds a name that is read from a text, in bytes.
const maxDN = 4096

// attributeOIDs are attributeNames the other way round, in upper case.
var attributeOIDs = func() map[string]string {
	oids := make(map[string]string, len(attributeNames))
	for oid, name := range attributeNames {
		oids[strings.ToUpper(name)] = oid
	}
	return oids
}()

// parseDN reads a distinguished name in DIRAC's form, as [DN] writes it, and
// returns it in DER, each attribute in a part of its own. The names of
// attributes may be in any letter case, and UTF-8 may stand as it is.
func parseDN(text string) ([]byte, error) {
	if len(text) > maxDN {
		return nil, fmt.Errorf("it has %d bytes: at most %d are allowed", len(text), maxDN)
	}
	if !strings.HasPrefix(text, "/") {
		return nil, errors.New("it does not begin with a slash")
	}
	var name pkix.RDNSequence
	for rest := text[1:]; ; {
		said, after, more := cutAttribute(rest)
		attr, err := parseAttribute(said)
		if err != nil {
			return nil, err
		}
		name = append(name, pkix.RelativeDistinguishedNameSET{attr})
		if !more {
			break
		}
		rest = after
	}
	der, err := asn1.Marshal(name)
	if err != nil {
		return nil, errors.New("it cannot be put in a certificate")
	}
	return der, nil
}

// cutAttribute cuts a name behind its first attribute, and tells whether there
// are more.
func cutAttribute(text string) (attr, rest string, more bool) {
	for i := range len(text) {
		if text[i] == '/' && startsAttribute(text[i+1:]) {
			return text[:i], text[i+1:], true
		}
	}
	return text, "", false
}

// parseAttribute reads "CN=alice".
func parseAttribute(text string) (attr pkix.AttributeTypeAndValue, err error) {
	key, said, ok := strings.Cut(text, "=")
	if !ok || key == "" {
		return attr, fmt.Errorf("%q is no attribute", text)
	}
	dotted, known := attributeOIDs[strings.ToUpper(key)]
	if !known {
		dotted = key
	}
	if attr.Type, ok = parseOID(dotted); !ok {
		return attr, noAttribute(key)
	}
	value, err := unescapeDN(said)
	switch {
	case err != nil:
		return attr, fmt.Errorf("the value of %s: %w", key, err)
	case value == "":
		return attr, fmt.Errorf("%s has no value", key)
	}
	switch attributeNames[attr.Type.String()] {
	case "C":
		if len(value) != 2 || strings.ContainsFunc(value, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }) {
			return attr, fmt.Errorf("%s=%s: want a country's two letters", key, value)
		}
	case "DC", "mail", "emailAddress": // which are IA5Strings by their definition
		if strings.ContainsFunc(value, func(r rune) bool { return r >= utf8.RuneSelf }) {
			return attr, fmt.Errorf("%s=%s: want ASCII", key, value)
		}
		attr.Value = asn1.RawValue{Tag: asn1.TagIA5String, Bytes: []byte(value)}
		return attr, nil
	}
	attr.Value = value // a PrintableString if it is one, else a UTF8String
	return attr, nil
}

func noAttribute(name string) error {
	return fmt.Errorf("there is no attribute %q: want one of C, ST, L, O, OU, CN, DC, UID, emailAddress and others that OpenSSL knows, or a number such as 2.5.4.3", name)
}

func parseOID(text string) (asn1.ObjectIdentifier, bool) {
	var id asn1.ObjectIdentifier
	for part := range strings.SplitSeq(text, ".") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 || strconv.Itoa(n) != part {
			return nil, false
		}
		id = append(id, n)
	}
	_, err := asn1.Marshal(id)
	return id, err == nil
}

// unescapeDN is unescapeBytes for what must be UTF-8.
func unescapeDN(text string) (string, error) {
	value, err := unescapeBytes(text)
	if err == nil && !utf8.ValidString(value) {
		return "", errors.New("it is not UTF-8")
	}
	return value, err
}

// unescapeBytes reads \xHH; a backslash is nothing else.
func unescapeBytes(text string) (string, error) {
	var b strings.Builder
	for text != "" {
		before, after, found := strings.Cut(text, `\`)
		b.WriteString(before)
		if !found {
			break
		}
		if len(after) < 3 || after[0] != 'x' {
			return "", errors.New(`a backslash is written \x5C, other bytes as \xHH`)
		}
		c, err := strconv.ParseUint(after[1:3], 16, 8)
		if err != nil {
			return "", errors.New(`a backslash is written \x5C, other bytes as \xHH`)
		}
		b.WriteByte(byte(c))
		text = after[3:]
	}
	return b.String(), nil
}
