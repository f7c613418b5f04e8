package link

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

// leaving has the server leave when its client says that it begins nothing more.
func leaving(h *handlers) *handlers {
	h.goaway = func(e *end) {
		e.link.Leave(bus.Errorf(bus.CodeGoingAway, "all is finished").WithRetry(bus.Retry{When: bus.RetryNow}))
	}
	return h
}

// A hand-over: the client begins nothing more, all that either end had begun is
// finished, and the session ends without a rest. What was not begun can go on
// elsewhere.
func TestHandOver(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		var there, here diary
		slow := func(d *diary) *handlers {
			h := d.handler()
			quick := h.handle
			h.handle = func(ctx context.Context, e *end, in *Incoming) error {
				time.Sleep(10 * time.Millisecond)
				return quick(ctx, e, in)
			}
			return h
		}
		const n = 20
		a, b := pair(t, slow(&here), leaving(slow(&there)), options{ends: lives, credit: 1 << 10})
		var work sync.WaitGroup
		for _, e := range []*end{a, b} {
			work.Go(func() { wantAnswer(t, e, 100) })
			work.Go(func() {
				if err := e.SendAcked(t.Context(), ackedFrame(0)); err != nil {
					t.Errorf("SendAcked: %v", err)
				}
			})
			synctest.Wait() // these are begun
			for i := range int64(n) {
				if err := e.Send(t.Context(), dataFrame(1+i, "")); err != nil {
					t.Fatal(err)
				}
			}
		}
		a.link.Hold()
		for i := range int64(n) {
			if err := a.Send(t.Context(), dataFrame(1+n+i, "")); err != nil {
				t.Fatal(err)
			}
		}
		late := make(chan error, 3)
		go func() { _, err := a.Request(t.Context(), requestFrame(1000, "")); late <- err }()
		go func() { late <- a.SendAcked(t.Context(), ackedFrame(1000)) }()
		go func() { late <- a.Flush(t.Context()) }()
		wantDropped(t, "the server", b.wait(t), bus.CodeGoingAway)
		wantDropped(t, "the client", a.wait(t), bus.CodeGoingAway)
		work.Wait()
		for range cap(late) { // surely not done, and can be done again
			wantDropped(t, "what was not begun", receive(t, late, "one who waited"), bus.CodeGoingAway)
		}
		if got := here.read(); !slices.Equal(got, upTo(1+n)) {
			t.Errorf("the client handled %v, want 0 to %d once and in order", got, n)
		}
		wantHandedOver(t, a, b, there.read(), 1+2*n)
		wantDropped(t, "Send at the server", b.Send(t.Context(), dataFrame(1, "")), bus.CodeGoingAway)
	})
}

// wantHandedOver wants all that a sent, the messages 0 to n-1, to be either
// handled or free to go elsewhere, and nothing of b's left.
func wantHandedOver(t *testing.T, a, b *end, handled []int64, n int64) {
	t.Helper()
	frames, unknown := a.Unsent()
	if _, of := b.Unsent(); unknown != 0 || of != 0 || b.Pending() {
		t.Errorf("of %d and %d messages it is not known whether they arrived, want none; pending at the server: %t", unknown, of, b.Pending())
	}
	all := slices.Clone(handled)
	for _, frame := range frames {
		m, err := unpackNote(msg("Note").BodyOf(frame))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m.ID)
	}
	if !slices.Equal(all, upTo(n)) {
		t.Errorf("handled %v, and %d were unsent; want 0 to %d once and in order", handled, len(frames), n-1)
	}
	if len(frames) == 0 || len(handled) == 0 {
		t.Errorf("handled %d, unsent %d: this shows nothing", len(handled), len(frames))
	}
}

