package rpc

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strconv"

	"busd/bus"
	"busd/rpc/jencode"
)

// A call is one on its way to its method, whatever carried it. Who made it sets
// all but done.
type call struct {
	method  *Method
	request *Request
	dialect jencode.Dialect
	// args is a list of arguments, or an object of named ones; nil: none. Nothing
	// of it is kept once do has returned.
	args []byte
	// named is an object of named arguments, beside a list in args; nil: none.
	named []byte
	// upload is what a method that takes a stream reads; nil: its bytes are the
	// last of args. A method that is left behind may read from it after do has
	// returned: whoever made the call sees to it that this fails.
	upload io.Reader
	// left lets the method be executed in the goroutine that calls do, and is called
	// where that cannot answer: by another one, when the method does not return in
	// time, or as the method ends this one. nil: the method has a goroutine of its own.
	left func(error)
	// tether is told of the method's context; nil: nothing ends that but its time and
	// its caller.
	tether *tether

	// run is set by do once the method has returned; nil: there is nothing to end.
	run *run
}

// done must be called once the call has been answered: until then it counts as
// running, and its context lives. It closes a download that is an io.Closer. It may
// be called again, and for a call that was not executed.
func (c *call) done() {
	r := c.run
	if r == nil {
		return
	}
	c.run = nil
	defer r.end()
	closeStream(r.stream)
}

// A refusal is the error of a call that was not executed, or crashed, or took too
// long: HTTP answers it with a status, not with S_ERROR.
type refusal struct{ Err *bus.Error }

func (r *refusal) Error() string { return r.Err.Error() }

func (r *refusal) Unwrap() error { return r.Err }

// do runs a call. Its error is a *refusal, or an *Error: the method's own answer; or
// errLeft. Whoever calls it calls c.done and s.answered afterwards, but not after
// errLeft.
func (s *Service) do(ctx context.Context, c *call) (any, error) {
	m := c.method
	// What never waits needs neither a place, nor a time limit, nor a goroutine of
	// its own.
	quick := m.quick && s.Before == nil && s.isReady()
	r := &run{service: s, method: m, request: c.request, left: c.left, tether: c.tether, timed: !quick}
	if r.timed {
		if err := s.enter(m); err != nil {
			return nil, &refusal{err}
		}
	}
	r.begin(ctx)
	r.tether.runs(&r.own.Context)
	if err := s.ready(r.ctx); err != nil {
		r.end()
		return nil, &refusal{err}
	}
	var err *bus.Error
	if r.args, err = m.arguments(c); err != nil {
		r.end()
		return nil, &refusal{err}
	}
	switch {
	case quick:
		r.execute()
	case r.ctx.Err() != nil:
		r.end()
		return nil, &refusal{r.gaveUp()}
	case r.left != nil:
		if !r.here(ctx) {
			return nil, errLeft
		}
	default:
		if err := r.beside(ctx); err != nil {
			return nil, &refusal{err}
		}
	}
	return r.answer(c)
}

// errLeft is of a method that was left behind, and whose caller has been answered.
var errLeft = errors.New("it was left behind")

// answer is what the caller of a method hears that has returned.
func (r *run) answer(c *call) (any, error) {
	c.run = r
	result := r.result
	r.result = nil // whoever answers with it knows best how long it is needed
	if r.err != nil {
		closeStream(streamIn(result))
		return nil, r.err
	}
	r.stream = streamIn(result)
	return result, nil
}

// crashed is the refusal of a call that failed in a way that no caller is to hear
// of: the log has why.
func (s *Service) crashed(r *Request, why error) *refusal {
	return &refusal{bus.Wrap(bus.CodeInternal, why, "the service failed (request "+r.ID+")")}
}

// newRequestID makes the ID of a request: 16 hexadecimal digits. It is no secret.
func newRequestID() string {
	const top = 1 << 63                              // so that there are as many digits each time
	return strconv.FormatUint(rand.Uint64()|top, 16) //nolint:gosec // it need not be hard to guess
}
