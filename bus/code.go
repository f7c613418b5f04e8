package bus

import (
	"fmt"
	"time"
)

// A Code says why something failed. Codes travel on the wire: a number is
// never changed and never reused. 1 to 16 mean what gRPC's status codes of
// that number mean (there is no constant for 0: a nil error says it better);
// from 64 up they are the bus's own.
//
// The table with the meaning of each, its WebSocket close code (4000 + Code)
// and its usual retry stands in docs/protocol.md.
type Code uint16

// The codes that gRPC knows too.
const (
	CodeCanceled           Code = 1
	CodeUnknown            Code = 2
	CodeInvalidArgument    Code = 3
	CodeDeadlineExceeded   Code = 4
	CodeNotFound           Code = 5
	CodeAlreadyExists      Code = 6
	CodePermissionDenied   Code = 7
	CodeResourceExhausted  Code = 8
	CodeFailedPrecondition Code = 9
	CodeAborted            Code = 10
	CodeOutOfRange         Code = 11
	CodeUnimplemented      Code = 12
	CodeInternal           Code = 13
	CodeUnavailable        Code = 14
	CodeDataLoss           Code = 15
	CodeUnauthenticated    Code = 16
)

// The bus's own codes.
const (
	// CodeSlowConsumer: the receiver had no room for what could not wait.
	CodeSlowConsumer Code = 64
	// CodeGoingAway: the sender of the drop is shutting down, or its user
	// closed it.
	CodeGoingAway Code = 65
	// CodeSuperseded: the same identity connected again. Final.
	CodeSuperseded Code = 66
	// CodeProtocolError: the peer broke the protocol.
	CodeProtocolError Code = 67
	// CodeKeepaliveTimeout: nothing came from the peer for too long.
	CodeKeepaliveTimeout Code = 68
	// CodeSchemaMismatch: the two ends' contracts do not fit.
	CodeSchemaMismatch Code = 69
	// CodeSessionLost: the connection ended and its session could not be
	// resumed; whether the peer handled what was waiting is not known.
	CodeSessionLost Code = 70
	// CodeInvalidMessage: a message breaks its contract.
	CodeInvalidMessage Code = 71
	// CodeCertificateExpired: the peer's certificate is past its NotAfter.
	CodeCertificateExpired Code = 72
	// CodeCertificateRevoked: the peer's certificate was revoked. Final.
	CodeCertificateRevoked Code = 73
	// CodeUnsupportedVersion: the peer speaks no version of the protocol that
	// this end speaks.
	CodeUnsupportedVersion Code = 74
)

// A When says whether the same attempt may succeed at another time.
type When uint8

// The three answers.
const (
	// RetryAfter: again, after a pause. The zero value.
	RetryAfter When = iota
	// RetryNow: again at once.
	RetryNow
	// RetryNever: not without a person, or a change.
	RetryNever
)

// String returns the word used on the wire: "after", "now" or "never".
func (w When) String() string {
	switch w {
	case RetryNow:
		return "now"
	case RetryNever:
		return "never"
	case RetryAfter:
	}
	return "after"
}

// ParseWhen reads the word used on the wire. Unknown words mean after.
func ParseWhen(s string) When {
	switch s {
	case "now":
		return RetryNow
	case "never":
		return RetryNever
	}
	return RetryAfter
}

// Retry is a hint for when to try again. The zero value means: after a pause
// that the client chooses.
type Retry struct {
	When When
	// After is the least pause before the next attempt; 0 leaves it to the
	// client's back-off.
	After time.Duration
	// Spread is the width of the window after After in which the attempt is
	// to fall, chosen at random by each client.
	Spread time.Duration
}

type codeRow struct {
	name  string
	retry When
}

// codes is the table of docs/protocol.md; a test walks both.
var codes = map[Code]codeRow{
	CodeCanceled:           {"canceled", RetryAfter},
	CodeUnknown:            {"unknown", RetryAfter},
	CodeInvalidArgument:    {"invalid_argument", RetryNever},
	CodeDeadlineExceeded:   {"deadline_exceeded", RetryAfter},
	CodeNotFound:           {"not_found", RetryAfter},
	CodeAlreadyExists:      {"already_exists", RetryAfter},
	CodePermissionDenied:   {"permission_denied", RetryAfter},
	CodeResourceExhausted:  {"resource_exhausted", RetryAfter},
	CodeFailedPrecondition: {"failed_precondition", RetryAfter},
	CodeAborted:            {"aborted", RetryAfter},
	CodeOutOfRange:         {"out_of_range", RetryAfter},
	CodeUnimplemented:      {"unimplemented", RetryAfter},
	CodeInternal:           {"internal", RetryAfter},
	CodeUnavailable:        {"unavailable", RetryAfter},
	CodeDataLoss:           {"data_loss", RetryAfter},
	CodeUnauthenticated:    {"unauthenticated", RetryAfter},
	CodeSlowConsumer:       {"slow_consumer", RetryAfter},
	CodeGoingAway:          {"going_away", RetryAfter},
	CodeSuperseded:         {"superseded", RetryNever},
	CodeProtocolError:      {"protocol_error", RetryAfter},
	CodeKeepaliveTimeout:   {"keepalive_timeout", RetryNow},
	CodeSchemaMismatch:     {"schema_mismatch", RetryAfter},
	CodeSessionLost:        {"session_lost", RetryAfter},
	CodeInvalidMessage:     {"invalid_message", RetryAfter},
	CodeCertificateExpired: {"certificate_expired", RetryNow},
	CodeCertificateRevoked: {"certificate_revoked", RetryNever},
	CodeUnsupportedVersion: {"unsupported_version", RetryAfter},
}

// Codes returns every code that has a name, in no order.
func Codes() []Code {
	all := make([]Code, 0, len(codes))
	for c := range codes {
		all = append(all, c)
	}
	return all
}

// String returns the code's name, such as "slow_consumer", or "code_99" for a
// number that has none here.
func (c Code) String() string {
	if row, ok := codes[c]; ok {
		return row.name
	}
	return fmt.Sprintf("code_%d", uint16(c))
}

// ParseCode reads a code's name.
func ParseCode(name string) (Code, bool) {
	for c, row := range codes {
		if row.name == name {
			return c, true
		}
	}
	return 0, false
}

// Retry returns when the same attempt may succeed if nothing more is known:
// what a client does with a drop of this code that carries no hint. An unknown
// code means after.
func (c Code) Retry() When { return codes[c].retry }

// Temporary tells whether the same attempt may succeed later.
func (c Code) Temporary() bool { return c.Retry() != RetryNever }

// Close codes of RFC 6455 that busd uses for faults below its own frames.
const (
	CloseNormal          = 1000
	CloseGoingAway       = 1001
	CloseProtocolError   = 1002
	CloseUnsupportedData = 1003
	CloseInvalidPayload  = 1007
	ClosePolicy          = 1008
	CloseTooBig          = 1009
)

// CloseCode returns the WebSocket close code that goes with c: 4000 + c.
func (c Code) CloseCode() int { return 4000 + int(c) }
