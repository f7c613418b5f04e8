package access

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Fault is one thing that is wrong with a [Config] or a rule. [New],
// [Policy.Check], [Policy.Swap] and [ParseRule] report all that they find,
// joined: each matches by errors.As, and the joined error's Unwrap() []error
// gives them in order.
type Fault struct {
	// Where names the place as the configuration file does:
	// "access.groups.prod.users[2]", "services.A/B.access.methods.add[0]"; in
	// [ParseRule] "words[0]".
	Where string
	// Reason says what is wrong there.
	Reason string
}

// Error returns "where: reason".
func (f *Fault) Error() string { return f.Where + ": " + f.Reason }

// maxFaults bounds how many faults are reported at once: nobody reads more.
const maxFaults = 50

// faults collects what is wrong.
type faults struct {
	found []error
	more  bool
}

func (f *faults) add(where, format string, a ...any) {
	if len(f.found) == maxFaults {
		f.more = true
		return
	}
	f.found = append(f.found, &Fault{Where: where, Reason: fmt.Sprintf(format, a...)})
}

// err returns all faults joined, or nil.
func (f *faults) err() error {
	found := slices.Clone(f.found)
	if f.more {
		found = append(found, &Fault{Where: "access", Reason: "there are more faults than these"})
	}
	return errors.Join(found...)
}

// maxName bounds the names of users, hosts, groups, properties and virtual
// organisations, in bytes.
const maxName = 128

// misnamed says what is wrong with a name, or nothing. The bytes are those that
// need no quoting in a rule, a list of rules, a log or a table.
func misnamed(name string) string {
	switch {
	case name == "":
		return "it is empty"
	case len(name) > maxName:
		return fmt.Sprintf("want at most %d bytes, got %d", maxName, len(name))
	}
	for i := range len(name) {
		if !isNameByte(name[i]) {
			return fmt.Sprintf("want letters, digits and ._@+-, got %q", name)
		}
	}
	return ""
}

func isNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("._@+-", c) >= 0
}
