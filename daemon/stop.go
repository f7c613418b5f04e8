package daemon

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"busd/bus"
	"busd/daemon/internal/admin"
)

const (
	// maxStop bounds how long somebody may ask a drain to take, as
	// shutdown.timeout is bounded.
	maxStop = time.Hour
	// finishTimeout bounds how long whoever follows a drain may take to read its
	// last line.
	finishTimeout = 3 * time.Second
)

// run serves until ctx ends, somebody asks for a drain or a listener fails, and
// stops in good order.
func (s *server) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return s.stop(nil, admin.DrainRequest{})
		case r := <-s.drain:
			return s.stop(nil, r)
		case err := <-s.failed:
			s.logs.Error("a listener failed, stopping", zap.NamedError("reason", err))
			return s.stop(err, admin.DrainRequest{})
		case <-s.options.Reload:
			s.reload()
		}
	}
}

// stop asks clients to go elsewhere, lets what they had begun be finished, and
// ends what is left when the time is over or a second signal comes.
//
// The listeners are closed first. Whoever is to take over, a newer busd or the
// service manager that starts it, then has the address, and clients that have
// only this one move there, make before break. Where nobody takes over they are
// refused at once, finish what they had begun here, and try again. If the
// listeners stayed, all of them would come back to this busd, for a handshake
// and a 503. Nor does readiness come too late by that: a proxy before several
// busd takes the next one for a connection that is refused.
func (s *server) stop(why error, r admin.DrainRequest) error {
	s.admin.SetPhase(admin.Draining)
	limit := r.Timeout(s.config.Shutdown.Timeout)
	s.logs.Info("stopping", zap.Duration("timeout", limit), zap.String("target", r.Target))
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	forced := make(chan struct{})
	stopWatching := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-s.options.Force:
			close(forced)
			cancel()
		case <-stopWatching:
		}
	})
	s.closeGates()
	// Callers go elsewhere as soon as their calls are answered: an HTTP connection
	// that waits for the next one is closed now, not when the last client has moved.
	calls := make(chan error, 1)
	go func() { calls <- s.shutdown(ctx) }() // received below
	err := s.bus.Drain(ctx, r.Target)
	if callErr := <-calls; err == nil && callErr != nil {
		err = bus.Wrap(bus.CodeDeadlineExceeded, callErr, "calls were cut off: the time was over")
	}
	close(stopWatching)
	watch.Wait()
	select {
	case <-forced:
		err = bus.Wrap(bus.CodeCanceled, context.Canceled, "stopped at once by a second signal: what clients were doing was cut off")
	default:
	}
	return errors.Join(why, err)
}

// finish ends what operators see, which stays until everything else has ended.
// Who follows the drain hears of its end when nobody listens any more, so that
// he can start the next busd.
func (s *server) finish(err error) {
	if s.adminHTTP != nil {
		_ = s.adminLine.Close() // nobody new
		s.admin.Drained(err)
		ctx, cancel := context.WithTimeout(context.Background(), finishTimeout)
		defer cancel()
		if s.adminHTTP.Shutdown(ctx) != nil {
			_ = s.adminHTTP.Close() // a scrape that is cut off comes again
		}
	}
	s.work.Wait()
}

// askDrain takes what somebody asks of a drain, which run then begins.
func (s *server) askDrain(r admin.DrainRequest) error {
	if limit := r.Timeout(time.Millisecond); limit <= 0 || limit > maxStop {
		return bus.Errorf(bus.CodeInvalidArgument, "want a time-out of up to %s, got %s", maxStop, limit)
	}
	target, err := s.targetOf(r.Target)
	if err != nil {
		return err
	}
	r.Target = target
	select {
	case s.drain <- r:
		s.logs.Info("a drain was asked for", zap.String("target", r.Target))
	default: // one has been asked for
	}
	return nil
}

// targetOf completes where clients are asked to move to. A client moves to the
// service that it is connected to, and to no other: an address without a service
// is enough where there is only one.
func (s *server) targetOf(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "wss" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", bus.Errorf(bus.CodeInvalidArgument, "target %s: want wss://host:port or wss://host:port/System/Component", text)
	}
	path := strings.TrimPrefix(u.Path, "/")
	if path == "" && len(s.services) == 1 {
		path = s.services[0].Name()
	}
	for _, svc := range s.services {
		if path == svc.Name() || slices.Contains(svc.Aliases, path) {
			u.Path = "/" + path
			return u.String(), nil
		}
	}
	return "", bus.Errorf(bus.CodeInvalidArgument, "target %s: want the address of one of these services: %s; clients of the others go where they like",
		text, strings.Join(namesOf(s.services), ", "))
}
