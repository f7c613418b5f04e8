package link

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

// A line that takes nothing while it seems to live: what is put, asked and to be
// acked meanwhile waits, and has its end on the next one.
func TestWaitersOutliveACut(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		var d diary
		a, b := pair(t, nil, d.handler(), options{ends: lives})
		cut(t, a, b)
		results := make(chan error, 3)
		go func() { results <- a.SendAcked(t.Context(), ackedFrame(0)) }()
		synctest.Wait()
		go func() { _, err := a.Request(t.Context(), requestFrame(1, "")); results <- err }()
		go func() { results <- a.Flush(t.Context()) }()
		time.Sleep(time.Hour)
		if n := len(results); n != 0 {
			t.Fatalf("%d of those who wait gave up, want none while the session lives: %v", n, <-results)
		}
		rejoin(t, a, b)
		for range cap(results) {
			if err := receive(t, results, "one who waited"); err != nil {
				t.Errorf("one who waited: %v", err)
			}
		}
		if got := d.read(); !slices.Equal(got, upTo(1)) {
			t.Errorf("got %v, want the message once", got)
		}
	})
}

// Whoever waits is told when a session ends that nothing carries: what was never
// written can be sent again, the rest may have arrived.
func TestSessionEndsWhileCut(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		gate := make(chan struct{})
		defer close(gate)
		hb := &handlers{handle: func(context.Context, *end, *Incoming) error { <-gate; return nil }}
		a, b := pair(t, nil, hb, options{ends: lives, buffer: 1 << 10})
		results := map[string]chan error{}
		begin := func(name string, f func() error) {
			ch := make(chan error, 1)
			results[name] = ch
			go func() { ch <- f() }()
			synctest.Wait()
		}
		begin("written", func() error { _, err := a.Request(t.Context(), requestFrame(1, "")); return err })
		cut(t, a, b)
		begin("unsent request", func() error { _, err := a.Request(t.Context(), requestFrame(2, "")); return err })
		begin("unsent message", func() error { return a.SendAcked(t.Context(), ackedFrame(3)) })
		begin("flush", func() error { return a.Flush(t.Context()) })
		begin("room", func() error { return a.Send(t.Context(), dataFrame(4, strings.Repeat("x", 1000))) })
		a.End(bus.Errorf(bus.CodeUnavailable, "the session has expired"))
		for name, want := range map[string]bus.Code{
			"written": bus.CodeSessionLost, "unsent request": bus.CodeUnavailable, "unsent message": bus.CodeUnavailable,
			"flush": bus.CodeUnavailable, "room": bus.CodeUnavailable,
		} {
			wantDropped(t, name, receive(t, results[name], name), want)
		}
		wantDropped(t, "Cause", a.Stream.Cause(), bus.CodeUnavailable)
		wantDropped(t, "Send", a.Send(t.Context(), dataFrame(5, "")), bus.CodeUnavailable)
		pa, _ := Pipe(t, 1)
		if err := a.resume(pa, a.Seen(), 0); bus.CodeOf(err) != bus.CodeUnavailable {
			t.Errorf("Open: got %v, want why the session ended", err)
		}
	})
}

// What has no room while nothing carries the session, and may not wait, ends it:
// it cannot be resumed then.
func TestOverflowWhileCut(t *testing.T) {
	t.Parallel()
	a, b := pair(t, nil, nil, options{ends: lives, buffer: 1 << 10})
	cut(t, a, b)
	var err error
	for i := int64(0); err == nil && i < 100; i++ {
		err = a.SendNow(dataFrame(i, strings.Repeat("x", 100)))
	}
	wantDropped(t, "SendNow without room", err, bus.CodeSlowConsumer)
	pa, _ := Pipe(t, 1)
	if err := a.resume(pa, a.Seen(), 0); bus.CodeOf(err) != bus.CodeSlowConsumer {
		t.Errorf("Open: got %v, want slow_consumer", err)
	}
}

