package msgbus_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
)

// Where memory is short those are given up first for whom most is kept, with a
// connection or without; they are told so when they come back. Whoever keeps up
// stays.
func TestDropSlowest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newRoom(nil)
		ended := make(chan bus.Identity, 8)
		svc.OnGone = func(_ context.Context, who bus.Identity, why error) {
			if bus.CodeOf(why) == bus.CodeSlowConsumer { // else the server stops
				ended <- who
			}
		}
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		const kib = 1 << 10
		all := map[string]*raw{}
		for name, waiting := range map[string]int{"most": 700 * kib, "much": 500 * kib, "some": 100 * kib, "little": 60 * kib, "away": 600 * kib} {
			r := greet(t, srv, svc, nil, aHello(name)) // it acknowledges nothing
			all[name] = r
			for ; waiting > 0; waiting -= 10 * kib {
				if err := svc.SendTo(t.Context(), bus.Identity(r.welcome.Identity), Note{Text: strings.Repeat("x", 10*kib)}); err != nil {
					t.Fatal(err)
				}
			}
		}
		all["away"].cut()
		synctest.Wait()

		want := func(bytes, atLeast, atMost int, names ...string) {
			t.Helper()
			n, freed := srv.DropSlowest(bytes)
			if n != len(names) || freed < atLeast || freed > atMost {
				t.Errorf("to free %d: got %d sessions, %d bytes; want %d, %d to %d", bytes, n, freed, len(names), atLeast, atMost)
			}
			synctest.Wait()
			var got []string
			for range len(ended) {
				got = append(got, string((<-ended)[len(bustest.DefaultPeer+"dns:/"):]))
			}
			slices.Sort(got)
			if !slices.Equal(got, names) {
				t.Errorf("to free %d: %v have ended, want %v", bytes, got, names)
			}
		}
		want(0, 0, 0)
		want(690*kib, 700*kib, 900*kib, "most")
		want(690*kib, 1100*kib, 1400*kib, "away", "much")
		want(1<<30, 100*kib, 150*kib, "some")
		want(1<<30, 0, 0)
		if len(svc.Conns()) != 1 {
			t.Errorf("%d connections live, want that of the one for whom little is kept", len(svc.Conns()))
		}
		all["most"].ended()
		for _, name := range []string{"most", "away"} {
			greet(t, srv, svc, nil, all[name].again()).wantResumed("overflowed")
		}
	})
}
