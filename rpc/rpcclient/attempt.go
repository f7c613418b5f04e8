package rpcclient

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"busd/bus"
	"busd/internal/mtls"
)

// A request is a call on its way by HTTP.
type request struct {
	method string // of the service, for errors
	path   string // below the service's; empty: the service's own
	query  string
	kind   []string // Content-Type
	header http.Header
	body   body
	// begun tells whether a method may have begun that runs before all of the body has
	// come; nil: none runs before that.
	begun func() bool
	// take reads the answer of a call that was executed.
	take func(*http.Response) *Error
	// taken tells whether something of the answer has been passed on, so that there
	// can be no other; nil: never.
	taken func() bool
}

// An attempt is one request to one address.
type attempt struct {
	found  bool // a connection
	reused bool
	// line carries it, of HTTP/1.1; begin is how much was written to it before. nil:
	// HTTP/2, where asked tells whether the header was written, and secure is the
	// connection.
	line   *line
	secure *tls.Conn
	begin  int64
	asked  atomic.Bool
	heard  atomic.Bool // something came of an answer
}

// connectBy is the context's key for until when a connection must have been made, if
// that is sooner than usual: net/http gives a dial the values of its request's
// context, and not its end.
type connectBy struct{}

// attempt makes one; connect is how long the making of a connection may take.
func (c *Client) attempt(ctx context.Context, to *address, r *request, connect time.Duration) (*attempt, *Error) {
	a := new(attempt)
	token, err := c.token(ctx)
	if err != nil {
		return a, unsent(err)
	}
	content, size, err := r.body.open()
	if err != nil {
		return a, failed(bus.Wrap(bus.CodeAborted, err, "what was to be sent cannot be read again"))
	}
	tracing := httptrace.WithClientTrace(ctx, a.trace())
	if connect < dialTimeout {
		tracing = context.WithValue(tracing, connectBy{}, time.Now().Add(connect))
	}
	resp, err := c.http.RoundTrip(c.request(tracing, to, r, content, size, token))
	if err != nil {
		return a, a.explain(ctx, err)
	}
	if resp.StatusCode == http.StatusUnauthorized {
		// The certificate may have been renewed, and a connection shows the one that
		// there was when it was made.
		defer c.http.CloseIdleConnections() // this one too: its body has been closed then
	}
	defer resp.Body.Close()
	var e *Error
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		e = refused(resp, to, r.method)
	} else if e = r.take(resp); e != nil && ctx.Err() != nil && !e.Returned {
		e = ended(ctx, true)
	}
	if e != nil {
		e.Status, e.RequestID = resp.StatusCode, requestID(resp)
		if r.begun != nil && inTheMiddle(e.Err.Code) && r.begun() {
			e.notExecuted = false
		}
	}
	return a, e
}

// inTheMiddle tells whether a refusal may come while the method reads: what is wrong
// with the body turns out then.
func inTheMiddle(code bus.Code) bool {
	switch code { //nolint:exhaustive // the others are said before
	case bus.CodeInvalidArgument, bus.CodeOutOfRange, bus.CodeUnavailable, bus.CodeResourceExhausted:
		return true
	}
	return false
}

func (c *Client) request(ctx context.Context, to *address, r *request, content io.ReadCloser, size int64, token string) *http.Request {
	u := *to.url
	u.Path += r.path
	u.RawQuery = r.query
	header := http.Header{"Content-Type": r.kind, "Accept": acceptJSON, "User-Agent": c.agent}
	maps.Copy(header, r.header)
	if token != "" {
		header["Authorization"] = []string{"Bearer " + token}
	}
	// There is no GetBody: net/http never sends a call again by itself.
	h := &http.Request{
		Method: http.MethodPost, URL: &u, Host: u.Host, Header: header, Body: content, ContentLength: size,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	return h.WithContext(ctx)
}

// acceptJSON asks busd to say refusals, and a method's own error, so that they can be
// told apart.
var acceptJSON = []string{"application/json, */*"}

func (c *core) userAgent() string {
	if c.cfg.Name == "" {
		return "busd"
	}
	return c.cfg.Name + "/" + c.cfg.Version + " busd"
}

// trace follows how far a request gets.
func (a *attempt) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			a.found, a.reused = true, info.Reused
			switch conn := info.Conn.(type) {
			case *line:
				a.line, a.begin = conn, conn.written.Load()
			case *tls.Conn:
				a.secure = conn
			}
		},
		WroteHeaders:         func() { a.asked.Store(true) },
		GotFirstResponseByte: func() { a.heard.Store(true) },
	}
}

