package link

import (
	"context"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

// counting handles every message by adding one, once gate is open.
func counting(n *atomic.Int64, gate <-chan struct{}) *handlers {
	return &handlers{handle: func(ctx context.Context, _ *end, _ *Incoming) error {
		select {
		case <-gate:
		case <-ctx.Done():
		}
		n.Add(1)
		return nil
	}}
}

func TestDropHere(t *testing.T) {
	t.Parallel()
	var handled atomic.Int64
	begun := make(chan struct{}, 10)
	hb := &handlers{handle: func(ctx context.Context, _ *end, _ *Incoming) error {
		begun <- struct{}{}
		<-ctx.Done()
		handled.Add(1)
		return nil
	}}
	a, b := pair(t, nil, hb, options{})
	for i := range int64(10) {
		if err := a.Send(t.Context(), dataFrame(i, "")); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	receive(t, begun, "the first handler")
	b.Drop(bus.Errorf(bus.CodeAborted, "first"))
	b.Drop(bus.Errorf(bus.CodeInternal, "second"))
	b.link.Finish(bus.Errorf(bus.CodeInternal, "third"))
	for name, e := range map[string]*end{"who dropped": b, "who was dropped": a} {
		err := e.wait(t)
		wantDropped(t, name, err, bus.CodeAborted)
		if !strings.Contains(err.Error(), "first") || e.Cause() != err || context.Cause(e.Context()) != err { //nolint:errorlint // the very same
			t.Errorf("%s: got %v, Cause %v", name, err, e.Cause())
		}
	}
	if n := handled.Load(); n != 1 {
		t.Errorf("%d messages were handled, want the running one alone: a drop throws the rest away", n)
	}
	wantDropped(t, "Send after the end", b.Send(t.Context(), dataFrame(1, "")), bus.CodeAborted)
	_, err := b.Request(t.Context(), requestFrame(1, ""))
	wantDropped(t, "Request after the end", err, bus.CodeAborted)
	wantDropped(t, "Flush after the end", b.Flush(t.Context()), bus.CodeAborted)
}

// The peer's drop lets what had arrived be handled, for a while.
func TestDropThere(t *testing.T) {
	t.Parallel()
	for _, opens := range []bool{true, false} {
		synctestWithoutParallel(t, func(t *testing.T) {
			var handled atomic.Int64
			gate := make(chan struct{})
			a, b := pair(t, nil, counting(&handled, gate), options{})
			for i := range int64(10) {
				if err := a.Send(t.Context(), dataFrame(i, "")); err != nil {
					t.Fatal(err)
				}
			}
			if err := a.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			a.Drop(bus.Errorf(bus.CodeGoingAway, "bye"))
			synctest.Wait()
			wantDropped(t, "the dropped end, while a handler runs", b.Cause(), bus.CodeGoingAway)
			if opens {
				close(gate)
			}
			wantDropped(t, "the dropped end", b.wait(t), bus.CodeGoingAway)
			took := time.Since(begin)
			if n := handled.Load(); opens && (n != 10 || took > time.Second) {
				t.Errorf("%d messages were handled in %s, want all 10 that had arrived, at once", n, took)
			}
			if n := handled.Load(); !opens && (n != 1 || took != FinishLimit) {
				t.Errorf("%d messages were handled and Run took %s, want the running one, whose context ends after %s", n, took, FinishLimit)
			}
		})
	}
}

func TestFinish(t *testing.T) {
	t.Parallel()
	var handled atomic.Int64
	gate := make(chan struct{})
	a, b := pair(t, nil, counting(&handled, gate), options{})
	for i := range int64(10) {
		if err := a.Send(t.Context(), dataFrame(i, "")); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.link.Finish(bus.Errorf(bus.CodeGoingAway, "closing"))
	if err := a.Send(t.Context(), dataFrame(11, "")); err != nil {
		t.Fatal(err)
	}
	if b.Cause() != nil {
		t.Fatal("Finish ended the link before its handlers have")
	}
	close(gate)
	wantDropped(t, "who finished", b.wait(t), bus.CodeGoingAway)
	wantDropped(t, "the other end", a.wait(t), bus.CodeGoingAway)
	if n := handled.Load(); n != 10 {
		t.Errorf("%d messages were handled, want the 10 that had arrived", n)
	}
}

func TestFinishWhenIdle(t *testing.T) {
	t.Parallel()
	a, b := pair(t, nil, nil, options{})
	b.link.Finish(bus.Errorf(bus.CodeGoingAway, "closing"))
	wantDropped(t, "who finished", b.wait(t), bus.CodeGoingAway)
	wantDropped(t, "the other end", a.wait(t), bus.CodeGoingAway)
}

// A handler that waits for an answer gets it while its link finishes.
func TestFinishWhileAHandlerAsks(t *testing.T) {
	t.Parallel()
	asking := make(chan struct{})
	answer := make(chan struct{})
	hb := &handlers{handle: func(ctx context.Context, e *end, _ *Incoming) error {
		close(asking)
		_, err := e.Request(ctx, requestFrame(1, ""))
		return err
	}}
	ha := &handlers{handle: func(context.Context, *end, *Incoming) error { <-answer; return nil }}
	a, b := pair(t, ha, hb, options{})
	done := make(chan error, 1)
	go func() {
		_, err := a.Request(t.Context(), requestFrame(0, ""))
		done <- err
	}()
	receive(t, asking, "the handler")
	b.link.Finish(bus.Errorf(bus.CodeGoingAway, "closing"))
	close(answer)
	if err := receive(t, done, "the request"); err != nil {
		t.Errorf("the request whose handler asked back: %v", err)
	}
	wantDropped(t, "who finished", b.wait(t), bus.CodeGoingAway)
}

func TestFinishThenDrop(t *testing.T) {
	t.Parallel()
	var handled atomic.Int64
	a, b := pair(t, nil, counting(&handled, nil), options{})
	if err := a.SendAcked(t.Context(), ackedFrame(1)); err != nil {
		t.Fatal(err)
	}
	b.link.Finish(bus.Errorf(bus.CodeGoingAway, "closing"))
	b.Drop(bus.Errorf(bus.CodeAborted, "it takes too long"))
	wantDropped(t, "who finished", b.wait(t), bus.CodeAborted)
	wantDropped(t, "the other end", a.wait(t), bus.CodeAborted)
}

// Drop before Open: the link carries nothing any more, and who made the socket
// says goodbye on it.
func TestDropBeforeOpen(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		pa, pb := Pipe(t, 16)
		a := newEnd(pa, nil, options{}.orDefaults())
		if err := a.Send(t.Context(), dataFrame(7, "")); err != nil {
			t.Fatal(err)
		}
		a.Drop(bus.Errorf(bus.CodeSuperseded, "again"))
		time.Sleep(time.Hour)
		if n := pa.aborts.Load(); n != 0 {
			t.Errorf("its socket was torn down %d times: it belongs to who made it", n)
		}
		wantDropped(t, "Cause", a.Cause(), bus.CodeSuperseded)
		wantDropped(t, "the session that it was to carry first", a.Stream.Cause(), bus.CodeSuperseded)
		why := a.link.Open(Start{First: func(uint64) []byte { t.Error("a welcome is made"); return nil }})
		wantDropped(t, "Open", why, bus.CodeSuperseded)
		peer := &raw{pipe: pb, t: t}
		pb.Handle(func(string) {}, func(string) {})
		go Refuse(pa, why)
		wantCode(t, "the drop", peer.hearDrop(), bus.CodeSuperseded)
		if n := pa.messages.Load(); n != 1 {
			t.Errorf("%d messages were written, want the drop alone", n)
		}
		if err := peer.Close(bus.CloseNormal, ""); err != nil {
			t.Fatal(err)
		}
	})
}

// Drop before Run: the peer is told, and what was put before goes first.
func TestDropBeforeRun(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		pa, pb := Pipe(t, 16)
		a := newEnd(pa, nil, options{}.orDefaults())
		if err := a.Send(t.Context(), dataFrame(7, "")); err != nil {
			t.Fatal(err)
		}
		welcome := func(seen uint64) []byte { return wire.AppendWelcome(nil, &wire.WelcomeFrame{Seen: int64(seen)}) }
		if err := a.link.Open(Start{First: welcome}); err != nil {
			t.Fatal(err)
		}
		a.Drop(bus.Errorf(bus.CodeSuperseded, "again"))
		a.read()
		peer := &raw{pipe: pb, t: t}
		pb.Handle(func(string) {}, func(string) {})
		peer.hear(wire.Welcome)
		if f := peer.hear(wire.Data); f.N != 1 {
			t.Errorf("data: got number %d, want 1", f.N)
		}
		wantCode(t, "the drop", peer.hearDrop(), bus.CodeSuperseded)
		if err := peer.Close(bus.CloseNormal, ""); err != nil {
			t.Fatal(err)
		}
		wantDropped(t, "Run", a.wait(t), bus.CodeSuperseded)
	})
}

