package rpc

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"

	"busd/access"
	"busd/bus"
	"busd/rpc/jencode"
)

// readContentType finds the form of a call.
func (x *exchange) readContentType() *bus.Error {
	types := x.r.Header["Content-Type"]
	if len(types) == 0 && x.r.ContentLength == 0 {
		x.format = formJSON // nothing is said: a call without arguments
		return nil
	}
	if len(types) == 1 {
		// What clients send, without a parse.
		switch types[0] {
		case "application/x-www-form-urlencoded":
			x.format = formURLEncoded
			return nil
		case "application/json":
			x.format = formJSON
			return nil
		}
		kind, params, err := mime.ParseMediaType(types[0])
		charset := params["charset"]
		switch {
		case err != nil:
		case kind == "multipart/form-data" && params["boundary"] != "":
			x.format, x.boundary = formMultipart, params["boundary"]
			return nil
		case kind == "application/octet-stream":
			x.format = formStream
			return nil
		case charset != "" && !strings.EqualFold(charset, "utf-8"):
		case kind == "application/x-www-form-urlencoded":
			x.format = formURLEncoded
			return nil
		case kind == "application/json":
			x.format = formJSON
			return nil
		}
	}
	return x.with(http.StatusUnsupportedMediaType, badCall("the body's Content-Type: want application/json, application/x-www-form-urlencoded, "+
		"multipart/form-data or application/octet-stream, and UTF-8"))
}

// limit is the most bytes that the body may have, as far as is known.
func (x *exchange) limit() int64 {
	m := x.call.method
	if x.format != formJSON {
		return x.service.bodyLimit(m)
	}
	if m != nil && m.uploads {
		x.body.advice = ": send what is larger as application/octet-stream"
	}
	return x.service.heldLimit(m)
}

// heldLimit is the most bytes of a body that is held in memory as a whole: of a
// method that takes a stream not all that it may have.
func (s *Service) heldLimit(m *Method) int64 {
	if m == nil {
		limit := int64(0)
		for _, m := range s.order {
			limit = max(limit, s.heldLimit(m))
		}
		return limit
	}
	limit := s.bodyLimit(m)
	if m.uploads {
		return min(limit, SpoolFrom)
	}
	return limit
}

// read reads the body, and what it says.
func (x *exchange) read() *bus.Error {
	switch {
	case x.format == formStream:
		return x.readStream()
	case !x.format.isDIRAC():
		return x.readJSON()
	}
	if err := x.readForm(); err != nil {
		return err
	}
	if err := x.find(); err != nil {
		return err
	}
	if err := x.body.within(x.service.bodyLimit(x.call.method), -1); err != nil {
		return err
	}
	x.request.VO, x.request.Setup = x.fields.vo, x.fields.setup
	if x.large != nil {
		if err := x.takeLarge(); err != nil {
			return err
		}
	}
	if c := firstByte(x.fields.args); c != '[' && c != 0 {
		return badCall("args: want a list")
	}
	if c := firstByte(x.fields.kwargs); c != '{' && c != 0 {
		return badCall("kwargs: want an object")
	}
	x.call.args, x.call.named = x.fields.args, x.fields.kwargs
	return nil
}

// firstByte is the first of a value that is no white space; 0: there is none.
func firstByte(p []byte) byte {
	if at := skipSpace(p, 0); at < len(p) {
		return p[at]
	}
	return 0
}

// readStream takes the body for the last argument; the others are in the query
// string.
func (x *exchange) readStream() *bus.Error {
	m := x.call.method
	switch {
	case m == nil:
		return badCall("method is missing: of a body of bytes it is the last part of the path")
	case !m.uploads:
		return x.with(http.StatusUnsupportedMediaType, badCall("%s takes no stream: want application/json", m.name))
	}
	if c := firstByte(x.query.args); c != '[' && c != 0 {
		return badCall("args, in the query string: want a list")
	}
	if c := firstByte(x.query.kwargs); c != '{' && c != 0 {
		return badCall("kwargs, in the query string: want an object")
	}
	x.call.args, x.call.named = x.query.args, x.query.kwargs
	x.body.wait()
	x.upload.from = &x.body
	x.call.upload = &x.upload
	return nil
}

