package mtls

import "strings"

// nameKey is the same for two distinguished names in DER that RFC 5280, section
// 7.1, calls the same: whatever types of string they are written in, without
// regard to letter case (of ASCII) and to how much white space there is. For
// what is no such name it is the bytes. It is for finding who is meant by a
// list or by an operator, where more is safer than less, and never for who
// somebody is.
func nameKey(der []byte) string {
	text, err := DN(der)
	if err != nil {
		return "\x00" + string(der)
	}
	return foldDN(text)
}

// foldDN does that to a name in DIRAC's form.
func foldDN(text string) string {
	parts := strings.Split(asciiLower(text), "/")
	for i, part := range parts {
		key, value, ok := strings.Cut(part, "=")
		if !ok {
			key, value = "", part
		}
		value = strings.Join(strings.Fields(value), " ")
		if ok {
			value = key + "=" + value
		}
		parts[i] = value
	}
	return strings.Join(parts, "/")
}

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
