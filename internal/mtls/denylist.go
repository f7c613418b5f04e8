package mtls

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"busd/bus"
)

// Bounds of a deny list.
const (
	// MaxDenials bounds its entries.
	MaxDenials = 100_000
	// MaxDenyPatterns bounds those of them that have a * in the name: each is held
	// against every client, while all others are found by what they say.
	MaxDenyPatterns = 1000
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

const (
	keyPrefix   = "sha256:"
	tokenPrefix = "token:" // of the names of callers that have no certificate
)

// Clean returns the entry in the one way to write it, so that two entries that
// say the same are equal. The error says what is wrong with it, also with one
// that could never be true of a certificate.
func (d Denial) Clean() (Denial, error) {
	if d == (Denial{}) {
		return d, badDenial("it says nothing: want serial and issuer, issuer, key, or name")
	}
	if err := d.short(); err != nil {
		return d, err
	}
	if d.Serial != "" {
		var err error
		if d.Serial, err = cleanSerial(d.Serial); err != nil {
			return d, err
		}
	}
	if d.Issuer != "" {
		clean, err := cleanDN(d.Issuer)
		if err != nil {
			return d, badDenial("issuer %q: %v: want it as busd pki show prints it, such as /C=ch/O=DIRAC/CN=CA", d.Issuer, err)
		}
		d.Issuer = clean
	}
	if d.Serial != "" && d.Issuer == "" {
		return d, badDenial("serial %s: want the issuer, too: every CA counts for itself", d.Serial)
	}
	if d.Key != "" {
		sum, err := hex.DecodeString(strings.TrimPrefix(strings.ToLower(d.Key), keyPrefix))
		if err != nil || len(sum) != sha256.Size || !strings.HasPrefix(strings.ToLower(d.Key), keyPrefix) {
			return d, badDenial("key %q: want sha256: and the 64 hexadecimal digits of the public key's hash", d.Key)
		}
		d.Key = keyPrefix + hex.EncodeToString(sum)
	}
	if err := checkDeniedName(d.Name); err != nil {
		return d, err
	}
	return d, d.short() // what was escaped has grown
}

func badDenial(format string, a ...any) error {
	return bus.Errorf(bus.CodeInvalidArgument, format, a...)
}

// short says whether a text in the entry is too long.
func (d Denial) short() error {
	for _, text := range []string{d.Serial, d.Issuer, d.Key, d.Name} {
		if len(text) > maxDenialText {
			return badDenial("want at most %d bytes, got %d", maxDenialText, len(text))
		}
	}
	return nil
}

func cleanSerial(said string) (string, error) {
	digits := strings.TrimPrefix(strings.ToLower(strings.ReplaceAll(said, ":", "")), "0x")
	if digits == "" || strings.Trim(digits, "0123456789abcdef") != "" {
		return said, badDenial("serial %q: want hexadecimal digits, such as 0a:1b:2c or 0a1b2c", said)
	}
	if digits = strings.TrimLeft(digits, "0"); digits == "" {
		digits = "0"
	}
	return digits, nil
}

// checkDeniedName says what is wrong with a name, which may be empty.
func checkDeniedName(name string) error {
	switch {
	case name == "":
		return nil
	case strings.Trim(name, "*") == "":
		return badDenial("name %q: that would be everybody", name)
	case strings.HasPrefix(name, tokenPrefix):
		return badDenial("name %q: who comes with a token has no certificate that could be denied: take his rights away, or have his issuer end the token", name)
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }):
		return badDenial("name %q: no name has such characters: want it as the log writes it, where they are escaped", name)
	}
	return nil
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
	serials  map[serialOf][]*denial
	keys     map[string][]*denial // by key hash
	names    map[string][]*denial // by the whole name
	issuers  map[string][]*denial // by issuer, folded
	patterns []*denial            // to be looked at each time
	ready    map[Denial]*denial   // all of them
	len      int
}

// serialOf is a serial number of an issuer, folded.
type serialOf struct{ issuer, serial string }

// A denial is an entry as it is compared.
type denial struct {
	serial, issuer, key string // the issuer folded
	whole               string // the name, where nothing in it stands for anything
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
// [bus.CodeResourceExhausted] for more than [MaxDenials], or [MaxDenyPatterns].
func NewDenyList(entries []Denial) (*DenyList, error) { return (*DenyList)(nil).Next(entries) }

// Next readies another list, as NewDenyList does. What l has, too, is taken from
// there, which is why to add one entry to many takes little time.
func (l *DenyList) Next(entries []Denial) (*DenyList, error) {
	if len(entries) > MaxDenials {
		return nil, bus.Errorf(bus.CodeResourceExhausted, "deny: %d entries: at most %d are allowed", len(entries), MaxDenials)
	}
	next := &DenyList{
		serials: map[serialOf][]*denial{}, keys: map[string][]*denial{}, names: map[string][]*denial{}, issuers: map[string][]*denial{},
		ready: make(map[Denial]*denial, len(entries)), len: len(entries),
	}
	patterns := 0
	for i, entry := range entries {
		d, err := l.readied(entry)
		if err != nil {
			return nil, &DenialError{i, err}
		}
		if len(d.name) > 1 {
			patterns++
		}
		if next.ready[entry] == nil { // said twice is said once
			next.ready[entry] = d
			next.add(d)
		}
	}
	if patterns > MaxDenyPatterns {
		return nil, bus.Errorf(bus.CodeResourceExhausted, "deny: %d names with a *: at most %d are allowed; names without one may be more", patterns, MaxDenyPatterns)
	}
	return next, nil
}

// readied returns an entry as it is compared.
func (l *DenyList) readied(entry Denial) (*denial, error) {
	if l != nil {
		if d := l.ready[entry]; d != nil {
			return d, nil
		}
	}
	clean, err := entry.Clean()
	if err != nil {
		return nil, err
	}
	d := &denial{serial: clean.Serial, issuer: foldDN(clean.Issuer), key: strings.TrimPrefix(clean.Key, keyPrefix)}
	if clean.Name != "" {
		d.name, d.named = strings.Split(clean.Name, "*"), true
	}
	if len(d.name) == 1 {
		d.whole = clean.Name
	}
	return d, nil
}

// add files an entry under what finds the fewest.
func (l *DenyList) add(d *denial) {
	switch {
	case d.serial != "":
		at := serialOf{d.issuer, d.serial}
		l.serials[at] = append(l.serials[at], d)
	case d.whole != "":
		l.names[d.whole] = append(l.names[d.whole], d)
	case d.key != "":
		l.keys[d.key] = append(l.keys[d.key], d)
	case d.issuer != "":
		l.issuers[d.issuer] = append(l.issuers[d.issuer], d)
	default:
		l.patterns = append(l.patterns, d)
	}
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
	issuer := m.issuer.Value()
	return slices.ContainsFunc(l.serials[serialOf{issuer, m.serial}], is) || slices.ContainsFunc(l.keys[m.key], is) ||
		slices.ContainsFunc(l.issuers[issuer], is) ||
		slices.ContainsFunc(l.names[names.peer], is) || slices.ContainsFunc(l.names[names.subject], is) || slices.ContainsFunc(l.patterns, is)
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
