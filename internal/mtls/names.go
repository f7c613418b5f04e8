package mtls

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Bounds of a DNS name, RFC 1035, section 2.3.4.
const (
	maxDNSName  = 253
	maxDNSLabel = 63
)

// checkDNS checks a DNS name by the preferred syntax (RFC 1034, section 3.5, and
// RFC 1123), as RFC 5280 asks of names in certificates. Underscores are allowed,
// which many have.
func checkDNS(name string) error {
	if len(name) > maxDNSName {
		return fmt.Errorf("it has %d bytes: a DNS name has at most %d", len(name), maxDNSName)
	}
	for label := range strings.SplitSeq(name, ".") {
		switch {
		case label == "" || len(label) > maxDNSLabel:
			return fmt.Errorf("a part of a DNS name has 1 to %d bytes", maxDNSLabel)
		case label[0] == '-' || label[len(label)-1] == '-':
			return errors.New("no part of a DNS name begins or ends with a hyphen")
		}
		for i := range len(label) {
			if c := label[i]; !isLetterOrDigit(c) && c != '-' && c != '_' {
				return fmt.Errorf("a DNS name is made of letters, digits, hyphens and dots, this one has %q", c)
			}
		}
	}
	return nil
}

// checkEmail checks a mailbox (RFC 5280, section 4.2.1.6): a local part that needs
// no quotes, an at sign, a DNS name.
func checkEmail(mailbox string) error {
	local, domain, ok := strings.Cut(mailbox, "@")
	if !ok || local == "" {
		return errors.New("a mailbox is written local@domain")
	}
	if strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(local, "..") {
		return errors.New("the local part of a mailbox has no dot at its ends, nor two in a row")
	}
	for i := range len(local) {
		if c := local[i]; !isLetterOrDigit(c) && strings.IndexByte("!#$%&'*+-/=?^_`{|}~.", c) < 0 {
			return fmt.Errorf("the local part of a mailbox has %q", c)
		}
	}
	return checkDNS(domain)
}

// checkURI checks that a URI is absolute, and written in the one way that RFC
// 3986, section 6.2.2, calls normal: two that mean the same must not be two
// names.
func checkURI(text string) error {
	for i := range len(text) {
		if c := text[i]; !isLetterOrDigit(c) && strings.IndexByte("-._~:/?#[]@!$&'()*+,;=%", c) < 0 {
			return fmt.Errorf("a URI has no %q", c)
		}
	}
	uri, err := url.Parse(text)
	if err != nil || uri.Scheme == "" {
		return errors.New("a URI begins with its scheme, as in https://example.org/agent/7")
	}
	scheme, _, _ := strings.Cut(text, ":")
	if scheme != strings.ToLower(scheme) || uri.Host != strings.ToLower(uri.Host) {
		return errors.New("the scheme and the host of a URI are written in lower case")
	}
	if strings.HasSuffix(uri.Host, ":") {
		return errors.New("a URI has no port that is empty")
	}
	for segment := range strings.SplitSeq(uri.EscapedPath()+"/"+uri.Opaque, "/") { // one of them is empty
		if segment == "." || segment == ".." {
			return errors.New("the path of a URI has no . or .. segment")
		}
	}
	return checkEscapes(text)
}

// checkEscapes checks that only what must be is percent-encoded, in upper case.
func checkEscapes(text string) error {
	for rest := text; ; {
		_, after, found := strings.Cut(rest, "%")
		if !found {
			return nil
		}
		if len(after) < 2 {
			return errors.New("a percent sign in a URI is followed by two digits")
		}
		high, low := strings.IndexByte(upperHex, after[0]), strings.IndexByte(upperHex, after[1])
		if high < 0 || low < 0 {
			return errors.New("a percent sign in a URI is followed by two digits, in upper case")
		}
		if c := byte(high<<4 | low); isLetterOrDigit(c) || strings.IndexByte("-._~", c) >= 0 || c < ' ' || c == 0x7f {
			return fmt.Errorf("a URI has %%%s, which is not written so", after[:2])
		}
		rest = after[2:]
	}
}

const upperHex = "0123456789ABCDEF"

func isLetterOrDigit(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