// A cancel has no number: one that was lost with its line, or was not said at
// all, is said on the next.
func TestCancelsAreSaidAgain(t *testing.T) {
	t.Parallel()
	tests := map[string]func(t *testing.T, a, b *end, cancel func()){
		"canceled while cut": func(t *testing.T, a, b *end, cancel func()) {
			cut(t, a, b)
			cancel()
		},
		"the cancel is lost": func(t *testing.T, a, b *end, cancel func()) {
			a.pipe.budget.Store(1)
			cancel()
			synctest.Wait()
			cut(t, a, b)
		},
	}
	for name, lose := range tests {
		synctestWithoutParallel(t, func(t *testing.T) {
			running, ends := make(chan struct{}), make(chan error, 1)
			hb := &handlers{handle: func(ctx context.Context, _ *end, _ *Incoming) error {
				close(running)
				<-ctx.Done()
				ends <- context.Cause(ctx)
				return ctx.Err()
			}}
			a, b := pair(t, nil, hb, options{ends: lives})
			ctx, cancel := context.WithCancel(t.Context())
			asked := make(chan error, 1)
			go func() { _, err := a.Request(ctx, requestFrame(1, "")); asked <- err }()
			receive(t, running, "the handler")
			lose(t, a, b, cancel)
			wantCode(t, name, receive(t, asked, "the request"), bus.CodeCanceled)
			time.Sleep(time.Minute)
			if len(ends) != 0 {
				t.Fatalf("%s: the handler knows of it before anybody told it", name)
			}
			rejoin(t, a, b)
			wantCode(t, name, receive(t, ends, "the handler's end"), bus.CodeCanceled)
		})
	}
}

// A request that is lost and canceled is written again, and its cancel after it:
// its handler runs with a context that has ended.
func TestCancelFollowsItsRequest(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		causes := make(chan error, 1)
		gate := make(chan struct{})
		hb := &handlers{handle: func(ctx context.Context, _ *end, in *Incoming) error {
			if in.Kind == wire.Request {
				<-gate
				causes <- context.Cause(ctx)
			}
			return nil
		}}
		a, b := pair(t, nil, hb, options{ends: lives})
		a.pipe.budget.Store(1)
		ctx, cancel := context.WithCancel(t.Context())
		asked := make(chan error, 1)
		go func() { _, err := a.Request(ctx, requestFrame(1, "")); asked <- err }()
		synctest.Wait()
		cut(t, a, b)
		cancel()
		wantCode(t, "the request", receive(t, asked, "the request"), bus.CodeCanceled)
		rejoin(t, a, b)
		synctest.Wait()
		close(gate)
		wantCode(t, "its handler's context", receive(t, causes, "its handler"), bus.CodeCanceled)
	})
}

// A handler that runs at the cut keeps its context, and its answer arrives on
// the next line. The Run of the link that brought its message waits for it,
// unless it is told that it need not.
func TestHandlersOutliveACut(t *testing.T) {
	t.Parallel()
	for _, pass := range []bool{false, true} {
		synctestWithoutParallel(t, func(t *testing.T) {
			running, gate := make(chan struct{}), make(chan struct{})
			hb := &handlers{handle: func(ctx context.Context, e *end, in *Incoming) error {
				close(running)
				<-gate
				if err := ctx.Err(); err != nil {
					t.Errorf("the handler's context ended at the cut: %v", err)
				}
				return e.Reply(ctx, in.N, must(wire.AppendAnswer(nil, in.N, msg("Note"), note{ID: 7})))
			}}
			a, b := pair(t, nil, hb, options{ends: lives})
			asked := make(chan error, 1)
			go func() {
				answer, err := a.Request(t.Context(), requestFrame(1, ""))
				if m, _ := unpackNote(answer.Body); m.ID != 7 {
					t.Errorf("answered with %v", m)
				}
				asked <- err
			}()
			receive(t, running, "the handler")
			first, run := b.link, b.ran
			cut(t, a, b)
			time.Sleep(time.Minute)
			if pass {
				first.Pass()
				wantDropped(t, "Run", run.wait(t), bus.CodeUnavailable)
			}
			rejoin(t, a, b)
			time.Sleep(time.Minute)
			select {
			case <-run.over:
				if !pass {
					t.Error("Run returned before its handler has")
				}
			default:
			}
			close(gate)
			if err := receive(t, asked, "the answer"); err != nil {
				t.Errorf("the request: %v", err)
			}
			wantDropped(t, "Run", run.wait(t), bus.CodeUnavailable)
		})
	}
}

