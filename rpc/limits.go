package rpc

import (
	"time"

	"busd/bus"
)

// The defaults of a service's bounds.
const (
	DefaultMaxConcurrent = 256
	DefaultMaxBody       = 1 << 20
	DefaultTimeout       = time.Minute
	// DefaultUploadTimeout is for methods that take a stream: they last as long as
	// their callers send, who must make progress.
	DefaultUploadTimeout = time.Hour
	// InitTimeout is how long Init may take.
	InitTimeout = time.Minute
	// RetryPause is when a caller who found no room, or a service that is not
	// ready, is told to try again.
	RetryPause = time.Second
)

// enter takes a place for a call; whoever does gives it back by leave.
func (s *Service) enter(m *Method) *bus.Error {
	most := s.MaxConcurrent
	if most == 0 {
		most = DefaultMaxConcurrent
	}
	if busy := s.bound().cfg.Busy; busy != nil && busy() {
		return later(bus.CodeUnavailable, s.name+" takes no calls for now: the server is short of memory")
	}
	if s.running.Add(1) > int64(most) {
		s.running.Add(-1)
		return later(bus.CodeUnavailable, s.name+" has as many calls as it takes: try again later")
	}
	if m.running.Add(1) > int64(m.MaxConcurrent) && m.MaxConcurrent > 0 {
		s.leave(m)
		return later(bus.CodeResourceExhausted, m.name+" has as many calls as it takes: try again later")
	}
	return nil
}

func (s *Service) leave(m *Method) {
	m.running.Add(-1)
	s.running.Add(-1)
}

// later is an error with a hint when to try again.
func later(c bus.Code, reason string) *bus.Error {
	return bus.Errorf(c, "%s", reason).WithRetry(bus.Retry{When: bus.RetryAfter, After: RetryPause})
}

// timeLimit is how long a method may take.
func (s *Service) timeLimit(m *Method) time.Duration {
	switch {
	case m.Timeout > 0:
		return m.Timeout
	case m.uploads:
		return DefaultUploadTimeout
	case s.Timeout > 0:
		return s.Timeout
	}
	return DefaultTimeout
}

// bodyLimit is the most bytes that a call's body may have; of a nil method the
// most that any of the service's may.
func (s *Service) bodyLimit(m *Method) int64 {
	limit := s.MaxBody
	if limit == 0 {
		limit = DefaultMaxBody
	}
	if m != nil {
		if m.MaxBody > 0 {
			return m.MaxBody
		}
		return limit
	}
	for _, m := range s.order {
		limit = max(limit, m.MaxBody)
	}
	return limit
}
