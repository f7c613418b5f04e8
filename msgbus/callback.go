package msgbus

import (
	"context"
	"fmt"
	"runtime/debug"

	"go.uber.org/zap"

	"busd/bus"
	"busd/internal/keys"
)

// An outcome is what came of a callback.
type outcome struct{ err error }

// protect runs a callback of the service, beside its caller, and makes an error
// of its panic, or of its ending the goroutine (runtime.Goexit), which it takes
// for itself. What came of it is sent once.
func (s *Server) protect(svc *Service, name string, call func() error) <-chan outcome {
	done := make(chan outcome, 1)
	go func() { // ends with the callback
		returned, err := false, error(bus.Errorf(bus.CodeInternal, "the service failed"))
		defer func() {
			if value := recover(); !returned {
				if value == nil {
					value = "runtime.Goexit was called"
				}
				s.log.Error(name+" panicked", keys.Service(svc.Name()), keys.Stack(debug.Stack()),
					zap.String("reason", fmt.Sprint(value)))
			}
			done <- outcome{err}
		}()
		failed := call()
		returned, err = true, failed
	}()
	return done
}

// onDrop runs the service's callback for a connection that has ended.
func (s *Server) onDrop(c *Conn, why error) {
	if c.service.OnDrop == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), dropTimeout)
	defer cancel()
	<-s.protect(c.service, "OnDrop", func() error { // what went wrong is logged, and nobody else is to be told
		c.service.OnDrop(ctx, c, why)
		return nil
	})
}

// onGone runs a service's callback for a session that has ended.
func (s *Server) onGone(gone *agentSession) {
	if gone.service.OnGone == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), dropTimeout)
	defer cancel()
	<-s.protect(gone.service, "OnGone", func() error { // what went wrong is logged, and nobody else is to be told
		gone.service.OnGone(ctx, gone.identity, gone.stream.Cause())
		return nil
	})
}
