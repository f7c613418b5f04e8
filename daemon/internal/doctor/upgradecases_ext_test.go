package doctor_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"busd/bus"
	"busd/daemon/internal/doctor"
	"busd/internal/mtls"
	"busd/internal/ws"
)

// answers is a server of busd's kind that answers upgrades with a status.
func (w *world) answers(status int, body string, header ...string) doctor.Options {
	w.t.Helper()
	plain := w.bus(nil)
	return w.options(w.web(w.conf(w.server.TLS(), mtls.Policy{}), http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(header); i += 2 {
			rw.Header().Set(header[i], header[i+1])
		}
		if !ws.IsUpgrade(r) && status == http.StatusOK {
			plain.ServeHTTP(rw, r)
			return
		}
		rw.WriteHeader(status)
		_, _ = io.WriteString(rw, body)
	})))
}

func upgradeSituations() []situation {
	return []situation{
		{
			"not known by the certificate", func(w *world) doctor.Options { return w.answers(401, "", "Server", "nginx") },
			"not_authenticated",
			[]string{"HTTP 401", "server: nginx", "TLS proxy"},
			bus.CodeUnauthenticated,
		},
		{
			"not let in", func(w *world) doctor.Options {
				return w.answers(403, `{"code":"permission_denied","reason":"no name"}`)
			},
			"forbidden",
			[]string{"HTTP 403: no name"},
			bus.CodePermissionDenied,
		},
		{"another service", func(w *world) doctor.Options {
			o := w.options(good(w))
			o.URL = strings.Replace(o.URL, "Test/Bench", "Test/Bank", 1)
			o.Known = []string{"Test/Bench"}
			return o
		}, "unknown_service", []string{"no service Test/Bank at 127.0.0.1", "/Test/Bench"}, bus.CodeNotFound},
		{"another service, and none that is like it", func(w *world) doctor.Options {
			o := w.options(good(w))
			o.URL = strings.Replace(o.URL, "Test/Bench", "Far/Away", 1)
			o.Known = []string{"Test/Bench"}
			return o
		}, "unknown_service", []string{"this program has Test/Bench"}, bus.CodeNotFound},
		{
			"another version", func(w *world) doctor.Options { return w.answers(426, `{"reason":"want the subprotocol msgbus.v9"}`) },
			"wrong_version",
			[]string{"want the subprotocol msgbus.v9"},
			bus.CodeUnsupportedVersion,
		},
		{"another subprotocol", func(w *world) doctor.Options {
			return w.upgrades("other", func(s *ws.Socket) { s.Abort() })
		}, "wrong_version", []string{"not to one that speaks msgbus.v1"}, bus.CodeUnsupportedVersion},
		{
			"sent elsewhere", func(w *world) doctor.Options { return w.answers(302, "", "Location", "https://elsewhere.example/") },
			"redirected",
			[]string{"to https://elsewhere.example/"},
			bus.CodeUnavailable,
		},
		{
			"full", func(w *world) doctor.Options { return w.answers(503, `{"reason":"all taken"}`, "Retry-After", "7") },
			"busy",
			[]string{"wait for 7s", "all taken"},
			bus.CodeResourceExhausted,
		},
		{"too many requests", func(w *world) doctor.Options { return w.answers(429, "") }, "busy", []string{"HTTP 429"}, bus.CodeResourceExhausted},
		{
			"nothing behind the proxy", func(w *world) doctor.Options { return w.answers(502, "<html>", "Via", "1.1 edge") },
			"bad_gateway",
			[]string{"HTTP 502", "via: 1.1 edge"},
			bus.CodeUnavailable,
		},
		{"a failing server", func(w *world) doctor.Options { return w.answers(500, "") }, "server_error", []string{"HTTP 500"}, bus.CodeInternal},
		{
			"the upgrade is taken away", func(w *world) doctor.Options { return w.answers(200, "") },
			"not_upgraded",
			[]string{"plain requests reach the service", "headers Upgrade and Connection"},
			bus.CodeUnavailable,
		},
		{"another web server", func(w *world) doctor.Options { return w.answers(418, "<html>") }, "not_upgraded", []string{"HTTP 418", "is it busd"}, bus.CodeUnavailable},
		{"revoked, said by HTTP", func(w *world) doctor.Options {
			return w.answers(403, `{"code":"certificate_revoked","reason":"revoked"}`)
		}, "refused_revoked", []string{"a.crt was revoked"}, bus.CodeCertificateRevoked},
		{"expired, said by HTTP", func(w *world) doctor.Options {
			return w.answers(401, `{"code":"certificate_expired","reason":"too old"}`)
		}, "refused_expired", []string{"too old"}, bus.CodeCertificateExpired},
		{"no answer to a request", func(w *world) doctor.Options {
			o := w.options(w.raw(func(c net.Conn) {
				t := tls.Server(c, w.conf(w.server.TLS(), mtls.Policy{}))
				_, _ = io.Copy(io.Discard, t)
			}))
			o.Timeout = 2 * time.Second
			return o
		}, "upgrade_silent", []string{"did not answer an HTTP request"}, bus.CodeDeadlineExceeded},
		{"closed after the handshake", func(w *world) doctor.Options {
			return w.options(w.raw(func(c net.Conn) { _ = tls.Server(c, w.conf(w.server.TLS(), mtls.Policy{})).Handshake() }))
		}, "upgrade_closed", []string{"did not say why"}, bus.CodeUnavailable},
		{"TLS, but no HTTP", func(w *world) doctor.Options {
			return w.options(w.raw(func(c net.Conn) {
				t := tls.Server(c, w.conf(w.server.TLS(), mtls.Policy{}))
				_, _ = io.WriteString(t, "220 mail.example.org ESMTP\r\n")
				mute(t)
			}))
		}, "upgrade_closed", []string{"is not HTTP"}, bus.CodeUnavailable},
	}
}
