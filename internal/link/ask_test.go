package link

import (
	"strings"
	"testing"
	"testing/synctest"

	"busd/internal/wire"
)

// Who asks alone writes his request himself, if the line has room for it for certain.
func TestWhoAsksAloneWrites(t *testing.T) {
	tests := map[string]struct {
		before func(t *testing.T, a *end)
		want   string // who writes
	}{
		"alone":          {func(*testing.T, *end) {}, "askLocked"},
		"after a little": {func(t *testing.T, a *end) { _ = a.Send(t.Context(), dataFrame(1, "")) }, "askLocked"},
		"after much":     {func(t *testing.T, a *end) { _ = a.Send(t.Context(), dataFrame(1, strings.Repeat("x", lineRoom))) }, "writeOn"},
		"with another":   {func(t *testing.T, a *end) { go func() { _, _ = a.Request(t.Context(), requestFrame(1, "")) }() }, "writeOn"},
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
					if strings.Contains(stack, ").write(") {
						writers++
						if !strings.Contains(stack, tt.want) {
							t.Errorf("want %s to write, got\\n%s", tt.want, stack)
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
				lively.Store(tt.lively) // what ended in other tests may still be counted
				asking.Store(tt.others)
				defer asking.Store(false)
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