// The end of a link is bounded, also of one that was dropped before Run.
func TestDropBeforeRunOfAPeerThatTakesNothing(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		pa, _ := Pipe(t, 0)
		a := newEnd(pa, nil, options{}.orDefaults())
		if err := a.link.Open(Start{}); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		a.Drop(bus.Errorf(bus.CodeSuperseded, "again"))
		a.read()
		wantDropped(t, "Run", a.wait(t), bus.CodeSuperseded)
		if took := time.Since(begin); took != closeLimit {
			t.Errorf("the end took %s, want %s", took, closeLimit)
		}
	})
}

// Drop and Open at the same time: whatever comes first, the other end is told
// and nothing hangs.
func TestDropRacesOpen(t *testing.T) {
	t.Parallel()
	for range 300 {
		pa, pb := Pipe(t, 4)
		a, b := newEnd(pa, nil, options{}.orDefaults()), newEnd(pb, nil, options{}.orDefaults())
		b.run()
		go a.Drop(bus.Errorf(bus.CodeAborted, "now"))
		go func() { _ = a.Send(context.Background(), dataFrame(1, "")) }() // it may come too late
		if why := a.link.Open(Start{}); why != nil {
			wantDropped(t, "Open", why, bus.CodeAborted)
			Refuse(pa, why)
		} else {
			a.read()
			wantDropped(t, "who dropped", a.wait(t), bus.CodeAborted)
		}
		wantDropped(t, "who was dropped", b.wait(t), bus.CodeAborted)
	}
}

