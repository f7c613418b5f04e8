package doctor

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"busd/bus"
	"busd/internal/mtls"
)

// Bounds on what is read of an answer.
const (
	maxHead = 64 << 10
	maxBody = 4 << 20 // a contract
)

// handshake speaks TLS with the server, whoever it is, without showing a
// certificate: it wants to see the server's. It returns what the server showed.
func (e *examination) handshake(ctx context.Context) (*tls.ConnectionState, bool) {
	conf := &tls.Config{
		ServerName: e.host, MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}, Time: e.Now,
		InsecureSkipVerify: true, //nolint:gosec // nothing is shown or said here; judgeServer verifies, and says all that is wrong
		GetClientCertificate: func(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			e.asked = asked
			return new(tls.Certificate), nil
		},
	}
	began := time.Now()
	c, err := e.secure(ctx, conf)
	if err != nil {
		e.find(e.notTLS(ctx, err))
		return nil, false
	}
	defer func() { _ = c.Close() }() // what was to be learned of it is known
	state := c.ConnectionState()
	e.ok(StepTLS, "tls_good", "%s, %s, in %s%s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), short(time.Since(began)), e.wanted())
	if a, err := e.get(ctx, c); err == nil { // else it wants a certificate first
		e.compareClocks(a.header)
	}
	return &state, true
}

// wanted says what the server says of client certificates.
func (e *examination) wanted() string {
	if e.asked == nil {
		return "; it asks for no certificate"
	}
	return ""
}

// secure makes a TLS connection with the server within the time of a step.
func (e *examination) secure(ctx context.Context, conf *tls.Config) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	raw, err := e.dial(ctx, e.address)
	if err != nil {
		return nil, err
	}
	c := tls.Client(raw, conf)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // the handshake's error says more
		return nil, err
	}
	return c, nil
}

// notTLS says why there was no TLS.
func (e *examination) notTLS(ctx context.Context, err error) Finding {
	f := Finding{Step: StepTLS, Level: Fail}
	var record tls.RecordHeaderError
	alert := alertOf(err)
	switch {
	case errors.As(err, &record):
		return e.speaks(record.RecordHeader[:])
	case alert == "protocol_version", alert == "handshake_failure", strings.Contains(err.Error(), "unsupported protocol version"):
		return e.tooOld(ctx, alert, err)
	case alert == "no_application_protocol":
		f.Code, f.Seen = "tls_no_http1", "the server speaks TLS, but not HTTP/1.1, which an upgrade to a WebSocket needs"
		f.Try = []string{"if a proxy is in front: let it offer http/1.1 (ALPN)"}
	case alert == "unrecognized_name":
		f.Code, f.Seen = "tls_no_such_name", "the server does not go by the name "+e.host
		f.Try = []string{"the name by which the server is known, in the URL"}
	case timedOut(err):
		return e.silent(ctx)
	case closed(err):
		f.Code, f.Seen = "tls_closed", e.address+": the connection was closed in the handshake"
		f.Try = []string{"the server's log: does it deny this address, or are there too many connections of it?", "if a proxy or load balancer is in front: has it a server behind it?"}
	case alert != "":
		f.Code, f.Seen = "tls_failed", fmt.Sprintf("the server ended the handshake: %s (%s)", mtls.Explain(err).Reason, alert)
	default:
		f.Code, f.Seen = "tls_failed", "the handshake failed: "+err.Error()
	}
	return f
}

// alertOf is the name of the alert by which the server ended a handshake; empty:
// it sent none.
func alertOf(err error) string {
	e := mtls.Explain(err)
	if e == nil || !e.Remote {
		return ""
	}
	for _, alert := range mtls.Alerts() {
		if alert.Reason == e.Reason {
			return alert.Name
		}
	}
	return "another alert"
}

func closed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// speaks says what else than TLS a server speaks, by its first bytes.
func (e *examination) speaks(first []byte) Finding {
	if bytes.HasPrefix(first, []byte("HTTP")) {
		return Finding{
			Step: StepTLS, Level: Fail, Code: "tls_plain_http", Seen: e.address + " speaks plain HTTP, not TLS: it is not busd's port for clients",
			Try: []string{"another port: busd's admin listener, and what stands behind a TLS proxy, speak plain HTTP"},
		}
	}
	return Finding{
		Step: StepTLS, Level: Fail, Code: "tls_not_tls", Seen: fmt.Sprintf("%s does not speak TLS: it begins with %q", e.address, first),
		Try: []string{"another port: look which program listens there"},
	}
}

