package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"busd/access"
	"busd/daemon/internal/admin"
	"busd/daemon/internal/cli"
	"busd/daemon/internal/config"
	"busd/daemon/internal/gate"
	"busd/daemon/internal/memory"
	"busd/internal/auth"
	"busd/internal/mtls"
	"busd/msgbus"
	"busd/rpc"
)

const (
	// certificatePoll is how often certificate files, and lists of revoked and
	// denied certificates, are looked at: who was revoked is gone within 5 s.
	certificatePoll = 2 * time.Second
	// keyPoll is how often the files with the keys of tokens are.
	keyPoll = 10 * time.Second
)

// A server is a running busd.
type server struct {
	// Fixed at creation.
	program   *program
	options   cli.ServeOptions
	logs      *logs
	pki       *devPKI // nil: not in development mode
	services  []*msgbus.Service
	policy    *access.Policy
	auth      *auth.Authenticator
	methods   *rpc.Server // nil: no service has any
	bus       *msgbus.Server
	certs     *mtls.Source
	denials   *denials
	staleCRL  string            // what is done where a list of revoked certificates is out of date
	crlPaths  []string          // where such lists are
	listeners []config.Listener // those that are opened
	lines     []net.Listener    // theirs, and of the gates
	gates     []*gate.Gate
	web       []*http.Server // one for each gate
	admin     *admin.Admin
	adminLine net.Listener // nil: there is none
	adminHTTP *http.Server

	limit memory.Limit
	guard *memory.Guard

	filesRead, filesBad atomic.Uint64 // reloads of certificate files
	shed                atomic.Uint64 // requests refused because memory was short
	unread              unread

	// Owned by run.
	config *config.Config
	work   sync.WaitGroup
	failed chan error              // what ended and should not have
	drain  chan admin.DrainRequest // gets one, if somebody asks for it
}

// newServer joins everything and opens the listeners; nothing is accepted yet.
// On an error nothing stays open.
func newServer(p *program, o cli.ServeOptions, c *config.Config, l *logs) (*server, error) {
	s := &server{program: p, options: o, logs: l, config: c, failed: make(chan error, len(c.Listeners)+1), drain: make(chan admin.DrainRequest, 1)}
	if err := s.build(); err != nil {
		s.closeListeners()
		return nil, err
	}
	return s, nil
}

func (s *server) build() (err error) {
	c := s.config
	s.limit = limitMemory(c, s.program.environ)
	s.guard = s.newGuard()
	// First the addresses: whoever has them may write files and start the
	// services.
	if err = s.listen(); err != nil {
		return err
	}
	if s.options.Dev {
		if s.pki, err = openDevPKI(s.program.dir); err != nil {
			return err
		}
		files := s.pki.files()
		c.TLS.Certificate, c.TLS.Key, c.TLS.ClientCA = files.Cert, files.Key, files.CA
		c.TLS.SessionTickets = files.Tickets.File
	}
	if s.certs, err = readCertificates(c, s.tickets()); err != nil {
		return err
	}
	if s.denials, err = newDenials(c, s.certs.Deny); err != nil {
		return err
	}
	s.staleCRL, s.crlPaths = c.TLS.StaleCRL, c.TLS.CRL
	for i, l := range s.listeners {
		s.gates = append(s.gates, gate.New(s.lines[i], s.tlsOf(l), s.bounds()))
	}
	if s.services, err = s.program.enabled(c); err != nil {
		return err
	}
	if err = s.join(); err != nil {
		return err
	}
	for _, l := range s.listeners {
		s.web = append(s.web, s.newHTTP(l))
	}
	s.admin = s.newAdmin()
	if s.adminLine != nil {
		s.adminHTTP = newAdminHTTP(s.admin, s.adminLine.Addr(), s.httpLog())
	}
	return nil
}

// join makes one bus of the services, their methods, and who may use them.
func (s *server) join() (err error) {
	c := s.config
	if s.policy, err = access.New(s.program.accessOf(c, s.options.Dev)); err != nil {
		return accessFault(c, err)
	}
	if s.auth, err = newAuth(c, s.certs.Verifier()); err != nil {
		return err
	}
	id := identification{access: s.policy, authenticate: s.auth.Authenticate}
	if s.methods, err = newMethods(c, s.logs, id, s.guard.Short, s.services); err != nil {
		return err
	}
	s.bus, err = newBus(c, s.logs, id, s.services)
	return err
}

