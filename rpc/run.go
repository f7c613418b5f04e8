package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"

	"busd/bus"
	"busd/internal/bounded"
	"busd/internal/keys"
)

// A run is one execution of a method.
type run struct {
	// Fixed before it executes.
	service *Service
	method  *Method
	request *Request
	ctx     context.Context
	own     runContext         // is ctx, or what that was made of
	cancel  context.CancelFunc // of a download; nil: own is ctx
	args    []reflect.Value

	timed bool // it has a place and a time: it is not quick
	// left is told what the caller hears when the method is left behind, or has ended
	// the goroutine that called it; nil: it has a goroutine of its own.
	left func(error)
	// tether is to the caller's credential; nil: there is none.
	tether *tether

	mu sync.Mutex
	// Guarded by mu.
	state int8          // one of the three below
	over  chan struct{} // closed once the method has returned, unless it was left behind; nil: nobody waits for that yet

	// Written by execute; read once the method has returned.
	result any
	err    error

	stream io.Reader // that is being answered with; nil: none
}

// The states of a run.
const (
	running int8 = iota
	returned
	leftBehind
)

// errTooSlow is the cause of the context's end when a method's time is over.
var errTooSlow = errors.New("the method's time is over")

// errPanicked stands for a panic where its value, which the log has, is not told.
var errPanicked = errors.New("it panicked")

// A runContext is a method's context: it has the request.
type runContext struct {
	bounded.Context

	request *Request
}

// Value returns the request, or what the context has.
func (c *runContext) Value(key any) any {
	if _, ok := key.(requestKey); ok {
		return c.request
	}
	return c.Context.Value(key)
}

// begin makes the context that the method gets, which of one that is not quick ends
// with its time. That of a download lives until the download has ended, so the time is
// only until the method has returned.
func (r *run) begin(ctx context.Context) {
	r.own.request, r.ctx = r.request, &r.own
	if !r.timed {
		r.own.Begin(ctx, time.Time{}, nil)
		return
	}
	most := r.service.timeLimit(r.method)
	if !r.method.streams {
		r.own.Begin(ctx, time.Now().Add(most), errTooSlow)
		return
	}
	r.own.Begin(ctx, time.Time{}, nil)
	limited, cancel := context.WithCancelCause(r.ctx)
	timer := time.AfterFunc(most, func() {
		if !r.hasReturned() {
			cancel(errTooSlow)
		}
	})
	r.ctx, r.cancel = limited, func() {
		timer.Stop()
		cancel(nil)
	}
}

func (r *run) hasReturned() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state == returned
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
	r.mu.Lock()
	isLeft := r.state == leftBehind
	if !isLeft {
		r.state = returned
	}
	over := r.over
	r.mu.Unlock()
	switch {
	case isLeft:
		closeStream(streamIn(r.result))
		r.method.stats.leftBehind.Add(-1)
		r.end()
	case over != nil:
		close(over)
	}
}

// waits makes it tell when the method returns; false: it has.
func (r *run) waits() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == returned {
		return false
	}
	r.over = make(chan struct{})
	return true
}

// leave leaves the method behind; false: it has returned.
func (r *run) leave() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leaveLocked()
}

func (r *run) leaveLocked() bool {
	if r.state != running {
		return false
	}
	r.state = leftBehind
	r.method.stats.leftBehind.Add(1)
	return true
}

// beside executes the method in a goroutine of its own, and returns when it has
// returned, or, leaving it behind, when its context has ended.
func (r *run) beside(ctx context.Context) *bus.Error {
	go r.execute() // ends with the method
	// Measured: most methods that wait for nothing return meanwhile, and then there is
	// nothing to wait for, which is a timer, two channels and a choice of three.
	runtime.Gosched()
	if !r.waits() {
		return nil
	}
	late, ended := (<-chan time.Time)(nil), ctx.Done()
	if r.cancel != nil { // its time is its context's
		ended = r.ctx.Done()
	} else {
		timer := time.NewTimer(time.Until(r.own.Limit()))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-r.over:
		return nil
	case <-late:
	case <-ended:
	case <-r.tether.breaks():
	}
	if !r.leave() { // it was faster
		<-r.over
		return nil
	}
	return r.gaveUp()
}

// here executes the method in this goroutine, and tells whether it has returned. Where
// it does not before its context has ended, left is told what is answered meanwhile.
func (r *run) here(ctx context.Context) bool {
	until, stop := bounded.Watch(ctx, r.giveUp)
	if limit := r.own.Limit(); until.IsZero() || limit.Before(until) {
		until = limit
	}
	timer := time.AfterFunc(time.Until(until), r.giveUp)
	isBack := false
	defer func() {
		timer.Stop()
		stop()
		if !isBack && r.hasReturned() { // the goroutine ends with it
			r.left(r.err)
			r.end()
		}
	}()
	r.execute()
	isBack = true
	return r.hasReturned()
}

// giveUp is for when the time of a method is over that was executed here, or its caller
// has gone. The method's goroutine waits for it: once that goes on, left has returned.
func (r *run) giveUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leaveLocked() {
		r.left(&refusal{r.gaveUp()})
	}
}

// gaveUp says why the context has ended.
func (r *run) gaveUp() *bus.Error {
	if why := r.tether.reason(); why != nil {
		return why
	}
	err, cause := r.own.Ended()
	if err == nil { // what was made of it has, for a download
		err, cause = r.ctx.Err(), context.Cause(r.ctx)
	}
	switch {
	case errors.Is(cause, errTooSlow):
		return bus.Errorf(bus.CodeDeadlineExceeded, "%s took longer than the %s that it has", r.method.name, r.service.timeLimit(r.method))
	case errors.Is(err, context.DeadlineExceeded):
		return bus.Errorf(bus.CodeDeadlineExceeded, "%s took longer than its caller gave it", r.method.name)
	}
	return bus.Errorf(bus.CodeCanceled, "the caller no longer waits for %s", r.method.name)
}

// end ends the context and gives the place back. It is called once.
func (r *run) end() {
	r.own.Cancel(nil)
	if r.cancel != nil {
		r.cancel()
	}
	if r.timed {
		r.service.leave(r.method)
	}
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
