package link

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

// What arrived and was not handled at the cut waits for the next line; it is
// handled once, and in order.
func TestHeldForTheNextLink(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		var d diary
		gate := make(chan struct{}, 10)
		hb := &handlers{handle: func(_ context.Context, _ *end, in *Incoming) error {
			m, err := unpackNote(in.Body)
			d.note(m.ID)
			<-gate
			return err
		}}
		a, b := pair(t, nil, hb, options{ends: lives})
		for i := range int64(5) {
			if err := a.Send(t.Context(), dataFrame(i, "")); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		cut(t, a, b)
		close(gate)
		_ = b.wait(t)
		time.Sleep(time.Minute)
		if got := d.read(); !slices.Equal(got, upTo(1)) {
			t.Errorf("handled while nothing carries the session: %v, want only the one that ran", got)
		}
		rejoin(t, a, b)
		synctest.Wait()
		if got := d.read(); !slices.Equal(got, upTo(5)) {
			t.Errorf("handled: %v, want 0 to 4 once and in order", got)
		}
		if n := a.Counts().Repeated; n != 0 {
			t.Errorf("%d frames were written again, want none: all had arrived", n)
		}
	})
}

// A message belongs to the link that carries the session when it is handled.
func TestHandledByTheNextLink(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		gate := make(chan struct{})
		var first, second diary
		noting := func(d *diary) *handlers {
			return &handlers{handle: func(_ context.Context, _ *end, in *Incoming) error {
				m, err := unpackNote(in.Body)
				d.note(m.ID)
				<-gate
				return err
			}}
		}
		a, b := pair(t, nil, noting(&first), options{ends: lives})
		for i := range int64(2) {
			if err := a.Send(t.Context(), dataFrame(i, "")); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		cut(t, a, b)
		b.h = noting(&second)
		rejoin(t, a, b)
		close(gate)
		synctest.Wait()
		if got, next := first.read(), second.read(); !slices.Equal(got, []int64{0}) || !slices.Equal(next, []int64{1}) {
			t.Errorf("the first link handled %v, the second %v; want 0, and 1", got, next)
		}
	})
}

// Those that may be handled several at a time keep to it over a cut: neither do
// more run than may, nor does one begin while nothing carries the session.
func TestAtOnceOverACut(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		const atOnce, n = 3, 8
		var running, begun, most atomic.Int32
		gate := make(chan struct{})
		hb := &handlers{atOnce: atOnce, handle: func(context.Context, *end, *Incoming) error {
			begun.Add(1)
			most.Store(max(most.Load(), running.Add(1)))
			<-gate
			running.Add(-1)
			return nil
		}}
		a, b := pair(t, nil, hb, options{ends: lives})
		for i := range int64(n) {
			if err := a.Send(t.Context(), must(wire.AppendData(nil, msg("Wide"), wide{ID: i}, wire.DataOptions{}))); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		cut(t, a, b)
		gate <- struct{}{} // one returns, and leaves its place
		time.Sleep(time.Minute)
		if got := begun.Load(); got != atOnce {
			t.Errorf("%d have begun, want %d: there is nothing that carries the session", got, atOnce)
		}
		rejoin(t, a, b)
		synctest.Wait()
		if got := running.Load(); got != atOnce {
			t.Errorf("%d run on the next link, want %d: two of the last and one more", got, atOnce)
		}
		close(gate)
		synctest.Wait()
		if begun.Load() != n || most.Load() != atOnce || running.Load() != 0 {
			t.Errorf("%d have begun, at most %d at a time, %d still run; want %d, %d, 0", begun.Load(), most.Load(), running.Load(), n, atOnce)
		}
	})
}

// A one-way message that fails ends the connection, not the session: it is not
// replayed, its sender is told once, and all the rest is handled.
func TestErrorRuleOverAResume(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		var d diary
		ha := &handlers{}
		hb := &handlers{handle: func(_ context.Context, _ *end, in *Incoming) error {
			m, _ := unpackNote(in.Body)
			d.note(m.ID)
			if m.ID == 2 {
				return bus.Errorf(bus.CodeAborted, "not today")
			}
			return nil
		}}
		a, b := pair(t, ha, hb, options{ends: lives})
		for i := range int64(5) {
			if err := a.Send(t.Context(), dataFrame(i, "")); err != nil {
				t.Fatal(err)
			}
		}
		for name, e := range map[string]*end{"sender": a, "receiver": b} {
			wantDropped(t, name, e.wait(t), bus.CodeAborted)
			if err := e.Stream.Cause(); err != nil {
				t.Errorf("the %s's session ended: %v", name, err)
			}
		}
		rejoin(t, a, b)
		synctest.Wait()
		if got := d.read(); !slices.Equal(got, upTo(5)) {
			t.Errorf("handled: %v, want 0 to 4 once and in order", got)
		}
		if f := ha.failures(); len(f) != 1 || f[0].Code != bus.CodeAborted || !f[0].Remote {
			t.Errorf("the sender was told %v, want the failure once", f)
		}
	})
}

// A message that fails after its link has ended ends the connection that there is
// by then: its sender is to notice.
func TestErrorRuleOfAnOlderLink(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		gate := make(chan struct{})
		ha := &handlers{}
		hb := &handlers{handle: func(context.Context, *end, *Incoming) error {
			<-gate
			return bus.Errorf(bus.CodeAborted, "not today")
		}}
		a, b := pair(t, ha, hb, options{ends: lives})
		if err := a.Send(t.Context(), dataFrame(0, "")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		cut(t, a, b)
		rejoin(t, a, b)
		close(gate)
		wantDropped(t, "the receiver", b.wait(t), bus.CodeAborted)
		wantDropped(t, "the sender", a.wait(t), bus.CodeAborted)
		if f := ha.failures(); len(f) != 1 || f[0].Code != bus.CodeAborted {
			t.Errorf("the sender was told %v, want the failure", f)
		}
		rejoin(t, a, b)
		if err := a.Flush(t.Context()); err != nil {
			t.Errorf("after a resume: %v", err)
		}
	})
}
