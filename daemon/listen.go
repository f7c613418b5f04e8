package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"busd/bus"
	"busd/daemon/internal/admin"
	"busd/daemon/internal/cli"
	"busd/daemon/internal/config"
	"busd/daemon/internal/gate"
)

// listen takes all addresses; nothing is accepted yet.
func (s *server) listen() error {
	for i, l := range s.config.Listeners {
		if !serves(s.config, l) {
			s.logs.Info("listener not opened: none of its services is served", zap.String("listener", l.Address), zap.Strings("services", l.Services))
			continue
		}
		inner, err := s.open(fmt.Sprintf("listeners[%d].address", i), l.Address,
			"busd serve --listen HOST:PORT     with another port, or stop what listens on this one")
		if err != nil {
			return err
		}
		s.lines = append(s.lines, inner)
		s.listeners = append(s.listeners, l)
	}
	if address := s.config.Admin.Address; address != "" {
		inner, err := s.open("admin.address", address,
			"BUSD_ADMIN__ADDRESS=HOST:PORT     another one, as admin.address in the configuration does; off is none")
		if err != nil {
			return err
		}
		s.adminLine = &boundedListener{Listener: inner, slots: make(chan struct{}, maxAdmin)}
		if !isLoopback(inner.Addr()) {
			s.logs.Warn("the admin listener is not on loopback: whoever reaches it sees health and metrics",
				zap.String("listener", inner.Addr().String()))
		}
	}
	return nil
}

// serves tells whether anything is served on a listener.
func serves(c *config.Config, l config.Listener) bool {
	return len(l.Services) == 0 || slices.ContainsFunc(l.Services, func(name string) bool { return c.Services[name].Enabled })
}

// open listens on one address, which key names; advice is for whoever cannot
// have it. What the address resolves to is checked once more: a name need not
// be what it says.
func (s *server) open(key, address, advice string) (net.Listener, error) {
	inner, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		code, reason := unheard(err)
		failed := bus.Wrap(code, err, address+" "+reason)
		failed.Path = key
		return nil, cli.Advise(failed, advice)
	}
	if s.options.Dev {
		if err := mustBeLoopback(inner.Addr()); err != nil {
			return nil, errors.Join(err, inner.Close())
		}
	}
	return inner, nil
}

// unheard says why nobody can listen on an address.
func unheard(err error) (bus.Code, string) {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return bus.CodeAlreadyExists, "is in use"
	case errors.Is(err, syscall.EACCES):
		return bus.CodePermissionDenied, "is not for you: a port below 1024 needs a privilege"
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.As(err, new(*net.DNSError)):
		return bus.CodeInvalidArgument, "is no address of this machine"
	}
	return bus.CodeUnavailable, "cannot be listened on: " + err.Error()
}

func (s *server) tlsOf(l config.Listener) *tls.Config {
	if l.ClientCertificate == "require" {
		return s.certs.Requiring()
	}
	return s.certs.Config()
}

func (s *server) bounds() gate.Config {
	c := s.config
	var vouched func(tls.ConnectionState) bool // crypto/tls knows
	if acceptsProxies(c) {
		verifier := s.certs.Verifier()
		vouched = func(state tls.ConnectionState) bool {
			_, err := verifier.Connection(state)
			return err == nil
		}
	}
	var first *gate.Gate
	if len(s.gates) > 0 { // the bounds are of the process
		first = s.gates[0]
	}
	return gate.Config{
		Share:             first,
		Vouched:           vouched,
		MaxConnections:    c.Limits.Connections,
		PerAddress:        c.Limits.UnauthenticatedPerAddress,
		PerAddressRate:    c.Limits.NewPerAddress,
		PerAddressWaiting: c.Limits.WaitingPerAddress,
		MaxWait:           c.Timeouts.Address,
		MaxHandshakes:     c.Limits.Handshakes,
		HandshakeTimeout:  c.Timeouts.Handshake,
		HandshakeBytes:    int(c.Limits.HandshakeSize),
		Deny:              c.Deny,
		Report:            s.refused,
	}
}

