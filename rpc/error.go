package rpc

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"busd/bus"
)

// An Error is what a method's caller is told, as DIRAC's S_ERROR has it. What a
// method returns as its error comes to its caller thus:
//
//   - an Error as it is;
//   - a *[bus.Error] with its code, its text, and the errno that says the same; its
//     cause does not travel;
//   - anything else, which was not written for strangers, as "the method failed" with
//     the request's ID, code unknown and errno 0; the log has its text.
//
// So it is for errors that wrap one of these; a nil pointer in an error is none. An
// Error is found as a *bus.Error too, by errors.As and [bus.CodeOf]. It must not be
// changed once it has been returned.
type Error struct {
	// Errno is DIRAC's: an errno of Linux, or one of DErrno's; 0: none.
	Errno int
	// Message is written for a stranger.
	Message string
	// Code is what a client that knows busd is told; 0: made of Errno.
	Code bus.Code

	cause error // for the log, if the caller is not told
}

// Errno makes an error as S_ERROR(errno, message) does: its text is "strerror (
// errno : message)". Of errno 0 it is the message.
func Errno(errno int, message string) *Error {
	if errno == 0 {
		return &Error{Message: message}
	}
	return &Error{Errno: errno, Message: composed(errno, message)}
}

func composed(errno int, message string) string {
	return fmt.Sprintf("%s ( %d : %s)", strerror(errno), errno, message)
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Unwrap returns what is known of the failure here and was not told the caller.
func (e *Error) Unwrap() error { return e.cause }

// code is Code, or what Errno says.
func (e *Error) code() bus.Code {
	if e.Code != 0 {
		return e.Code
	}
	return CodeOfErrno(e.Errno)
}

// errno is Errno, or what Code says.
func (e *Error) errno() int {
	if e.Errno != 0 {
		return e.Errno
	}
	return ErrnoOf(e.Code)
}

// As finds e as a *bus.Error.
func (e *Error) As(target any) bool {
	t, ok := target.(**bus.Error)
	if ok {
		*t = bus.Errorf(e.code(), "%s", e.Message)
	}
	return ok
}

// busError is e for a wire that has no errnos; where the code does not say the
// errno, the text does ([ErrorOf]).
func (e *Error) busError() *bus.Error {
	text := e.Message
	if n := e.errno(); n != ErrnoOf(e.code()) && n != errnoIn(text) {
		text = composed(n, text)
	}
	return bus.Wrap(e.code(), e.cause, text)
}

// ErrorOf returns an error that came over a stable connection as the same that
// HTTPS would have brought: with its errno, from its text where it has one as
// [Errno] makes it, else of its code.
func ErrorOf(b *bus.Error) *Error {
	e := &Error{Errno: errnoIn(b.Reason), Message: b.Text(), Code: b.Code}
	if e.Errno == 0 {
		e.Errno = ErrnoOf(b.Code)
	}
	return e
}

// errnoIn finds the errno in a text that [Errno] has made; 0: there is none.
func errnoIn(text string) int {
	before, rest, _ := strings.Cut(text, " ( ")
	digits, _, found := strings.Cut(rest, " : ")
	errno, err := strconv.Atoi(digits)
	if !found || err != nil || errno == 0 || before != strerror(errno) || !strings.HasSuffix(text, ")") {
		return 0
	}
	return errno
}

// answerOf makes what a method has returned fit for a stranger: *Error and
// *bus.Error are written for one, of anything else only the log hears.
func answerOf(err error, requestID string) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	if b := (*bus.Error)(nil); errors.As(err, &b) {
		return &Error{Errno: ErrnoOf(b.Code), Message: b.Text(), Code: b.Code, cause: b.Cause}
	}
	code, message := bus.CodeUnknown, "the method failed"
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		code, message = bus.CodeDeadlineExceeded, "the method gave up: something took too long"
	case errors.Is(err, context.Canceled):
		code, message = bus.CodeCanceled, "the method was canceled"
	}
	return &Error{Errno: ErrnoOf(code), Message: message + " (request " + requestID + ")", Code: code, cause: err}
}
