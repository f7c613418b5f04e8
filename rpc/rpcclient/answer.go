package rpcclient

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"

	"busd/bus"
	"busd/rpc/jencode"
)

// readAnswer reads the result of a method, {"OK": true, "Value": v}, into what into
// points to. A charset is not looked at: JSON is UTF-8.
func (c *core) readAnswer(r *http.Response, into any, d jencode.Dialect) *Error {
	if isFile(r.Header) {
		return failed(bus.Wrap(bus.CodeFailedPrecondition, ErrFile, "the answer is a file, and no result: Receive and ReceiveFile take it"))
	}
	body, e := c.readAll(r)
	if e != nil {
		return e
	}
	if value, ok := plainValue(body); ok && jencode.UnmarshalAnswer(value, into, d) == nil {
		return nil
	}
	value, e := parseAnswer(body)
	if e != nil {
		return e
	}
	return decode(value, into, d)
}

// isFile tells whether what comes is what a method gives as a stream.
func isFile(h http.Header) bool {
	return strings.HasPrefix(h.Get("Content-Type"), "application/octet-stream") || h.Get("Content-Disposition") != ""
}

// plainValue returns the value of an answer as services write it; if it turns out to
// be one value the answer has nothing else.
func plainValue(body []byte) ([]byte, bool) {
	for _, start := range [...]string{`{"OK": true, "Value": `, `{"OK":true,"Value":`} {
		if rest, ok := bytes.CutPrefix(body, []byte(start)); ok {
			return bytes.CutSuffix(rest, []byte("}"))
		}
	}
	return nil, false
}

// decode makes what into points to of a result.
func decode(value jencode.Raw, into any, d jencode.Dialect) *Error {
	if err := jencode.UnmarshalAnswer(value, into, d); err != nil {
		return failed(bus.Errorf(bus.CodeInvalidMessage, "the result does not fit into %v: %v", reflect.TypeOf(into).Elem(), err))
	}
	return nil
}

func (c *core) readAll(r *http.Response) ([]byte, *Error) {
	limit := c.cfg.MaxAnswer
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	var buffer bytes.Buffer
	if r.ContentLength > 0 {
		buffer.Grow(int(min(r.ContentLength, firstBuffer)) + bytes.MinRead)
	}
	n, err := buffer.ReadFrom(io.LimitReader(r.Body, limit+1))
	switch {
	case n > limit:
		return nil, tooLarge(limit)
	case err == nil:
		return buffer.Bytes(), nil
	case isGarbled(err):
		return nil, failed(bus.Wrap(bus.CodeProtocolError, err, "the service's answer cannot be read"))
	}
	return nil, cut(err)
}

// isGarbled tells whether what came is wrong, and not only cut.
func isGarbled(err error) bool {
	return errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, new(flate.CorruptInputError))
}

// firstBuffer bounds what is reserved for an answer before any of it has come.
const firstBuffer = 1 << 20

func tooLarge(limit int64) *Error {
	return failed(bus.Errorf(bus.CodeOutOfRange, "the service's answer is larger than %d bytes (MaxAnswer)", limit))
}

// parseAnswer takes an answer apart, and says of what DIRAC's servers send for
// methods that return no S_OK or S_ERROR what it is.
func parseAnswer(body []byte) (jencode.Raw, *Error) {
	body = bytes.TrimSpace(body)
	switch {
	case len(body) == 0:
		return nil, odd("it is empty, as of a method that returns nothing (want S_OK or S_ERROR)")
	case body[0] == '[':
		return nil, odd("it is a bare list (want S_OK or S_ERROR): %q", excerpt(body))
	case body[0] != '{':
		return nil, odd("it is no object of JSON: %q", excerpt(body))
	}
	var members map[string]jencode.Raw
	if err := jencode.UnmarshalAnswer(body, &members, jencode.DIRAC); err != nil {
		return nil, odd("%v: %q", err, excerpt(body))
	}
	switch string(members["OK"]) {
	case "true":
		if value, ok := members["Value"]; ok {
			return value, nil
		}
		return jencode.Raw("null"), nil
	case "false":
		return nil, returned(errnoOf(members["Errno"]), messageOf(members["Message"]), codeOf(members["Code"]))
	case "":
		return nil, odd("it does not say whether it is OK: %q", excerpt(body))
	}
	return nil, odd("OK is neither true nor false: %q", excerpt(body))
}

// errnoOf reads an Errno; 0: there is none that is a number.
func errnoOf(raw jencode.Raw) int {
	var errno int
	if len(raw) == 0 || jencode.Unmarshal(raw, &errno, jencode.DIRAC) != nil {
		return 0
	}
	return errno
}

// codeOf reads the word that busd says in plain JSON; 0: there is none.
func codeOf(raw jencode.Raw) bus.Code {
	var word string
	if len(raw) == 0 || jencode.Unmarshal(raw, &word, jencode.DIRAC) != nil {
		return 0
	}
	code, _ := bus.ParseCode(word) // 0: it is not known here
	return code
}

func messageOf(raw jencode.Raw) string {
	var message string
	if len(raw) > 0 && jencode.Unmarshal(raw, &message, jencode.DIRAC) != nil {
		message = string(excerpt(raw)) // no text, but all there is
	}
	if message == "" {
		return "the service gives no message"
	}
	return message
}

// excerpt is the beginning of what came.
func excerpt(b []byte) string {
	const most = 100
	if len(b) > most {
		return string(b[:most]) + "…"
	}
	return string(b)
}
