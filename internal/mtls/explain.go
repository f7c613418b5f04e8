package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"busd/bus"
)

// Explain turns what a client got from dialling, from the TLS handshake, or
// from the first read after it into an error with a code and a reason in a
// user's words; the cause is err. In TLS 1.3 a client learns from its first
// read that the server refused its certificate.
//
// Retry is after, except for a revoked certificate, which is never. An error
// that is a [*bus.Error] already stays as it is, nil stays nil, and an error
// that it does not know is unavailable.
func Explain(err error) *bus.Error {
	var known *bus.Error
	if err == nil || errors.As(err, &known) {
		return known
	}
	if alert, ok := alertOf(err); ok {
		e := explained(alert.Code, alert.Retry, err, alert.Reason)
		e.Remote = true // the server said so: where it says never, it is final
		return e
	}
	if code, reason := explainServer(err); reason != "" {
		return explained(code, bus.RetryAfter, err, reason)
	}
	if code := bus.CodeOf(err); code == bus.CodeCanceled {
		return explained(code, bus.RetryAfter, err, "the attempt was given up")
	}
	return explained(bus.CodeUnavailable, bus.RetryAfter, err, explainNetwork(err))
}

func explained(code bus.Code, when bus.When, cause error, reason string) *bus.Error {
	return bus.Wrap(code, cause, reason).WithRetry(bus.Retry{When: when})
}

// alertOf finds the alert that the other end sent.
func alertOf(err error) (Alert, bool) {
	// crypto/tls hands out its alerts as an unexported type inside an OpError;
	// AlertError prints the same text.
	var op *net.OpError
	for errors.As(err, &op) && op.Op != "remote error" {
		err = op.Err
	}
	if op == nil || op.Op != "remote error" || op.Err == nil {
		return Alert{}, false
	}
	text := op.Err.Error()
	for _, alert := range Alerts() {
		if tls.AlertError(alert.Number).Error() == text {
			return alert, true
		}
	}
	return Alert{Code: bus.CodeUnavailable, Reason: "the server ended the handshake"}, true
}

// explainServer says what is wrong with the certificate that the server
// showed, or with what it speaks; the reason is empty if err is about
// something else.
func explainServer(err error) (bus.Code, string) {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown):
		reason := "the server's certificate is not signed by a CA that you trust"
		if unknown.Cert != nil {
			if issuer, dnErr := DN(unknown.Cert.RawIssuer); dnErr == nil && issuer != "" {
				reason += ": it says " + issuer
			}
		}
		return bus.CodeUnauthenticated, reason
	case errors.As(err, &host):
		return bus.CodeUnauthenticated, "the server's certificate is not for " + host.Host
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return bus.CodeCertificateExpired, "the server's certificate is expired, or not valid yet, by this machine's clock"
	case errors.As(err, &invalid):
		return bus.CodeUnauthenticated, "the server's certificate is not valid"
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return bus.CodeUnauthenticated, "the server's certificate cannot be verified"
	case errors.As(err, &record):
		return bus.CodeUnavailable, "what answers there does not speak TLS"
	}
	return 0, ""
}

func explainNetwork(err error) string {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "no host has the name " + dns.Name
	case errors.As(err, &dns):
		return "the name " + dns.Name + " could not be looked up"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nobody listens there"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no way to that address"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "the server did not answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return "the connection was closed before the handshake was over"
	}
	return "the connection could not be made"
}
