package storm_test

import (
	"testing"
	"testing/synctest"
	"time"

	"busd/msgbus"
)

// back is within what time all clients of a server that was killed are back,
// once another listens: no pause between two attempts is longer than 30 s.
const back = 35 * time.Second

// A server is killed, and another started in its place. Nobody told the
// clients when to come: their back-off makes the ramp.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	const n = 300
	for name, tt := range map[string]struct {
		down  time.Duration
		share float64 // of the clients, that may come in one second
	}{
		// Expected are 31 % and 6.7 %, and beside them five standard deviations.
		"3 seconds later": {3 * time.Second, 0.45},
		"a minute later":  {time.Minute, 0.15},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := &host{t: t}
				h.start(msgbus.Config{})
				all := h.clients(n)
				synctest.Wait()
				if _, welcomes := h.seen(); sum(welcomes) != n {
					t.Fatalf("got %d clients, want %d", sum(welcomes), n)
				}
				h.kill()
				time.Sleep(tt.down)
				h.start(msgbus.Config{})
				time.Sleep(back)
				_, welcomes := h.seen()
				if sum(welcomes) != n {
					t.Errorf("%d clients are back after %s, want %d:\n%s", sum(welcomes), back, n, chart(welcomes))
				}
				for i, c := range all {
					if c.Connects() != 2 {
						t.Errorf("client %d was connected %d times, want twice", i, c.Connects())
					}
				}
				wantAtMost(t, "clients", welcomes, int(tt.share*n))
			})
		})
	}
}
