package link

import (
	"testing"
	"testing/synctest"

	"busd/bus"
	"busd/internal/wire"
)

// Where nothing is under way the reader answers a ping by itself, before it returns
// to read. Where something was written and is not acknowledged, so that the line may
// be full, it leaves that to the writer; and a link that ends answers none.
func TestWhoAnswersPings(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		a, peer := rawPeer(t, nil, options{})
		line := a.link.cfg.Socket.(*pipe)
		pings := func(want bool, when string) {
			t.Helper()
			synctest.Wait()
			got := a.link.answers("there?")
			if got {
				a.link.answered(line.Pong("there?"))
			}
			if got != want {
				t.Errorf("%s: the reader answers: %t, want %t", when, got, want)
			}
			synctest.Wait()
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.link.writing || len(a.link.pongs) != 0 {
				t.Errorf("%s: afterwards it writes: %t, with %d pongs left", when, a.link.writing, len(a.link.pongs))
			}
		}
		pings(true, "idle")
		pings(true, "once more")
		if err := a.Send(t.Context(), dataFrame(1, "")); err != nil {
			t.Fatal(err)
		}
		pings(false, "before the ack")
		f := peer.hear(wire.Data)
		peer.write(wire.AppendAck(nil, f.N, 0))
		pings(true, "after the ack")
		a.Drop(bus.Errorf(bus.CodeGoingAway, "over"))
		if a.link.answers("there?") {
			t.Error("the reader answers on a link that ends")
		}
	})
}
