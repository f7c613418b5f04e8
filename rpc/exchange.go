package rpc

import (
	"errors"
	"io"
	"net/http"
	"time"

	"busd/access"
	"busd/bus"
	"busd/rpc/jencode"
)

// A format is how a call is asked, and hence answered.
type format uint8

const (
	formNone       format = iota // not known: answered as formJSON
	formURLEncoded               // DIRAC's
	formMultipart                // the same fields
	formJSON                     // plain JSON
	formStream                   // bytes for a method that takes a stream
)

// isDIRAC tells whether values are JEncode, and refusals plain text.
func (f format) isDIRAC() bool { return f == formURLEncoded || f == formMultipart }

// An exchange is one request to a service and its answer. It belongs to the
// goroutine that serves the request.
type exchange struct {
	// Fixed at creation.
	service *Service
	binding *binding
	w       http.ResponseWriter
	r       *http.Request
	control http.ResponseController
	began   time.Time

	format   format
	boundary string // of formMultipart
	inPath   string // the method that the path names; empty: none
	query    fields // what the query string says
	fields   fields
	caller   access.Caller
	request  Request
	call     call
	body     body
	large    *largeForm // nil: there is none
	upload   upload
	tether   tether // to the caller's credential

	id     [1]string // of the request, as a header has it
	status int       // of the answer; 0: none yet
	err    error     // what came of the call, as outcome has it
	out    int64     // bytes of the answer
	shown  bool      // it was no call
}

// with makes a refusal that has another status than its code's.
func (x *exchange) with(status int, err *bus.Error) *bus.Error {
	x.status = status
	return err
}

// interrupt ends a reading of the body that nobody waits for any more.
func (x *exchange) interrupt() {
	x.body.stopped.Store(true) // first: whoever sets a deadline after this one looks at it
	_ = x.control.SetReadDeadline(time.Unix(1, 0))
}

// closeAfter ends the connection with this answer; that of HTTP/2 once what else
// was begun in it is finished.
func (x *exchange) closeAfter() { x.w.Header()["Connection"] = headerClose }

// end counts the call, and gives up what it held. It runs in a panic too: one that
// cuts a download.
func (x *exchange) end() {
	x.tether.loose()
	x.upload.stop(x.interrupt)
	if x.body.room != nil {
		x.body.close()
	}
	if x.large != nil {
		x.large.args.close()
		x.large.file.close()
	}
	if x.shown {
		return
	}
	if x.status == 0 { // something above has panicked: net/http says so
		x.err = &refusal{bus.Errorf(bus.CodeInternal, "there was no answer")}
	}
	x.service.answered(outcome{
		method: x.call.method, request: &x.request, err: x.err, status: x.status,
		took: time.Since(x.began), in: x.body.in, out: x.out,
	})
}

// refuse answers a call that was not executed, or crashed.
func (x *exchange) refuse(err *bus.Error) {
	why := x.tether.reason()
	if why != nil { // whatever failed has failed for that
		err = why
	}
	x.err = &refusal{err}
	status := x.status
	switch {
	case why != nil:
		status = statusOf(err.Code)
	case err == x.body.fault:
		status = x.body.status
	case status == 0:
		status = statusOf(err.Code)
	}
	if status == http.StatusUnauthorized {
		x.renew()
	}
	x.leaveBody()
	x.say(status, err)
}

// drain reads what the method has left of its stream: a client that reads no
// answer before it has sent all would never hear what came of its call. The call
// keeps its place meanwhile, and has no longer for it than its time.
func (x *exchange) drain() {
	if x.format != formStream || x.body.ended || x.r.ProtoMajor > 1 {
		return
	}
	until := x.began.Add(x.service.timeLimit(x.call.method))
	rest := readerFunc(func(p []byte) (int, error) {
		if time.Now().After(until) {
			return 0, errTooSlow
		}
		return x.body.Read(p)
	})
	if _, err := io.Copy(io.Discard, rest); err != nil {
		x.closeAfter()
	}
}

// The bounds of what is read of a body that nobody wants.
const (
	// smallRest is how long a body may be, in bytes, for the connection to be kept.
	smallRest = 64 << 10
	// restTime is how long an answer waits for such a body to come; and, where the
	// connection ends, how long net/http reads on after the answer, so that a client
	// hears it who sends all before he reads.
	restTime = 500 * time.Millisecond
)

// leaveBody decides what becomes of a body that was not read: a small one is, if it
// comes soon; else the connection ends with the answer. net/http would wait with the
// answer for the body.
func (x *exchange) leaveBody() {
	if x.body.ended || x.r.ContentLength == 0 || x.r.ProtoMajor > 1 {
		return
	}
	expected := x.r.Header["Expect"] != nil // to read the body would be to ask for it
	if x.body.fault == nil && x.r.ContentLength > 0 && x.r.ContentLength <= smallRest && !expected {
		_ = x.control.SetReadDeadline(time.Now().Add(restTime))
		if _, err := io.Copy(io.Discard, x.r.Body); err == nil {
			return
		}
	}
	x.closeAfter()
	_ = x.control.SetReadDeadline(time.Now().Add(restTime))
}

// answer answers a call that was executed, or was not because of err.
func (x *exchange) answer(value any, err error) {
	if refused := x.refusalIn(err); refused != nil {
		x.refuse(refused)
		return
	}
	x.drain()
	switch {
	case err != nil:
		x.answerOwn(err)
	case streamIn(value) != nil:
		x.download(value)
	case x.isRaw():
		x.answerBytes(value)
	default:
		x.answerValue(value)
	}
}

// refusalIn returns why a call was refused; nil: it was not. Where reading the
// stream has failed, the method's own error is only the consequence, and so is the
// end of its context.
func (x *exchange) refusalIn(err error) *bus.Error {
	if err == nil {
		return nil
	}
	refused := (*refusal)(nil)
	if errors.As(err, &refused) && (x.upload.fault == nil || refused.Err.Code != bus.CodeCanceled) {
		return refused.Err
	}
	return x.upload.fault
}

// answerOwn answers with a method's own error; do knows no other.
func (x *exchange) answerOwn(err error) {
	var own *Error
	if errors.As(err, &own) {
		x.answerError(own)
		return
	}
	x.refuse(x.service.crashed(&x.request, err).Err)
}

// dialect is how the answer's values are written.
func (x *exchange) dialect() jencode.Dialect {
	if x.format.isDIRAC() {
		return jencode.DIRAC
	}
	return jencode.JSON
}
