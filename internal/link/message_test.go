package link

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

func TestMessagesInOrder(t *testing.T) {
	t.Parallel()
	const n = 5000
	got := make(chan note, n)
	hb := &handlers{handle: func(_ context.Context, _ *end, in *Incoming) error {
		m, err := unpackNote(in.Body)
		got <- m
		return err
	}}
	a, b := pair(t, nil, hb, options{credit: 16 << 10, buffer: 16 << 10})
	for i := range int64(n) {
		if err := a.Send(t.Context(), dataFrame(i, strings.Repeat("x", int(i%100)))); err != nil {
			t.Fatal(err)
		}
	}
	for i := range int64(n) {
		if m := receive(t, got, "a message"); m.ID != i || len(m.Text) != int(i%100) {
			t.Fatalf("got message %d with %d bytes, want %d", m.ID, len(m.Text), i)
		}
	}
	if err := a.Flush(t.Context()); err != nil {
		t.Fatalf("Flush: %v", err)
	}
	if q := a.Queued() + b.Queued(); q != 0 {
		t.Errorf("%d bytes are kept after a flush", q)
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	hb := &handlers{handle: func(ctx context.Context, e *end, in *Incoming) error {
		m, _ := unpackNote(in.Body)
		switch m.Text {
		case "reply":
			frame := must(wire.AppendAnswer(nil, in.N, msg("Note"), note{ID: m.ID + 1}))
			if err := e.Reply(ctx, in.N, frame); err != nil {
				return err
			}
			if err := e.Reply(ctx, in.N, frame); bus.CodeOf(err) != bus.CodeFailedPrecondition {
				return fmt.Errorf("a second reply: got %w", err)
			}
		case "fail":
			return bus.Errorf(bus.CodeNotFound, "no such thing")
		case "foreign":
			return errors.New("secret")
		case "panic":
			panic("at the disco")
		}
		return nil
	}}
	a, b := pair(t, nil, hb, options{})
	tests := []struct {
		text   string
		code   bus.Code
		reason string
	}{
		{"reply", 0, ""},
		{"nothing", 0, ""},
		{"fail", bus.CodeNotFound, "no such thing"},
		{"foreign", bus.CodeUnknown, "the handler failed"},
		{"panic", bus.CodeInternal, "the handler panicked"},
	}
	for _, tt := range tests {
		answer, err := a.Request(t.Context(), requestFrame(1, tt.text))
		wantCode(t, tt.text, err, tt.code)
		var e *bus.Error
		if errors.As(err, &e) && (e.Reason != tt.reason || !e.Remote || errors.Is(err, bus.ErrDropped)) {
			t.Errorf("%s: got %+v, want reason %q from the peer", tt.text, e, tt.reason)
		}
		if (answer.Message != nil) != (tt.text == "reply") {
			t.Errorf("%s: got message %v", tt.text, answer.Message)
		}
	}
	if err := b.Cause(); err != nil {
		t.Errorf("a request that fails must not end its connection: %v", err)
	}
}

func TestOneWayThatFails(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{false, true} {
		ha := &handlers{}
		hb := &handlers{keep: keep, handle: func(context.Context, *end, *Incoming) error {
			return bus.Errorf(bus.CodeAborted, "not today")
		}}
		a, b := pair(t, ha, hb, options{})
		if err := a.SendAcked(t.Context(), ackedFrame(1)); err != nil && !errors.Is(err, bus.ErrDropped) {
			t.Fatal(err)
		}
		if keep {
			if err := a.SendAcked(t.Context(), ackedFrame(2)); err != nil {
				t.Fatalf("after a failure that is kept: %v", err)
			}
			continue
		}
		for name, e := range map[string]*end{"sender": a, "receiver": b} {
			err := e.wait(t)
			wantDropped(t, name, err, bus.CodeAborted)
			var drop *bus.Error
			if errors.As(err, &drop) && drop.Retry.When != bus.RetryAfter {
				t.Errorf("%s: retry: got %s, want after", name, drop.Retry.When)
			}
		}
		if f := ha.failures(); len(f) != 1 || !f[0].Remote || f[0].Code != bus.CodeAborted {
			t.Errorf("the sender was told %v, want one error frame before the drop", f)
		}
	}
}

func TestPermissionDeniedKeepsTheConnection(t *testing.T) {
	t.Parallel()
	hb := &handlers{handle: func(context.Context, *end, *Incoming) error {
		return bus.Errorf(bus.CodePermissionDenied, "not for you")
	}}
	a, b := pair(t, nil, hb, options{})
	for i := range int64(3) {
		if err := a.SendAcked(t.Context(), ackedFrame(i)); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	if err := b.Cause(); err != nil {
		t.Errorf("the connection ended: %v", err)
	}
}

// A handler that ends its goroutine is one that failed: a request is answered,
// a one-way message ends the connection.
func TestGoexit(t *testing.T) {
	t.Parallel()
	hb := &handlers{handle: func(context.Context, *end, *Incoming) error { runtime.Goexit(); return nil }}
	a, b := pair(t, nil, hb, options{})
	for i := range int64(3) {
		_, err := a.Request(t.Context(), requestFrame(i, ""))
		wantCode(t, "a request whose handler ended its goroutine", err, bus.CodeInternal)
	}
	if err := b.Cause(); err != nil {
		t.Errorf("a request that fails must not end its connection: %v", err)
	}
	if err := a.Send(t.Context(), dataFrame(1, "")); err != nil {
		t.Fatal(err)
	}
	wantDropped(t, "the handler's end", b.wait(t), bus.CodeInternal)
	wantDropped(t, "the other end", a.wait(t), bus.CodeInternal)
}

// A request can be canceled wherever it is: unsent, on its way, behind another
// in the deliverer's hand, or in its handler.
func TestCancel(t *testing.T) {
	t.Parallel()
	running, ends := make(chan int64, 10), make(chan error, 10)
	hb := &handlers{handle: func(ctx context.Context, _ *end, in *Incoming) error {
		m, _ := unpackNote(in.Body)
		if m.Text == "now" {
			ends <- context.Cause(ctx)
			return nil
		}
		running <- m.ID
		<-ctx.Done()
		ends <- context.Cause(ctx)
		return ctx.Err()
	}}
	a, _ := pair(t, nil, hb, options{})
	ctx1, cancel1 := context.WithCancel(t.Context())
	ctx2, cancel2 := context.WithCancel(t.Context())
	results := make(chan error, 2)
	go func() {
		_, err := a.Request(ctx1, requestFrame(1, "wait"))
		results <- err
	}()
	receive(t, running, "the first handler")
	go func() {
		_, err := a.Request(ctx2, requestFrame(2, "now"))
		results <- err
	}()
	for a.pipe.messages.Load() < 2 {
		runtime.Gosched()
	}
	cancel2()
	wantCode(t, "the second", receive(t, results, "the second"), bus.CodeCanceled)
	for a.pipe.messages.Load() < 3 { // its cancel is under way
		runtime.Gosched()
	}
	cancel1()
	wantCode(t, "the first", receive(t, results, "the first"), bus.CodeCanceled)
	wantCode(t, "the first handler's context", receive(t, ends, "the first handler's end"), bus.CodeCanceled)
	wantCode(t, "the second handler's context", receive(t, ends, "the second handler's end"), bus.CodeCanceled)
}

// Cancels and answers that meet leave nothing behind.
func TestCancelRaces(t *testing.T) {
	t.Parallel()
	a, b := pair(t, nil, &handlers{}, options{credit: 8 << 10})
	var answered atomic.Int64
	done := make(chan struct{}, 8)
	for range cap(done) {
		go func() {
			for i := range int64(300) {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i%7)*20*time.Microsecond)
				if _, err := a.Request(ctx, requestFrame(i, "")); err == nil {
					answered.Add(1)
				} else if c := bus.CodeOf(err); c != bus.CodeDeadlineExceeded {
					t.Errorf("request %d: got %v", i, err)
				}
				cancel()
			}
			done <- struct{}{}
		}()
	}
	for range cap(done) {
		receive(t, done, "a requester")
	}
	if _, err := a.Request(t.Context(), requestFrame(0, "")); err != nil { // all before it has its end
		t.Fatal(err)
	}
	if err := a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, e := range map[string]*end{"a": a, "b": b} {
		e.mu.Lock()
		if len(e.waiting)+len(e.requests)+len(e.link.cancels) != 0 {
			t.Errorf("%s: left behind: %d who wait, %d requests, %d cancels", name, len(e.waiting), len(e.requests), len(e.link.cancels))
		}
		e.mu.Unlock()
	}
	t.Logf("%d of %d were answered", answered.Load(), 8*300)
}

