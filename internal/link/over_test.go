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

// Who is told that his request was not sent can send it again: it must not be
// written when the session has ended, with what goes before the goodbye.
func TestNotSentIsNotSentLater(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		a, peer := rawPeer(t, nil, options{room: 1, credit: 64 << 10})
		for range 40 { // until the line takes nothing more
			if err := a.Send(t.Context(), dataFrame(0, strings.Repeat("x", 1000))); err != nil {
				t.Fatal(err)
			}
		}
		asked, acked := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := a.Request(t.Context(), requestFrame(1, ""))
			asked <- err
		}()
		go func() {
			acked <- a.SendAcked(t.Context(), must(wire.AppendData(nil, msg("Note"), note{ID: 2}, wire.DataOptions{AckAtOnce: true})))
		}()
		synctest.Wait()
		a.End(bus.Errorf(bus.CodeAborted, "enough"))
		wantDropped(t, "a request that was not written", receive(t, asked, "the request"), bus.CodeAborted)
		wantDropped(t, "a message that was not written", receive(t, acked, "the message"), bus.CodeAborted)
		notes := 0
		for kind := wire.Kind(0); kind != wire.Drop; {
			b, err := peer.Read()
			if err != nil {
				t.Fatal(err)
			}
			for len(b) > 0 {
				f, err := wire.Decoder{Contract: contract}.Next(b)
				if err != nil {
					t.Fatal(err)
				}
				b, kind = b[f.Size:], f.Kind
				switch kind {
				case wire.Request:
					t.Error("the request is written all the same")
				case wire.Data:
					notes++
				}
			}
		}
		if notes != 40 {
			t.Errorf("%d messages were written, want the 40 that nobody waits for", notes)
		}
	})
}

// A handler that goes on after its link is waited for by the one that carries the
// session, and by who waits for the session to be quiet.
func TestHandlersOfEarlierLinks(t *testing.T) {
	t.Parallel()
	for _, passed := range []bool{false, true} {
		synctestWithoutParallel(t, func(t *testing.T) {
			gate := make(chan struct{})
			hb := &handlers{atOnce: 2, handle: func(context.Context, *end, *Incoming) error { <-gate; return nil }}
			a, b := pair(t, nil, hb, options{ends: lives})
			for _, frame := range [][]byte{
				must(wire.AppendData(nil, msg("Wide"), wide{ID: 1}, wire.DataOptions{})), dataFrame(2, ""),
			} {
				if err := a.Send(t.Context(), frame); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			cut(t, a, b)
			b.link.Pass()
			rejoin(t, a, b)
			if passed {
				b.link.Pass()
			}
			quiet := make(chan struct{})
			go func() { b.Quiet(); close(quiet) }()
			b.End(bus.Errorf(bus.CodeSuperseded, "enough"))
			time.Sleep(time.Minute)
			select {
			case <-b.ran.over:
				if !passed {
					t.Error("Run of the last link returned before the handlers have")
				}
			case <-quiet:
				t.Error("Quiet returned before the handlers have")
			default:
			}
			close(gate)
			wantDropped(t, "Run", b.wait(t), bus.CodeSuperseded)
			<-quiet
		})
	}
}

// What failed at the peer is reported, and Run of a link that is passed returns,
// while a handler waits for what only the next link brings.
func TestFailureWhileAHandlerWaits(t *testing.T) {
	t.Parallel()
	synctestWithoutParallel(t, func(t *testing.T) {
		next := make(chan struct{})
		h := &handlers{handle: func(context.Context, *end, *Incoming) error { <-next; return nil }}
		a, peer := rawPeer(t, h, options{ends: lives})
		if err := a.Send(t.Context(), dataFrame(1, "")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		peer.say(dataFrame(1, ""), wire.AppendError(nil, 1, bus.Errorf(bus.CodeAborted, "not today")))
		synctest.Wait()
		if f := h.failures(); len(f) != 1 || f[0].Code != bus.CodeAborted {
			t.Errorf("reported: %v, want the failure", f)
		}
		peer.Abort()
		a.link.Pass()
		wantDropped(t, "Run", a.wait(t), bus.CodeUnavailable)
		close(next)
	})
}