// A server leaves when its client has finished as well: its handlers answer, and
// it has what was sent to it.
func TestLeaveWaitsForTheClient(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		gate := make(chan struct{})
		ha := &handlers{handle: func(ctx context.Context, e *end, in *Incoming) error {
			<-gate
			return e.Reply(ctx, in.N, must(wire.AppendAnswer(nil, in.N, msg("Note"), note{ID: 7})))
		}}
		a, b := pair(t, ha, leaving(&handlers{}), options{ends: lives})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		results := make(chan error, 2)
		go func() { _, err := b.Request(t.Context(), requestFrame(1, "")); results <- err }()
		go func() { _, err := b.Request(ctx, requestFrame(2, "")); results <- err }()
		synctest.Wait()
		a.link.Hold()
		time.Sleep(time.Hour)
		if a.Cause() != nil || b.Cause() != nil {
			t.Fatalf("the line ended before the client's handlers have: %v, %v", a.Cause(), b.Cause())
		}
		wantDropped(t, "a new request of the server's", func() error { _, err := b.Request(t.Context(), requestFrame(3, "")); return err }(), bus.CodeGoingAway)
		cancel()
		wantCode(t, "the request that was canceled", receive(t, results, "it"), bus.CodeCanceled)
		close(gate)
		if err := receive(t, results, "the answer"); err != nil {
			t.Errorf("the server's request: %v", err)
		}
		wantDropped(t, "the client", a.wait(t), bus.CodeGoingAway)
		wantDropped(t, "the server", b.wait(t), bus.CodeGoingAway)
	})
}

// A server that waits for nothing but an unsent request that is taken back leaves
// then.
func TestLeaveAfterAWithdrawal(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		gate := make(chan struct{})
		defer close(gate)
		ha := &handlers{handle: func(context.Context, *end, *Incoming) error { <-gate; return nil }}
		a, b := pair(t, ha, leaving(&handlers{}), options{ends: lives, credit: 512})
		for i := range int64(512 / 64) { // all the credit that there is
			if err := b.Send(t.Context(), dataFrame(i, "")); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		asked := make(chan error, 1)
		go func() { _, err := b.Request(ctx, requestFrame(1, "")); asked <- err }()
		synctest.Wait()
		a.link.Hold()
		time.Sleep(time.Hour)
		if err := b.Cause(); err != nil {
			t.Fatalf("the server left with a request unsent: %v", err)
		}
		cancel()
		wantCode(t, "the request", receive(t, asked, "it"), bus.CodeCanceled)
		synctest.Wait()
		wantDropped(t, "the server", b.Cause(), bus.CodeGoingAway)
	})
}

// A server leaves when its client has acknowledged all that it was sent, and asks
// for that ack; it answers before it goes.
func TestLeaveWaitsForTheAcks(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		a, peer := rawPeer(t, leaving(&handlers{}), options{ends: lives})
		if err := a.Send(t.Context(), dataFrame(1, "")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		peer.say(requestFrame(1, ""))
		peer.write(wire.AppendGoaway(nil, &wire.GoawayFrame{}))
		peer.hear(wire.Answer)
		for f := peer.hear(wire.Ack); !f.AckAtOnce(); f = peer.hear(wire.Ack) {
			continue
		}
		peer.write(wire.AppendAck(nil, 1, 0))
		time.Sleep(time.Hour)
		if err := a.Cause(); err != nil {
			t.Fatalf("it left before its answer was acknowledged: %v", err)
		}
		peer.write(wire.AppendAck(nil, 2, 0))
		why := peer.hearDrop()
		wantCode(t, "the drop", why, bus.CodeGoingAway)
		if why.Retry.When != bus.RetryNow {
			t.Errorf("retry: got %s, want now", why.Retry.When)
		}
	})
}

// The goaway of a hand-over stands behind all that was begun, also behind what is
// written again.
func TestHoldAfterAResume(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		var d diary
		a, b := pair(t, nil, leaving(d.handler()), options{ends: lives})
		a.pipe.budget.Store(1)
		const n = 2000 // more than one batch
		for i := range int64(n) {
			if err := a.Send(t.Context(), dataFrame(i, "")); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		cut(t, a, b)
		rejoin(t, a, b)
		a.link.Hold()
		wantDropped(t, "the client", a.wait(t), bus.CodeGoingAway)
		_ = b.wait(t)
		frames, unknown := a.Unsent()
		if got := d.read(); unknown != 0 || !slices.Equal(got, upTo(int64(n-len(frames)))) || len(got) == 0 {
			t.Errorf("handled %d, unsent %d, unknown %d; want %d together, in order", len(got), len(frames), unknown, n)
		}
	})
}

