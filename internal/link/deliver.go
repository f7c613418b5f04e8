package link

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

// A PanicError is the cause of what is reported when a handler panics.
type PanicError struct {
	Value any
	Stack []byte
}

// Error returns what the handler panicked with.
func (p *PanicError) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

// deliverLocked sees to it that a deliverer runs if there is anything to handle.
func (s *Stream) deliverLocked() {
	if !s.inbox.delivering && s.deliverableLocked() {
		s.inbox.delivering = true
		go s.deliver()
	}
}

func (s *Stream) deliverableLocked() bool { return !s.held && !s.inbox.closed && !s.inbox.empty() }

// deliver is the deliverer: it handles what waits, in order, until nothing does
// or the link has ended that carried it. It is started by who puts the first, and
// waited for by [Link.Run], as a handler of the link that carries the stream.
func (s *Stream) deliver() {
	s.mu.Lock()
	defer func() { // a handler may end this goroutine: another goes on
		s.inbox.delivering = false
		s.deliverLocked()
		s.restLocked()
		s.mu.Unlock()
	}()
	for {
		if !s.deliverableLocked() {
			return
		}
		in := s.inbox.next()
		if in == nil { // it was the end of a batch
			continue
		}
		atOnce := s.atOnceLocked(in)
		if atOnce > 1 && s.beside[in.Message] >= atOnce {
			s.quiet.Wait() // until one of them returns, or nothing is to be handled
			continue
		}
		s.inbox.at++
		if atOnce > 1 {
			s.deliverBesideLocked(in)
		} else {
			s.deliverOneLocked(in)
		}
	}
}

// reportLocked sees to it that messages of ours that failed at the peer are
// reported: beside the deliverer, whose handler may wait for the next link, and
// that comes once they are.
func (s *Stream) reportLocked() {
	if len(s.inbox.failures) > 0 && !s.inbox.reporting {
		s.inbox.reporting = true
		go s.report()
	}
}

// report reports them in order. [Link.Run] waits for it.
func (s *Stream) report() {
	s.mu.Lock()
	defer func() { // the program's function may end this goroutine: another goes on
		s.inbox.reporting = false
		s.reportLocked()
		s.restLocked()
		s.mu.Unlock()
	}()
	for len(s.inbox.failures) > 0 {
		why, h := s.inbox.failures[0], s.carrier.cfg.Handler
		s.inbox.failures = s.inbox.failures[1:]
		s.fail(h, why)
	}
}

// fail reports one, without the lock.
func (s *Stream) fail(h Handler, why *bus.Error) {
	s.mu.Unlock()
	defer s.mu.Lock() // also if the program's function ends the goroutine
	h.Failed("", why)
}

// restLocked is for when a handler has returned: who waited for that goes on.
func (s *Stream) restLocked() {
	s.quiet.Broadcast()
	if s.carrier != nil {
		s.carrier.finishIfIdleLocked()
	}
}

// atOnceLocked tells how many messages of this one's type may be handled at a
// time.
func (s *Stream) atOnceLocked(in *Incoming) int {
	if in.Message == nil || in.Fault != nil {
		return 1
	}
	return s.carrier.cfg.Handler.AtOnce(in.Message)
}

// deliverOneLocked handles one message here.
func (s *Stream) deliverOneLocked(in *Incoming) {
	l := s.carrier
	l.running++
	s.mu.Unlock()
	defer func() { // also if the handler ends its goroutine
		s.mu.Lock()
		l.running--
	}()
	l.handle(in)
}

// deliverBesideLocked handles one message beside the deliverer.
func (s *Stream) deliverBesideLocked(in *Incoming) {
	l := s.carrier
	l.running++
	if s.beside == nil {
		s.beside = map[*wire.Message]int{}
	}
	s.beside[in.Message]++
	s.inbox.running++
	s.inbox.shared = true
	go l.handleBeside(in) // waited for as the deliverer is
}

func (l *Link) handleBeside(in *Incoming) {
	s := l.stream
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		l.running--
		s.beside[in.Message]--
		s.inbox.running--
		s.restLocked()
	}()
	l.handle(in)
}

// handle calls the handler and settles what came of it: an answer, an error
// frame, the end of the link.
func (l *Link) handle(in *Incoming) {
	s := l.stream
	ctx, done := s.handlingContext(in)
	err := in.Fault
	defer func() { // also if the handler ends its goroutine
		l.settle(in, err)
		s.grantedBack(in.Size)
		done()
	}()
	if err == nil {
		l.call(ctx, in, &err)
	}
}

