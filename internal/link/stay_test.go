package link

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A deliverer stays while messages follow each other, and only then.
func TestDelivererStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := pair(t, nil, nil, options{})
		staying := func() (n int) {
			for _, stack := range linksGoroutines() {
				if strings.Contains(stack, "stayLocked") {
					n++
				}
			}
			return n
		}
		send := func() {
			t.Helper()
			if err := a.Send(t.Context(), dataFrame(1, "")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		send()
		if n := staying(); n != 0 {
			t.Errorf("after a lone message %d deliverers stay", n)
		}
		for range 3 {
			send()
			if n := staying(); n != 1 {
				t.Errorf("after messages that follow each other %d deliverers stay, want 1", n)
			}
		}
		time.Sleep(3 * stayTime)
		synctest.Wait()
		if got := linksGoroutines(); len(got) != 2 {
			t.Errorf("two idle links are %d goroutines, want 2: %s", len(got), got)
		}
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
		"takes long":  {func(_ context.Context, _ *end, arrived <-chan struct{}) { <-arrived }, stayTime},
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
					held = e.stay.corked > 0
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
					t.Error("it was not left to the deliverer")
				}
			})
		})
	}
}
