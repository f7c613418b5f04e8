package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"busd/daemon/internal/admin"
	"busd/daemon/internal/config"
	"busd/daemon/internal/gate"
)

// listen opens all listeners.
func (s *server) listen() error {
	for i, l := range s.config.Listeners {
		inner, err := s.open(l.Address)
		if err != nil {
			return fmt.Errorf("listeners[%d].address: %w", i, err)
		}
		s.gates = append(s.gates, gate.New(inner, s.tlsOf(l), s.bounds()))
	}
	if address := s.config.Admin.Address; address != "" {
		inner, err := s.open(address)
		if err != nil {
			return fmt.Errorf("admin.address: %w", err)
		}
		s.adminLine = &boundedListener{Listener: inner, slots: make(chan struct{}, maxAdmin)}
		if !isLoopback(inner.Addr()) {
			s.logs.Warn("the admin listener is not on loopback: whoever reaches it sees health and metrics",
				zap.String("listener", inner.Addr().String()))
		}
	}
	return nil
}

// open listens on one address. What it resolves to is checked once more: a
// name need not be what it says.
func (s *server) open(address string) (net.Listener, error) {
	inner, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	if s.options.Dev {
		if err := mustBeLoopback(inner.Addr()); err != nil {
			return nil, errors.Join(err, inner.Close())
		}
	}
	return inner, nil
}

func (s *server) tlsOf(l config.Listener) *tls.Config { return s.certs[l.ClientCertificate].Config() }

func (s *server) bounds() gate.Config {
	c := s.config
	return gate.Config{
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
		t.AcceptErrors += n.AcceptErrors
		for reason, count := range n.Refused {
			t.Refused[string(reason)] += count
		}
		for reason, count := range n.Failed {
			t.Failed[string(reason)] += count
		}
	}
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
	s.closeGates()
	if s.adminLine != nil {
		_ = s.adminLine.Close() // nobody was let in
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