// sent tells whether something of the request may have been written.
func (a *attempt) sent() bool {
	if a.line != nil {
		return a.line.written.Load() > a.begin
	}
	return a.found && a.asked.Load()
}

// explain makes an error of an attempt that got no answer.
func (a *attempt) explain(ctx context.Context, err error) *Error {
	switch {
	case ctx.Err() != nil:
		// HTTP/2 may still be writing what it has begun.
		return ended(ctx, a.found && (a.line == nil || a.sent()))
	case !a.found:
		e := failed(mtls.Explain(err))
		e.notExecuted = true
		e.again = e.Err.Remote || e.Err.Code != bus.CodeFailedPrecondition // which is about files here
		return e
	}
	if own := (*readError)(nil); errors.As(err, &own) {
		return failed(bus.Wrap(bus.CodeAborted, own.cause, "what was to be sent could not be read"))
	}
	if e := a.notAccepted(err); e != nil {
		return e
	}
	if !a.sent() || refusedStream(err) {
		e := failed(bus.Wrap(bus.CodeUnavailable, err, "the connection was closed before the call was sent"))
		e.notExecuted, e.again = true, true
		return e
	}
	if a.heard.Load() && !isCut(err) {
		e := failed(bus.Wrap(bus.CodeProtocolError, err, "what came is no answer of HTTP, or cut in its first line"))
		e.again = true
		return e
	}
	return cut(err)
}

// notAccepted is the error of a server that did not accept the client's certificate. In
// TLS 1.3 that is heard only after the request was written, which nobody has read then.
// nil: it is something else.
func (a *attempt) notAccepted(err error) *Error {
	if a.reused || a.heard.Load() {
		return nil
	}
	e := mtls.Explain(err)
	if !e.Remote && a.secure != nil && !refusedStream(err) && !errors.As(err, new(streamError)) {
		// net/http's HTTP/2 often says only that the connection cannot be used.
		if end := endOf(a.secure); end != nil {
			e = mtls.Explain(end)
		}
	}
	switch {
	case !e.Remote:
		return nil
	case e.Code == bus.CodeUnauthenticated, e.Code == bus.CodeCertificateExpired, e.Code == bus.CodeCertificateRevoked:
		f := failed(e)
		f.notExecuted, f.again = true, true
		return f
	}
	return nil
}

// cut is the error of a call whose answer did not come, or not whole.
func cut(err error) *Error {
	e := failed(bus.Wrap(bus.CodeUnavailable, err, "the connection was cut before the answer had come: whether the call was executed is not known"))
	e.again = true
	return e
}

// refusedStream tells whether a server of HTTP/2 has said that it has not looked at
// the request. net/http says it in words alone; where it finds others the call is not
// tried again.
func refusedStream(err error) bool {
	text := err.Error()
	return strings.HasPrefix(text, "http2: Transport: cannot retry err [") &&
		(strings.Contains(text, "; REFUSED_STREAM") || strings.Contains(text, "graceful shutdown GOAWAY"))
}

// isCut tells whether an error is of the network.
func isCut(err error) bool {
	var op net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, io.ErrClosedPipe) || // of connections in memory
		errors.As(err, &op) || errors.As(err, new(streamError))
}

// A streamError is how net/http's HTTP/2 says that the server has ended one stream: its
// own type has no name outside, and turns itself into one of this form.
type streamError struct {
	StreamID, Code uint32
	Cause          error
}

func (e streamError) Error() string { return "stream ended" }
