package rpcclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"busd/bus"
	"busd/rpc"
)

// ErrNotExecuted matches, by errors.Is, the error of every call that was surely not
// executed. One that does not match may have been.
var ErrNotExecuted = errors.New("the call was not executed")

// ErrFile matches, by errors.Is, the error of a call whose answer is a file, where a
// result was asked for: [Client.Receive] and [Client.ReceiveFile] take it. The method
// was executed.
var ErrFile = errors.New("the answer is a file")

// An Error is why a call failed. errors.As finds the [*bus.Error] in it too, and, if
// the method returned it, the [*rpc.Error].
type Error struct {
	// Err has the code, the reason and the cause, and when to try again; never nil.
	Err *bus.Error
	// Errno and Message are what a DIRAC client is told: S_ERROR's, if the method
	// returned one; else those that its own client makes (38 not implemented, 13 no
	// access).
	Errno   int
	Message string
	// Returned: the service says that the method itself returned this (S_ERROR).
	// Over a stable connection that is not said, and it is false.
	Returned bool
	// Status is HTTP's; 0: there was no answer by HTTP.
	Status int
	// RequestID is the service's name for the call, for its operator; may be empty.
	RequestID string

	notExecuted bool
	again       bool // a repeatable call may have more luck with another address
	busy        bool // the service said when to come back: Err.Retry.After
}

// Error returns the message of what the method returned, and else code and reason.
func (e *Error) Error() string {
	if e.Returned {
		return e.Message
	}
	return e.Err.Error()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Is matches [ErrNotExecuted].
func (e *Error) Is(target error) bool { return target == ErrNotExecuted && e.notExecuted }

// As finds what the method returned as an [*rpc.Error].
func (e *Error) As(target any) bool {
	t, ok := target.(**rpc.Error)
	if !ok || !e.Returned {
		return false
	}
	*t = &rpc.Error{Errno: e.Errno, Message: e.Message, Code: e.Err.Code}
	return true
}

// failed makes an error of one of ours.
func failed(err *bus.Error) *Error {
	return &Error{Err: err, Errno: rpc.ErrnoOf(err.Code), Message: err.Text()}
}

// unsent is the error of a call that was not sent: something is wrong here.
func unsent(err error) *Error {
	var e *bus.Error
	if !errors.As(err, &e) {
		e = bus.Wrap(bus.CodeInvalidArgument, err, "the call cannot be sent")
	}
	f := failed(e)
	f.notExecuted = true
	return f
}

// returned is S_ERROR; code 0 is made of errno.
func returned(errno int, message string, code bus.Code) *Error {
	if code == 0 {
		code = rpc.CodeOfErrno(errno)
	}
	e := bus.Errorf(code, "%s", message)
	e.Remote = true
	return &Error{Err: e, Errno: errno, Message: message, Returned: true}
}

// odd is the error of an answer that no service should give.
func odd(format string, a ...any) *Error {
	return failed(bus.Errorf(bus.CodeProtocolError, "the service's answer is not one: "+format, a...))
}

// dirac is S_ERROR(errno, text) as DIRAC's client makes it for itself.
func dirac(errno int, text string) string { return rpc.Errno(errno, text).Message }

// A timeoutError is the end of the time that the client allows.
type timeoutError struct{ after time.Duration }

func (e timeoutError) Error() string { return fmt.Sprintf("nothing came for %s", e.after) }
func (timeoutError) Unwrap() error   { return context.DeadlineExceeded }
func (timeoutError) Timeout() bool   { return true }

// errClosed is why a client that was closed calls nothing any more.
func errClosed() *bus.Error { return bus.Errorf(bus.CodeGoingAway, "the client was closed") }

// ended is the error of a call whose context has ended.
func ended(ctx context.Context, sent bool) *Error {
	cause := context.Cause(ctx)
	var closed *bus.Error
	e := bus.Wrap(bus.CodeOf(ctx.Err()), ctx.Err(), "the call was given up")
	switch {
	case errors.As(cause, &closed):
		e = closed
	case errors.Is(cause, context.DeadlineExceeded):
		e = bus.Wrap(bus.CodeDeadlineExceeded, cause, "no answer came in time")
	case !errors.Is(cause, context.Canceled):
		e = bus.Wrap(bus.CodeCanceled, errors.Join(ctx.Err(), cause), "the call was given up")
	}
	f := failed(e)
	f.notExecuted = !sent
	return f
}