// refused logs what did not get through the gate.
func (s *server) refused(e gate.Event) {
	switch e.Reason {
	case "":
		s.logs.Warn("accepting failed", zap.NamedError("reason", e.Err))
	case gate.Gone: // port checks do this all day
		s.logs.Debug("connection refused", zap.String("remote", e.Remote.String()), zap.String("reason", string(e.Reason)))
	default:
		s.logs.Info("connection refused", zap.String("remote", e.Remote.String()), zap.String("reason", string(e.Reason)),
			zap.NamedError("cause", e.Err))
	}
}

// transport adds up the numbers of all gates.
func (s *server) transport() admin.Transport {
	t := admin.Transport{Refused: map[string]uint64{}, Failed: map[string]uint64{}}
	for _, g := range s.gates {
		n := g.Stats()
		t.Open += n.Open
		t.Unauthenticated += n.Unauthenticated
		t.Waiting += n.Waiting
		t.Handshaking += n.Handshaking
		t.Handshakes += n.Handshakes
		t.Resumed += n.Resumed
		t.Computing = max(t.Computing, n.Computing) // of all
		t.AcceptErrors += n.AcceptErrors
		for reason, count := range n.Refused {
			t.Refused[string(reason)] += count
		}
		for reason, count := range n.Failed {
			t.Failed[string(reason)] += count
		}
	}
	t.Refused["request"], t.Refused["silent"] = s.unread.begun.Load(), s.unread.silent.Load()
	t.Refused[shedReason] = s.shed.Load()
	return t
}

// closeGates ends accepting; what the gates handed out lives on.
func (s *server) closeGates() {
	for _, g := range s.gates {
		if err := g.Close(); err != nil {
			s.logs.Warn("closing a listener failed", zap.NamedError("reason", err))
		}
	}
}

func (s *server) closeListeners() {
	for _, l := range s.lines {
		_ = l.Close() // nobody was let in
	}
	if s.adminLine != nil {
		_ = s.adminLine.Close()
	}
}

func addresses(gates []*gate.Gate) []string {
	list := make([]string, len(gates))
	for i, g := range gates {
		list[i] = g.Addr().String()
	}
	return list
}

// adminAddress is where operators look; empty: nowhere.
func (s *server) adminAddress() string {
	if s.adminLine == nil {
		return ""
	}
	return s.adminLine.Addr().String()
}

func isLoopback(a net.Addr) bool { return mustBeLoopback(a) == nil }

// Bounds of the admin listener: a scraper that hangs hinders nobody.
const (
	maxAdmin           = 64
	adminHeaderTimeout = 5 * time.Second
	adminReadTimeout   = 10 * time.Second
	// adminWriteTimeout leaves room for a profile of half a minute.
	adminWriteTimeout = time.Minute
	adminIdleTimeout  = 30 * time.Second
	adminHeaderBytes  = 8 << 10
)

func newAdminHTTP(a *admin.Admin, at net.Addr, errors *log.Logger) *http.Server {
	return &http.Server{
		Handler:           a.Handler(isLoopback(at)),
		ReadHeaderTimeout: adminHeaderTimeout,
		ReadTimeout:       adminReadTimeout,
		WriteTimeout:      adminWriteTimeout,
		IdleTimeout:       adminIdleTimeout,
		MaxHeaderBytes:    adminHeaderBytes,
		ErrorLog:          errors,
	}
}

// boundedListener closes connections beyond a number.
type boundedListener struct {
	net.Listener
	slots chan struct{}
}

// Accept returns the next connection that there is room for.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
			return &boundedConn{Conn: c, leave: sync.OnceFunc(func() { <-l.slots })}, nil
		default:
			_ = c.Close() // it finds out
		}
	}
}

type boundedConn struct {
	net.Conn
	leave func()
}

// Close gives the connection's place back.
func (c *boundedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