// silent finds out whether a server that says nothing to a TLS client waits for
// plain HTTP.
func (e *examination) silent(ctx context.Context) Finding {
	if c, err := e.dial(ctx, e.address); err == nil {
		defer c.Close()
		defer e.hurry(ctx, c)()
		var first [5]byte
		if _, err = io.WriteString(c, "GET / HTTP/1.0\r\n\r\n"); err == nil {
			if _, err = io.ReadFull(c, first[:]); err == nil {
				return e.speaks(first[:])
			}
		}
	}
	return Finding{
		Step: StepTLS, Level: Fail, Code: "tls_silent", Seen: fmt.Sprintf("%s took the connection, and said nothing in %s", e.address, e.Timeout),
		Try: []string{"the server hangs or is overloaded, or what listens there does not speak TLS"},
	}
}

// tooOld finds out which older TLS a server speaks.
func (e *examination) tooOld(ctx context.Context, alert string, cause error) Finding {
	old := &tls.Config{
		ServerName: e.host, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS12, Time: e.Now,
		InsecureSkipVerify: true, //nolint:gosec // to find out whether that is all the server speaks; nothing is said
	}
	if c, err := e.secure(ctx, old); err == nil {
		defer func() { _ = c.Close() }() // what was to be learned of it is known
		return Finding{
			Step: StepTLS, Level: Fail, Code: "tls_old", Seen: fmt.Sprintf("the server speaks %s at most; busd wants TLS 1.3", tls.VersionName(c.ConnectionState().Version)),
			Try: []string{"busd itself speaks TLS 1.3: a proxy in front of it does not, or it is another program", "let the proxy speak TLS 1.3, or pass TLS through"},
		}
	}
	if alert == "handshake_failure" {
		return Finding{Step: StepTLS, Level: Fail, Code: "tls_failed", Seen: "the server ended the handshake: " + mtls.Explain(cause).Reason + " (handshake_failure)"}
	}
	return Finding{Step: StepTLS, Level: Fail, Code: "tls_old", Seen: "the server does not speak TLS 1.3, which busd wants", Try: []string{"let the server, or the proxy in front of it, speak TLS 1.3"}}
}

// An answer is what a server answered to a plain request.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// hurry lets a connection end with the time of a step, or with ctx, until what it
// returns is called.
func (e *examination) hurry(ctx context.Context, c net.Conn) (stop func() bool) {
	_ = c.SetDeadline(time.Now().Add(e.Timeout))                                 // of a socket that was just opened
	return context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) }) // as above
}

// get asks for the service's contract.
func (e *examination) get(ctx context.Context, c net.Conn) (*answer, error) {
	defer e.hurry(ctx, c)()
	_, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: busd-doctor/%s\r\nAccept: application/json\r\nConnection: close\r\n\r\n",
		e.target.EscapedPath(), e.target.Host, e.Version)
	if err != nil && !closed(err) { // what the server said before it closed can still be read
		return nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(c, maxHead+maxBody)), nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return nil, err
	}
	return &answer{resp.StatusCode, resp.Header, body}, nil
}

// compareClocks compares this machine's clock with the server's.
func (e *examination) compareClocks(h http.Header) {
	theirs, err := http.ParseTime(h.Get("Date"))
	if err != nil || e.clockSeen {
		return
	}
	e.clockSeen = true
	now := e.Now()
	off := now.Sub(theirs)
	if off.Abs() <= clockSlack {
		e.ok(StepClock, "clock_good", "this machine's clock and the server's agree")
		return
	}
	word := "ahead of"
	if off < 0 {
		word = "behind"
	}
	f := Finding{
		Step: StepClock, Level: Warn, Code: "clock_off",
		Seen: fmt.Sprintf("this machine's clock is %s %s the server's: here it is %s, there %s", span(off), word, moment(now), moment(theirs)),
		Try:  []string{"set the clock that is wrong (NTP): certificates are valid by the clock of whoever looks at them"},
	}
	if len(e.own) > 0 && !within(e.own[0], now) && within(e.own[0], theirs) {
		f.Level = Fail
		f.Seen += "; by the server's clock your certificate is valid"
	}
	e.find(f)
}

// refusal is what busd says in the body of an answer that is no success.
type refusal struct {
	Code   string `json:"code"`
	Reason string `json:"reason"`
}

func (r refusal) is(c bus.Code) bool { return r.Code == c.String() }
