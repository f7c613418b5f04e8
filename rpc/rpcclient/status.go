package rpcclient

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"busd/bus"
	"busd/rpc"
)

const (
	// maxRefusal bounds how much of the body of a refusal is read, maxReason how
	// much of it is shown.
	maxRefusal = 64 << 10
	maxReason  = 500
	// maxRetryAfter bounds how long a server can keep a client away.
	maxRetryAfter = time.Hour
)

// statuses is what each means. What is not in it is unavailable.
var statuses = map[int]struct {
	code bus.Code
	text string
	// never: a call that is answered so was not executed; again: a repeatable one
	// is tried elsewhere.
	never, again bool
}{
	400: {bus.CodeInvalidArgument, "the service does not understand the call", true, false},
	401: {bus.CodeUnauthenticated, "no access to {url}", true, false},
	403: {bus.CodePermissionDenied, "no access to {url}", true, false},
	404: {bus.CodeNotFound, "{url} is not found", true, false},
	405: {bus.CodeUnimplemented, "{url} takes no calls", true, false},
	408: {bus.CodeDeadlineExceeded, "the service did not get the call in time", false, true},
	413: {bus.CodeOutOfRange, "the call is larger than the service takes", true, false},
	415: {bus.CodeInvalidArgument, "the service does not understand the call", true, false},
	429: {bus.CodeResourceExhausted, "the service is busy", false, true},
	431: {bus.CodeOutOfRange, "the call is larger than the service takes", true, false},
	500: {bus.CodeInternal, "the method failed in the service, which gives no details", false, true},
	501: {bus.CodeUnimplemented, "{method} is not implemented", true, false},
	502: {bus.CodeUnavailable, "a proxy has no answer of the service", false, true},
	503: {bus.CodeUnavailable, "the service is not available", false, true},
	504: {bus.CodeDeadlineExceeded, "the service took too long", false, true},
}

// refused makes an error of an answer whose status is not 2xx.
func refused(r *http.Response, to *address, method string) *Error {
	row, known := statuses[r.StatusCode]
	switch {
	case known:
	case r.StatusCode < 400: // the transport has taken 1xx
		return redirected(r)
	case r.StatusCode < 500:
		row.code, row.text = bus.CodeFailedPrecondition, "the service refused the call"
	default:
		row.code, row.text, row.again = bus.CodeUnavailable, "the service failed", true
	}
	plain := strings.NewReplacer("{url}", to.url.String(), "{method}", method).Replace(row.text)
	said := readRefusal(r)
	if said.own != nil {
		return said.own
	}
	if said.code != 0 {
		row.code = said.code
	}
	e := bus.Errorf(row.code, "%s", plain)
	if said.reason != "" {
		e.Reason += ": " + said.reason
	}
	if !known {
		e.Reason += " (HTTP " + strconv.Itoa(r.StatusCode) + ")"
	}
	e.Remote = true
	f := &Error{Err: e, Errno: rpc.ErrnoOf(e.Code), Message: e.Reason, notExecuted: row.never, again: row.again}
	switch r.StatusCode { // the words of DIRAC's client
	case http.StatusUnauthorized, http.StatusForbidden:
		f.Errno = 13
		f.Message = dirac(f.Errno, "No access to "+to.url.String())
	case http.StatusNotImplemented:
		f.Errno = 38
		f.Message = dirac(f.Errno, method+" is not implemented")
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		e.Retry.After, f.busy = retryAfter(r.Header.Get("Retry-After"))
		f.notExecuted = f.busy && said.isBusy()
	}
	return f
}

// redirected is the error of an answer that sends the client elsewhere, where it
// does not go: with its credentials it talks to whom it was told to.
func redirected(r *http.Response) *Error {
	e := bus.Errorf(bus.CodeUnavailable, "the service sends the client elsewhere (HTTP %d), which is not followed: %q",
		r.StatusCode, readable(r.Header.Get("Location")))
	e.Remote = true
	return failed(e)
}

// A refusal is what the body of an answer says whose status is not 2xx.
type refusal struct {
	code   bus.Code // 0: not said
	reason string
	id     string // of the request, as busd says it in JSON
	own    *Error // what the method itself returned; nil: nothing is known of that
}

// isBusy tells whether it is busd that has no room for the call. What others say so may
// be a gateway's word, for which the method has run.
func (s *refusal) isBusy() bool {
	return s.id != "" && (s.code == bus.CodeUnavailable || s.code == bus.CodeResourceExhausted)
}

// readRefusal reads a line of plain text, or the JSON that busd says. Pages of HTML are
// for people with browsers.
func readRefusal(r *http.Response) (said refusal) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRefusal))
	if err != nil {
		return said
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // of a bad one there is none
	switch kind {
	case "text/plain":
		line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
		said.reason = readable(line)
	case "application/json":
		var problem struct {
			Code, Reason string
			RequestID    string `json:"request_id"`
			OK           *bool
			Errno        int
			Message      string
		}
		if json.Unmarshal(body, &problem) != nil {
			return said
		}
		said.code, _ = bus.ParseCode(problem.Code)
		said.reason, said.id = readable(problem.Reason), problem.RequestID
		if problem.OK != nil && !*problem.OK {
			said.own = returned(problem.Errno, problem.Message, said.code)
		}
	}
	return said
}

// requestID is the service's name for a call.
func requestID(r *http.Response) string { return readable(r.Header.Get("X-Request-Id")) }

// readable makes what a server says fit for a terminal.
func readable(s string) string {
	if len(s) > maxReason {
		cut := maxReason
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.TrimSpace(s))
}

// retryAfter reads the header's two forms (RFC 9110, section 10.2.3); false: it is
// not there, or says nothing.
func retryAfter(v string) (time.Duration, bool) {
	if seconds, err := strconv.Atoi(v); err == nil && seconds >= 0 {
		return time.Duration(min(seconds, int(maxRetryAfter/time.Second))) * time.Second, true
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(time.Until(at), 0), maxRetryAfter), true
	}
	return 0, false
}
