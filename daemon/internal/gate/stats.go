package gate

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
)

// A Reason says why a connection did not get through. The set is closed, so
// that it can be a label of a metric.
type Reason string

// Why a connection was refused before its handshake.
const (
	Denied      Reason = "denied"      // its network is on the deny list
	Connections Reason = "connections" // the process has as many as it may
	Rate        Reason = "rate"        // too many from its address in too short a time
	Crowd       Reason = "crowd"       // too many of its address are not authenticated
)

// Why a handshake failed.
const (
	Timeout       Reason = "timeout"        // it took too long
	Gone          Reason = "gone"           // the client closed or broke the connection
	PlainHTTP     Reason = "plain_http"     // the client spoke HTTP without TLS
	NotTLS        Reason = "not_tls"        // the client spoke something else
	TooBig        Reason = "too_big"        // the client sent more than HandshakeBytes
	Version       Reason = "version"        // the client does not speak TLS 1.3
	NoCertificate Reason = "no_certificate" // one was required
	Expired       Reason = "expired"        // the certificate is expired, or not valid yet
	Revoked       Reason = "revoked"        // the certificate was revoked, or is denied
	UnknownCA     Reason = "unknown_ca"     // the certificate is not signed by a CA believed here
	Certificate   Reason = "certificate"    // the certificate is not acceptable for another reason
	Alert         Reason = "alert"          // the client refused the server
	Other         Reason = "other"
)

var (
	refusals = []Reason{Denied, Connections, Rate, Crowd}
	failures = []Reason{
		Timeout, Gone, PlainHTTP, NotTLS, TooBig, Version, NoCertificate, Expired, Revoked, UnknownCA, Certificate, Alert, Other,
	}
)

// An Event is a connection that did not get through, or, without a reason, an
// error of the listener underneath.
type Event struct {
	Reason Reason
	// Remote is the client's address, not valid if it is not known.
	Remote netip.AddrPort
	// Err is what the handshake or the listener returned; nil for a refusal.
	Err error
}

// Stats are a gate's numbers at one moment.
type Stats struct {
	// Open connections now, those handed out among them.
	Open int64
	// Unauthenticated connections now, in a handshake or handed out.
	Unauthenticated int64
	// Waiting connections now, for the bounds of their address.
	Waiting int64
	// Handshaking connections now. Computing is how many handshakes do now, those of
	// the gates that it shares its bounds with among them.
	Handshaking, Computing int64
	// Handshakes that succeeded since the beginning, and how many of them
	// resumed a TLS session.
	Handshakes, Resumed uint64
	// AcceptErrors of the listener underneath since the beginning.
	AcceptErrors uint64
	// Refused connections and Failed handshakes since the beginning, with a
	// row for each reason.
	Refused, Failed map[Reason]uint64
}

// counters are what Stats is made of.
type counters struct {
	open, unauthenticated, waiting, handshaking atomic.Int64
	handshakes, resumed, acceptErrors           atomic.Uint64
	refused, failed                             map[Reason]*atomic.Uint64 // the maps are fixed at creation
}

func newCounters() *counters {
	c := &counters{refused: map[Reason]*atomic.Uint64{}, failed: map[Reason]*atomic.Uint64{}}
	for _, r := range refusals {
		c.refused[r] = new(atomic.Uint64)
	}
	for _, r := range failures {
		c.failed[r] = new(atomic.Uint64)
	}
	return c
}

// Stats returns the numbers now.
func (g *Gate) Stats() Stats {
	c := g.count
	s := Stats{
		Open:            c.open.Load(),
		Unauthenticated: c.unauthenticated.Load(),
		Waiting:         c.waiting.Load(),
		Handshaking:     c.handshaking.Load(),
		Computing:       int64(len(g.turns)),
		Handshakes:      c.handshakes.Load(),
		Resumed:         c.resumed.Load(),
		AcceptErrors:    c.acceptErrors.Load(),
		Refused:         make(map[Reason]uint64, len(c.refused)),
		Failed:          make(map[Reason]uint64, len(c.failed)),
	}
	for r, n := range c.refused {
		s.Refused[r] = n.Load()
	}
	for r, n := range c.failed {
		s.Failed[r] = n.Load()
	}
	return s
}

// failureOf sorts the error of a handshake.
func failureOf(err error) Reason {
	var record tls.RecordHeaderError
	var verification *tls.CertificateVerificationError
	var op *net.OpError
	switch {
	case errors.Is(err, errTooBig):
		return TooBig
	case errors.Is(err, os.ErrDeadlineExceeded):
		return Timeout
	case errors.As(err, &record):
		if looksLikeHTTP(record.RecordHeader) {
			return PlainHTTP
		}
		return NotTLS
	case errors.As(err, &verification):
		return certificateFailure(verification)
	case errors.As(err, &op) && op.Op == "remote error":
		return Alert
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, io.ErrClosedPipe), op != nil:
		return Gone
	}
	// crypto/tls has no types for these.
	text := err.Error()
	switch {
	case strings.Contains(text, "unsupported versions"):
		return Version
	case strings.Contains(text, "didn't provide a certificate"):
		return NoCertificate
	case strings.HasPrefix(text, "tls: client") && strings.Contains(text, "certificate"):
		return Certificate
	case strings.HasPrefix(text, "tls: "):
		return Other
	}
	// Foreign errors come out of the configuration's own checks alone. The text
	// begins with the error's code.
	if strings.HasPrefix(text, "certificate_revoked") {
		return Revoked
	}
	return Certificate
}

func certificateFailure(err error) Reason {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return UnknownCA
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return Expired
	}
	return Certificate
}

// looksLikeHTTP tells whether what should have been a TLS record begins a
// request, as net/http does.
func looksLikeHTTP(header [5]byte) bool {
	switch string(header[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH", "CONNE":
		return true
	}
	return false
}