// What is queued and has credit goes before the drop.
func TestDropAfterWhatIsQueued(t *testing.T) {
	t.Parallel()
	var handled atomic.Int64
	gate := make(chan struct{})
	close(gate)
	a, b := pair(t, nil, counting(&handled, gate), options{})
	const n = 3000
	for i := range int64(n) {
		if err := a.Send(t.Context(), dataFrame(i, strings.Repeat("x", 50))); err != nil {
			t.Fatal(err)
		}
	}
	a.Drop(bus.Errorf(bus.CodeGoingAway, "bye"))
	_ = a.wait(t)
	_ = b.wait(t)
	if got := handled.Load(); got != n {
		t.Errorf("%d messages were handled, want %d", got, n)
	}
}

// A peer that takes nothing does not hold the end up.
func TestDropOfAPeerThatTakesNothing(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		pa, _ := Pipe(t, 1)
		a := newEnd(pa, nil, options{}.orDefaults())
		a.run()
		for i := range int64(1000) {
			if err := a.Send(t.Context(), dataFrame(i, strings.Repeat("x", 500))); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		begin := time.Now()
		a.Drop(bus.Errorf(bus.CodeAborted, "enough"))
		wantDropped(t, "Run", a.wait(t), bus.CodeAborted)
		if took := time.Since(begin); took != closeLimit {
			t.Errorf("the end took %s, want %s", took, closeLimit)
		}
	})
}

func TestWriteError(t *testing.T) {
	t.Parallel()
	for _, ping := range []bool{false, true} {
		a, b := pair(t, nil, nil, options{})
		var broken error = bus.Errorf(bus.CodeUnavailable, "the line broke")
		a.pipe.writeError.Store(&broken)
		if ping {
			a.link.Probe(time.Minute)
		} else if err := a.Send(t.Context(), dataFrame(1, "")); err != nil {
			t.Fatal(err)
		}
		wantDropped(t, "who writes", a.wait(t), bus.CodeUnavailable)
		wantDropped(t, "the other end", b.wait(t), bus.CodeUnavailable)
	}
}

func TestLineBreaks(t *testing.T) {
	t.Parallel()
	var handled atomic.Int64
	hb := counting(&handled, nil)
	a, b := pair(t, nil, hb, options{})
	errs := make(chan error, 1)
	go func() {
		_, err := a.Request(context.Background(), requestFrame(1, ""))
		errs <- err
	}()
	for b.idle() {
		runtime.Gosched()
	}
	a.pipe.Abort()
	wantDropped(t, "one end", a.wait(t), bus.CodeUnavailable)
	wantDropped(t, "the other end", b.wait(t), bus.CodeUnavailable)
	wantDropped(t, "the request", receive(t, errs, "the request"), bus.CodeSessionLost)
}

func (e *end) idle() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.inbox.idle()
}

// An idle link is one goroutine, and holds no buffers.
func TestIdleLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		var handled atomic.Int64
		a, b := pair(t, nil, counting(&handled, gate), options{room: 64})
		done := make(chan error, 1000)
		for i := range int64(cap(done)) {
			go func() {
				_, err := a.Request(t.Context(), requestFrame(i, strings.Repeat("x", 500)))
				done <- err
			}()
		}
		synctest.Wait() // all of them wait
		close(gate)
		for range cap(done) {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * ackDelay)
		synctest.Wait()
		if got := linksGoroutines(); len(got) != 2 {
			t.Errorf("two idle links are %d goroutines, want 2: %s", len(got), got)
		}
		for name, e := range map[string]*end{"a": a, "b": b} {
			e.mu.Lock()
			if !e.inbox.empty() || e.Stream.memoryLocked() != 0 {
				t.Errorf("%s: the idle stream takes %d bytes", name, e.Stream.memoryLocked())
			}
			if e.waiting != nil || len(e.requests) != 0 || e.link.ackTimer != nil || e.session.Queued() != 0 {
				t.Errorf("%s: the idle link holds something: waiting %d, queued %d", name, len(e.waiting), e.session.Queued())
			}
			e.mu.Unlock()
		}
	})
}

// linksGoroutines returns the stacks of this bubble's links and streams.
func linksGoroutines() (stacks []string) {
	buf := make([]byte, 1<<20)
	all := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
	bubble := regexp.MustCompile(`synctest bubble \d+\]`).FindString(all[0])
	for _, stack := range all {
		head, _, _ := strings.Cut(stack, "\n")
		if strings.Contains(head, bubble) && (strings.Contains(stack, "link.(*Link)") || strings.Contains(stack, "link.(*Stream)")) {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}
