package access

import (
	"fmt"
	"slices"
	"strings"
)

// A Rule says who may do one thing. The zero Rule is none: another rule counts,
// and where there is no other, nobody may. It is immutable; it may be copied,
// and used from any goroutine, any number of times.
//
// Its words are any (or all), authenticated, the names of properties,
// group:NAME and vo:NAME. Of the first three kinds one that fits is enough; if
// there are words of the last two, the caller must also act in one of these
// groups, or in one of a virtual organisation's.
type Rule struct{ said *said }

// said is what a rule says. It is never changed after parseRule.
type said struct {
	anyone, known bool     // any, authenticated
	properties    []string // as written, no two alike but for case
	groups, vos   []string
}

// The rules that need no property.
var (
	// Any is everybody, also who has shown nothing.
	Any = MustRule(wordAny)
	// Authenticated is everybody who is known.
	Authenticated = MustRule(wordAuthenticated)
)

// The words of a rule that are no names.
const (
	wordAny           = "any"
	wordAll           = "all" // the same as any
	wordAuthenticated = "authenticated"
	prefixGroup       = "group:"
	prefixVO          = "vo:"
)

// ParseRule makes a rule of its words, at least one. any, all, authenticated
// and the names of properties may be written in upper or lower case; the names
// of groups and virtual organisations are compared as they are, and the
// prefixes group: and vo: are lower case. A word that is there twice counts
// once. Whether the names exist is not asked: a rule in code knows no registry.
//
// The error has a [Fault] for each bad word, whose Where is "words[0]" for the
// first.
func ParseRule(words ...string) (Rule, error) {
	var f faults
	r := parseRule(words, "words", &f)
	if err := f.err(); err != nil {
		return Rule{}, err
	}
	return r, nil
}

// MustRule is ParseRule for rules in code; it panics where that fails.
func MustRule(words ...string) Rule {
	r, err := ParseRule(words...)
	if err != nil {
		panic(fmt.Sprintf("access: rule of %q: %v", words, err))
	}
	return r
}

func parseRule(words []string, where string, f *faults) Rule {
	if len(words) == 0 {
		f.add(where, "want at least one word: a rule says whom it lets, and any is written out")
		return Rule{}
	}
	var s said
	for i, word := range words {
		if wrong := s.take(word); wrong != "" {
			f.add(fmt.Sprintf("%s[%d]", where, i), "%s", wrong)
		}
	}
	return Rule{said: &s}
}

// take adds a word; it returns what is wrong with it, or nothing.
func (s *said) take(word string) string {
	prefix, name, isPair := strings.Cut(word, ":")
	switch {
	case strings.EqualFold(word, wordAny), strings.EqualFold(word, wordAll):
		s.anyone = true
	case strings.EqualFold(word, wordAuthenticated):
		s.known = true
	case isPair && prefix+":" == prefixGroup:
		if wrong := misnamed(name); wrong != "" {
			return "the name of the group: " + wrong
		}
		if name == groupVisitor {
			return groupVisitor + " is who acts in no group: no rule can ask for him"
		}
		s.groups = addOnce(s.groups, name)
	case isPair && prefix+":" == prefixVO:
		if wrong := misnamed(name); wrong != "" {
			return "the name of the virtual organisation: " + wrong
		}
		s.vos = addOnce(s.vos, name)
	case strings.EqualFold(word, "none"), strings.EqualFold(word, "nobody"):
		return fmt.Sprintf("%s is no property: nobody is let where there is no rule", word)
	case isPair:
		return fmt.Sprintf("want any, authenticated, a property, group:NAME or vo:NAME, got %.200q", word)
	default:
		if wrong := misnamed(word); wrong != "" {
			return "the name of the property: " + wrong
		}
		if !slices.ContainsFunc(s.properties, func(p string) bool { return strings.EqualFold(p, word) }) {
			s.properties = append(s.properties, word)
		}
	}
	return ""
}

func addOnce(list []string, name string) []string {
	if slices.Contains(list, name) {
		return list
	}
	return append(list, name)
}

// IsZero tells whether it is none.
func (r Rule) IsZero() bool { return r.said == nil }

// String returns the words, "NormalUser, group:prod", in a fixed order; none is
// "none".
func (r Rule) String() string {
	if r.IsZero() {
		return "none"
	}
	return strings.Join(r.Words(), ", ")
}

// key tells rules apart; none has the empty one, which no words make.
func (r Rule) key() string { return strings.Join(r.Words(), ", ") }

// Words returns what [ParseRule] makes the same rule of; none has none. The
// slice is the caller's.
func (r Rule) Words() []string {
	if r.IsZero() {
		return nil
	}
	var words []string
	if r.said.anyone {
		words = append(words, wordAny)
	}
	if r.said.known {
		words = append(words, wordAuthenticated)
	}
	words = append(words, r.said.properties...)
	for _, name := range r.said.groups {
		words = append(words, prefixGroup+name)
	}
	for _, name := range r.said.vos {
		words = append(words, prefixVO+name)
	}
	return words
}

// restricted tells whether the rule asks for a group.
func (s *said) restricted() bool { return len(s.groups)+len(s.vos) > 0 }

// wanted says for a stranger what the rule asks for.
func (s *said) wanted() string {
	var parts []string
	if len(s.properties) > 0 && !s.anyone && !s.known {
		parts = append(parts, counted("the property", "one of the properties", s.properties))
	}
	var groups []string
	if len(s.groups) > 0 {
		groups = append(groups, counted("the group", "one of the groups", s.groups))
	}
	if len(s.vos) > 0 {
		groups = append(groups, counted("a group of the virtual organisation", "a group of one of the virtual organisations", s.vos))
	}
	if len(groups) > 0 {
		parts = append(parts, strings.Join(groups, " or "))
	}
	if len(parts) == 0 {
		return "a caller who is known here" // a rule that lets anybody refuses nobody
	}
	return strings.Join(parts, " and ")
}

// maxNamed bounds how many names a reason lists.
const maxNamed = 4

func counted(one, several string, names []string) string {
	switch {
	case len(names) == 1:
		return one + " " + names[0]
	case len(names) > maxNamed:
		return several + " " + strings.Join(names[:maxNamed], ", ") + ", …"
	}
	return several + " " + strings.Join(names, ", ")
}
