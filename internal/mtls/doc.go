// Package mtls knows certificates: it reads them from files, serves and
// checks them in TLS handshakes, names the peer that one proves, makes them,
// and says in plain words why a handshake failed.
//
// It knows no services, no connections' meaning and no authorization. Both
// ends of a connection speak TLS 1.3 and HTTP/1.1, nothing older.
//
//   - Serving: [ServerConfig] for material in memory, [Source] for files that
//     are read again when they change.
//   - Calling: [Credentials].
//   - Who is it: [Naming], [DN], and [Verifier], also of proxy certificates (RFC 3820).
//   - Why not: [Explain] and [Alerts].
//   - Making certificates: [Authority].
package mtls
