package link

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A reader handles messages that follow each other closely, and only those.
func TestReaderHandles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inline []bool
		hb := &handlers{handle: func(context.Context, *end, *Incoming) error {
			stack := make([]byte, 8<<10)
			stack = stack[:runtime.Stack(stack, false)]
			inline = append(inline, strings.Contains(string(stack), "(*Link).read("))
			return nil
		}}
		a, _ := pair(t, nil, hb, options{})
		send := func() {
			t.Helper()
			if err := a.Send(t.Context(), dataFrame(1, "")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		for range 3 {
			send()
		}
		time.Sleep(3 * patience)
		synctest.Wait()
		if got := linksGoroutines(); len(got) != 2 {
			t.Errorf("two idle links are %d goroutines, want 2: %s", len(got), got)
		}
		send()
		if want := []bool{false, true, true, false}; !slices.Equal(inline, want) {
			t.Errorf("by the reader were handled %v, want %v", inline, want)
		}
	})
}

// A reader that handles is replaced where its handler takes its time or waits: what
// comes behind it is read, and what is read is handled in order, once.
func TestReadingGoesOn(t *testing.T) {
	tests := map[string]struct {
		then func(ctx context.Context, e *end, released <-chan struct{})
		most time.Duration // until what comes behind is read
	}{
		"takes long": {func(_ context.Context, _ *end, released <-chan struct{}) { <-released }, readsOn},
		"asks": {func(ctx context.Context, e *end, released <-chan struct{}) {
			_, _ = e.Request(ctx, requestFrame(100, ""))
			<-released
		}, 0},
		"flushes": {func(ctx context.Context, e *end, released <-chan struct{}) {
			_ = e.Send(ctx, dataFrame(101, ""))
			_ = e.Flush(ctx)
			<-released
		}, 0},
		"panics":             {func(context.Context, *end, <-chan struct{}) { panic("on purpose") }, 0},
		"ends its goroutine": {func(context.Context, *end, <-chan struct{}) { runtime.Goexit() }, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const last = 50
				released, held := make(chan struct{}), int64(3)
				var handled []int64
				hb := &handlers{handle: func(ctx context.Context, e *end, in *Incoming) error {
					m, err := unpackNote(in.Body)
					if err != nil {
						return err
					}
					handled = append(handled, m.ID)
					if m.ID == held {
						tt.then(ctx, e, released)
					}
					return nil
				}, keep: true}
				a, b := pair(t, nil, hb, options{})
				for id := int64(1); id <= last; id++ {
					if err := a.Send(t.Context(), dataFrame(id, "")); err != nil {
						t.Fatal(err)
					}
					if id <= held {
						synctest.Wait()
					}
				}
				begin := time.Now()
				for b.Seen() < last && time.Since(begin) < time.Minute {
					time.Sleep(patience / 10)
					synctest.Wait()
				}
				if took := time.Since(begin) - patience/10; took > tt.most {
					t.Errorf("what came behind was read after %s, want at most %s", took, tt.most)
				}
				close(released)
				synctest.Wait()
				want := make([]int64, last)
				for i := range want {
					want[i] = int64(i) + 1
				}
				if !slices.Equal(handled, want) {
					t.Errorf("handled %v, want 1 to %d", handled, last)
				}
			})
		})
	}
}

// A handler that took its time costs what comes behind it time once: for a while the
// reader only reads.
func TestReaderIsShy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes = 50 * time.Millisecond
		hb := &handlers{handle: func(context.Context, *end, *Incoming) error {
			time.Sleep(takes)
			return nil
		}}
		b, peer := rawPeer(t, hb, options{})
		behind := func() time.Duration { // how long one waits to be read that is behind some that come together
			t.Helper()
			peer.say(notes(1, 4)...)
			synctest.Wait()
			begin := time.Now()
			peer.say(dataFrame(5, ""))
			for b.Seen() < peer.n {
				time.Sleep(patience / 10)
			}
			waited := time.Since(begin)
			time.Sleep(6 * takes) // until all are handled
			return waited
		}
		if first := behind(); first == 0 || first > readsOn+patience/10 {
			t.Errorf("behind the first that takes its time it waited %s, want up to %s", first, readsOn)
		}
		for range 2 {
			if next := behind(); next > patience/10 {
				t.Errorf("behind the next it waited %s, want it read at once", next)
			}
		}
		time.Sleep(shyTime)
		if again := behind(); again == 0 || again > readsOn+patience/10 {
			t.Errorf("after %s it waited %s, want up to %s", shyTime, again, readsOn)
		}
	})
}

// A reader that writes what its handlers sent, to a peer that takes nothing, reads on.
func TestReaderThatWritesReadsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hb := &handlers{handle: func(ctx context.Context, e *end, in *Incoming) error {
			return e.Send(ctx, dataFrame(1, ""))
		}}
		a, b := pair(t, nil, hb, options{})
		send := func() {
			t.Helper()
			if err := a.Send(t.Context(), dataFrame(1, "")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		send()
		send()
		wall := make(chan struct{})
		b.pipe.wall.Store(&wall)
		const more = 20
		for range more {
			send()
		}
		time.Sleep(readsOn)
		synctest.Wait()
		if seen := b.Seen(); seen != 2+more {
			t.Errorf("while the line took nothing %d messages were read, want %d", seen, 2+more)
		}
		close(wall)
	})
}

// What a handler sends does not wait for its return: not when it takes its time,
// nor, at all, when it waits for the peer, or ends its goroutine.
func TestHandlersHoldNothingBack(t *testing.T) {
	tests := map[string]struct {
		then func(ctx context.Context, e *end, arrived <-chan struct{})
		most time.Duration
	}{
		"returns":     {func(context.Context, *end, <-chan struct{}) {}, 0},
		"takes long":  {func(_ context.Context, _ *end, arrived <-chan struct{}) { <-arrived }, patience},
		"ends":        {func(context.Context, *end, <-chan struct{}) { runtime.Goexit() }, 0},
		"asks":        {func(ctx context.Context, e *end, _ <-chan struct{}) { _, _ = e.Request(ctx, requestFrame(3, "")) }, 0},
		"waits: acks": {func(ctx context.Context, e *end, _ <-chan struct{}) { _ = e.Flush(ctx) }, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				arrived, cork := make(chan struct{}), int64(2)
				ha := &handlers{handle: func(_ context.Context, _ *end, in *Incoming) error {
					if m, err := unpackNote(in.Body); err != nil || m.ID != cork {
						return err
					}
					close(arrived)
					return nil
				}}
				held := false
				hb := &handlers{handle: func(ctx context.Context, e *end, in *Incoming) error {
					m, err := unpackNote(in.Body)
					if err != nil || m.ID != cork {
						return err
					}
					if err := e.Send(ctx, dataFrame(cork, "")); err != nil {
						return err
					}
					e.mu.Lock()
					held = e.inline.corked > 0
					e.mu.Unlock()
					tt.then(ctx, e, arrived)
					return nil
				}, keep: true}
				a, _ := pair(t, ha, hb, options{})
				for _, id := range []int64{1, 1, cork} {
					if err := a.Send(t.Context(), dataFrame(id, "")); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
				}
				begin := time.Now()
				<-arrived
				if took := time.Since(begin); took > tt.most {
					t.Errorf("what was sent took %s, want at most %s", took, tt.most)
				}
				if !held {
					t.Error("it was not left to the reader")
				}
			})
		})
	}
}