func (s *server) newAdmin() *admin.Admin {
	return admin.New(admin.Config{
		Version: cli.Version, Revision: revision(), Node: s.config.Node.Name,
		Services:       s.bus.Stats,
		Calls:          s.calls,
		Transport:      s.transport,
		CertificateEnd: s.certificateEnd,
		Revocations:    s.revocations,
		Deny:           denyList{s},
		Memory:         s.memory,
		LogLines:       s.logs.lines,
		SessionsAtRest: s.bus.SessionsAtRest,
		Overflowed:     s.bus.SessionsOverflowed,
		Drain:          s.askDrain,
	})
}

// calls are what was counted of the methods.
func (s *server) calls() []rpc.ServiceStats {
	if s.methods == nil {
		return nil
	}
	return s.methods.Stats()
}

func revision() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				return setting.Value
			}
		}
	}
	return ""
}

// start begins to accept.
func (s *server) start(ctx context.Context) {
	for i, g := range s.gates {
		s.work.Go(func() { s.ended("listener "+g.Addr().String(), s.web[i].Serve(g)) })
	}
	if s.adminLine != nil {
		s.work.Go(func() { s.ended("admin listener", s.adminHTTP.Serve(s.adminLine)) })
	}
	s.work.Go(func() { _ = s.guard.Run(ctx) }) // ends with ctx, and only so
	s.watchCRLs()
	s.work.Go(func() { _ = s.certs.Run(ctx, certificatePoll, s.polled) })                     // ends with ctx, and only so
	s.work.Go(func() { _ = mtls.Poll(ctx, certificatePoll, s.denials.reload, s.denyPolled) }) // as above
	s.work.Go(func() { _ = mtls.Poll(ctx, crlCheck, s.crlsDue, nil) })                        // as above
	s.work.Go(func() { _ = s.auth.Run(ctx, keyPoll, s.keysPolled) })                          // as above
	s.admin.SetPhase(admin.Serving)
}

// ended reports a listener that ended. When the server stops, all of them do.
func (s *server) ended(what string, err error) {
	if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		s.failed <- fmt.Errorf("%s: %w", what, err)
	}
}

// notAfter is the field that says when the certificate in use expires.
func (s *server) notAfter() zap.Field {
	return zap.String("certificate_not_after", s.certificateEnd().UTC().Format(time.RFC3339))
}

// tickets says where the keys of session tickets are kept.
func (s *server) tickets() mtls.Tickets {
	return mtls.Tickets{File: s.config.TLS.SessionTickets, Warn: func(err error) {
		s.logs.Warn("session tickets may not be resumed after a restart", zap.NamedError("reason", err))
	}}
}

// serve is "busd serve".
func (p *program) serve(ctx context.Context, o cli.ServeOptions) (err error) {
	began := time.Now()
	c, warnings, err := p.load(o)
	if err != nil {
		return err
	}
	l := newLogs(o.Stderr, c.Log)
	defer l.close()
	nobody, err := p.checkAccess(c, o.Dev)
	if err != nil {
		return err
	}
	for _, w := range append(warnings, nobody...) {
		l.Warn("configuration", zap.String("warning", w))
	}
	noCore(l.Logger)
	s, err := newServer(p, o, c, l)
	if err != nil {
		return err
	}
	defer memory.KeepFloor(os.Getenv("GOGC"))()
	polling, stopPolling := context.WithCancel(context.Background())
	s.start(polling)
	defer func() { s.finish(err) }()
	defer stopPolling()
	l.Info("busd serves", zap.String("version", cli.Version), zap.Strings("listeners", addresses(s.gates)), zap.String("admin", s.adminAddress()),
		zap.Strings("services", namesOf(s.services)), zap.Bool("development", o.Dev), s.notAfter(),
		zap.Int64("memory_limit", s.limit.Bytes), zap.String("memory_said_by", s.limit.Source), zap.Duration("duration", time.Since(began)))
	if !time.Now().Before(s.certificateEnd()) {
		l.Error("the server's certificate has expired: clients refuse it", s.notAfter())
	}
	if o.Dev {
		if err := s.banner(o.Stdout, time.Since(began)); err != nil {
			l.Warn("the banner could not be written", zap.NamedError("reason", err))
		}
	}
	if err = s.run(ctx); err != nil {
		return err
	}
	l.Info("stopped")
	return nil
}

func namesOf(services []*msgbus.Service) []string {
	names := make([]string, len(services))
	for i, svc := range services {
		names[i] = svc.Name()
	}
	return names
}
