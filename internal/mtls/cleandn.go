package mtls

import (
	"errors"
	"fmt"
	"strings"
)

// cleanDN returns a distinguished name in DIRAC's form as [DN] writes it: with
// its short names for attributes that were said by a number or in another letter
// case, and with bytes escaped. Unlike parseDN it takes what a certificate can
// hold, and not only what should be in one: no value, a country of three
// letters, text that is not UTF-8.
func cleanDN(text string) (string, error) {
	if !strings.HasPrefix(text, "/") {
		return "", errors.New("it does not begin with a slash")
	}
	var b strings.Builder
	for rest := text[1:]; ; {
		var attr string
		var more bool
		attr, rest, more = cutAttribute(rest)
		key, said, ok := strings.Cut(attr, "=")
		if !ok || key == "" {
			return "", fmt.Errorf("%q is no attribute", attr)
		}
		name, err := cleanAttributeName(key)
		if err != nil {
			return "", err
		}
		value, err := unescapeBytes(said)
		if err != nil {
			return "", fmt.Errorf("the value of %s: %w", key, err)
		}
		b.WriteString("/" + name + "=")
		writeDNValue(&b, value)
		if !more {
			return b.String(), nil
		}
	}
}

// cleanAttributeName returns the name that DN uses.
func cleanAttributeName(said string) (string, error) {
	dotted, known := attributeOIDs[strings.ToUpper(said)]
	if !known {
		dotted = said
	}
	if name, short := attributeNames[dotted]; short {
		return name, nil
	}
	if _, ok := parseOID(dotted); !ok {
		return "", noAttribute(said)
	}
	return dotted, nil
}
