package schema

import (
	"errors"
	"fmt"
)

// A Fault is one thing that is wrong with a contract. [New], [Parse] and
// [Infer] report all that they find, joined: each matches by errors.As, and
// the joined error's Unwrap() []error gives them in order.
type Fault struct {
	// Where names the place: "service"; a message or an attribute, such as
	// "Ping.items[].id" ([] stands for a list's elements, {} for a map's
	// values); a method, its parameter or its result, such as "add()",
	// "add(a)" and "add() result"; in [Parse] also the path in the document,
	// such as "messages[0].attrs[2].min"; in [Infer] the Go field.
	Where string
	// Reason says what is wrong there.
	Reason string
}

// Error returns "where: reason".
func (f *Fault) Error() string { return f.Where + ": " + f.Reason }

// maxFaults bounds how many faults are reported of one contract: nobody reads
// more, and a document of one mebibyte could hold a hundred thousand.
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
	f.found = append(f.found, &Fault{Where: printable(where), Reason: fmt.Sprintf(format, a...)})
}

// err returns all faults joined, or nil.
func (f *faults) err() error {
	if f.more {
		f.more = false
		f.found = append(f.found, &Fault{Where: "contract", Reason: "there are more faults than these"})
	}
	return errors.Join(f.found...)
}