// settle says what came of a message to whom it concerns.
func (l *Link) settle(in *Incoming, err *bus.Error) {
	if in.asks() {
		l.settleRequest(in, err)
	} else {
		l.settleOneWay(in, err)
	}
}

// A request is one of the peer's whose handler runs: only then can it be
// answered.
type request struct {
	cancel   context.CancelCauseFunc
	answered bool
}

// handlingContext makes the context of one message: it ends with the session's
// handlers, and for a request with its time or its cancel.
func (s *Stream) handlingContext(in *Incoming) (context.Context, func()) {
	if !in.asks() {
		return s.handling, func() {}
	}
	ctx, cancel := context.WithCancelCause(s.handling)
	stop := context.CancelFunc(func() {})
	if in.Timeout > 0 {
		ctx, stop = context.WithDeadline(ctx, in.Arrived.Add(in.Timeout))
	}
	s.mu.Lock()
	if s.requests == nil {
		s.requests = map[uint64]*request{}
	}
	s.requests[in.N] = &request{cancel: cancel}
	canceled := in.canceled
	s.mu.Unlock()
	if canceled {
		cancel(bus.Errorf(bus.CodeCanceled, "the caller canceled the request"))
	}
	return ctx, func() {
		stop()
		cancel(nil)
		s.mu.Lock()
		delete(s.requests, in.N)
		s.mu.Unlock()
	}
}

// call runs the handler and makes an error of its panic, or of its ending the
// goroutine (runtime.Goexit), which it takes for itself.
func (l *Link) call(ctx context.Context, in *Incoming, err **bus.Error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		value := recover()
		if value == nil {
			value = "runtime.Goexit was called"
		}
		*err = bus.Wrap(bus.CodeInternal, &PanicError{Value: value, Stack: debug.Stack()}, "the handler panicked")
	}()
	failed := l.cfg.Handler.Handle(ctx, in)
	returned = true
	if failed != nil { // AsError allocates
		*err = bus.AsError(failed)
	}
}

// settleRequest answers a request: exactly once, whatever the handler did.
func (l *Link) settleRequest(in *Incoming, err *bus.Error) {
	s := l.stream
	if err != nil {
		l.cfg.Handler.Failed(in.Name, err)
	}
	if !s.claimAnswer(in.N) {
		return
	}
	if err == nil {
		frame, _ := wire.AppendAnswer(nil, in.N, nil, nil) // the empty answer has nothing to check
		s.putAnswer(s.handling, frame)
		return
	}
	s.putAnswer(s.handling, wire.AppendError(nil, in.N, err))
}

// claimAnswer takes the one answer that request n has.
func (s *Stream) claimAnswer(n uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.requests[n]
	if r == nil || r.answered {
		return false
	}
	r.answered = true
	return true
}

// unclaimAnswer gives an answer back that could not be queued.
func (s *Stream) unclaimAnswer(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.requests[n]; r != nil {
		r.answered = false
	}
}

// settleOneWay tells the peer of a one-way message that failed, and ends the
// link unless the receiver keeps it: nobody waits for an answer, so a failure
// that is only logged would be a failure in silence.
func (l *Link) settleOneWay(in *Incoming, err *bus.Error) {
	if err == nil {
		return
	}
	l.cfg.Handler.Failed(in.Name, err)
	s := l.stream
	if errors.Is(err, bus.ErrDropped) && s.Cause() != nil {
		return // the handler only says that this very session has ended
	}
	s.putAnswer(s.handling, wire.AppendError(nil, in.N, err))
	if err.Code == bus.CodePermissionDenied || l.cfg.Handler.Keeps(in, err) {
		return
	}
	why := *err
	why.Retry = bus.Retry{When: bus.RetryAfter}
	why.Remote = false
	if endsSession(why.Code) { // the handler passes on what ended another one: this session goes on
		why.Code = bus.CodeAborted
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link != nil { // also where another link carries it by now: the peer is to notice
		s.link.dropLocked(&why)
	}
}

// Remaining tells how much of a context's time is left; 0: no limit.
func Remaining(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return max(time.Until(deadline), time.Millisecond)
}
