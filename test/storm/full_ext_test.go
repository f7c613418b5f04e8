package storm_test

import (
	"testing"
	"testing/synctest"
	"time"

	"busd/msgbus"
)

// More clients than a server has room for come again and again, but as seldom
// as it tells them to; and when room comes free they find it.
func TestFullServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const (
			room, n = 100, 400
			// A fresh server takes 100 clients a second, and lets those that it
			// refused try at a quarter of that; 20 more are four standard deviations.
			most = 45
			// longest is what a client is told to wait: the longest spread, two
			// seconds and what jitter there is.
			longest = 71 * time.Second
		)
		h := &host{t: t}
		h.start(msgbus.Config{MaxConns: room})
		all := h.clients(n)
		time.Sleep(40 * time.Second)
		dials, welcomes := h.seen()
		if sum(welcomes) != room {
			t.Fatalf("got %d clients, want %d", sum(welcomes), room)
		}
		wantAtMost(t, "attempts", dials[1:], most) // in the first second all came
		if got := sum(dials[15:]); got < n-room {
			t.Errorf("%d attempts in the last 25 s, want %d at least: all try", got, n-room)
		}

		left := 0
		for _, c := range all {
			if c.Connects() == 1 {
				_ = c.Close(t.Context())
				left++
			}
		}
		for begin := time.Now(); sum(welcomes) < 2*room && time.Since(begin) < longest; _, welcomes = h.seen() {
			time.Sleep(time.Second)
		}
		if left != room || sum(welcomes) != 2*room {
			t.Errorf("%d clients left, and %d others found the room within %s; want %d and as many",
				left, sum(welcomes)-room, longest, room)
		}
	})
}
