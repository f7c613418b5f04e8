package link

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/internal/wire"
)

// Who asks alone writes his request himself, if the line has room for it for certain.
func TestWhoAsksAloneWrites(t *testing.T) {
	tests := map[string]struct {
		before func(t *testing.T, a *end)
		want   string // who writes
	}{
		"without a buffer": {func(_ *testing.T, a *end) { a.pipe.tight.Store(true) }, "writeOn"},
		"alone":            {func(*testing.T, *end) {}, "askLocked"},
		"after a little":   {func(t *testing.T, a *end) { _ = a.Send(t.Context(), dataFrame(1, "")) }, "askLocked"},
		"after much":       {func(t *testing.T, a *end) { _ = a.Send(t.Context(), dataFrame(1, strings.Repeat("x", lineRoom))) }, "writeOn"},
		"with another":     {func(t *testing.T, a *end) { go func() { _, _ = a.Request(t.Context(), requestFrame(1, "")) }() }, "writeOn"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, peer := rawPeer(t, nil, options{})
				tt.before(t, a)
				synctest.Wait()
				wall := make(chan struct{})
				a.pipe.wall.Store(&wall)
				answered := make(chan error)
				go func() {
					_, err := a.Request(t.Context(), requestFrame(2, ""))
					answered <- err
				}()
				synctest.Wait()
				writers := 0
				for _, stack := range linksGoroutines() {
					if strings.Contains(stack, "(*pipe).Write(") {
						writers++
						if !strings.Contains(stack, tt.want) {
							t.Errorf("want %s to write, got\n%s", tt.want, stack)
						}
					}
				}
				if writers != 1 {
					t.Errorf("%d write, want 1", writers)
				}
				close(wall)
				var last wire.Frame
				for ; last.Body == nil || mustNote(t, last.Body).ID != 2; last = peer.hear(wire.Request) {
				}
				peer.say(must(wire.AppendAnswer(nil, last.N, nil, nil)))
				if err := <-answered; err != nil {
					t.Errorf("the request failed: %v", err)
				}
			})
		})
	}
}

func mustNote(t *testing.T, body []byte) note {
	t.Helper()
	m, err := unpackNote(body)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Who asks alone gives way before he waits, less often where that is in vain, and not
// at all where others do.
func TestWhoAsksGivesWay(t *testing.T) {
	tests := map[string]struct {
		others bool
		lively int32
		want   int
	}{
		"in vain":         {want: 5 * gives}, // for requests 1, 3, 7, 15 and 24
		"one who asks":    {others: true},
		"lively messages": {lively: 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				forget(t, tt.lively)
				asking.Store(tt.others)
				a, peer := rawPeer(t, nil, options{})
				looks := 0
				more := func() bool { looks++; return false }
				a.pipe.more.Store(&more)
				for range 24 {
					done := make(chan struct{})
					go func() {
						defer close(done)
						_, _ = a.Request(t.Context(), requestFrame(1, ""))
					}()
					synctest.Wait()
					peer.say(must(wire.AppendAnswer(nil, peer.hear(wire.Request).N, nil, nil)))
					<-done
				}
				if looks != tt.want {
					t.Errorf("it looked for more %d times, want %d", looks, tt.want)
				}
			})
		})
	}
}

// forget makes the process know nothing of other tests but how many streams are lively.
func forget(t *testing.T, streams int32) {
	t.Helper()
	reset := func(n int32) {
		lively.Store(n)
		asking.Store(false)
		busy.until.Store(0)
		busy.pause.Store(0)
	}
	reset(streams)
	t.Cleanup(func() { reset(0) })
}

// Who asks writes what he asks, and not what others put meanwhile: he waits no longer
// than his context says.
func TestWhoAsksWritesNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, peer := rawPeer(t, nil, options{})
		wall := make(chan struct{})
		a.pipe.wall.Store(&wall)
		answered := make(chan error)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		go func() {
			_, err := a.Request(ctx, requestFrame(1, ""))
			answered <- err
		}()
		synctest.Wait() // it is being written
		for range 3 {
			if err := a.Send(t.Context(), dataFrame(2, strings.Repeat("x", 100<<10))); err != nil {
				t.Fatal(err)
			}
		}
		next := make(chan struct{})
		a.pipe.wall.Store(&next) // the line takes the request, and nothing else
		close(wall)
		begin := time.Now()
		wantCode(t, "a request that nobody answers", <-answered, bus.CodeDeadlineExceeded)
		if took := time.Since(begin); took > 100*time.Millisecond {
			t.Errorf("it took %s, want what its context says", took)
		}
		close(next)
		peer.hear(wire.Request)
		for range 3 {
			peer.hear(wire.Data) // the writer has gone on
		}
	})
}
