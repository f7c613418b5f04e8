package link

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

// What Grew is told adds up to what a stream keeps while it waits for its next
// link, whatever happens to it meanwhile, and to nothing otherwise.
func TestGrew(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		var told atomic.Int64
		gate := make(chan struct{})
		ha := &handlers{handle: func(ctx context.Context, e *end, in *Incoming) error {
			select {
			case <-gate:
			case <-ctx.Done():
			}
			return e.Reply(ctx, in.N, must(wire.AppendAnswer(nil, in.N, msg("Note"), note{Text: strings.Repeat("x", 3000)})))
		}}
		a, b := pair(t, ha, nil, options{ends: lives, buffer: 32 << 10})
		a.cfg.Grew = func(bytes int) { told.Add(int64(bytes)) }
		want := func(what string, waits bool) {
			t.Helper()
			synctest.Wait()
			memory := int64(a.Memory())
			if got := told.Load(); waits && (got != memory || got == 0) {
				t.Errorf("%s: told of %d bytes, want the %d that are kept", what, got, memory)
			} else if !waits && got != 0 {
				t.Errorf("%s: told of %d bytes, want 0", what, got)
			}
		}
		send := func(name string, frame []byte) {
			t.Helper()
			if err := a.send(t.Context(), name, frame); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 { // one is handled, two wait
			go func() { _, _ = b.Request(t.Context(), requestFrame(1, "")) }()
		}
		synctest.Wait()
		send("Note", dataFrame(0, ""))
		want("carried", false)
		cut(t, a, b)
		want("after a cut, with an inbox", true)
		for i := range int64(100) {
			send("Note", dataFrame(i, strings.Repeat("x", 100)))
			want("a message", true)
		}
		send("State", stateFrame(1, "short"))
		want("a state", true)
		send("State", stateFrame(1, strings.Repeat("long", 100)))
		want("one in its place", true)
		send("Blink", blinkFrame(1))
		want("a blink", true)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, _ = a.Request(ctx, requestFrame(2, strings.Repeat("x", 8000))) }()
		want("a request", true)
		cancel()
		want("it is taken back", true)
		gate <- struct{}{}
		want("a handler has answered", true)
		rejoin(t, a, b)
		want("carried again", false)
		cut(t, a, b)
		close(gate)
		want("cut again", true)
		for a.Stream.SendNow(dataFrame(1, strings.Repeat("x", 1000)), wire.Delivery{}) == nil {
			want("another message", true)
		}
		want("it has ended", false)
	})
}

// While a link says its goodbye, it still carries the stream: Grew is told once
// it has let go.
func TestGrewAfterTheGoodbye(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		var told atomic.Int64
		pa, _ := Pipe(t, 0) // nobody reads
		a := newEnd(pa, nil, options{ends: lives, grew: func(bytes int) { told.Add(int64(bytes)) }}.orDefaults())
		a.run()
		for i := range int64(2) {
			if err := a.Send(t.Context(), dataFrame(i, "")); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		a.Drop(bus.Errorf(bus.CodeAborted, "it takes nothing"))
		time.Sleep(closeLimit - time.Millisecond)
		if got := told.Load(); got != 0 {
			t.Errorf("told of %d bytes before the link is over", got)
		}
		wantDropped(t, "Run", a.wait(t), bus.CodeAborted)
		if got := told.Load(); got == 0 || got != int64(a.Memory()) {
			t.Errorf("told of %d bytes, want the %d that are kept", got, a.Memory())
		}
		a.End(bus.Errorf(bus.CodeUnavailable, "expired"))
		if got := told.Load(); got != 0 {
			t.Errorf("after the end: told of %d bytes, want 0", got)
		}
	})
}