// What arrived before the end of a hand-over is handled, though it was not yet.
func TestHandOverToASlowClient(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		var d diary
		ha := &handlers{handle: func(_ context.Context, _ *end, in *Incoming) error {
			m, err := unpackNote(in.Body)
			time.Sleep(time.Second)
			d.note(m.ID)
			return err
		}}
		a, b := pair(t, ha, leaving(&handlers{}), options{ends: lives})
		for i := range int64(3) {
			if err := b.Send(t.Context(), dataFrame(i, "")); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		a.link.Hold()
		wantDropped(t, "the client", a.wait(t), bus.CodeGoingAway)
		if got := d.read(); !slices.Equal(got, upTo(3)) {
			t.Errorf("handled %v, want 0 to 2: they were acknowledged", got)
		}
	})
}

// A hand-over that is cut is one no more: the session is resumed, and both ends
// begin again.
func TestHandOverThatIsCut(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		var d diary
		gate := make(chan struct{})
		ha := &handlers{handle: func(context.Context, *end, *Incoming) error { <-gate; return nil }}
		a, b := pair(t, ha, leaving(d.handler()), options{ends: lives})
		asked := make(chan error, 1)
		go func() { _, err := b.Request(t.Context(), requestFrame(1, "")); asked <- err }()
		synctest.Wait()
		a.link.Hold()
		if err := a.Send(t.Context(), dataFrame(0, "")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		wantDropped(t, "Send at the server", b.Send(t.Context(), dataFrame(9, "")), bus.CodeGoingAway)
		cut(t, a, b)
		rejoin(t, a, b)
		if err := b.Send(t.Context(), dataFrame(1, "")); err != nil {
			t.Errorf("Send at the server after the resume: %v", err)
		}
		if err := a.SendAcked(t.Context(), ackedFrame(1)); err != nil {
			t.Errorf("SendAcked at the client after the resume: %v", err)
		}
		close(gate)
		if err := receive(t, asked, "the answer"); err != nil {
			t.Errorf("the server's request: %v", err)
		}
		synctest.Wait()
		if got := d.read(); !slices.Equal(got, upTo(2)) {
			t.Errorf("handled %v, want 0 and 1", got)
		}
	})
}

// What is unsent when a session ends is said once to be so, and is not written
// then with what goes before the goodbye: another session may carry it.
func TestUnsentIsNotWritten(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		a, peer := rawPeer(t, nil, options{room: 1, credit: 64 << 10})
		const n = 40
		for i := range int64(n) { // more than the line takes
			if err := a.Send(t.Context(), dataFrame(i, strings.Repeat("x", 1000))); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		a.End(bus.Errorf(bus.CodeAborted, "enough"))
		frames, unknown := a.Unsent()
		if again, _ := a.Unsent(); len(frames) == 0 || len(again) != len(frames) {
			t.Fatalf("%d are unsent, then %d", len(frames), len(again))
		}
		written := 0
		for drop := false; !drop; {
			b, err := peer.Read()
			if err != nil {
				t.Fatal(err)
			}
			for len(b) > 0 {
				f, err := wire.Decoder{Contract: contract}.Next(b)
				if err != nil {
					t.Fatal(err)
				}
				if b = b[f.Size:]; f.Kind == wire.Data {
					written++
				}
				drop = f.Kind == wire.Drop
			}
		}
		if written != unknown || written+len(frames) != n {
			t.Errorf("%d were written, %d are said to be so, %d to be unsent; want %d together", written, unknown, len(frames), n)
		}
	})
}
