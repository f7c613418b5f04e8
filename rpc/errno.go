package rpc

import "busd/bus"

// errnos are the codes that have an errno of Linux; a code's is that of its first
// row.
var errnos = []struct {
	code  bus.Code
	errno int
}{
	{bus.CodeCanceled, 125},         // ECANCELED
	{bus.CodeInvalidArgument, 22},   // EINVAL
	{bus.CodeDeadlineExceeded, 110}, // ETIMEDOUT
	{bus.CodeNotFound, 2},           // ENOENT
	{bus.CodeAlreadyExists, 17},     // EEXIST
	{bus.CodePermissionDenied, 13},  // EACCES
	{bus.CodeResourceExhausted, 16}, // EBUSY
	{bus.CodeFailedPrecondition, 1}, // EPERM
	{bus.CodeAborted, 85},           // ERESTART
	{bus.CodeOutOfRange, 34},        // ERANGE
	{bus.CodeUnimplemented, 38},     // ENOSYS
	{bus.CodeInternal, 5},           // EIO
	{bus.CodeUnavailable, 11},       // EAGAIN
	{bus.CodeDataLoss, 74},          // EBADMSG
	{bus.CodeUnauthenticated, 126},  // ENOKEY
	{bus.CodeGoingAway, 108},        // ESHUTDOWN
	{bus.CodeSessionLost, 104},      // ECONNRESET
	{bus.CodePermissionDenied, derrnoNoAuth},
}

// ErrnoOf returns the errno of Linux that says what a code says; 0: there is
// none.
func ErrnoOf(c bus.Code) int {
	for _, row := range errnos {
		if row.code == c {
			return row.errno
		}
	}
	return 0
}

// CodeOfErrno returns the code that says what an errno says;
// [bus.CodeUnknown]: there is none.
func CodeOfErrno(errno int) bus.Code {
	for _, row := range errnos {
		if row.errno == errno {
			return row.code
		}
	}
	return bus.CodeUnknown
}
