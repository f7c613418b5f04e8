package link

import (
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
)

// A writer that is woken again and again rests between, and only then: for a moment,
// and not beyond the end of its link.
func TestWriterRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, nil, nil, options{})
		send := func() {
			t.Helper()
			if err := a.Send(t.Context(), dataFrame(1, "")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		wantGoroutines := func(when string, want int) {
			t.Helper()
			if got := linksGoroutines(); len(got) != want {
				t.Errorf("%s two links are %d goroutines, want %d: %s", when, len(got), want, got)
			}
		}
		time.Sleep(time.Second)
		send()
		wantGoroutines("after one message", 2)
		send()
		wantGoroutines("after another", 3)
		for range 3 {
			time.Sleep(patience / 2)
			send()
			wantGoroutines("while they follow each other", 3)
		}
		time.Sleep(3 * patience)
		synctest.Wait()
		wantGoroutines("a moment later", 2)
		if a.link.pen != nil {
			t.Error("an idle link keeps what its writer rested with")
		}
		send()
		send()
		wantGoroutines("once more", 3)
		a.End(bus.Errorf(bus.CodeGoingAway, "enough"))
		_ = a.wait(t)
		_ = b.wait(t)
		synctest.Wait()
		wantGoroutines("after the end", 0)
		if b.Seen() != 7 {
			t.Errorf("%d messages arrived, want 7", b.Seen())
		}
	})
}
