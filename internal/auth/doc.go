// Package auth finds out who sends an HTTP request: by the certificate of its
// TLS connection, by one that a listed proxy passes on, or by a bearer token.
// It knows what was proven, and nothing of what somebody may do.
//
// Which of them counts:
//
//  1. A certificate, also a proxy certificate (RFC 3820) where the verifier
//     takes those. A bearer token beside it is ignored, whatever it is, but for
//     one that is bound to a certificate (RFC 8705): that is what its holder
//     shows the certificate for, and so the token counts. If it is bound to
//     another certificate, the request is refused.
//  2. Without a certificate a bearer token. One that is not good is an error.
//  3. Without both: nobody. Other schemes of Authorization prove nothing here;
//     what they say is for somebody else, and they are ignored.
//
// Requests from a listed proxy's address stand for others: the proxy's own
// certificate never counts, only the one that it passes on in headers, which is
// verified again. From everybody else those headers are ignored.
package auth
