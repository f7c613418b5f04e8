package bus

import (
	"context"
	"errors"
	"fmt"
)

// ErrDropped matches, by errors.Is, every error that says why a connection
// ended.
var ErrDropped = errors.New("connection dropped")

// An Error is a failure with a code. Its reason is written for a stranger:
// it goes to the peer. Its cause stays on this side.
//
// An Error is immutable once it has been handed out.
type Error struct {
	Code Code
	// Reason says what was wrong, in one line.
	Reason string
	// Path is where in a message the fault was, such as "Ping.id"; empty when
	// the fault was elsewhere.
	Path string
	// Remote says that the peer reported the failure.
	Remote bool
	// Retry says when the same attempt may succeed.
	Retry Retry
	// Cause is the error underneath, for the log; it never travels.
	Cause error

	dropped bool
}

// Errorf makes an Error with the usual retry of its code.
func Errorf(c Code, format string, a ...any) *Error {
	return &Error{Code: c, Reason: fmt.Sprintf(format, a...), Retry: Retry{When: c.Retry()}}
}

// Wrap makes an Error with a cause. The reason goes to the peer, the cause
// does not.
func Wrap(c Code, cause error, reason string) *Error {
	return &Error{Code: c, Reason: reason, Cause: cause, Retry: Retry{When: c.Retry()}}
}

// Dropped returns a copy of e that says why a connection ended: it matches
// [ErrDropped].
func (e *Error) Dropped() *Error {
	d := *e
	d.dropped = true
	return &d
}

// WithRetry returns a copy of e with another retry hint.
func (e *Error) WithRetry(r Retry) *Error {
	d := *e
	d.Retry = r
	return &d
}

// Error returns "code: path: reason", without the parts that are empty, and
// the cause behind it.
func (e *Error) Error() string {
	s := e.Code.String()
	if e.Path != "" {
		s += ": " + e.Path
	}
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Text returns what a peer is told: "path: reason", without the part that is
// empty.
func (e *Error) Text() string {
	if e.Path == "" {
		return e.Reason
	}
	return e.Path + ": " + e.Reason
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is matches [ErrDropped] when e says why a connection ended.
func (e *Error) Is(target error) bool { return target == ErrDropped && e.dropped }

// CodeOf returns the code that err carries. A context's end is canceled or
// deadline_exceeded; any other error is [CodeUnknown]; nil is 0.
func CodeOf(err error) Code {
	var e *Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		if e == nil { // a nil *Error in an error is none
			return 0
		}
		return e.Code
	case errors.Is(err, context.DeadlineExceeded):
		return CodeDeadlineExceeded
	case errors.Is(err, context.Canceled):
		return CodeCanceled
	}
	return CodeUnknown
}

// AsError returns err as an *Error: itself if it is one, else an Error with
// [CodeOf] whose reason is fixed text and whose cause is err, so that nothing
// internal reaches a peer. nil stays nil.
func AsError(err error) *Error {
	var e *Error
	if err == nil || errors.As(err, &e) {
		return e
	}
	c := CodeOf(err)
	reason := "the handler failed"
	switch c { //nolint:exhaustive // only what CodeOf returns for foreign errors
	case CodeDeadlineExceeded:
		reason = "the time allowed was over"
	case CodeCanceled:
		reason = "the work was canceled"
	}
	return Wrap(c, err, reason)
}
