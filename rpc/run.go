package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"busd/bus"
	"busd/internal/keys"
)

// A run is one execution of a method.
type run struct {
	// Fixed before it executes.
	service *Service
	method  *Method
	request *Request
	ctx     context.Context
	cancel  context.CancelFunc // nil: of what is quick
	args    []reflect.Value

	over  chan struct{} // closed once the method has returned, unless it was left behind; nil: of what is quick
	state atomic.Int32  // one of the three below

	// Written by execute; read once over is closed.
	result any
	err    error

	stream io.Reader // that is being answered with; nil: none
}

// The states of a run.
const (
	running int32 = iota
	returned
	leftBehind
)

// errTooSlow is the cause of the context's end when a method's time is over.
var errTooSlow = errors.New("the method's time is over")

// errPanicked stands for a panic where its value, which the log has, is not told.
var errPanicked = errors.New("it panicked")

// limit bounds the time of the context that the method gets. That of a download
// lives until the download has ended, so the time is only until the method has
// returned.
func (r *run) limit(most time.Duration) {
	if !r.method.streams {
		r.ctx, r.cancel = context.WithTimeoutCause(r.ctx, most, errTooSlow)
		return
	}
	limited, cancel := context.WithCancelCause(r.ctx)
	timer := time.AfterFunc(most, func() {
		if r.state.Load() != returned {
			cancel(errTooSlow)
		}
	})
	r.ctx, r.cancel = limited, func() {
		timer.Stop()
		cancel(nil)
	}
}

// execute calls the method, and makes an error of its panic, or of its ending the
// goroutine (runtime.Goexit).
func (r *run) execute() {
	returned := false
	defer func() {
		if !returned {
			value := recover()
			if value == nil {
				value = "runtime.Goexit was called"
			}
			r.crash(value)
		}
		r.finish()
	}()
	if before := r.service.Before; before != nil {
		r.err = r.told(before(r.ctx, r.request))
	}
	if r.err == nil {
		var err error
		r.result, err = r.method.sig.call(r.ctx, r.args)
		r.err = r.told(err) // here, since an error's methods may panic too
	}
	returned = true
}

// told is what the caller hears of the method's error. A nil pointer in an error
// says nothing, and is none.
func (r *run) told(err error) error {
	if v := reflect.ValueOf(err); err == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil
	}
	if isEnd(err) && r.ctx.Err() != nil {
		return &refusal{r.gaveUp()}
	}
	return answerOf(err, r.request.ID)
}

// isEnd tells whether an error is a context's: the method has noticed that it
// should stop.
func isEnd(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

func (r *run) crash(value any) {
	r.service.bound().cfg.Logger.Error("method panicked", keys.Service(r.service.name), zap.String("method", r.method.name),
		zap.String("request", r.request.ID), zap.String("reason", fmt.Sprint(value)), keys.Stack(debug.Stack()))
	r.result, r.err = nil, r.service.crashed(r.request, errPanicked)
}

// finish hands over what came of it, or, where nobody waits any more, throws it
// away.
func (r *run) finish() {
	if r.over == nil {
		return
	}
	if r.state.CompareAndSwap(running, returned) {
		close(r.over)
		return
	}
	closeStream(streamIn(r.result))
	r.method.stats.leftBehind.Add(-1)
	r.end()
}

// wait returns when the method has, or, leaving it behind, when its context has
// ended.
func (r *run) wait() *bus.Error {
	select {
	case <-r.over:
		return nil
	case <-r.ctx.Done():
	}
	r.method.stats.leftBehind.Add(1)
	if !r.state.CompareAndSwap(running, leftBehind) { // it was faster
		r.method.stats.leftBehind.Add(-1)
		<-r.over
		return nil
	}
	return r.gaveUp()
}

// gaveUp says why the context has ended.
func (r *run) gaveUp() *bus.Error {
	switch {
	case errors.Is(context.Cause(r.ctx), errTooSlow):
		return bus.Errorf(bus.CodeDeadlineExceeded, "%s took longer than the %s that it has", r.method.name, r.service.timeLimit(r.method))
	case errors.Is(r.ctx.Err(), context.DeadlineExceeded):
		return bus.Errorf(bus.CodeDeadlineExceeded, "%s took longer than its caller gave it", r.method.name)
	}
	return bus.Errorf(bus.CodeCanceled, "the caller no longer waits for %s", r.method.name)
}

// end ends the context and gives the place back. It is called once.
func (r *run) end() {
	if r.over == nil { // it was quick, and has neither
		return
	}
	r.cancel()
	r.service.leave(r.method)
}

// call calls the function.
func (g *signature) call(ctx context.Context, args []reflect.Value) (any, error) {
	if g.takesContext {
		args = append([]reflect.Value{reflect.ValueOf(ctx)}, args...)
	}
	var outs []reflect.Value
	if g.variadic {
		outs = g.fn.CallSlice(args)
	} else {
		outs = g.fn.Call(args)
	}
	var result any
	var err error
	if g.errs {
		err, _ = outs[len(outs)-1].Interface().(error) // nil is none
	}
	if g.gives != nil && !(g.streams && outs[0].IsZero()) { // a download that is nil is none
		result = outs[0].Interface()
	}
	return result, err
}

// streamIn returns the stream that a result is; nil: it is a value.
func streamIn(result any) io.Reader {
	switch r := result.(type) {
	case *Stream:
		if r == nil {
			return nil
		}
		return r.Reader
	case io.Reader:
		return r
	}
	return nil
}

func closeStream(stream io.Reader) {
	if c, ok := stream.(io.Closer); ok {
		_ = c.Close() // it was only read
	}
}
