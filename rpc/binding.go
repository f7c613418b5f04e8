package rpc

import (
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"busd/access"
	"busd/bus"
)

// A binding is what a service needs to answer: since it has one it must not be
// changed.
type binding struct {
	cfg   Config // Logger and Access are never nil; Authenticate may be
	guard *access.Guard
	since time.Time
	web   *web
}

// bound returns what the service was bound to: by NewServer, else, at its first
// use, to the zero Config.
func (s *Service) bound() *binding {
	if b := s.binding.Load(); b != nil {
		return b
	}
	b, _ := s.bind(Config{}) // whoever was faster has bound it
	return b
}

// bind binds the service, and tells whether it was free.
func (s *Service) bind(cfg Config) (*binding, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.binding.Load(); b != nil {
		return b, false
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	cfg.Logger = cfg.Logger.Named("rpc")
	if cfg.Access == nil {
		cfg.Access = access.Open()
	}
	b := &binding{cfg: cfg, guard: cfg.Access.Guard(s.name, s.Rules()), since: time.Now(), web: newWeb()}
	s.binding.Store(b)
	return b, true
}

// Bind readies the service for a server of stable connections, which serves it by HTTPS
// too: who may call, and who calls, is found out as that server does; nil as in
// [Config]. A service that [NewServer] has bound already stays as it is, but must
// not have another policy, nor find out by itself who asks where the server does
// not. msgbus.NewServer calls it.
func (s *Service) Bind(policy *access.Policy, authenticate func(*http.Request) (access.Caller, *bus.Error), log *zap.Logger) error {
	b := s.binding.Load()
	switch {
	case b == nil:
		return s.readied(Config{Access: policy, Authenticate: authenticate, Logger: log})
	case policy != nil && b.cfg.Access != policy:
		return bus.Errorf(bus.CodeInvalidArgument, "service %s: its methods are served by another policy of who may do what", s.name)
	case authenticate != nil && b.cfg.Authenticate == nil:
		return bus.Errorf(bus.CodeInvalidArgument, "service %s: its methods find out in another way who asks", s.name)
	}
	return nil
}

func (s *Service) mustBeOpen() {
	if s.binding.Load() != nil {
		panic("rpc: " + s.name + " is served already: it must not be changed any more")
	}
}

// check finds what is wrong with a service's fields.
func (s *Service) check() error {
	if s.name == "" {
		return bus.Errorf(bus.CodeInvalidArgument, "a service without a name: use NewService")
	}
	if s.MaxConcurrent < 0 || s.MaxBody < 0 || s.Timeout < 0 {
		return bus.Errorf(bus.CodeInvalidArgument, "service %s: its bounds must not be negative", s.name)
	}
	for _, m := range s.order {
		if m.MaxConcurrent < 0 || m.MaxBody < 0 || m.Timeout < 0 {
			return bus.Errorf(bus.CodeInvalidArgument, "service %s: the bounds of %s must not be negative", s.name, m.name)
		}
	}
	return nil
}

// readied binds and initialises a service for a server.
func (s *Service) readied(cfg Config) error {
	if err := s.check(); err != nil {
		return err
	}
	if _, free := s.bind(cfg); !free {
		return bus.Errorf(bus.CodeInvalidArgument, "service %s is served already", s.name)
	}
	if s.Init == nil || s.Lazy {
		return nil
	}
	if err := s.initialise(); err != nil {
		return fmt.Errorf("service %s: Init: %w", s.name, err)
	}
	return nil
}
