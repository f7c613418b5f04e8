package mtls

import "busd/bus"

// An Alert is a TLS alert and what it means for a client that gets it from a
// server during, or just after, the handshake.
type Alert struct {
	// Number and Name are those of RFC 8446, section 6.
	Number uint8
	Name   string
	// Code is the code of the error that [Explain] makes of it.
	Code bus.Code
	// Retry says when the same attempt may succeed. Certificates are read anew
	// for each attempt, so that even a refused one may be replaced meanwhile.
	Retry bus.When
	// Reason says it in a user's words.
	Reason string
}

// Alerts returns the table of alerts, by number. It is listed in
// docs/protocol.md. An alert that is not in it is unavailable, after.
func Alerts() []Alert {
	const refused = "the server did not accept your certificate: "
	return []Alert{
		{0, "close_notify", bus.CodeUnavailable, bus.RetryAfter, "the server closed the connection"},
		{10, "unexpected_message", bus.CodeUnavailable, bus.RetryAfter, "the server found the handshake out of order"},
		{20, "bad_record_mac", bus.CodeUnavailable, bus.RetryAfter, "the server got damaged data"},
		{22, "record_overflow", bus.CodeUnavailable, bus.RetryAfter, "the server got a record that is too long"},
		{40, "handshake_failure", bus.CodeUnavailable, bus.RetryAfter, "the server and this client have no way of encryption in common"},
		{42, "bad_certificate", bus.CodeUnauthenticated, bus.RetryAfter, refused + "it is not a client's certificate with a valid use, key and name, or it was revoked or is denied there (a server that accepts proxy certificates also says this of expired ones and unknown CAs)"},
		{43, "unsupported_certificate", bus.CodeUnauthenticated, bus.RetryAfter, refused + "its kind is not supported"},
		{44, "certificate_revoked", bus.CodeCertificateRevoked, bus.RetryNever, refused + "it was revoked"},
		{45, "certificate_expired", bus.CodeCertificateExpired, bus.RetryAfter, refused + "it is expired, or not valid yet"},
		{46, "certificate_unknown", bus.CodeUnauthenticated, bus.RetryAfter, refused + "it gives no reason"},
		{47, "illegal_parameter", bus.CodeUnavailable, bus.RetryAfter, "the server found a fault in the handshake"},
		{48, "unknown_ca", bus.CodeUnauthenticated, bus.RetryAfter, refused + "it does not know the CA that signed it"},
		{49, "access_denied", bus.CodeUnauthenticated, bus.RetryAfter, refused + "it is valid, but not allowed here"},
		{50, "decode_error", bus.CodeUnavailable, bus.RetryAfter, "the server could not read the handshake"},
		{51, "decrypt_error", bus.CodeUnauthenticated, bus.RetryAfter, refused + "a signature or a key does not fit"},
		{70, "protocol_version", bus.CodeUnavailable, bus.RetryAfter, "the server does not speak TLS 1.3"},
		{71, "insufficient_security", bus.CodeUnavailable, bus.RetryAfter, "the server wants stronger encryption"},
		{80, "internal_error", bus.CodeUnavailable, bus.RetryAfter, "the server failed during the handshake"},
		{86, "inappropriate_fallback", bus.CodeUnavailable, bus.RetryAfter, "the server refused an older version of TLS"},
		{90, "user_canceled", bus.CodeUnavailable, bus.RetryAfter, "the server gave up the handshake"},
		{109, "missing_extension", bus.CodeUnavailable, bus.RetryAfter, "the server misses a part of the handshake"},
		{110, "unsupported_extension", bus.CodeUnavailable, bus.RetryAfter, "the server does not support a part of the handshake"},
		{112, "unrecognized_name", bus.CodeUnavailable, bus.RetryAfter, "the server does not go by that name"},
		{113, "bad_certificate_status_response", bus.CodeUnauthenticated, bus.RetryAfter, refused + "its status is not valid"},
		{115, "unknown_psk_identity", bus.CodeUnavailable, bus.RetryAfter, "the server does not know the session to resume"},
		{116, "certificate_required", bus.CodeUnauthenticated, bus.RetryAfter, "the server wants a client certificate, and there was none"},
		{120, "no_application_protocol", bus.CodeUnavailable, bus.RetryAfter, "the server does not speak HTTP/1.1 here"},
	}
}