// readJSON reads a body of plain JSON: the arguments, or, where the path names no
// method, an object with the call.
func (x *exchange) readJSON() *bus.Error {
	var text []byte
	if x.call.method == nil {
		var whole bool
		var err *bus.Error
		if text, whole, err = x.body.readAll(nil, freeBody, x.r.ContentLength); err == nil && !whole {
			err = x.admitUnnamed()
		}
		if err != nil {
			return err
		}
	}
	text, _, err := x.body.readAll(text, x.limit()+1, x.r.ContentLength) // one byte more than it may have is a fault
	if err != nil {
		return err
	}
	if x.call.method == nil {
		if text, err = x.readEnvelope(text); err != nil {
			return err
		}
	}
	if c := firstByte(text); c != '[' && c != '{' && c != 0 {
		return badCall("the body: want an array of arguments, or an object of named ones")
	}
	x.call.args = text
	return nil
}

// readEnvelope reads {"method": …, "args": …, "kwargs": …}, and returns args.
func (x *exchange) readEnvelope(text []byte) ([]byte, *bus.Error) {
	if firstByte(text) != '{' {
		return nil, badCall("the body: want an object with method, args and kwargs, or the method's name as the last part of the path")
	}
	members, err := jencode.Members(text, jencode.JSON)
	if err != nil {
		return nil, badCall("the body: %v", err)
	}
	for name, value := range members {
		switch c := firstByte(value); name {
		case "method":
			if err := jencode.Unmarshal(value, &x.fields.method, jencode.JSON); err != nil {
				return nil, badCall("method: %v", err)
			}
		case "args":
			if c != '[' {
				return nil, badCall("args: want a list")
			}
		case "kwargs":
			if c != '{' {
				return nil, badCall("kwargs: want an object")
			}
			x.call.named = value
		default:
			return nil, badCall("the body: unknown member %.64q: want method, args and kwargs", name)
		}
	}
	if err := x.find(); err != nil {
		return nil, err
	}
	if err := x.body.within(x.limit(), -1); err != nil {
		return nil, err
	}
	return members["args"], nil
}

// readForm reads the fields of a form.
func (x *exchange) readForm() *bus.Error {
	text, whole, err := x.body.readAll(nil, freeBody, x.r.ContentLength)
	if err != nil {
		return err
	}
	if c := firstByte(text); x.format == formURLEncoded && (c == '[' || c == '{') {
		return x.with(http.StatusUnsupportedMediaType, badCall("the body is JSON, and its Content-Type says a form: want Content-Type: application/json"))
	}
	if !whole {
		if method := x.methodIn(text); method != "" {
			x.fields.method = method
		}
		if err := x.admit(); err != nil {
			return err
		}
		if text, whole, err = x.body.readAll(text, min(x.body.limit, SpoolFrom)+1, x.r.ContentLength); err != nil {
			return err
		}
	}
	if x.format == formURLEncoded {
		if m := x.call.method; !whole && m != nil && !m.uploads { // its arguments will have to be in memory
			if text, whole, err = x.body.readAll(text, x.body.limit+1, x.r.ContentLength); err != nil {
				return err
			}
		}
		if whole {
			return x.fields.parse(text)
		}
	}
	return x.readLarge(text, whole)
}

// methodIn finds the method in the beginning of a form; empty: it is not there.
func (x *exchange) methodIn(text []byte) string {
	if x.format == formURLEncoded {
		return methodIn(text)
	}
	var begun fields
	form := largeForm{fields: &begun, args: store{most: len(text)}, file: store{most: len(text)}}
	_ = form.takeMultipart(bytes.NewReader(text), x.boundary) // it is cut off, and is read again
	return begun.method
}

