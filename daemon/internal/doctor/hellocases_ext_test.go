package doctor_test

import (
	"context"
	"net/http"
	"strings"
	"time"

	"busd/access"
	"busd/bus"
	"busd/daemon/internal/doctor"
	"busd/internal/link"
	"busd/internal/mtls"
	"busd/internal/wire"
	"busd/internal/ws"
	"busd/msgbus"
	"busd/schema"
)

// upgrades is a server that accepts WebSockets, and does with them what it likes.
func (w *world) upgrades(subprotocol string, then func(*ws.Socket)) doctor.Options {
	w.t.Helper()
	plain := w.bus(nil)
	return w.options(w.web(w.conf(w.server.TLS(), mtls.Policy{}), http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !ws.IsUpgrade(r) {
			plain.ServeHTTP(rw, r)
			return
		}
		r.Header.Set("Sec-WebSocket-Protocol", subprotocol)
		s, err := ws.Accept(rw, r, subprotocol)
		if err != nil {
			w.t.Errorf("Accept: %v", err)
			return
		}
		s.Limit(1<<20, time.Minute, time.Time{})
		then(s)
	})))
}

// hears reads the hello. The first connection of a doctor has none that is good:
// it is told so, as busd does.
func hears(s *ws.Socket) *wire.HelloFrame {
	b, err := s.Read()
	if err != nil {
		return nil
	}
	f, err := wire.Decoder{}.Next(b)
	if err != nil {
		return nil
	}
	hello, err := wire.DecodeHello(f.Body)
	if err != nil {
		return nil
	}
	if err := bus.CheckInstance(hello.Instance); err != nil {
		link.Refuse(s, err)
		return nil
	}
	return hello
}

// refuses is a service whose OnConnect refuses.
func (w *world) refuses(err error) doctor.Options {
	w.t.Helper()
	return w.options(w.web(w.conf(w.server.TLS(), mtls.Policy{}), w.bus(func(s *msgbus.Service) {
		s.OnConnect = func(context.Context, *msgbus.Conn) error { return err }
	})))
}

// welcomes is a server that welcomes with this contract, and does what it likes.
func (w *world) welcomes(document string, then func(*ws.Socket)) doctor.Options {
	w.t.Helper()
	return w.upgrades(wire.Subprotocol, func(s *ws.Socket) {
		if hears(s) == nil {
			return
		}
		_ = s.Write(wire.AppendWelcome(nil, &wire.WelcomeFrame{TRID: "x", Identity: "dns:agent/x", Contract: document, Credit: 4096}))
		then(s)
	})
}

func helloSituations() []situation {
	return []situation{
		{"the rules do not let him connect", func(w *world) doctor.Options {
			return w.options(w.web(w.conf(w.server.TLS(), mtls.Policy{}), w.bus(func(s *msgbus.Service) { s.AllowConnect = access.MustRule("Operator") })))
		}, "not_allowed", []string{"dns:agent", "Test/Bench"}, bus.CodePermissionDenied},
		{
			"arguments are wanted", func(w *world) doctor.Options {
				return w.refuses(bus.Errorf(bus.CodeInvalidArgument, "site is missing"))
			},
			"wrong_arguments",
			[]string{"site is missing", "--args JSON"},
			bus.CodeFailedPrecondition,
		},
		{
			"the service is full", func(w *world) doctor.Options {
				return w.refuses(bus.Errorf(bus.CodeResourceExhausted, "ten are enough"))
			},
			"busy",
			[]string{"ten are enough"},
			bus.CodeResourceExhausted,
		},
		{
			"the server stops", func(w *world) doctor.Options { return w.refuses(bus.Errorf(bus.CodeGoingAway, "good night")) },
			"stopping",
			[]string{"good night"},
			bus.CodeGoingAway,
		},
		{
			"revoked, said in a drop", func(w *world) doctor.Options { return w.refuses(bus.Errorf(bus.CodeCertificateRevoked, "revoked")) },
			"refused_revoked",
			[]string{"a.crt was revoked"},
			bus.CodeCertificateRevoked,
		},
		{
			"expired, said in a drop", func(w *world) doctor.Options { return w.refuses(bus.Errorf(bus.CodeCertificateExpired, "too old")) },
			"refused_expired",
			[]string{"too old"},
			bus.CodeCertificateExpired,
		},
		{
			"the service does not want him", func(w *world) doctor.Options { return w.refuses(bus.Errorf(bus.CodeAborted, "not today")) },
			"hello_refused",
			[]string{"aborted: not today"},
			bus.CodeAborted,
		},
		{"no answer to the hello", func(w *world) doctor.Options {
			o := w.upgrades(wire.Subprotocol, func(s *ws.Socket) {
				if hears(s) != nil {
					_, _ = s.Read()
				}
				s.Abort()
			})
			o.HelloTimeout = 2 * time.Second
			return o
		}, "hello_silent", []string{"in 2s"}, bus.CodeDeadlineExceeded},
		{"hung up on after the hello", func(w *world) doctor.Options {
			return w.upgrades(wire.Subprotocol, func(s *ws.Socket) {
				hears(s)
				s.Abort()
			})
		}, "hello_closed", []string{"without a reason"}, bus.CodeUnavailable},
		{"something else than a welcome", func(w *world) doctor.Options {
			return w.upgrades(wire.Subprotocol, func(s *ws.Socket) {
				if hears(s) != nil {
					_ = s.Write([]byte("hello yourself"))
				}
				s.Drain()
				s.Abort()
			})
		}, "not_msgbus", []string{"does not keep to the protocol msgbus.v1"}, bus.CodeProtocolError},
		{"another contract that fits", func(w *world) doctor.Options {
			o := w.options(good(w))
			o.Contract = parse(w, strings.Replace(contract, `"type": "string"`, `"type": "string", "doc": "what"`, 1))
			return o
		}, "", nil, 0},
		{"a contract that breaks the client", func(w *world) doctor.Options {
			o := w.options(good(w))
			o.Contract = parse(w, strings.Replace(contract, `"string"`, `"int"`, 1))
			return o
		}, "contract_breaks", []string{"Do.what"}, bus.CodeSchemaMismatch},
		{"a contract that cannot be read", func(w *world) doctor.Options {
			return w.welcomes(`{"service": 7}`, func(s *ws.Socket) {
				s.Handle(func(payload string) { _ = s.Pong(payload) }, func(string) {})
				for {
					if _, err := s.Read(); err != nil {
						_ = s.Close(bus.CloseNormal, "")
						s.Abort()
						return
					}
				}
			})
		}, "contract_unreadable", []string{"cannot be read"}, bus.CodeProtocolError},
		{"pings are not answered", func(w *world) doctor.Options {
			release := make(chan struct{})
			w.t.Cleanup(func() { close(release) })
			o := w.welcomes(contract, func(s *ws.Socket) {
				<-release
				s.Abort()
			})
			o.Timeout = 2 * time.Second
			return o
		}, "latency_none", []string{"nothing came in 2s"}, bus.CodeKeepaliveTimeout},
		{"one connection for each certificate", func(w *world) doctor.Options {
			return w.options(w.web(w.conf(w.server.TLS(), mtls.Policy{}), w.bus(func(s *msgbus.Service) { s.Identity = msgbus.PerCertificate })))
		}, "hello_left_out", []string{"one connection for each certificate"}, 0},
	}
}

func parse(w *world, document string) *schema.Schema {
	w.t.Helper()
	s, err := schema.Parse([]byte(document))
	w.must(err)
	return s
}
