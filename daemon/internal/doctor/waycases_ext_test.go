package doctor_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"busd/bus"
	"busd/daemon/internal/doctor"
)

func wayThere() []situation {
	return []situation{
		{"a name that nobody has", func(w *world) doctor.Options {
			o := w.options("bus.example:8443")
			o.Resolver = resolver(w.nameServer(3))
			return o
		}, "name_unknown", []string{"no host has the name bus.example"}, bus.CodeUnavailable},
		{"no name server", func(w *world) doctor.Options {
			o := w.options("bus.example:8443")
			o.Resolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("nobody listens") }}
			return o
		}, "name_lookup_failed", []string{"bus.example could not be looked up"}, bus.CodeUnavailable},
		{"nobody listens", func(w *world) doctor.Options {
			o := w.options(w.nobody())
			o.Proxy = "HTTPS_PROXY"
			return o
		}, "tcp_refused proxy_ignored", []string{"nobody listens there", "busd serve --dev", "HTTPS_PROXY is set"}, bus.CodeUnavailable},
		{"no answer to TCP", func(w *world) doctor.Options {
			o := w.options(good(w))
			o.Timeout = time.Nanosecond
			return o
		}, "tcp_timeout", []string{"no answer in 1ns", "firewall"}, bus.CodeDeadlineExceeded},
		{
			"plain HTTP", func(w *world) doctor.Options { return w.options(w.web(nil, http.NotFoundHandler())) },
			"tls_plain_http",
			[]string{"speaks plain HTTP, not TLS"},
			bus.CodeUnavailable,
		},
		{"plain HTTP that waits for a line", func(w *world) doctor.Options {
			o := w.options(w.raw(func(c net.Conn) {
				b := make([]byte, 1)
				if _, err := io.ReadFull(c, b); err == nil && b[0] == 'G' {
					_, _ = io.WriteString(c, "HTTP/1.0 404 Not Found\r\n\r\n")
				}
				mute(c)
			}))
			o.Timeout = 2 * time.Second
			return o
		}, "tls_plain_http", []string{"speaks plain HTTP"}, bus.CodeUnavailable},
		{"another protocol", func(w *world) doctor.Options {
			return w.options(w.raw(func(c net.Conn) {
				_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.9\r\n")
				mute(c)
			}))
		}, "tls_not_tls", []string{`begins with "SSH-2"`}, bus.CodeUnavailable},
		{"silence", func(w *world) doctor.Options {
			o := w.options(w.raw(mute))
			o.Timeout = 2 * time.Second
			return o
		}, "tls_silent", []string{"said nothing in 2s"}, bus.CodeDeadlineExceeded},
		{
			"hung up", func(w *world) doctor.Options { return w.options(w.raw(func(net.Conn) {})) },
			"tls_closed",
			[]string{"closed in the handshake"},
			bus.CodeUnavailable,
		},
		{"TLS 1.2", func(w *world) doctor.Options {
			return w.options(w.web(&tls.Config{Certificates: []tls.Certificate{w.server.TLS()}, MaxVersion: tls.VersionTLS12}, w.bus(nil)))
		}, "tls_old", []string{"speaks TLS 1.2 at most"}, bus.CodeUnavailable},
		{"no HTTP/1.1", func(w *world) doctor.Options {
			return w.options(w.web(&tls.Config{Certificates: []tls.Certificate{w.server.TLS()}, MinVersion: tls.VersionTLS13, NextProtos: []string{"mqtt"}}, w.bus(nil)))
		}, "tls_no_http1", []string{"not HTTP/1.1"}, bus.CodeUnavailable},
		{"a server of another name", func(w *world) doctor.Options {
			return w.options(w.web(&tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }}, w.bus(nil)))
		}, "tls_no_such_name", []string{"127.0.0.1"}, bus.CodeUnavailable},
		{"a server that fails in the handshake", func(w *world) doctor.Options {
			return w.options(w.web(&tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("no") }}, w.bus(nil)))
		}, "tls_failed", []string{"internal_error"}, bus.CodeUnavailable},
		{"a clock that is half an hour fast", func(w *world) doctor.Options {
			o := w.options(good(w))
			o.Now = func() time.Time { return time.Now().Add(30 * time.Minute) }
			return o
		}, "clock_off", []string{"30 minutes ahead of the server's"}, 0},
		{"a clock of another year", func(w *world) doctor.Options {
			o := w.options(good(w))
			o.Now = func() time.Time { return time.Now().Add(3 * 365 * 24 * time.Hour) }
			return o
		}, "own_expired ca_expired clock_off server_expired", []string{"1095 days ahead", "by the server's clock your certificate is valid"}, bus.CodeCertificateExpired},
	}
}

// resolver asks a name server for everything.
func resolver(addr string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", addr)
	}}
}

// nameServer answers every question with a code (RFC 1035, section 4.1.1), and
// returns where.
func (w *world) nameServer(code byte) string {
	w.t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	w.must(err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			end := 12 // behind the header stands the question: labels, 0, type and class
			for end < n && b[end] != 0 {
				end += int(b[end]) + 1
			}
			reply := append([]byte(nil), b[:end+5]...)
			copy(reply[2:], []byte{0x81, 0x80 | code, 0, 1, 0, 0, 0, 0, 0, 0})
			_, _ = c.WriteTo(reply, from)
		}
	}()
	w.t.Cleanup(func() {
		_ = c.Close()
		<-done
	})
	return c.LocalAddr().String()
}

// nobody is an address where nobody listens.
func (w *world) nobody() string {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	defer l.Close()
	return l.Addr().String()
}
