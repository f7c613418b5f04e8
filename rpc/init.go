package rpc

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"busd/bus"
	"busd/internal/keys"
)

// initiation is how far a service's Init is.
type initiation struct {
	done atomic.Bool

	mu  sync.Mutex
	now *attempt // Guarded by mu. nil: none is under way.
}

// An attempt is one run of Init.
type attempt struct {
	over chan struct{}
	err  error // once over is closed
}

// ready returns once the service is initialised, or says that it is not: the
// attempt failed that was under way or that this call began, or ctx has ended. What
// was begun goes on, and the next call finds it.
func (s *Service) ready(ctx context.Context) *bus.Error {
	if s.isReady() {
		return nil
	}
	a := s.attempt()
	if a == nil {
		return nil
	}
	select {
	case <-a.over:
		if a.err != nil {
			return later(bus.CodeUnavailable, s.name+" is not ready: try again later")
		}
		return nil
	case <-ctx.Done():
		return later(bus.CodeUnavailable, s.name+" is not ready yet: try again later")
	}
}

func (s *Service) isReady() bool { return s.Init == nil || s.init.done.Load() }

// attempt returns the attempt that is under way, a new one if there is none; nil:
// one has succeeded.
func (s *Service) attempt() *attempt {
	s.init.mu.Lock()
	defer s.init.mu.Unlock()
	if s.init.now == nil && !s.init.done.Load() {
		a := &attempt{over: make(chan struct{})}
		s.init.now = a
		go s.try(a) // ends with Init, whose time is bounded
	}
	return s.init.now
}

// try runs Init, and tells all who wait what came of it.
func (s *Service) try(a *attempt) {
	err := errPanicked
	defer func() {
		if err != nil {
			s.bound().cfg.Logger.Error("service is not ready", keys.Service(s.name), keys.Reason(err))
		}
		s.init.mu.Lock()
		defer s.init.mu.Unlock()
		a.err, s.init.now = err, nil
		s.init.done.Store(err == nil)
		close(a.over)
	}()
	err = s.runInit()
}

// initialise runs Init as the server is made.
func (s *Service) initialise() error {
	a := s.attempt()
	if a == nil {
		return nil
	}
	<-a.over
	return a.err
}

// runInit runs Init, and makes an error of its panic, or of its ending the
// goroutine (runtime.Goexit).
func (s *Service) runInit() (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), InitTimeout)
	defer cancel()
	returned := false
	err = errPanicked
	defer func() {
		if returned {
			return
		}
		value := recover()
		if value == nil {
			value = "runtime.Goexit was called"
		}
		s.bound().cfg.Logger.Error("Init panicked", keys.Service(s.name), keys.Stack(debug.Stack()), zap.String("reason", fmt.Sprint(value)))
	}()
	failed := s.Init(ctx, Facts{Service: s.name})
	returned, err = true, failed
	return err
}
