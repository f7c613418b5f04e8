package rpc

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"busd/bus"
	"busd/rpc/jencode"
)

// Headers that every answer has; nobody changes them.
var (
	typeJSON      = []string{"application/json"}
	typeText      = []string{"text/plain; charset=utf-8"}
	typeBytes     = []string{rawType8859}
	headerNosniff = []string{"nosniff"}
	headerVary    = []string{"Accept-Encoding"}
	headerGzip    = []string{"gzip"}
	headerClose   = []string{"close"}
)

// rawType8859 is the type of raw answers: with a charset DIRAC's client does not
// guess at one over the whole body, which takes it seconds for each megabyte.
const rawType8859 = "application/octet-stream; charset=iso-8859-1"

// Buffers for answers are kept, unless they have grown beyond maxKept bytes;
// those for compressed ones apart.
const maxKept = 64 << 10

// What answers hold while they are sent.
const (
	// freeAnswer is up to which size, in bytes, answers need no room, and are sent
	// when their call has given its place back.
	freeAnswer = PaceBytes
	// MaxAnswers is what the larger answers of a service, downloads aside, may hold
	// together, in bytes, and a quarter of it those to one peer, or to all whom
	// nobody knows. One that is larger has it to itself.
	MaxAnswers = 64 << 20
	// AnswerPatience is how long an answer waits for room, within its method's time;
	// then 504.
	AnswerPatience = 5 * time.Second
)

var (
	answers = sync.Pool{New: func() any { return new([]byte) }}
	zipped  = sync.Pool{New: func() any { return new(bytes.Buffer) }}
)

// answerValue answers with S_OK.
func (x *exchange) answerValue(value any) {
	kept := answers.Get().(*[]byte)
	defer answers.Put(kept)
	start := `{"OK": true, "Value": `
	if !x.format.isDIRAC() {
		start = `{"OK":true,"Value":`
	}
	p, err := jencode.Append(append((*kept)[:0], start...), value, x.dialect())
	if err != nil {
		x.refuse(x.service.crashed(&x.request, err).Err)
		return
	}
	p = append(p, '}')
	if cap(p) <= maxKept {
		*kept = p
	}
	x.send(http.StatusOK, typeJSON, p)
}

// answerError answers with a method's own error: S_ERROR, or, where the answer
// would be raw bytes, by status.
func (x *exchange) answerError(e *Error) {
	if why := x.tether.reason(); why != nil {
		x.refuse(why)
		return
	}
	x.err = e
	status := http.StatusOK
	if x.isRaw() {
		status = statusOfError(e.code())
		x.hint(status, bus.Retry{})
		if !x.wantsJSON() {
			x.send(status, typeText, []byte(strings.ToValidUTF8(e.Message, "\uFFFD")))
			return
		}
	}
	p, err := x.appendError(nil, e)
	if err != nil {
		x.refuse(x.service.crashed(&x.request, err).Err)
		return
	}
	x.send(status, typeJSON, p)
}

// appendError appends S_ERROR. Its code is for whoever may know more than DIRAC's
// client does.
func (x *exchange) appendError(p []byte, e *Error) ([]byte, error) {
	parts := [...]string{`{"OK":false,"Errno":`, `,"Message":`, `,"Code":"`}
	if x.format.isDIRAC() {
		parts = [...]string{`{"OK": false, "Errno": `, `, "Message": `, `, "Code": "`}
	}
	p = strconv.AppendInt(append(p, parts[0]...), int64(e.errno()), 10)
	p, err := jencode.Append(append(p, parts[1]...), strings.ToValidUTF8(e.Message, "\uFFFD"), x.dialect())
	if err != nil {
		return nil, err
	}
	if x.wantsJSON() {
		p = append(append(append(p, parts[2]...), e.code().String()...), '"')
	}
	return append(p, '}'), nil
}

// answerBytes answers with a result as it is.
func (x *exchange) answerBytes(value any) {
	switch value := value.(type) {
	case nil:
		x.send(http.StatusOK, typeBytes, nil)
	case []byte:
		x.send(http.StatusOK, typeBytes, value)
	case string:
		x.send(http.StatusOK, typeBytes, []byte(value))
	default:
		v := reflect.ValueOf(value)
		switch {
		case v.Kind() == reflect.String:
			x.send(http.StatusOK, typeBytes, []byte(v.String()))
		case isBytes(v.Type()):
			x.send(http.StatusOK, typeBytes, v.Bytes())
		default:
			x.answerError(&Error{Code: bus.CodeFailedPrecondition, Message: "rawContent: the result of " + x.call.method.name + " is no bytes"})
		}
	}
}

