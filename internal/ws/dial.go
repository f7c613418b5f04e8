package ws

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/gorilla/websocket"

	"busd/bus"
)

const (
	// maxResponse bounds the head of a server's answer; the library has no
	// limit of its own.
	maxResponse = 64 << 10
	// maxRefusal bounds how much of a refusal's body is read, in bytes.
	maxRefusal = 1 << 10
)

// A Dialer opens WebSockets.
type Dialer struct {
	// DialContext opens the TCP connection; nil means the network.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS is used as it is.
	TLS *tls.Config
	// UserAgent names the program.
	UserAgent string
}

// A StatusError is the cause of a refusal by an HTTP status.
type StatusError struct {
	Status int
	Body   string
}

// Error returns the status and what the server said.
func (e *StatusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("HTTP %d %s: %s", e.Status, http.StatusText(e.Status), e.Body))
}

// Dial opens a WebSocket with the given subprotocol. Errors of TLS and of the
// network are returned as they are, for the caller to explain; an HTTP status
// is a *[bus.Error] with a *[StatusError] as its cause. It never follows a
// redirect.
func (d *Dialer) Dial(ctx context.Context, url, subprotocol string) (*Socket, error) {
	var l *line
	stop := func() bool { return true }
	under := d.DialContext
	if under == nil {
		under = new(net.Dialer).DialContext
	}
	open := websocket.Dialer{
		NetDialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			raw, err := under(ctx, network, address)
			if err != nil {
				return nil, err
			}
			conn := tls.Client(raw, d.TLS)
			if err := conn.HandshakeContext(ctx); err != nil {
				_ = raw.Close() // the handshake's error says more
				return nil, err
			}
			l = &line{Conn: conn}
			stop = context.AfterFunc(ctx, func() { _ = raw.Close() }) // the library looks at the deadline only
			return &head{line: l, left: maxResponse}, nil
		},
		NetDialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, bus.Errorf(bus.CodeInvalidArgument, "want a URL that begins with wss://")
		},
		ReadBufferSize:  readBuffer,
		WriteBufferSize: writeBuffer,
		WriteBufferPool: writeBuffers,
		Subprotocols:    []string{subprotocol},
	}
	conn, resp, err := open.DialContext(ctx, url, http.Header{"User-Agent": {d.UserAgent}})
	if !stop() {
		if err == nil {
			_ = conn.Close() // it has been closed beneath
		}
		return nil, fmt.Errorf("WebSocket upgrade: %w", ctx.Err())
	}
	if err != nil {
		if resp != nil {
			return nil, refusal(resp)
		}
		return nil, err
	}
	if conn.Subprotocol() != subprotocol {
		_ = conn.Close() // nothing was said on it
		return nil, bus.Errorf(bus.CodeUnsupportedVersion, "the server does not speak %s", subprotocol)
	}
	conn.NetConn().(*head).left = -1 // made above
	return newSocket(conn, l, true), nil
}

// head bounds what is read before the upgrade is done.
type head struct {
	*line
	left int // -1: no bound any more
}

func (h *head) Read(p []byte) (int, error) {
	if h.left < 0 {
		return h.line.Read(p)
	}
	if h.left == 0 {
		return 0, errors.New("the server's answer to the upgrade is larger than 64 KiB")
	}
	n, err := h.Conn.Read(p[:min(len(p), h.left)]) // within the time that the library has set
	h.left -= n
	return n, err
}

// SetDeadline lets the library end the handshake with its context.
func (h *head) SetDeadline(t time.Time) error { return h.Conn.SetDeadline(t) }

// statuses maps what a server may answer to an upgrade. Everything else is
// unavailable.
var statuses = map[int]bus.Code{
	http.StatusBadRequest:          bus.CodeProtocolError,
	http.StatusUnauthorized:        bus.CodeUnauthenticated,
	http.StatusForbidden:           bus.CodePermissionDenied,
	http.StatusNotFound:            bus.CodeNotFound,
	http.StatusMethodNotAllowed:    bus.CodeUnimplemented,
	http.StatusUpgradeRequired:     bus.CodeUnsupportedVersion,
	http.StatusTooManyRequests:     bus.CodeResourceExhausted,
	http.StatusServiceUnavailable:  bus.CodeResourceExhausted,
	http.StatusInternalServerError: bus.CodeInternal,
}

// refusal makes an error of an HTTP answer that is not 101.
func refusal(resp *http.Response) error {
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // what came of it is enough
	cause := &StatusError{Status: resp.StatusCode, Body: strings.TrimSpace(strings.ToValidUTF8(string(body), "?"))}
	code, ok := statuses[resp.StatusCode]
	if !ok {
		code = bus.CodeUnavailable
	}
	e := bus.Wrap(code, cause, "the server refused the connection"+said(body))
	e.Remote = true
	e.Retry.After = retryAfter(resp.Header.Get("Retry-After"))
	return e
}

// said returns ": " and the reason in a refusal's body, if it is one of busd's.
func said(body []byte) string {
	var problem struct {
		Reason string `json:"reason"`
	}
	if json.Unmarshal(body, &problem) != nil || problem.Reason == "" {
		return ""
	}
	return ": " + strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, problem.Reason)
}

// retryAfter reads the header's two forms (RFC 9110, section 10.2.3).
func retryAfter(v string) time.Duration {
	if seconds, err := strconv.Atoi(v); err == nil {
		return time.Duration(min(max(seconds, 0), maxRetrySeconds)) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(time.Until(at), 0), maxRetrySeconds*time.Second)
	}
	return 0
}

// maxRetrySeconds bounds how long a server can keep a client away.
const maxRetrySeconds = 3600
