package link

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"busd/bus"
	"busd/internal/bounded"
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
// waited for by [Link.Serve], as a handler of the link that carries the stream.
func (s *Stream) deliver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handleWaitingLocked(nil)
}

// handleWaitingLocked handles what waits: as the reader of a link, which must come
// back to read if another one carries the stream, or, if that is nil, as the
// deliverer. The turn is the caller's until it returns.
func (s *Stream) handleWaitingLocked(l *Link) {
	turn := 0
	if l != nil {
		turn = l.turn
	}
	defer func() {
		s.inbox.delivering = false
		if !s.inline.active {
			s.inline.ended = time.Now()
		}
		s.deliverLocked() // if the reader must go, or a handler ends this goroutine, another goes on
		s.restLocked()
	}()
	for follows := false; s.deliverableLocked(); {
		reads := l != nil && l.turn == turn
		if reads && s.link != l {
			return
		}
		in := s.inbox.next()
		if in == nil { // it was the end of a batch
			continue
		}
		atOnce := s.atOnceLocked(in)
		if atOnce > 1 {
			s.wakeCorkedLocked() // this one may wait now
		}
		if atOnce > 1 && s.beside[in.Message] >= atOnce {
			if reads {
				s.handOverLocked()
			}
			s.quiet.Wait() // until one of them returns, or nothing is to be handled
			follows = false
			continue
		}
		in.Follows = follows
		switch {
		case atOnce > 1:
			s.inbox.at++
			s.deliverBesideLocked(in)
		case reads && in.alone():
			if s.deliverRunLocked(s.runLocked()) == 0 {
				continue
			}
		default:
			s.inbox.at++
			if reads {
				s.inline.moved = true
				s.inline.steps++
			}
			s.deliverOneLocked(in)
		}
		follows = atOnce == 1 && in.alone() // an answer may have waited for room
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

// report reports them in order. [Link.Serve] waits for it.
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
	h.Failed(nil, why)
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
	defer l.ranLocked() // also if the handler ends its goroutine
	l.handleLocked(in)
}

// ranLocked takes note that a handler of what the link carried has returned. On a
// link that was left the last one is waited for, whatever else is handled.
func (l *Link) ranLocked() {
	if l.running--; l.running == 0 && l.stream.carrier != l {
		l.stream.quiet.Broadcast()
	}
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
	s.mu.Lock()
	defer func() {
		l.running--
		s.beside[in.Message]--
		s.inbox.running--
		s.restLocked()
		s.mu.Unlock()
	}()
	l.handleLocked(in)
}

// handleLocked calls the handler and settles what came of it: an answer, an error
// frame, the end of the link. It does so without the lock.
func (l *Link) handleLocked(in *Incoming) {
	s := l.stream
	if in.asks() {
		if s.requests == nil {
			s.requests = map[uint64]*Incoming{}
		}
		s.requests[in.N] = in
	}
	s.mu.Unlock()
	ctx, done := s.handlingContext(in)
	err := in.Fault
	defer func() { // also if the handler ends its goroutine
		done()
		s.mu.Lock()
		if in.asks() {
			delete(s.requests, in.N)
		}
		s.grantBackLocked(in.Size)
	}()
	defer func() { l.settle(in, err) }() // and if what reports it does
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

// handlingContext makes the context of one message: it ends with the session's
// handlers, and for a request or a call with its time or its cancel.
func (s *Stream) handlingContext(in *Incoming) (context.Context, func()) {
	if !in.asks() {
		return s.handling, func() {}
	}
	ctx, withdraw, done := in.context(s.handling)
	s.mu.Lock()
	in.withdraw = withdraw
	canceled := in.canceled
	s.mu.Unlock()
	if canceled {
		withdraw(errCanceled)
	}
	return ctx, done
}

// context makes the context of a request, of which done is to be called in the end.
func (in *Incoming) context(parent context.Context) (_ context.Context, withdraw context.CancelCauseFunc, done func()) {
	deadline := time.Time{}
	if in.Timeout > 0 {
		deadline = in.Arrived.Add(in.Timeout)
	}
	c := new(bounded.Context)
	c.Begin(parent, deadline, nil)
	return c, c.Cancel, func() { c.Cancel(nil) }
}

// errCanceled ends the context of what its sender takes back.
var errCanceled = bus.Errorf(bus.CodeCanceled, "the caller canceled the request")

// call runs the handler and makes an error of its panic, or of its ending the
// goroutine (runtime.Goexit), which it takes for itself.
func (l *Link) call(ctx context.Context, in *Incoming, err **bus.Error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		*err = panicked(recover())
	}()
	failed := l.cfg.Handler.Handle(ctx, in)
	returned = true
	if failed != nil { // AsError allocates
		*err = bus.AsError(failed)
	}
}

// panicked is the error of a handler that panicked with value, or, where that is nil,
// ended its goroutine.
func panicked(value any) *bus.Error {
	if value == nil {
		value = "runtime.Goexit was called"
	}
	return bus.Wrap(bus.CodeInternal, &PanicError{Value: value, Stack: debug.Stack()}, "the handler panicked")
}

// settleRequest answers a request: exactly once, whatever the handler did.
func (l *Link) settleRequest(in *Incoming, err *bus.Error) {
	defer l.answer(in, err) // also if what reports it ends the goroutine
	if err != nil {
		l.cfg.Handler.Failed(in, err)
	}
}

func (l *Link) answer(in *Incoming, err *bus.Error) {
	s := l.stream
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

// claimAnswer takes the one answer that request n has while it is handled.
func (s *Stream) claimAnswer(n uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claimAnswerLocked(n)
}

func (s *Stream) claimAnswerLocked(n uint64) bool {
	in := s.requests[n]
	if in == nil || in.answered {
		return false
	}
	in.answered = true
	return true
}

// unclaimAnswerLocked gives an answer back that could not be queued.
func (s *Stream) unclaimAnswerLocked(n uint64) {
	if in := s.requests[n]; in != nil {
		in.answered = false
	}
}

// settleOneWay tells the peer of a one-way message that failed, and ends the
// link unless the receiver keeps it: nobody waits for an answer, so a failure
// that is only logged would be a failure in silence.
func (l *Link) settleOneWay(in *Incoming, err *bus.Error) {
	if err == nil {
		return
	}
	defer l.complain(in, err) // also if what reports it ends the goroutine
	l.cfg.Handler.Failed(in, err)
}

func (l *Link) complain(in *Incoming, err *bus.Error) {
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