// say answers with a refusal.
func (x *exchange) say(status int, err *bus.Error) {
	if status == http.StatusUnauthorized {
		challenge := "Bearer"
		if x.r.Header["Authorization"] != nil {
			challenge = `Bearer error="invalid_token"`
		}
		x.w.Header().Set("WWW-Authenticate", challenge)
	}
	x.hint(status, err.Retry)
	if !x.wantsJSON() {
		x.send(status, typeText, []byte(err.Text()))
		return
	}
	p := append([]byte(`{"code":"`), err.Code.String()...)
	p = append(p, `","reason":`...)
	p = appendText(p, err.Text())
	if x.request.ID != "" {
		p = append(p, `,"request_id":"`...)
		p = append(p, x.request.ID...)
		p = append(p, '"')
	}
	x.send(status, typeJSON, append(p, '}'))
}

// appendText appends a text as plain JSON; one that nobody can write is left out.
func appendText(p []byte, text string) []byte {
	if longer, err := jencode.Append(p, strings.ToValidUTF8(text, "\uFFFD"), jencode.JSON); err == nil {
		return longer
	}
	return append(p, `""`...)
}

// hint says when to try again, where a status means so.
func (x *exchange) hint(status int, r bus.Retry) {
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		x.w.Header().Set("Retry-After", retryAfter(r))
	}
}

// wantsJSON tells whether a refusal's body is JSON, and errors have a code: for plain
// JSON calls, and for who says by name that he takes JSON. DIRAC's client does not,
// and shows its user a short text.
func (x *exchange) wantsJSON() bool {
	if !x.format.isDIRAC() {
		return true
	}
	for _, line := range x.r.Header["Accept"] {
		if strings.Contains(line, "application/json") {
			return true
		}
	}
	return false
}

// knownLength is the size up to which net/http counts a body itself.
const knownLength = 2048

// send answers with a whole body.
func (x *exchange) send(status int, contentType []string, p []byte) {
	isBytes := &contentType[0] == &typeBytes[0]
	isZipped := !isBytes && len(p) >= MinCompress && acceptsGzip(x.r.Header)
	if isZipped {
		b := zipped.Get().(*bytes.Buffer)
		defer keepZipped(b)
		compress(b, p)
		p = b.Bytes()
	}
	if n := int64(len(p)); n > freeAnswer {
		if err := x.awaitRoom(n); err != nil {
			x.refuse(err)
			return
		}
		defer x.binding.web.answers.give(x.caller.Peer.Name, n)
	}
	h := x.w.Header()
	h["Content-Type"] = contentType
	h["X-Content-Type-Options"] = headerNosniff
	if x.request.ID != "" {
		h["X-Request-Id"] = x.id[:]
	}
	if !isBytes {
		h["Vary"] = headerVary
	}
	if isZipped {
		h["Content-Encoding"] = headerGzip
	}
	if len(p) > knownLength {
		h["Content-Length"] = []string{strconv.Itoa(len(p))}
	}
	x.status = status
	x.w.WriteHeader(status)
	last := max(len(p)-freeAnswer, 0)
	err := x.write(p[:last])
	if err == nil {
		_ = x.guard(x.call.done) // now: who has all of the answer finds his place free
		err = x.write(p[last:])
	}
	if err != nil {
		x.lost(err)
	}
}

// awaitRoom takes room for an answer. Where there is none the call has been
// executed, so this is not said as that it may be tried again.
func (x *exchange) awaitRoom(n int64) *bus.Error {
	ctx := x.r.Context()
	if run := x.call.run; run != nil {
		ctx = run.ctx
	}
	ctx, cancel := context.WithTimeout(ctx, AnswerPatience)
	defer cancel()
	switch {
	case x.binding.web.answers.await(ctx, x.caller.Peer.Name, n):
		return nil
	case x.r.Context().Err() != nil:
		return bus.Errorf(bus.CodeCanceled, "the caller has gone")
	}
	return bus.Errorf(bus.CodeDeadlineExceeded, "no room to send the answer: earlier ones are not taken fast enough")
}

func keepZipped(b *bytes.Buffer) {
	if b.Cap() <= maxKept {
		b.Reset()
		zipped.Put(b)
	}
}

// write sends a part of the answer, at the pace that is wanted of who takes it.
func (x *exchange) write(p []byte) error {
	for len(p) > 0 {
		piece := p[:min(len(p), PaceBytes)]
		_ = x.control.SetWriteDeadline(time.Now().Add(PaceTime)) // who cannot be given one has one
		if x.status == http.StatusOK {
			x.tether.abort()
		}
		n, err := x.w.Write(piece)
		x.out += int64(n)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// lost notes that an answer did not arrive.
func (x *exchange) lost(err error) {
	x.tether.abort()
	why := bus.Errorf(bus.CodeCanceled, "the caller has gone")
	if errors.Is(err, os.ErrDeadlineExceeded) {
		why = bus.Errorf(bus.CodeSlowConsumer, "the caller takes less than %d bytes in %v", PaceBytes, PaceTime)
	}
	x.err = &refusal{why}
}