// admit lets the rest of a larger body in, as far as is known for what it is: of
// who may call the method, or is known at all. For the latter a field may still come
// that says as whom he calls.
func (x *exchange) admit() *bus.Error {
	if x.fields.method == "" && x.inPath == "" {
		return x.admitUnnamed()
	}
	if err := x.find(); err != nil {
		return err
	}
	if err := x.body.within(x.service.bodyLimit(x.call.method), x.r.ContentLength); err != nil {
		return err
	}
	if err := x.authorize(); err != nil && !x.isKnown() {
		return err
	}
	return nil
}

// admitUnnamed is admit while nobody knows the method.
func (x *exchange) admitUnnamed() *bus.Error {
	if x.isKnown() {
		return nil
	}
	c := bus.CodePermissionDenied
	if x.caller.Nobody() {
		c = bus.CodeUnauthenticated
	}
	return bus.Errorf(c, "a body of more than %d bytes of somebody who is not known: want the method in the path, or method as its first field", freeBody)
}

// isKnown tells whether the service knows who calls, whatever he may.
func (x *exchange) isKnown() bool {
	if x.caller.Nobody() {
		return false
	}
	grant, err := x.service.authorize(x.service.find("whoami"), &x.caller, access.Claim{})
	return err == nil && grant.Known
}

// readLarge reads a form field by field; begun is what was read of it.
func (x *exchange) readLarge(begun []byte, whole bool) *bus.Error {
	most := MaxField
	if whole {
		most = len(begun) // all of it is in memory already
	}
	spool := func() (*spool, *bus.Error) {
		if err := x.admit(); err != nil {
			return nil, err
		}
		return newSpool(&x.binding.web.spools, x.caller.Peer.Name)
	}
	x.large = &largeForm{fields: &x.fields, args: store{most: most, large: spool}, file: store{most: most, large: spool}}
	var from io.Reader = bytes.NewReader(begun)
	if !whole {
		from = io.MultiReader(from, &x.body)
	}
	var err error
	if x.format == formMultipart {
		err = x.large.takeMultipart(from, x.boundary)
	} else {
		err = x.large.takeURLEncoded(from)
	}
	if err == nil {
		return nil
	}
	return bus.AsError(err) // it is one
}

// takeLarge makes arguments of what a form brought that was read field by field.
func (x *exchange) takeLarge() *bus.Error {
	m, l := x.call.method, x.large
	if err := l.args.end(); err != nil {
		return err
	}
	if err := l.file.end(); err != nil {
		return err
	}
	x.fields.args = bytes.TrimSpace(l.args.small)
	switch {
	case l.hasFile && !m.uploads:
		return badCall("%s takes no file", m.name)
	case l.hasFile:
		x.upload.from = l.file.reader()
	case l.args.spool != nil && m.uploads:
		var err *bus.Error
		if x.fields.args, x.upload.from, err = l.args.spool.splitUpload(); err != nil {
			return err
		}
	}
	if x.upload.from != nil {
		x.call.upload = &x.upload
	}
	if l.args.spool != nil && (l.hasFile || !m.uploads) {
		var err *bus.Error
		if x.fields.args, err = x.load(l.args.spool); err != nil {
			return err
		}
	}
	return nil
}

// load reads arguments that were spooled before it was known that they have to be
// in memory.
func (x *exchange) load(s *spool) ([]byte, *bus.Error) {
	if err := x.body.hold(s.size); err != nil {
		return nil, err
	}
	p := make([]byte, s.size)
	return p, s.read(p, 0)
}

// isRaw tells whether the answer is bytes.
func (x *exchange) isRaw() bool { return x.call.method.streams || x.fields.raw }

// wantRaw refuses a call that asks for bytes of a method that has none, before it
// is executed.
func (x *exchange) wantRaw() *bus.Error {
	m := x.call.method
	if !x.fields.raw || m.streams || isBytes(m.sig.gives) {
		return nil
	}
	return badCall("rawContent: the result of %s is no bytes", m.name)
}

// isBytes tells whether values of a type can be sent as they are; those of an
// interface may.
func isBytes(t reflect.Type) bool {
	if t == nil || t == rawType {
		return false
	}
	return t.Kind() == reflect.String || t.Kind() == reflect.Interface || t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
}
