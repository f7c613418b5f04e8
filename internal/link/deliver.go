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

// deliverLocked sees to it that a deliverer runs.
func (l *Link) deliverLocked() {
	if l.inbox.delivering || l.inbox.closed {
		return
	}
	l.inbox.delivering = true
	l.work.Add(1)
	go l.deliver()
}

// deliver is the deliverer: it handles what waits, in order, until nothing
// does.
func (l *Link) deliver() {
	defer l.work.Done()
	for {
		l.mu.Lock()
		if l.inbox.waiting == nil {
			l.inbox.delivering = false
			l.finishIfIdleLocked()
			l.mu.Unlock()
			return
		}
		b := l.inbox.take()
		l.mu.Unlock()

		shared := false
		for i := range b.frames {
			in := &b.frames[i]
			in.Body = b.bytes[in.from:in.to:in.to]
			shared = l.deliverOne(in) || shared
		}
		l.mu.Lock()
		l.inbox.giveBack(b, shared)
		l.mu.Unlock()
	}
}

// deliverOne handles one message here, or beside the deliverer if its type may
// be handled several at a time; then it returns true.
func (l *Link) deliverOne(in *Incoming) (beside bool) {
	l.mu.Lock()
	closed := l.inbox.closed
	l.mu.Unlock()
	if closed {
		return false
	}
	atOnce := 1
	if in.Message != nil && in.Fault == nil && in.Kind != wire.Error {
		atOnce = l.cfg.Handler.AtOnce(in.Message)
	}
	if atOnce <= 1 {
		l.handle(in)
		return false
	}
	slot := l.lanes.of(in.Message, atOnce)
	select {
	case slot <- struct{}{}:
	case <-l.handling.Done():
		return false
	}
	l.mu.Lock()
	l.inbox.running++
	l.mu.Unlock()
	l.work.Go(func() {
		defer func() {
			<-slot
			l.mu.Lock()
			l.inbox.running--
			l.finishIfIdleLocked()
			l.mu.Unlock()
		}()
		l.handle(in)
	})
	return true
}

// lanes bound how many messages of a type are handled at a time.
type lanes struct {
	slots map[*wire.Message]chan struct{}
}

func (s *lanes) of(m *wire.Message, n int) chan struct{} {
	slot, ok := s.slots[m]
	if !ok {
		if s.slots == nil {
			s.slots = map[*wire.Message]chan struct{}{}
		}
		slot = make(chan struct{}, n)
		s.slots[m] = slot
	}
	return slot
}

// handle calls the handler and settles what came of it: an answer, an error
// frame, the end of the link.
func (l *Link) handle(in *Incoming) {
	if in.Kind == wire.Error {
		l.mu.Lock()
		l.inbox.errors--
		l.mu.Unlock()
		l.cfg.Handler.Failed("", in.Fault)
		return
	}
	ctx, done := l.handlingContext(in)
	defer done()
	err := in.Fault
	if err == nil {
		if failed := l.call(ctx, in); failed != nil { // AsError allocates
			err = bus.AsError(failed)
		}
	}
	l.settle(in, err)
	l.grantedBack(in.Size)
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

// handlingContext makes the context of one message: it ends with the link's
// handlers, and for a request with its time or its cancel.
func (l *Link) handlingContext(in *Incoming) (context.Context, func()) {
	if !in.asks() {
		return l.handling, func() {}
	}
	ctx, cancel := context.WithCancelCause(l.handling)
	stop := context.CancelFunc(func() {})
	if in.Timeout > 0 {
		ctx, stop = context.WithDeadline(ctx, in.Arrived.Add(in.Timeout))
	}
	l.mu.Lock()
	if l.requests == nil {
		l.requests = map[uint64]*request{}
	}
	l.requests[in.N] = &request{cancel: cancel}
	canceled := in.canceled
	l.mu.Unlock()
	if canceled {
		cancel(bus.Errorf(bus.CodeCanceled, "the caller canceled the request"))
	}
	return ctx, func() {
		stop()
		cancel(nil)
		l.mu.Lock()
		delete(l.requests, in.N)
		l.mu.Unlock()
	}
}

// call runs the handler and makes an error of its panic. A handler that ends
// its goroutine (runtime.Goexit) takes the deliverer with it, and with that the
// link.
func (l *Link) call(ctx context.Context, in *Incoming) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		value := recover()
		exited := value == nil
		if exited {
			value = "runtime.Goexit was called"
		}
		err = bus.Wrap(bus.CodeInternal, &PanicError{Value: value, Stack: debug.Stack()}, "the handler panicked")
		if exited {
			l.delivererEnded(in, bus.AsError(err))
		}
	}()
	err = l.cfg.Handler.Handle(ctx, in)
	returned = true
	return err
}

// delivererEnded ends the link when a handler has ended the deliverer.
func (l *Link) delivererEnded(in *Incoming, err *bus.Error) {
	l.settle(in, err)
	l.Drop(err)
	l.mu.Lock()
	l.inbox.delivering = false
	l.inbox.clear()
	l.mu.Unlock()
}

// settleRequest answers a request: exactly once, whatever the handler did.
func (l *Link) settleRequest(in *Incoming, err *bus.Error) {
	if err != nil {
		l.cfg.Handler.Failed(in.Name, err)
	}
	if !l.claimAnswer(in.N) {
		return
	}
	if err == nil {
		frame, _ := wire.AppendAnswer(nil, in.N, nil, nil) // the empty answer has nothing to check
		l.putAnswer(l.handling, frame)
		return
	}
	l.putAnswer(l.handling, wire.AppendError(nil, in.N, err))
}

// claimAnswer takes the one answer that request n has.
func (l *Link) claimAnswer(n uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.requests[n]
	if r == nil || r.answered {
		return false
	}
	r.answered = true
	return true
}

// unclaimAnswer gives an answer back that could not be queued.
func (l *Link) unclaimAnswer(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.requests[n]; r != nil {
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
	if errors.Is(err, bus.ErrDropped) && l.Cause() != nil {
		return // the handler only says that this very link has ended
	}
	l.putAnswer(l.handling, wire.AppendError(nil, in.N, err))
	if err.Code == bus.CodePermissionDenied || l.cfg.Handler.Keeps(in, err) {
		return
	}
	why := *err
	why.Retry = bus.Retry{When: bus.RetryAfter}
	why.Remote = false
	l.Drop(&why)
}

// Remaining tells how much of a context's time is left; 0: no limit.
func Remaining(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return max(time.Until(deadline), time.Millisecond)
}
