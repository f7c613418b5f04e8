package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"busd/bus"
	"busd/daemon/internal/config"
)

// A fault is an error as a person should read it: one sentence, its cause,
// what belongs to it, and what to try.
type fault struct {
	// what failed, in the user's words.
	what string
	// cause is the error underneath; nil: what says everything.
	cause error
	// details are shown in a column beside their names.
	details []detail
	// try are commands, or short advice.
	try []string
	// exit is the exit code; 0 asks the cause.
	exit int
}

type detail struct{ name, value string }

// Error returns the sentence.
func (f *fault) Error() string {
	if f.cause == nil {
		return f.what
	}
	return f.what + ": " + plain(f.cause)
}

// Unwrap returns the cause.
func (f *fault) Unwrap() error {
	if f.cause == nil {
		return nil
	}
	return f.cause
}

// usage makes a fault of wrong usage.
func usage(try, format string, a ...any) *fault {
	f := &fault{what: fmt.Sprintf(format, a...), exit: exitUsage}
	if try != "" {
		f.try = []string{try}
	}
	return f
}

// plain says an error in words for a person: reasons without the errors
// underneath, of which the reasons were made.
func plain(err error) string {
	var f *fault
	var e *bus.Error
	var invalid *config.Error
	switch {
	case errors.As(err, &f) && error(f) == err: //nolint:errorlint // itself, not what is inside it
		return f.Error()
	case errors.As(err, &invalid) && len(invalid.Faults) > 1:
		return fmt.Sprintf("the configuration has %d faults:\n%s", len(invalid.Faults), invalid)
	case errors.As(err, &e):
		if before, ok := strings.CutSuffix(err.Error(), e.Error()); ok {
			return before + sentence(e)
		}
		return sentence(e)
	}
	return err.Error()
}

func sentence(e *bus.Error) string {
	s := e.Reason
	if e.Path != "" {
		s = e.Path + ": " + s
	}
	if s == "" {
		s = strings.ReplaceAll(e.Code.String(), "_", " ")
	}
	return visible(s)
}

// report prints an error; with debug also what is underneath. What a service says of it
// does nothing to the terminal.
func report(w io.Writer, err error, debug bool) {
	var f *fault
	if !errors.As(err, &f) {
		f = &fault{what: plain(err)}
	}
	fmt.Fprintln(w, "busd: "+visibleLines(f.Error())+codeText(err))
	for _, d := range f.details {
		fmt.Fprintf(w, "  %-12s %s\n", d.name, visible(d.value))
	}
	name := "try"
	for _, t := range f.try {
		fmt.Fprintf(w, "  %-12s %s\n", name, visible(t))
		name = ""
	}
	if debug {
		chain(w, err, 0)
	}
}

// codeText names the bus's code of an error, by which it can be found in the
// documentation.
func codeText(err error) string {
	var e *bus.Error
	if !errors.As(err, &e) {
		return ""
	}
	return " (" + e.Code.String() + ")"
}

// chain prints the errors under err, the outermost first.
func chain(w io.Writer, err error, depth int) {
	const most = 20 // no chain is deeper, but for one that is a circle
	if err == nil || depth == most {
		return
	}
	fmt.Fprintf(w, "  %s%T: %s\n", strings.Repeat("  ", depth), err, visible(err.Error()))
	switch u := err.(type) { //nolint:errorlint // each level for itself
	case interface{ Unwrap() error }:
		chain(w, u.Unwrap(), depth+1)
	case interface{ Unwrap() []error }:
		for _, e := range u.Unwrap() {
			chain(w, e, depth+1)
		}
	}
}