// No more than n of a type run at once, also when the deliverer ended and
// another began meanwhile.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		var running, most atomic.Int32
		release := make(chan struct{})
		hb := &handlers{atOnce: 3, handle: func(_ context.Context, _ *end, in *Incoming) error {
			if in.Name != "Wide" {
				return nil
			}
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			<-release
			running.Add(-1)
			return nil
		}}
		a, b := pair(t, nil, hb, options{})
		for i := range int64(8) {
			frame := must(wire.AppendData(nil, msg("Wide"), wide{ID: i}, wire.DataOptions{}))
			if err := a.Send(t.Context(), frame); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // the deliverer has ended, or waits
		}
		if got := running.Load(); got != 3 {
			t.Errorf("%d run at once, want 3", got)
		}
		close(release)
		synctest.Wait()
		if most.Load() != 3 || running.Load() != 0 {
			t.Errorf("at most %d ran at once, %d still do; want 3, 0", most.Load(), running.Load())
		}
		if err := b.Cause(); err != nil {
			t.Error(err)
		}
	})
}

// What failed at the peer is reported at once, also while the deliverer waits for
// a handler.
func TestFailureWhileHandlersRun(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		gate := make(chan struct{})
		h := &handlers{atOnce: 2, handle: func(context.Context, *end, *Incoming) error { <-gate; return nil }}
		a, peer := rawPeer(t, h, options{})
		for i := range int64(3) { // two are handled, the third waits
			peer.say(must(wire.AppendData(nil, msg("Wide"), wide{ID: i}, wire.DataOptions{})))
		}
		if err := a.Send(t.Context(), dataFrame(1, "")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		peer.say(wire.AppendError(nil, 1, bus.Errorf(bus.CodeAborted, "not today")))
		synctest.Wait()
		if f := h.failures(); len(f) != 1 || f[0].Code != bus.CodeAborted {
			t.Errorf("reported: %v, want the failure", f)
		}
		close(gate)
	})
}

// synctestWithoutParallel runs f in a bubble, as a subtest: a bubble's test
// must not be parallel itself.
func synctestWithoutParallel(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Run("bubble", func(t *testing.T) { synctest.Test(t, f) })
}

// What a handler is given stays good until it returns, though the reader goes
// on and its bytes are used again.
func TestBodiesStayGood(t *testing.T) {
	t.Parallel()
	got := make(chan string, 100)
	hb := &handlers{handle: func(_ context.Context, _ *end, in *Incoming) error {
		before := string(in.Body)
		for range 100 {
			runtime.Gosched()
		}
		if string(in.Body) != before {
			return errors.New("the body changed")
		}
		m, err := unpackNote(in.Body)
		got <- m.Text
		return err
	}}
	a, _ := pair(t, nil, hb, options{})
	var want []string
	for i := range 100 {
		text := strings.Repeat(string(rune('a'+i%26)), i)
		want = append(want, text)
		if err := a.Send(t.Context(), dataFrame(1, text)); err != nil {
			t.Fatal(err)
		}
	}
	var all []string
	for range want {
		all = append(all, receive(t, got, "a message"))
	}
	if !slices.Equal(all, want) {
		t.Errorf("got %q, want %q", all, want)
	}
}