// Credit comes back for what is handled while nothing carries the session, and
// where the ack that said so was lost.
func TestCreditOverACut(t *testing.T) {
	t.Parallel()
	for _, acksAreLost := range []bool{false, true} {
		synctestWithoutParallel(t, func(t *testing.T) {
			const credit = 8 * 64
			var d diary
			gate := make(chan struct{})
			hb := &handlers{handle: func(_ context.Context, _ *end, in *Incoming) error {
				m, err := unpackNote(in.Body)
				if !acksAreLost {
					<-gate
				}
				d.note(m.ID)
				return err
			}}
			a, b := pair(t, nil, hb, options{ends: lives, credit: credit})
			n := int64(0)
			for range credit/64 + 1 {
				if acksAreLost {
					b.pipe.budget.Store(1)
				}
				for range 3 {
					if err := a.Send(t.Context(), dataFrame(n, "")); err != nil {
						t.Fatal(err)
					}
					n++
				}
				time.Sleep(2 * ackDelay)
				cut(t, a, b)
				if !acksAreLost {
					gate <- struct{}{}
					synctest.Wait()
				}
				rejoin(t, a, b)
				if !acksAreLost {
					gate <- struct{}{}
					gate <- struct{}{}
				}
				synctest.Wait()
			}
			if got := d.read(); !slices.Equal(got, upTo(n)) {
				t.Errorf("with acks lost %t: handled %d, want 0 to %d once and in order", acksAreLost, len(got), n-1)
			}
		})
	}
}

// Who waits until everything is out asks for the ack again, where the one that he
// asked for was lost.
func TestFlushOverACut(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		a, b := pair(t, nil, nil, options{ends: lives})
		if err := a.Send(t.Context(), dataFrame(0, "")); err != nil {
			t.Fatal(err)
		}
		b.pipe.budget.Store(1)
		flushed := make(chan error, 1)
		begin := time.Now()
		go func() { flushed <- a.Flush(t.Context()) }()
		synctest.Wait()
		cut(t, a, b)
		if len(flushed) != 0 {
			t.Fatal("it is flushed without an ack")
		}
		if err := a.Send(t.Context(), dataFrame(1, "")); err != nil {
			t.Fatal(err)
		}
		rejoin(t, a, b)
		if err := receive(t, flushed, "Flush"); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took >= ackDelay {
			t.Errorf("it took %s: nobody asked again", took)
		}
	})
}

// Break ends a link at once, without a word, and leaves the session.
func TestBreak(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		pa, pb := Pipe(t, 0) // nobody reads
		a := newEnd(pa, nil, options{ends: lives}.orDefaults())
		a.run()
		if err := a.Send(t.Context(), dataFrame(0, "")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		begin := time.Now()
		a.link.Drop(bus.Errorf(bus.CodeUnavailable, "it came back on another line"))
		a.link.Abort()
		wantDropped(t, "Run", a.wait(t), bus.CodeUnavailable)
		if took := time.Since(begin); took != 0 {
			t.Errorf("it took %s", took)
		}
		if err := a.Stream.Cause(); err != nil {
			t.Errorf("the session ended: %v", err)
		}
		if n := len(pb.in); n != 0 {
			t.Errorf("%d messages were written", n)
		}
		b := newEnd(pb, nil, options{ends: lives}.orDefaults())
		rejoin(t, a, b)
		if err := a.Flush(t.Context()); err != nil {
			t.Errorf("after a resume: %v", err)
		}
		for _, e := range []*end{a, b} {
			e.End(bus.Errorf(bus.CodeGoingAway, "over"))
		}
		_, _ = a.wait(t), b.wait(t)
	})
}
