package rpc

import (
	"net/http"
	"strconv"
	"time"

	"busd/bus"
)

// statusGone is what the log says of a caller who did not wait for his answer; net
// proxies have this number for it.
const statusGone = 499

// statusOf returns the HTTP status of a refused call: one that was not executed,
// crashed or took too long.
func statusOf(c bus.Code) int {
	switch c {
	case bus.CodeInvalidArgument, bus.CodeFailedPrecondition:
		return http.StatusBadRequest
	case bus.CodeCanceled:
		return statusGone
	case bus.CodeUnauthenticated, bus.CodeCertificateExpired, bus.CodeCertificateRevoked:
		return http.StatusUnauthorized
	case bus.CodePermissionDenied:
		return http.StatusForbidden
	case bus.CodeNotFound:
		return http.StatusNotFound
	case bus.CodeUnimplemented:
		return http.StatusNotImplemented
	case bus.CodeOutOfRange:
		return http.StatusRequestEntityTooLarge
	case bus.CodeResourceExhausted:
		return http.StatusTooManyRequests
	case bus.CodeUnavailable, bus.CodeGoingAway:
		return http.StatusServiceUnavailable
	case bus.CodeDeadlineExceeded:
		return http.StatusGatewayTimeout
	default:
		return http.StatusInternalServerError
	}
}

// statusOfError returns the status of a method's own error, where it cannot be
// told as S_ERROR because the answer is raw bytes. 500 is not among them: that is a
// crash.
func statusOfError(c bus.Code) int {
	switch c {
	case bus.CodeInvalidArgument, bus.CodeOutOfRange, bus.CodeInvalidMessage:
		return http.StatusBadRequest
	case bus.CodeAlreadyExists, bus.CodeAborted, bus.CodeFailedPrecondition:
		return http.StatusConflict
	case bus.CodeUnauthenticated, bus.CodePermissionDenied:
		return http.StatusForbidden // who he is was settled before
	case bus.CodeNotFound:
		return http.StatusNotFound
	case bus.CodeUnimplemented:
		return http.StatusNotImplemented
	case bus.CodeResourceExhausted:
		return http.StatusTooManyRequests
	case bus.CodeUnavailable:
		return http.StatusServiceUnavailable
	case bus.CodeDeadlineExceeded:
		return http.StatusGatewayTimeout
	default:
		return http.StatusUnprocessableEntity
	}
}

// retryAfter is a hint as the header has it: whole seconds, at least one.
func retryAfter(r bus.Retry) string {
	seconds := int64((r.After + time.Second - 1) / time.Second)
	return strconv.FormatInt(max(seconds, 1), 10)
}
