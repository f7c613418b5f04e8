package mtls

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"busd/bus"
)

// Bounds of a deny list.
const (
	// MaxDenials bounds its entries.
	MaxDenials = 100_000
	// maxDenialText bounds each text in an entry, in bytes.
	maxDenialText = 2048
)

// A Denial is an entry of a deny list: it denies every certificate that all it
// says is true of. Serial needs an Issuer beside it.
type Denial struct {
	// Serial is the serial number in hexadecimal, with or without colons, in
	// either letter case; of the client's certificate, or of one above it.
	Serial string `json:"serial,omitempty"`
	// Issuer is who issued it, in DIRAC's form ([DN]); alone, all that he issued.
	Issuer string `json:"issuer,omitempty"`
	// Key is the SHA-256 of its public key (SubjectPublicKeyInfo): "sha256:" and
	// 64 hexadecimal digits.
	Key string `json:"key,omitempty"`
	// Name is the peer's name, or the client's subject in DIRAC's form, as logs
	// write them. A * stands for any number of any bytes, also in the middle.
	Name string `json:"name,omitempty"`
}

const keyPrefix = "sha256:"

// Clean returns the entry in the one way to write it, so that two entries that
// say the same are equal. The error says what is wrong with it.
func (d Denial) Clean() (Denial, error) {
	bad := func(format string, a ...any) (Denial, error) {
		return d, bus.Errorf(bus.CodeInvalidArgument, format, a...)
	}
	for _, text := range []string{d.Serial, d.Issuer, d.Key, d.Name} {
		if len(text) > maxDenialText {
			return bad("want at most %d bytes, got %d", maxDenialText, len(text))
		}
	}
	if d == (Denial{}) {
		return bad("it says nothing: want serial and issuer, issuer, key, or name")
	}
	if d.Serial != "" {
		digits := strings.TrimPrefix(strings.ToLower(strings.ReplaceAll(d.Serial, ":", "")), "0x")
		n, ok := new(big.Int).SetString(digits, 16)
		if !ok || strings.Trim(digits, "0123456789abcdef") != "" {
			return bad("serial %q: want hexadecimal digits, such as 0a:1b:2c or 0a1b2c", d.Serial)
		}
		d.Serial = n.Text(16)
	}
	if d.Issuer != "" {
		der, err := parseDN(d.Issuer)
		if err == nil {
			d.Issuer, err = DN(der)
		}
		if err != nil {
			return bad("issuer %q: %v: want it as busd pki show prints it, such as /C=ch/O=DIRAC/CN=CA", d.Issuer, err)
		}
	}
	if d.Serial != "" && d.Issuer == "" {
		return bad("serial %s: want the issuer, too: every CA counts for itself", d.Serial)
	}
	if d.Key != "" {
		sum, err := hex.DecodeString(strings.TrimPrefix(strings.ToLower(d.Key), keyPrefix))
		if err != nil || len(sum) != sha256.Size || !strings.HasPrefix(strings.ToLower(d.Key), keyPrefix) {
			return bad("key %q: want sha256: and the 64 hexadecimal digits of the public key's hash", d.Key)
		}
		d.Key = keyPrefix + hex.EncodeToString(sum)
	}
	if d.Name != "" && strings.Trim(d.Name, "*") == "" {
		return bad("name %q: that would be everybody", d.Name)
	}
	return d, nil
}

// String is the entry for people.
func (d Denial) String() string {
	var parts []string
	for _, part := range []struct{ key, value string }{{"serial", d.Serial}, {"issuer", d.Issuer}, {"key", d.Key}, {"name", d.Name}} {
		if part.value != "" {
			parts = append(parts, part.key+" "+part.value)
		}
	}
	return strings.Join(parts, ", ")
}

// A DenyList is a set of denials, readied for looking up. It is immutable; nil
// denies nobody.
type DenyList struct {
	serials map[string][]*denial // by serial number
	keys    map[string][]*denial // by key hash
	names   map[string][]*denial // by the whole name
	others  []*denial            // to be looked at each time
	len     int
}

// A denial is an entry as it is compared.
type denial struct {
	serial, issuer, key string // the issuer folded
	name                []string
	named               bool
}

// A DenialError says which entry of a list is wrong.
type DenialError struct {
	Index int
	Err   error
}

// Error names the entry by its number, from 1.
func (e *DenialError) Error() string { return fmt.Sprintf("deny: entry %d: %v", e.Index+1, e.Err) }

// Unwrap returns what is wrong with it.
func (e *DenialError) Unwrap() error { return e.Err }

// NewDenyList readies a list. The error is a [*DenialError], or of
// [bus.CodeResourceExhausted] for more than [MaxDenials].
func NewDenyList(entries []Denial) (*DenyList, error) {
	if len(entries) > MaxDenials {
		return nil, bus.Errorf(bus.CodeResourceExhausted, "deny: %d entries: at most %d are allowed", len(entries), MaxDenials)
	}
	l := &DenyList{serials: map[string][]*denial{}, keys: map[string][]*denial{}, names: map[string][]*denial{}, len: len(entries)}
	for i, entry := range entries {
		clean, err := entry.Clean()
		if err != nil {
			return nil, &DenialError{i, err}
		}
		d := &denial{serial: clean.Serial, issuer: foldDN(clean.Issuer), key: strings.TrimPrefix(clean.Key, keyPrefix)}
		if clean.Name != "" {
			d.name, d.named = strings.Split(clean.Name, "*"), true
		}
		switch {
		case d.serial != "":
			l.serials[d.serial] = append(l.serials[d.serial], d)
		case d.key != "":
			l.keys[d.key] = append(l.keys[d.key], d)
		case len(d.name) == 1:
			l.names[clean.Name] = append(l.names[clean.Name], d)
		default:
			l.others = append(l.others, d)
		}
	}
	return l, nil
}

// Len is how many entries there are.
func (l *DenyList) Len() int {
	if l == nil {
		return 0
	}
	return l.len
}

// denies tells whether an entry is true of one certificate of a chain, whose
// client is called that.
func (l *DenyList) denies(m mark, names clientNames) bool {
	if l == nil {
		return false
	}
	is := func(d *denial) bool { return d.is(m, names) }
	return slices.ContainsFunc(l.serials[m.serial], is) || slices.ContainsFunc(l.keys[m.key], is) ||
		slices.ContainsFunc(l.names[names.peer], is) || slices.ContainsFunc(l.names[names.subject], is) || slices.ContainsFunc(l.others, is)
}

func (d *denial) is(m mark, names clientNames) bool {
	return (d.serial == "" || d.serial == m.serial) &&
		(d.issuer == "" || d.issuer == m.issuer.Value()) &&
		(d.key == "" || d.key == m.key) &&
		(!d.named || fits(d.name, names.peer) || fits(d.name, names.subject))
}

// fits tells whether a text is the parts with anything between them.
func fits(parts []string, text string) bool {
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return text == first
	}
	if len(text) < len(first)+len(last) || !strings.HasPrefix(text, first) || !strings.HasSuffix(text, last) {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = after
	}
	return true
}
